"""From results to what one index transaction holds."""

from collections.abc import Iterator, Sequence

from npmmirror.index import (
    Finished,
    Group,
    HeldRemoval,
    Mark,
    Skip,
    StoredBundle,
    StoredDocument,
    StoredGone,
    StoredTarball,
    Wake,
)
from npmmirror.outcome import HeldTarball, MissedTarball, Skipped
from npmmirror.pipeline.job import PACKUMENT, Done
from npmmirror.pipeline.logbook import Logged
from npmmirror.receipt import Position


def grouped(
    dones: Sequence[Done],
    logged: Sequence[Logged],
    *,
    mark: Mark | None,
    checkpoint: Position | None,
    finished_receipt: int | None,
) -> Group:
    """The rows of a group. `logged` are the records of `dones`, in their order."""
    both = list(zip(dones, logged, strict=True))
    return Group(
        documents=tuple(row for done, records in both for row in _documents(done, records)),
        gone=tuple(row for done, records in both for row in _gone(done, records)),
        tarballs=tuple(row for done, records in both for row in _tarballs(done, records)),
        bundles=tuple(row for done, records in both for row in _bundles(done, records)),
        finished=tuple(row for done in dones for row in _finished(done)),
        skips=tuple(row for done in dones for row in _skips(done)),
        held=tuple(row for done in dones for row in _held(done)),
        unheld=tuple(done.job.package for done in dones if done.unheld),
        decided_at=max((done.at for done in dones if done.decided is not None), default=None),
        work_done=tuple((done.job.package, item) for done in dones for item in done.work.done),
        wake=tuple(Wake(done.job.package, done.at) for done in dones if done.job.tickets),
        work_put=tuple(row for done in dones for row in done.work.put),
        mark=mark,
        checkpoint=checkpoint,
        finished_receipt=finished_receipt,
    )


def _documents(done: Done, logged: Logged) -> Iterator[StoredDocument]:
    document, appended, change = done.document, logged.document, done.job.change
    if document is not None and appended is not None:
        yield StoredDocument(
            name=done.job.package,
            ordinal=appended.ordinal,
            place=appended.place,
            at=done.at,
            payload=document.payload,
            effects=document.effects,
            rev=document.rev,
            announced_rev=change.rev if change is not None else None,
            seq=change.seq if change is not None else None,
            etag=document.etag,
            announced_at=done.job.announced_at,
        )


def _gone(done: Done, logged: Logged) -> Iterator[StoredGone]:
    gone, appended, change = done.gone, logged.gone, done.job.change
    if gone is not None and appended is not None:
        seq = change.seq if change is not None else None
        yield StoredGone(done.job.package, appended.ordinal, done.at, gone.event, gone.reason, seq)


def _held(done: Done) -> Iterator[HeldRemoval]:
    if done.held is not None:
        change = done.job.change
        seq = change.seq if change is not None else None
        yield HeldRemoval(done.job.package, done.at, done.held, seq)


def _tarballs(done: Done, logged: Logged) -> Iterator[StoredTarball]:
    held = [tarball for tarball in done.tarballs if isinstance(tarball, HeldTarball)]
    for tarball, appended in zip(held, logged.tarballs, strict=True):
        yield StoredTarball(
            name=done.job.package,
            version=tarball.version,
            ordinal=appended.ordinal,
            at=done.at,
            path=tarball.path,
            size=tarball.size,
            sha512=tarball.digests.sha512,
            unverifiable=tarball.unverifiable,
            confusion=tarball.confusion,
        )


def _bundles(done: Done, logged: Logged) -> Iterator[StoredBundle]:
    for bundle, appended in zip(done.bundles, logged.bundles, strict=True):
        payload = bundle.payload
        yield StoredBundle(
            name=done.job.package,
            version=bundle.version,
            ordinal=appended.ordinal,
            at=done.at,
            place=appended.place,
            sha256=payload.sha256 if payload is not None else None,
            length=payload.length if payload is not None else None,
        )


def _finished(done: Done) -> Iterator[Finished]:
    change = done.job.change
    if change is not None and done.job.tickets:
        yield Finished(done.job.package, change.seq, change.rev, change.deleted)


def _skips(done: Done) -> Iterator[Skip]:
    package = done.job.package
    if isinstance(done.outcome, Skipped):
        yield Skip(package, PACKUMENT, done.outcome.reason, done.outcome.detail, done.at)
    for tarball in done.tarballs:
        if isinstance(tarball, MissedTarball) and isinstance(tarball.outcome, Skipped):
            outcome = tarball.outcome
            yield Skip(package, tarball.version, outcome.reason, outcome.detail, done.at)
