"""What a misspelt name may have meant: found through the index, however many names it has."""

import difflib
from collections.abc import Iterator, Sequence

from npmmirror.index import IndexReader

ALIKE = 4000
"""Names that one is compared with letter by letter: some 50 ms."""
SUGGESTED = 3
LONGEST = 214
"""npm's own limit; what is longer has no neighbours that are worth the look-ups."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_./@"


async def nearest_names(reader: IndexReader, asked: str) -> list[str]:
    """Names of captured packages that might have been meant, the likeliest first.

    Those that are one slip of a finger away are looked up one by one, which takes no longer in an
    index of millions. Others are looked for among the names that begin alike, as far as those are
    few enough.
    """
    if not 0 < len(asked) <= LONGEST:
        return []
    found = await reader.captured_among(list(dict.fromkeys(_slips(asked))))
    found += await _alike(reader, asked)
    return nearest(asked, list(dict.fromkeys(found)))


def nearest(asked: str, names: Sequence[str]) -> list[str]:
    """What might have been meant, the likeliest first."""
    return difflib.get_close_matches(asked, names, SUGGESTED, 0.7)


async def _alike(reader: IndexReader, asked: str) -> list[str]:
    """All names where they are few, else those with the same beginning, the longest that will do."""
    found: list[str] = []
    for length in (0, 1, 2, 3, 4, 6, 8, 12, 16):
        if length >= len(asked) + 1:
            break
        found = await reader.names_from(asked[:length], ALIKE)
        if len(found) < ALIKE:
            break
    return found


def _slips(name: str) -> Iterator[str]:
    """The name without one letter, with two swapped, one changed, one more; other spellings."""
    yield name.lower()
    yield f"@{name}"
    yield from (name.replace(one, other) for one in "-_." for other in ("-", "_", ".", ""))
    for place in range(len(name) + 1):
        before, rest = name[:place], name[place:]
        yield before + rest[1:]
        yield before + rest[1:2] + rest[:1] + rest[2:]
        for letter in _LETTERS:
            yield before + letter + rest[1:]
            yield before + letter + rest
