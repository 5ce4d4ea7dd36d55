"""What a result writes to the capture log."""

from dataclasses import dataclass

from npmmirror.archive import CaptureLog, records
from npmmirror.capture import Appended
from npmmirror.change import Seq
from npmmirror.index import Mark
from npmmirror.outcome import HeldTarball
from npmmirror.pipeline.job import CapturedDocument, Done


@dataclass(frozen=True, slots=True)
class Logged:
    """The records of one result, in the order in which they were appended."""

    document: Appended | None = None
    gone: Appended | None = None
    tarballs: tuple[Appended, ...] = ()
    decided: Appended | None = None
    bundles: tuple[Appended, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any((self.document, self.gone, self.tarballs, self.decided, self.bundles))


def append(archive: CaptureLog, done: Done, keys: int) -> Logged:
    """Append what a result brought: its document, its end, its tarballs, its attestations.

    `keys` is the ordinal of the newest keys in the log.
    """
    name, change = done.job.package, done.job.change
    seq = change.seq if change is not None else None
    document = gone = decided = None
    if (captured := done.document) is not None:
        document = archive.append(
            records.packument(
                done.at,
                name,
                captured.payload,
                seq=seq,
                announced=change.rev if change is not None else None,
                rev=captured.rev,
                etag=captured.etag,
                stale=captured.effects is None,
                metadata_only=done.job.metadata_only,
                announced_at=done.job.announced_at,
                keys=_other_keys(captured, keys),
            )
        )
    if (word := done.decided) is not None:
        decided = archive.append(
            records.decision(done.at, what=word.what, name=name, detail=word.detail)
        )
    if (end := done.gone) is not None:
        gone = archive.append(
            records.gone(done.at, name, reason=end.reason, evidence=end.evidence, seq=seq)
        )
    tarballs = tuple(
        archive.append(records.tarball(done.at, name, tarball))
        for tarball in done.tarballs
        if isinstance(tarball, HeldTarball)
    )
    bundles = tuple(
        archive.append(records.attestation(done.at, name, bundle.version, bundle.payload))
        for bundle in done.bundles
    )
    return Logged(document, gone, tarballs, decided, bundles)


def _other_keys(captured: CapturedDocument, newest: int) -> int | None:
    """The keys that a document was held against, where newer ones came into the log meanwhile."""
    effects = captured.effects
    return None if effects is None or effects.keys == newest else effects.keys


def seal(archive: CaptureLog, cursor: Seq | None, at: str) -> Mark:
    """End a group: the mark, then everything written and durable."""
    appended = archive.append(records.mark(at, cursor=cursor))
    archive.write()
    archive.sync()
    return Mark(appended.ordinal, appended.at, archive.tip.hash, appended.place, cursor)
