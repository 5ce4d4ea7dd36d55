"""Places in a buffer, and the proof that a page of the feed lies there.

They pass between the buffer, which makes them, and the index, which keeps them.
"""

from dataclasses import dataclass

from npmmirror.change import Seq


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two entries. Opaque but to the buffer that made it.

    `buffer` is the identity of that buffer, `value` what it understands (JSON text).
    """

    buffer: str
    value: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a feed page lies whole in the buffer, kept in the index with the cursor.

    `before` and `after` are the feed's cursors around the page, `end` is the position behind its
    last entry; `tail` (JSON text, opaque) lets the buffer recognise the page's last records.
    """

    before: Seq | None
    after: Seq
    end: Position
    tail: str
