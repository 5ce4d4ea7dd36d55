"""The state of a running daemon in a line, as `systemctl status` shows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glance:
    """What the line is made of. `following` from when it is known where to begin. Lags are in seqs; None where they are not known.

    `finished` counts changes since the start. `troubles` are sentences.
    """

    in_work: int
    finished: int
    following: bool = True
    follow_lag: int | None = None
    mirror_lag: int | None = None
    unfinished: int | None = None
    paused: str | None = None
    paused_since: str | None = None
    troubles: tuple[str, ...] = ()


def line(now: Glance, changes_per_second: float | None, *, draining: bool = False) -> str:
    """What the daemon does, then how fast, how far behind, and what is in the way."""
    if draining:
        return f"draining: {now.in_work:,} in work"
    known = now.following and changes_per_second is not None
    parts = [
        f"{changes_per_second:,.1f} changes/s" if known else "",
        *_behind(now),
        f"{now.in_work:,} in work",
    ]
    told = f"{_state(now)}: {', '.join(part for part in parts if part)}"
    return "; ".join([told, *now.troubles])


def _state(now: Glance) -> str:
    if now.paused is None:
        return "following" if now.following else "waiting to follow"
    since = f" since {now.paused_since[11:19]}Z" if now.paused_since else ""
    return f"fetching paused{since} ({now.paused})"


def _behind(now: Glance) -> list[str]:
    """How far the buffer is behind the feed, and the mirror behind that."""
    if now.follow_lag == 0 and not now.unfinished:
        return ["at the head"]
    told = []
    if now.follow_lag is not None:
        told.append(f"follow lag {now.follow_lag:,}")
    if now.mirror_lag is not None:
        told.append(f"mirror lag {now.mirror_lag:,}")
    if now.unfinished:
        told.append(f"{now.unfinished:,} changes not finished")
    return told
