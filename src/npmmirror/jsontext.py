r"""JSON as registries send it, read without ever raising anything but `UnreadableError`.

Three things make valid JSON of npm's unreadable to Python's fast parsers: lone surrogates
(`"\ud800"`), bytes that are no UTF-8, and numbers beyond a double (`1e999`). The first two are
mended in the text: a lone surrogate becomes the six characters of its escape (as
Python's `backslashreplace` does), a wrong byte U+FFFD (as npm's own client does). So every string
that comes out can be stored as UTF-8.
"""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import orjson

Raw = msgspec.Raw
"""The bytes of a JSON value, where they lie in the document."""

MAX_INTEGER = 2**63 - 1
"""The largest integer that an index can hold."""

_MARK = codecs.BOM_UTF8
_PIECE = 1 << 20
_SURROGATES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|.)",
    re.DOTALL,
)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class UnreadableError(ValueError):
    """The text is not understood. `reason` is `not_json`, `not_an_object` or `too_deep`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def mend(raw: bytes | memoryview) -> bytes:
    """The same JSON with what no parser takes replaced, a byte order mark dropped.

    Takes twice the length of the document in memory at most, for whoever sends 100 MB of nonsense.
    """
    text = bytes(raw) if _is_utf8(raw) else _replaced(raw)
    mended, kept = bytearray(), len(_MARK) if text.startswith(_MARK) else 0
    for found in _SURROGATES.finditer(text):
        if found[1]:
            mended += text[kept : found.start()]
            mended += b"\\" + found[0]
            kept = found.end()
    if not kept:
        return text
    mended += text[kept:]
    return bytes(mended)


def _is_utf8(raw: bytes | memoryview) -> bool:
    try:
        for _ in _decoded(raw, "strict"):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _replaced(raw: bytes | memoryview) -> bytes:
    return b"".join(piece.encode() for piece in _decoded(raw, "replace"))


def _decoded(raw: bytes | memoryview, errors: str) -> Iterator[str]:
    """The text in pieces: a string of it may be four times as long."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors)
    for start in range(0, len(raw), _PIECE):
        yield decoder.decode(raw[start : start + _PIECE])
    yield decoder.decode(b"", final=True)


def members(raw: bytes | memoryview | Raw) -> dict[str, Raw]:
    """The members of an object, their values undecoded; of a key given twice the last.

    Raises:
        UnreadableError: it is no JSON, no object, or nested deeper than the interpreter's
            limit (about 1000 levels), whoever calls.
    """
    try:
        return _on_any_stack(raw)
    except msgspec.ValidationError as error:
        raise UnreadableError("not_an_object") from error
    except RecursionError as error:
        raise UnreadableError("too_deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = mend(memoryview(raw))
        if mended == memoryview(raw):
            raise UnreadableError("not_json") from error
    return members(mended)


def _on_any_stack(raw: bytes | memoryview | Raw) -> dict[str, Raw]:
    try:
        return _members(raw)
    except RecursionError:
        # How deep is too deep must not depend on the caller's depth, or a document that was
        # captured could not be read when the index is rebuilt: an empty stack decides.
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(_members, raw).result()


def value(raw: bytes | Raw) -> Any:
    """A JSON value, decoded whole. Numbers beyond a double become infinities.

    Raises:
        UnreadableError: it is no JSON, or nested too deep.
    """
    try:
        return orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError:
        return _slow_value(mend(memoryview(raw)))


def _slow_value(mended: bytes) -> Any:
    try:
        return json.loads(mended, parse_int=_integer, parse_constant=_refuse)
    except RecursionError as error:
        raise UnreadableError("too_deep") from error
    except ValueError as error:
        raise UnreadableError("not_json") from error


def _integer(digits: str) -> int | float:
    # Python refuses to convert thousands of digits; beyond a double they are infinite anyway.
    return int(digits) if len(digits) <= 300 else float(digits)


def _refuse(constant: str) -> None:
    raise UnreadableError("not_json") from ValueError(constant)


def differing(one: Mapping[str, Raw], other: Mapping[str, Raw]) -> tuple[str, ...]:
    """The keys whose values differ in meaning, sorted; order of keys and white space aside."""
    keys = {*one, *other}
    return tuple(sorted(key for key in keys if not _alike(one.get(key), other.get(key))))


def _alike(one: Raw | None, other: Raw | None) -> bool:
    if one is None or other is None:
        return one is other
    return bytes(one) == bytes(other) or _canonical(one) == _canonical(other)


def _canonical(raw: Raw) -> str | bytes:
    try:
        # The standard library keeps what equality loses: `1` from `true`, `null` from infinity.
        return json.dumps(value(raw), sort_keys=True)
    except (UnreadableError, RecursionError):
        return bytes(raw)
