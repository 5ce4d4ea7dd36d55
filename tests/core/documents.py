"""Documents to parse and compare, and the index that their effects would leave behind."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from npmmirror.diff import changed_versions, diff
from npmmirror.effects import Effects, Event, Known, KnownVersion
from npmmirror.packument import Packument

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
"""Any JSON, lone surrogates included."""

NAME = "left-pad"
SINCE = "2024-01-01T00:00:00.000000Z"
OLD = "2020-05-05T05:05:05.000Z"
NEW = "2024-05-05T05:05:05.000Z"
NEWER = "2024-06-06T06:06:06.000Z"


def manifest(version: str, **keys: Any) -> dict[str, Any]:
    """A plain manifest."""
    return {
        "name": NAME,
        "version": version,
        "license": "MIT",
        "dist": {"tarball": f"https://registry.example/{version}.tgz", "shasum": "0" * 40},
        "_npmUser": {"name": "alice", "email": "alice@people.example"},
        **keys,
    }


def document(
    *versions: str | dict[str, Any],
    rev: str | None = "1-a",
    created: str | None = OLD,
    modified: str | None = OLD,
    times: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    maintainers: tuple[str, ...] = ("alice",),
    **keys: Any,
) -> Packument:
    """A parsed document of these versions, published at `OLD` unless `times` tells otherwise."""
    manifests = [manifest(each) if isinstance(each, str) else each for each in versions]
    names = [each["version"] for each in manifests]
    told = {"created": created, "modified": modified, **dict.fromkeys(names, OLD), **(times or {})}
    return parsed(
        {
            "_id": NAME,
            "_rev": rev,
            "name": NAME,
            "dist-tags": {"latest": names[-1]} if tags is None and names else tags or {},
            "versions": {each["version"]: each for each in manifests},
            "time": {key: date for key, date in told.items() if date is not None},
            "maintainers": [{"name": name} for name in maintainers],
            **keys,
        }
    )


def unpublished(*versions: str, at: str = NEW) -> Packument:
    """What is left of a package that was unpublished."""
    time = {"created": OLD, "modified": at, "unpublished": {"time": at, "versions": versions}}
    return parsed({"_id": NAME, "_rev": "8-z", "name": NAME, "time": time})


def held(*gone: str, at: str = NEW) -> Packument:
    """The document of a package that npm took down."""
    holder = manifest("0.0.1-security", _npmUser={"name": "npm"})
    times = {**dict.fromkeys(gone, OLD), "0.0.1-security": at}
    return document(holder, rev="9-z", modified=at, times=times, maintainers=("npm",))


def parsed(told: Mapping[str, Any]) -> Packument:
    """A document as JSON text, parsed."""
    return Packument.parse(json.dumps(told).encode(), name=NAME)


def first(new: Packument, since: str | None = None) -> Known:
    """What the index knows after the first sight of a document."""
    return applied(diff(new, None, None, following_since=since), None)


def applied(effects: Effects, known: Known | None) -> Known:
    """What the index knows once effects are applied."""
    versions = dict(known.versions) if known else {}
    for facts in effects.versions:
        versions[facts.version] = KnownVersion(facts.digest)
    for version in effects.vanished:
        versions[version] = replace(versions[version], present=False)
    people = effects.people
    return Known(
        state=effects.package.state,
        rev=effects.package.rev,
        modified_at=effects.package.modified_at,
        sha256="0" * 64,
        versions=versions,
        tags=effects.tags if effects.tags is not None else dict(known.tags if known else {}),
        maintainers=(known.maintainers if known else frozenset())
        if people is None
        else frozenset(person.name for person in people if person.role == "maintainer"),
    )


def changes(before: Packument, after: Packument, since: str | None = SINCE) -> Effects:
    """The difference between two documents, the first of them known."""
    known = first(before)
    previous = before if changed_versions(after, known) else None
    return diff(after, known, previous, following_since=since)


def told(effects: Effects) -> list[tuple[str, str | None]]:
    """The events in short: kind, and version, tag or name."""
    return [(event.kind.value, _subject(event)) for event in effects.events]


def _subject(event: Event) -> str | None:
    return event.tag or event.version or event.detail.get("name")
