"""Whatever happens to a package, its events tell it, once and in full."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings, strategies as st

from npmmirror.diff import changed_versions, diff
from npmmirror.effects import Effects, Event, EventKind, Known
from npmmirror.packument import SECURITY_VERSION, Packument
from tests.core.documents import (
    NEW,
    NEWER,
    OLD,
    SINCE,
    applied,
    document,
    held,
    manifest,
    unpublished,
)

VERSIONS = ("1.0.0", "1.1.0", "2.0.0-rc.1", "__proto__")
DATES = st.sampled_from([OLD, NEW, NEWER, "no date"])
MANIFESTS = st.builds(
    manifest,
    st.sampled_from(VERSIONS),
    license=st.sampled_from(["MIT", "ISC"]),
    deprecated=st.sampled_from([None, "", "gone", True]),
)
LIVE = st.builds(
    lambda manifests, **keys: document(*manifests, **keys),
    st.lists(MANIFESTS, max_size=4, unique_by=lambda each: str(each["version"])),
    created=st.sampled_from([OLD, NEW, None]),
    modified=DATES,
    times=st.dictionaries(st.sampled_from(VERSIONS), DATES),
    tags=st.dictionaries(st.sampled_from(["latest", "next"]), st.sampled_from(VERSIONS)),
    maintainers=st.lists(st.sampled_from(["alice", "bob"]), unique=True).map(tuple),
)
GONE = st.sampled_from([unpublished("1.0.0"), held("1.0.0"), held(at=OLD)])
REMOVED = st.none()
HISTORIES = st.lists(LIVE | LIVE | GONE | REMOVED, min_size=1, max_size=7)
SINCES = st.sampled_from([None, SINCE])

Step = tuple[Known | None, Effects, Packument]


def steps(history: Iterable[Packument | None], since: str | None) -> Iterable[Step]:
    """What was known before each document, its effects, and the document; None is a removal."""
    known: Known | None = None
    previous: Packument | None = None
    for new in history:
        if new is None:
            known = replace(known, state="removed") if known else None
            continue
        needed = previous if changed_versions(new, known) else None
        effects = diff(new, known, needed, following_since=since)
        yield known, effects, new
        known, previous = applied(effects, known), new


def present(known: Known | None) -> set[str]:
    """The versions that the index has as present."""
    return {v for v, held in known.versions.items() if held.present} if known else set()


def retold(versions: set[str], events: Iterable[Event]) -> set[str]:
    """The versions after these events, by the events' own words."""
    for event in events:
        match event.kind:
            case EventKind.PACKAGE_RESTORED:
                if event.detail["from"] == "security_hold":
                    versions = versions - {SECURITY_VERSION}
                versions = versions | set(event.detail["versions"])
            case EventKind.VERSION_PUBLISHED:
                versions = versions | {str(event.version)}
            case EventKind.VERSION_UNPUBLISHED:
                versions = versions - {str(event.version)}
            case EventKind.PACKAGE_UNPUBLISHED:
                versions = set()
            case EventKind.SECURITY_HOLD:
                versions = {SECURITY_VERSION}
            case _:
                pass
    return versions


@settings(max_examples=150)
@given(HISTORIES, SINCES)
def test_effects_lead_to_the_document(history: list[Packument | None], since: str | None) -> None:
    """After the effects the index has the document's versions, digests and tags."""
    for known, effects, new in steps(history, since):
        after = applied(effects, known)
        assert present(after) == set(new.versions)
        assert all(after.versions[v].digest == new.digest(v) for v in new.versions)
        assert (after.tags, after.state) == (new.tags, new.state)


@settings(max_examples=150)
@given(HISTORIES, SINCES)
def test_events_tell_the_versions(history: list[Packument | None], since: str | None) -> None:
    """After the first sight the events alone tell which versions there are."""
    for known, effects, new in steps(history, since):
        if known is not None:
            assert retold(present(known), effects.events) == set(new.versions)


@settings(max_examples=150)
@given(HISTORIES, SINCES)
def test_nothing_is_told_twice(history: list[Packument | None], since: str | None) -> None:
    """No event twice in a difference, none at all in a second look, one first sight at most."""
    observed = 0
    for known, effects, new in steps(history, since):
        told = [(e.kind, e.version, e.tag, e.detail.get("name")) for e in effects.events]
        assert len(told) == len(set(told))
        observed += sum(event.kind is EventKind.PACKAGE_OBSERVED for event in effects.events)
        again = diff(new, applied(effects, known), new, following_since=since)
        assert (again.events, again.versions, again.vanished) == ((), (), ())
        assert (again.tags, again.people, again.dependencies, again.fresh) == (None, None, None, ())
    assert observed <= 1


@settings(max_examples=100)
@given(HISTORIES, SINCES)
def test_what_is_fresh_is_published(history: list[Packument | None], since: str | None) -> None:
    """Fresh versions are published ones, in the document, in the order of the events."""
    for _, effects, new in steps(history, since):
        published = [e.version for e in effects.events if e.kind is EventKind.VERSION_PUBLISHED]
        assert list(effects.fresh) == [v for v in published if v in set(effects.fresh)]
        assert set(effects.fresh) <= set(new.versions)


@settings(max_examples=100)
@given(HISTORIES, SINCES)
def test_differences_are_the_same_each_time(
    history: list[Packument | None], since: str | None
) -> None:
    """Neither the order of the index's rows nor chance shows."""
    for known, effects, new in steps(history, since):
        if known is None or changed_versions(new, known):
            continue
        turned = replace(
            known,
            versions=dict(reversed(known.versions.items())),
            tags=dict(reversed(known.tags.items())),
        )
        assert diff(new, turned, None, following_since=since) == effects
