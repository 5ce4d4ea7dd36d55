"""Whether a document is older than what was announced or captured: a cache that lags. Pure."""

from npmmirror.change import generation
from npmmirror.effects import Known
from npmmirror.packument import Packument, instant


def is_stale(
    new: Packument,
    known: Known | None,
    announced_rev: str | None,
    *,
    believed: bool = False,
    by_revision: bool = True,
    named: bool = False,
) -> bool:
    """Whether the document is older than what was announced or captured.

    The generation (the number in `_rev`) decides. Below the announced one: stale. Below the
    captured one: stale, unless the document's own date is newer (the registry began counting
    anew). Where no generations can be compared, as on a registry that gives none, dates and
    versions do: `modified` (or the time of unpublishing) before the captured one is stale, and
    without a newer date a document that lacks some of the known versions and has no others. One
    that says itself that its package is unpublished or held is never judged by its versions.

    Of a registry whose documents are known to have no `_rev` (`by_revision` is False) dates and
    versions alone decide, even where an odd document of it has one. What they call stale may yet be
    the truth (a version was taken back): `believed` says that upstream kept saying so for long
    enough. `named` says that the announced revision is made of this very document's digest: then
    its versions need no proof, and its date alone may call it stale.
    """
    ours = generation(new.rev) if by_revision else None
    announced = generation(announced_rev)
    if ours is not None and announced is not None and ours < announced:
        return True
    if known is None:
        return False
    captured = generation(known.rev)
    order = _order_of_dates(new, known)
    if ours is not None and captured is not None:
        return ours < captured and order != 1
    lacks = not named and order != 1 and _lacks_versions(new, known)
    return not believed and (order == -1 or lacks)


def is_conflict(rev: str | None, announced_rev: str | None) -> bool:
    """Whether a document and its announcement are two revisions of the same generation.

    Neither is older: CouchDB keeps both, and serves the one whose hash sorts last. A cache may
    still hold the other.
    """
    ours = generation(rev)
    return ours is not None and ours == generation(announced_rev) and rev != announced_rev


def _order_of_dates(new: Packument, known: Known) -> int | None:
    unpublished = instant(new.unpublished.time) if new.unpublished else None
    told = [moment for moment in (instant(new.modified), unpublished) if moment]
    before = instant(known.modified_at)
    if not told or before is None:
        return None
    ours = max(told)
    return (ours > before) - (ours < before)


def _lacks_versions(new: Packument, known: Known) -> bool:
    present = {version for version, held in known.versions.items() if held.present}
    return new.state == "live" and new.versions_told and new.versions.keys() < present
