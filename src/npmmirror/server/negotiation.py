"""What a client takes: the form of a document and its encoding. Pure.

Nobody is ever refused for it: npm's registry has no 406, and clients do not expect one.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from npmmirror.server.packuments import Form

ABBREVIATED_TYPE: Final = "application/vnd.npm.install-v1+json"
FULL_TYPE: Final = "application/json"
_MEMO: Final = 512
_LONGEST: Final = 1024


@lru_cache(_MEMO)
def form_of(accept: str) -> Form:
    """The form that an `Accept` header asks for.

    Abbreviated where its type is named and no less wanted than the full one's, which `*/*` beside
    it is not. Everything else, nothing included, is full.
    """
    told = dict(_weighed(accept))
    wanted = told.get(ABBREVIATED_TYPE, 0.0)
    if wanted > 0 and wanted >= told.get(FULL_TYPE, 0.0):
        return Form.ABBREVIATED
    return Form.FULL


@lru_cache(_MEMO)
def encoding_of(accept_encoding: str) -> str:
    """`zstd` or `gzip` where the client takes it, zstd first; else empty."""
    told = dict(_weighed(accept_encoding))
    other = told.get("*", 0.0)
    if told.get("zstd", 0.0) > 0:
        return "zstd"
    return "gzip" if told.get("gzip", told.get("x-gzip", other)) > 0 else ""


def _weighed(header: str) -> Iterator[tuple[str, float]]:
    for part in header[:_LONGEST].lower().split(","):
        name, *parameters = part.split(";")
        weight = 1.0
        for parameter in parameters:
            key, _, text = parameter.partition("=")
            if key.strip() == "q":
                weight = _weight(text)
        yield name.strip(), weight


def _weight(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0.0 <= found <= 1.0 else 0.0
