"""What all shapes share."""

import msgspec

Seq = int | str
"""A seq or cursor of the feed: a number of npm's, an opaque text of others."""
Counts = dict[str, int]
"""Numbers by state or reason."""


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """An object with just these keys, all of them always there."""
