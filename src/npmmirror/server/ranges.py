"""The `Range` header of a request. Pure."""

import re
from typing import Final

_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


def span_of(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes that are asked for, as start and end (exclusive).

    The whole where nothing, several ranges or nonsense is asked for; None where what is asked for
    lies behind the end (416).
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        length = int(match[2])
        return (max(size - length, 0), size) if length and size else None
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return 0, size
    end = min(int(match[2]) + 1, size) if match[2] else size
    return (start, end) if start < size else None
