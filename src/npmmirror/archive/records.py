"""The records that the mirror writes, one constructor a kind.

A fact that is not known, or that says nothing new, is left out: each byte here is kept for ever.
`docs/captures.md` lists the facts of each kind.
"""

import secrets
from typing import Any

from npmmirror.capture import Kind, NewRecord, Payload
from npmmirror.change import Seq
from npmmirror.outcome import HeldTarball


def genesis(at: str, *, mirror: str | None = None) -> NewRecord:
    """The first record of a log: a random identity, by which two logs are told apart."""
    return NewRecord(
        Kind.GENESIS, at, facts={"format": 1, "mirror": mirror or secrets.token_hex(16)}
    )


def following(at: str, *, feed: str, registry: str, since: Seq | None) -> NewRecord:
    """From here on the changes of this upstream are followed, beginning behind `since`."""
    return NewRecord(Kind.FOLLOWING, at, facts=_known(feed=feed, registry=registry, since=since))


def packument(
    at: str,
    name: str,
    payload: Payload,
    *,
    seq: Seq | None = None,
    announced: str | None = None,
    rev: str | None = None,
    etag: str | None = None,
    stale: bool = False,
    metadata_only: bool = False,
    announced_at: str | None = None,
    keys: int | None = None,
) -> NewRecord:
    """A document as it arrived. `announced` is kept only where the document has another `rev`.

    It is null where the feed announced a change without any. `metadata_only`: its tarballs were
    not wanted, whatever the policy says. `announced_at` is when the follower first saw the change.
    `keys` is the ordinal of the keys that its signatures were held against, where those are not the
    newest ones before it.
    """
    facts = _known(
        seq=seq,
        announced=None if announced == rev else announced,
        rev=rev,
        etag=etag,
        stale=stale or None,
        metadata_only=metadata_only or None,
        announced_at=announced_at,
        keys=keys,
    )
    if seq is not None and announced is None and rev is not None:
        facts["announced"] = None  # left out, it would be the document's own
    return NewRecord(Kind.PACKUMENT, at, name, facts, payload)


def gone(
    at: str,
    name: str,
    *,
    reason: str,
    evidence: dict[str, Any],
    event: dict[str, Any] | None = None,
    seq: Seq | None = None,
) -> NewRecord:
    """Upstream no longer has the package, what shows it, and the detail of the event made of it."""
    facts = _known(seq=seq, reason=reason, evidence=evidence, event=event)
    return NewRecord(Kind.GONE, at, name, facts)


def tarball(at: str, name: str, held: HeldTarball) -> NewRecord:
    """A file whose bytes were checked, or that has no claim to check them against."""
    facts = _known(
        version=held.version,
        path=held.path,
        size=held.size,
        sha512=held.digests.sha512,
        integrity=held.integrity or None,
        unverifiable=held.unverifiable or None,
        manifest=held.confusion.facts if held.confusion is not None else None,
    )
    return NewRecord(Kind.TARBALL, at, name, facts)


def keys(at: str, payload: Payload | None) -> NewRecord:
    """The registry's keys from now on; without a payload it serves none any more."""
    return NewRecord(Kind.KEYS, at, facts={} if payload else {"absent": True}, payload=payload)


def attestation(at: str, name: str, version: str, payload: Payload | None) -> NewRecord:
    """What upstream has of attestations of a version; without a payload it has none."""
    facts = _known(version=version, absent=None if payload else True)
    return NewRecord(Kind.ATTESTATION, at, name, facts, payload)


def dropped(at: str, name: str, *, version: str | None, path: str | None, reason: str) -> NewRecord:
    """A file that was pruned, erased, or found damaged: why it is held no longer."""
    return NewRecord(Kind.DROPPED, at, name, _known(version=version, path=path, reason=reason))


def decision(at: str, *, what: str, name: str | None = None, detail: dict[str, Any]) -> NewRecord:
    """What the operator decided, in a stable word."""
    return NewRecord(Kind.DECISION, at, name, {"what": what, "detail": detail})


def mark(at: str, *, cursor: Seq | None) -> NewRecord:
    """The end of a group: everything before it belongs together, and is synced with it."""
    return NewRecord(Kind.MARK, at, facts=_known(cursor=cursor))


def _known(**facts: Any) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}
