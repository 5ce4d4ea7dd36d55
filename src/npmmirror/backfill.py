"""How far a backfill is, as it is kept in the index between two starts. Pure."""

from typing import Any, Final, Literal, Self

import msgspec

BACKFILL: Final = "backfill"
"""The name of the note (`resumptions`) that a backfill keeps."""
BACKFILLED: Final = "backfilled"
"""The index's note of what backfills brought, so that it is known what the mirror is to have."""

Report = dict[str, Any]


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a backfill is to bring: all that the feed lists, or the names of a file.

    `only` are patterns of names; none: all. `metadata_only`: no tarballs for what it brings.
    """

    source: Literal["feed", "file"] = "feed"
    only: tuple[str, ...] = ()
    metadata_only: bool = False


def wish_of(told: Any) -> Wish:
    """A wish as it comes over the control socket."""
    return msgspec.convert(told, Wish)


class Backfill(msgspec.Struct):
    """What was asked for, and how far it is.

    `after` is the last name of the feed's list that was dealt with, `offset` the byte of the file
    of names to go on at. `listed` names were read of `total`; of them `queued` were put on the work
    list, `waiting` were on it, `woken` were on it as dead letters, `left_out` are not wanted, the
    rest is current. `tarballs` of captured packages were put there. `listed_all`: there are no more.
    """

    wish: Wish
    started_at: str
    after: str | None = None
    offset: int = 0
    listed: int = 0
    total: int | None = None
    queued: int = 0
    waiting: int = 0
    left_out: int = 0
    woken: int = 0
    tarballs: int = 0
    listed_all: bool = False
    paused: bool = False

    @property
    def current(self) -> int:
        """How many names need nothing."""
        return self.listed - self.queued - self.waiting - self.woken - self.left_out

    def to_text(self) -> str:
        """As the index keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote."""
        return msgspec.json.decode(text, type=cls)

    def report(
        self,
        *,
        untried: int,
        failed: int,
        per_second: float | None = None,
        error: str | None = None,
    ) -> Report:
        """How far it is, for people and scripts.

        `untried` of the packages queued wait for their turn, `failed` were tried and are not done.
        """
        done = max(self.listed - untried, 0)
        left = None
        if per_second and self.total is not None:
            left = round(max(self.total - done, 0) / per_second)
        return {
            "state": self._state(),
            "source": self.wish.source,
            "only": list(self.wish.only),
            "metadata_only": self.wish.metadata_only,
            "started_at": self.started_at,
            "total": self.total,
            "listed": self.listed,
            "done": done,
            "queued": self.queued,
            "current": self.current,
            "left_out": self.left_out,
            "waiting": self.waiting,
            "woken": self.woken,
            "tarballs": self.tarballs,
            "untried": untried,
            "failed": failed,
            "per_second": None if per_second is None else round(per_second, 1),
            "seconds_left": left,
            "error": error,
        }

    def _state(self) -> str:
        if self.paused:
            return "paused"
        return "fetching" if self.listed_all else "listing"


class Whole(msgspec.Struct):
    """What backfills brought that came to their end: the mirror is to have all of it."""

    wishes: list[Wish] = []

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """What `added` gave; nothing for None."""
        return cls() if text is None else msgspec.json.decode(text, type=cls)

    def added(self, wish: Wish) -> str:
        """As the index keeps it, with one more."""
        return msgspec.json.encode(Whole([*(w for w in self.wishes if w != wish), wish])).decode()
