"""The scripted registry: what changes its packages and its feed, without any I/O.

Everything is the same for the same seed and the same calls: bytes, revs, seqs and times.
"""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import orjson

from npmmirror.testing import manifest as manifests, tarball as tarballs
from npmmirror.testing.feed import Feed
from npmmirror.testing.holdings import Holdings, Package
from npmmirror.testing.release import Release, build, merged, owner, stamp
from npmmirror.testing.revision import Body, Revision
from npmmirror.testing.signing import Signature, Signing, attestations_path, bundle_of

Announce = Literal["now", "late", "never"]
"""When the row of a change appears: with it, at `reveal`, or only with the next change."""

START = datetime(2026, 1, 1, tzinfo=UTC)


class ScriptedRegistry(Holdings):
    """A registry in memory; `Holdings` tells what it serves by now.

    Args:
        seed: of everything that is invented.
        base: the registry's URL that `dist.tarball` names. It need not be where this one is
            served: npm's does not name a mirror either.
        start: the time of the first change; each next one comes about a minute later.
        clock: gives the time of changes instead.
        opaque_seqs: seqs are strings as CouchDB's are.
        without_revs: documents hold no `_rev`, as those of a plain copy of a registry.
        gaps: the feed's seqs have gaps.
        signs: releases are signed with a key of its own, which is served (`signing`); else
            signatures only have the right form, and no keys are served.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        base: str = "https://registry.example",
        start: datetime = START,
        clock: Callable[[], datetime] | None = None,
        opaque_seqs: bool = False,
        without_revs: bool = False,
        gaps: bool = True,
        signs: bool = False,
    ) -> None:
        super().__init__(
            Feed(seed=seed, opaque=opaque_seqs, gaps=gaps), Signing(seed) if signs else None
        )
        self.base = base
        self._seed = seed
        self._without_revs = without_revs
        self._clock = clock
        self._moment = start

    def publish(
        self,
        name: str,
        version: str,
        *,
        files: Mapping[str, bytes] | None = None,
        manifest: Mapping[str, Any] | None = None,
        dist: Mapping[str, Any] | None = None,
        archive: bytes | None = None,
        tag: str | None = "latest",
        at: str | None = None,
        publisher: str | None = None,
        signature: Signature = "good",
        attested: bool = False,
        announce: Announce = "now",
    ) -> str:
        """Publish a version and let `tag` name it; the rev that the package has now.

        Raises:
            ValueError: the package had that version before: npm never uses one again.
        """
        release = Release(
            version,
            files,
            manifest or {},
            dist or {},
            archive,
            at,
            publisher,
            signature,
            attested=attested,
        )
        return self.publish_all(name, [release], tag=tag, announce=announce)

    def publish_all(
        self,
        name: str,
        releases: Iterable[Release],
        *,
        tag: str | None = "latest",
        announce: Announce = "now",
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish versions in one revision; `tag` names the last. `extra` sets top-level keys."""
        was = self._base(name)
        versions, times = dict(was.versions), dict(was.times)
        newest, used = "", self.versions_ever(name)
        for release in releases:
            newest = release.version
            if newest in used:
                raise ValueError(f"{name}@{newest} was published before")
            used.add(newest)
            at = release.at or self._now()
            versions[newest], archive = build(name, release, base=self.base, signing=self.signing)
            self._files[tarballs.path_of(name, newest)] = Body(archive)
            if release.attested:
                self.attest(name, newest, bundle_of(name, newest))
            _stamp(times, at, newest)
        tags = {**was.tags, tag: newest} if tag else was.tags
        further = {**was.extra, **(extra or {})}
        revision = replace(
            was, state="live", tags=tags, versions=versions, times=times, extra=further
        )
        rev = self._commit(revision, announce)
        self._packages[name].used = used
        return rev

    def unpublish_version(self, name: str, version: str, *, announce: Announce = "now") -> str:
        """Take a version away; its time stays. Tags that named it name the newest one left."""
        was = self._packages[name].current
        versions = {key: body for key, body in was.versions.items() if key != version}
        if len(versions) == len(was.versions):
            raise KeyError(f"{name}@{version}")
        newest = next(reversed(versions), None)
        tags = {tag: newest if named == version else named for tag, named in was.tags.items()}
        kept = {tag: named for tag, named in tags.items() if named is not None}
        return self._touch(replace(was, versions=versions, tags=kept), announce)

    def unpublish(self, name: str, *, deleted: bool = False, announce: Announce = "now") -> str:
        """Leave npm's document of an unpublished package. `deleted` marks the feed's row so."""
        was = self._packages[name].current
        now = self._now()
        gone = {"time": now, "versions": list(was.versions)}
        times = {**was.times, "modified": now, "unpublished": gone}
        revision = Revision(name, "", "unpublished", times=times, with_rev=was.with_rev)
        return self._commit(revision, announce, deleted=deleted)

    def remove(self, name: str, *, announce: Announce = "now") -> str:
        """Take the package away wholly: 404, and a deleted row."""
        revision = Revision(name, "", "removed", with_rev=not self._without_revs)
        return self._commit(revision, announce, deleted=True)

    def security_hold(self, name: str, *, announce: Announce = "now") -> str:
        """Put npm's placeholder in the place of every version."""
        was = self._base(name)
        version, times = manifests.SECURITY_VERSION, dict(was.times)
        _stamp(times, self._now(), version)
        made, archive = manifests.security_placeholder(name, base=self.base)
        self._files[tarballs.path_of(name, version)] = Body(archive)
        return self._commit(
            replace(
                was,
                state="security_hold",
                tags={"latest": version},
                versions={version: orjson.dumps(made)},
                times=times,
                maintainers=(manifests.person("npm"),),
                extra={"description": "security holding package"},
            ),
            announce,
        )

    def deprecate(
        self, name: str, version: str, message: str | None, *, announce: Announce = "now"
    ) -> str:
        """Set a version's `deprecated`, or take it out (None)."""
        return self.amend(name, version, {"deprecated": message}, announce=announce)

    def amend(
        self, name: str, version: str, keys: Mapping[str, Any], *, announce: Announce = "now"
    ) -> str:
        """Change keys of a version that is published already; None takes a key out."""
        was = self._packages[name].current
        amended = orjson.dumps(merged(orjson.loads(was.versions[version]), keys))
        return self._touch(replace(was, versions={**was.versions, version: amended}), announce)

    def tag(self, name: str, tag: str, version: str, *, announce: Announce = "now") -> str:
        """Let a dist-tag name a version, which need not be there."""
        was = self._packages[name].current
        return self._touch(replace(was, tags={**was.tags, tag: version}), announce)

    def untag(self, name: str, tag: str, *, announce: Announce = "now") -> str:
        """Take a dist-tag away."""
        was = self._packages[name].current
        left = {key: version for key, version in was.tags.items() if key != tag}
        return self._touch(replace(was, tags=left), announce)

    def add_maintainer(self, name: str, person: str, *, announce: Announce = "now") -> str:
        """Add an account to the package's maintainers."""
        was = self._packages[name].current
        people = (*was.maintainers, manifests.person(person))
        return self._touch(replace(was, maintainers=people), announce)

    def remove_maintainer(self, name: str, person: str, *, announce: Announce = "now") -> str:
        """Take an account from the package's maintainers."""
        was = self._packages[name].current
        people = tuple(one for one in was.maintainers if one["name"] != person)
        return self._touch(replace(was, maintainers=people), announce)

    def put_document(
        self,
        name: str,
        raw: bytes,
        *,
        tarballs_of: Mapping[str, bytes] | None = None,
        urls: Mapping[str, bytes] | None = None,
        rev: str | None = None,
        announce: Announce = "now",
    ) -> str:
        """Serve any bytes as the document.

        `tarballs_of` maps versions to the bytes under npm's own path, `urls` maps whole tarball
        URLs to bytes; those of another host than `base` are served under that host alone. `rev`
        is what the feed announces; None: the next one.
        """
        for version, body in (tarballs_of or {}).items():
            self._files[tarballs.path_of(name, version)] = Body(body)
        for url, body in (urls or {}).items():
            self._files[self._place(url)] = Body(body)
        revision = Revision(name, rev or "", "raw", document=raw)
        return self._commit(revision, announce)

    def serve_stale(self, name: str, reads: int, *, busted: bool = False) -> None:
        """Let the next `reads` answers be the revision before, as a cache that lags gives it.

        `busted`: a query parameter gets the newest one all the same.
        """
        package = self._packages[name]
        package.stale_reads, package.busted = reads, busted

    def replace_tarball(self, name: str, version: str, body: bytes) -> None:
        """Serve other bytes than those that the manifest tells of."""
        self._files[tarballs.path_of(name, version)] = Body(body)

    def attest(self, name: str, version: str, bundle: bytes | None) -> None:
        """Serve these bytes as a version's attestations, or none (None)."""
        path = attestations_path(name, version)
        if bundle is None:
            self._bundles.pop(path, None)
        else:
            self._bundles[path] = bundle

    def set_time(self, moment: str) -> None:
        """Let the time of the next changes go on from `moment` (ISO, with its zone)."""
        self._moment = datetime.fromisoformat(moment)

    def hide(self, name: str) -> None:
        """Take a package's row out of the feed until `reveal`."""
        self.feed.hide(name)

    def reveal(self, name: str) -> None:
        """Insert a hidden row, late, where its seq belongs."""
        self.feed.reveal(name)

    def design_document(self, name: str = "_design/app") -> None:
        """Give the feed a row that is no package."""
        self.feed.announce(name, self._rev(name, 1))

    def reset_head(self, head: int) -> None:
        """Let the feed start anew with an end at `head`."""
        self.feed.reset_head(head)

    def forget(self, name: str) -> None:
        """Drop all that is served of a package but its row, for registries that live for days.

        It is a 404 from now on, whatever it was before, and must not be published again.
        """
        for version in self._packages.pop(name).used:
            self._files.pop(tarballs.path_of(name, version), None)

    def _place(self, url: str) -> str:
        parts = urlsplit(url)
        host = "" if parts.netloc == urlsplit(self.base).netloc else parts.netloc
        return host + posixpath.normpath(unquote(parts.path))

    def _base(self, name: str) -> Revision:
        """What the next live revision builds on: also after the package had gone."""
        package = self._packages.get(name)
        if package and package.current.state in {"live", "security_hold"}:
            return package.current
        times = dict(package.current.times) if package else {}
        times.pop("unpublished", None)
        first = manifests.person(owner(name))
        extra = {"description": f"The package {name}", "license": "MIT", "readme": f"# {name}\n"}
        with_rev = not self._without_revs
        return Revision(name, "", times=times, maintainers=(first,), extra=extra, with_rev=with_rev)

    def _touch(self, revision: Revision, announce: Announce) -> str:
        times = {**revision.times, "modified": self._now()}
        return self._commit(replace(revision, times=times), announce)

    def _commit(self, revision: Revision, announce: Announce, *, deleted: bool = False) -> str:
        name = revision.name
        package = self._packages.get(name)
        generation = package.generation + 1 if package else 1
        given = revision.rev if revision.state == "raw" else ""
        current = replace(revision, rev=given or self._rev(name, generation))
        if package is None:
            self._packages[name] = Package(current, generation=generation)
        else:
            package.previous, package.current = package.current, current
            package.generation = generation
        self._announce(name, current.rev, announce, deleted=deleted)
        return current.rev

    def _announce(self, name: str, rev: str, announce: Announce, *, deleted: bool) -> None:
        match announce:
            case "now":
                self.feed.announce(name, rev, deleted=deleted)
            case "late":
                self.feed.withhold(name, rev, deleted=deleted)
            case "never":
                self.feed.lose()

    def _rev(self, name: str, generation: int) -> str:
        text = f"{self._seed}\0{name}\0{generation}".encode("utf-8", "surrogatepass")
        return f"{generation}-{hashlib.sha256(text).hexdigest()[:32]}"

    def _now(self) -> str:
        if self._clock is not None:
            return stamp(self._clock())
        self._moment += timedelta(seconds=61, milliseconds=7)
        return stamp(self._moment)


def _stamp(times: dict[str, Any], at: str, version: str) -> None:
    times.setdefault("created", at)
    times["modified"] = times[version] = at
