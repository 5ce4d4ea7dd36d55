"""What a shell completes: commands and options by typer, names of packages from the index."""

from collections.abc import Iterator, MutableMapping

import typer

LISTED = 200
"""Names that are given to a shell; those who want others type on."""


def packages(context: typer.Context, incomplete: str) -> list[str]:
    """Captured packages whose names begin so; none where there is no mirror or no configuration."""
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - only where names are completed
    from npmmirror.errors import NpmmirrorError  # noqa: PLC0415 - as above
    from npmmirror.index.names import starting_with  # noqa: PLC0415 - as above

    try:
        config = load(context.find_root().params.get("config_file")).config
    except NpmmirrorError:
        return []
    return starting_with(config.storage.index_path, incomplete, LISTED)


def mend_words(environment: MutableMapping[str, str]) -> None:
    """Put together what bash takes apart: it sees two words in `@scope`, for there is a @ in it."""
    words = environment.get("COMP_WORDS", "").split("\n")
    number = environment.get("COMP_CWORD", "")
    if "@" not in words or not number.isdecimal():
        return
    place = int(number)
    mended = list(_mended(words[: place + 1]))
    environment["COMP_WORDS"] = "\n".join(mended)
    environment["COMP_CWORD"] = str(len(mended) - 1)


def _mended(words: list[str]) -> Iterator[str]:
    glue = ""
    for place, word in enumerate(words):
        if word == "@" and place < len(words) - 1:
            glue = word
        else:
            yield glue + word
            glue = ""
