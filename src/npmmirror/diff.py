"""What a document changes: facts for the index's rows, and events. Pure.

What a document does not tell stays as it is known: where `versions` or `dist-tags` is missing or of
another type, or the list of maintainers is empty, nothing counts as removed.
"""

from collections.abc import Iterator

from npmmirror.comparison import Comparison, changed_versions, first_sight
from npmmirror.effects import (
    DependencyFacts,
    Effects,
    Event,
    EventKind,
    Known,
    PackageFacts,
    PersonFacts,
)
from npmmirror.jsontext import UnreadableError, differing, members
from npmmirror.manifest import Manifest
from npmmirror.packument import SECURITY_VERSION, Packument, instant

__all__ = ["changed_versions", "diff", "first_sight"]


def diff(
    new: Packument,
    known: Known | None,
    previous: Packument | None,
    *,
    following_since: str | None,
) -> Effects:
    """The difference between a document that is not stale and what is known.

    Args:
        new: The document.
        known: What the index knows; None at first sight.
        previous: The document that `known` was made of. Needed only where `changed_versions` names
            some; without it their `manifest_changed` has `{"fields": null}`, and whether they were
            deprecated is not told.
        following_since: When following began (`npmmirror.clock.timestamp`); None: never, so that
            all of a first sight is history.
    """
    look = Comparison(new, known, previous, instant(following_since))
    return Effects(
        package=_package(look),
        versions=tuple(look.facts.values()),
        vanished=look.vanished,
        tags=dict(look.tags) if look.tags_changed else None,
        people=_people(look),
        dependencies=_dependencies(look),
        events=tuple(_events(look)),
        fresh=look.fresh,
    )


def _package(look: Comparison) -> PackageFacts:
    new, latest = look.new, look.latest_manifest
    return PackageFacts(
        state=new.state,
        rev=new.rev,
        created_at=new.created,
        modified_at=new.modified,
        latest=look.latest,
        latest_author=latest.author.name if latest and latest.author else None,
        license=latest.license if latest else None,
        version_count=len(new.versions if new.versions_told else look.present),
        modifications=len(new.times.keys() | new.versions.keys()),
        problems=new.problems,
    )


def _people(look: Comparison) -> tuple[PersonFacts, ...] | None:
    maintainers = look.new.maintainers
    if not maintainers and look.known.maintainers:
        return None
    latest_moved = look.latest != look.known.tags.get("latest") or look.latest in look.facts
    told_anew = look.previous is not None and look.previous.maintainers != maintainers
    same_names = {person.name for person in maintainers} == look.known.maintainers
    if not (look.first or latest_moved or told_anew or not same_names):
        return None
    publisher = look.latest_manifest.publisher if look.latest_manifest else None
    return (*maintainers, publisher) if publisher else maintainers


def _dependencies(look: Comparison) -> tuple[DependencyFacts, ...] | None:
    named = [v for v in dict.fromkeys(look.tags.values()) if v in look.new.versions]
    if not look.tags_changed and look.facts.keys().isdisjoint(named):
        return None
    return tuple(fact for v in named for fact in look.new.manifest(v).dependencies())


def _events(look: Comparison) -> Iterator[Event]:
    # In the order in which it most likely happened.
    if look.first:
        yield from _sighting(look)
    if look.restored:
        yield _restored(look)
    yield from _publications(look)
    if look.new.state != "live":
        yield from _ending(look)
    elif not look.first:
        yield from _withdrawals(look)
        yield from _tags(look)
    yield from _deprecations(look)
    if look.new.state == "live" and not look.first:
        yield from _maintainers(look)
    yield from _manifests(look)


def _sighting(look: Comparison) -> Iterator[Event]:
    new, news = look.new, {SECURITY_VERSION, *look.news}
    old = [version for version in new.versions if version not in news]
    if look.created_since:
        yield Event(
            EventKind.PACKAGE_CREATED,
            happened_at=new.created,
            publisher=look.facts[look.news[0]].publisher if look.news else None,
        )
        if not old:
            return
    ever = {*new.times, *(new.unpublished.versions if new.unpublished else ())}
    counts = {
        "versions": len(old),
        "versions_gone": len(ever - new.versions.keys()),
        "dist_tags": len(new.tags),
        "maintainers": len(new.maintainers),
        "deprecated": sum(1 for v in old if look.facts[v].deprecated is not None),
    }
    yield Event(EventKind.PACKAGE_OBSERVED, detail={"state": new.state, **counts})


def _restored(look: Comparison) -> Event:
    return Event(
        EventKind.PACKAGE_RESTORED,
        happened_at=look.when,
        detail={"from": look.known.state, "versions": list(look.back)},
    )


def _publications(look: Comparison) -> Iterator[Event]:
    for version in look.news:
        returned = not look.first and version in look.known.versions
        yield Event(
            EventKind.VERSION_PUBLISHED,
            version=version,
            happened_at=look.when if returned else look.new.times.get(version),
            publisher=look.facts[version].publisher,
            detail=_return(look, version) if returned else {},
        )


def _return(look: Comparison, version: str) -> dict[str, bool]:
    return {"returned": True, "bytes_changed": not look.same_again(version)}


def _ending(look: Comparison) -> Iterator[Event]:
    # At first sight it is news only if it happened since following began.
    event = _unpublished(look) if look.new.unpublished else _held(look)
    is_news = look.is_new(event.happened_at) if look.first else True
    if look.known.state != look.new.state and is_news:
        yield event


def _unpublished(look: Comparison) -> Event:
    told = look.new.unpublished
    return Event(
        EventKind.PACKAGE_UNPUBLISHED,
        happened_at=(told and told.time) or look.when,
        detail={"versions": list((told and told.versions) or look.vanished)},
    )


def _held(look: Comparison) -> Event:
    new = look.new
    lost = sorted(new.times.keys() - {SECURITY_VERSION}) if look.first else look.vanished
    return Event(
        EventKind.SECURITY_HOLD,
        version=SECURITY_VERSION,
        happened_at=new.times.get(SECURITY_VERSION) or look.when,
        publisher="npm",
        detail={
            "versions": list(lost),
            "dist_tags": dict(new.tags),
            "maintainers": [person.name for person in new.maintainers],
        },
    )


def _withdrawals(look: Comparison) -> Iterator[Event]:
    for version in look.vanished:
        # The holder goes with the hold: package_restored tells it.
        if not (look.known.state == "security_hold" and version == SECURITY_VERSION):
            yield Event(EventKind.VERSION_UNPUBLISHED, version=version, happened_at=look.when)


def _tags(look: Comparison) -> Iterator[Event]:
    before = look.known.tags
    for tag, version in look.tags.items():
        if before.get(tag) != version:
            yield Event(
                EventKind.DIST_TAG_SET,
                version=version,
                tag=tag,
                happened_at=look.when,
                publisher=_publisher(look, version),
                detail={"from": before.get(tag), "to": version},
            )
    for tag in sorted(before.keys() - look.tags.keys()):
        yield Event(
            EventKind.DIST_TAG_REMOVED,
            version=before[tag],
            tag=tag,
            happened_at=look.when,
            detail={"from": before[tag]},
        )


def _publisher(look: Comparison, version: str) -> str | None:
    if version in look.facts:
        return look.facts[version].publisher
    if version not in look.new.versions:
        return None
    publisher = look.new.manifest(version).publisher
    return publisher.name if publisher else None


def _deprecations(look: Comparison) -> Iterator[Event]:
    fresh = look.fresh
    # A version that comes already deprecated was published first.
    for version in fresh:
        yield from _deprecation(look, version, None)
    for version in look.changed:
        before = _before(look, version)
        if before is not None:
            yield from _deprecation(look, version, before.deprecated)


def _deprecation(look: Comparison, version: str, before: str | None) -> Iterator[Event]:
    facts = look.facts[version]
    if facts.deprecated == before:
        return
    is_deprecated = facts.deprecated is not None
    yield Event(
        EventKind.DEPRECATED if is_deprecated else EventKind.UNDEPRECATED,
        version=version,
        happened_at=look.when,
        publisher=facts.publisher,
        detail={"message": facts.deprecated, "before": before},
    )


def _before(look: Comparison, version: str) -> Manifest | None:
    previous = look.previous
    return previous.manifest(version) if previous and version in previous.versions else None


def _maintainers(look: Comparison) -> Iterator[Event]:
    now = dict.fromkeys(person.name for person in look.new.maintainers)
    if not now or not look.known.maintainers:  # not told, now or then: see Packument.maintainers
        return
    for name in now:
        if name not in look.known.maintainers:
            yield _maintainer(look, EventKind.MAINTAINER_ADDED, name)
    for name in sorted(look.known.maintainers - now.keys()):
        yield _maintainer(look, EventKind.MAINTAINER_REMOVED, name)


def _maintainer(look: Comparison, kind: EventKind, name: str) -> Event:
    return Event(kind, happened_at=look.when, detail={"name": name})


def _manifests(look: Comparison) -> Iterator[Event]:
    for version in look.changed:
        fields = _changed_fields(look, version)
        if fields is None or fields:
            yield Event(
                EventKind.MANIFEST_CHANGED,
                version=version,
                happened_at=look.when,
                publisher=look.facts[version].publisher,
                detail={"fields": fields},
            )


def _changed_fields(look: Comparison, version: str) -> list[str] | None:
    """The fields of a manifest that differ, `deprecated` aside; None: cannot be told."""
    if look.previous is None or version not in look.previous.versions:
        return None
    try:
        before = members(look.previous.versions[version])
        after = members(look.new.versions[version])
    except UnreadableError:
        return None
    return [field for field in differing(before, after) if field != "deprecated"]
