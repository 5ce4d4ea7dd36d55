"""`npmmirror policy explain`: which rule decides what about a package and its versions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from npmmirror.config import Config
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.selecting import read_policy
from npmmirror.index import IndexReader, PackageRow, shelf
from npmmirror.index.shelf import Shelf, Shelved
from npmmirror.pipeline.retiring import candidates
from npmmirror.policy import (
    OUTSIZED,
    Candidate,
    Drop,
    Policy,
    Settings,
    Verdict,
    judged,
    outsized,
)
from npmmirror.policy.retention import LIVE, by_itself
from npmmirror.policy.selection import age

SETTINGS = (
    *("tarballs", "keep_versions", "prereleases", "published_since"),
    *("max_tarball_bytes", "max_packument_bytes"),
)

Report = dict[str, Any]


async def explain(config: Config, name: str, asked: str | None) -> Report:
    """What the policy of the configuration says, as `npmmirror policy explain --json` prints it.

    `asked` is a version or a dist-tag; None: all versions that are known. One that nobody knows is
    judged by its name. A mirror need not be there.

    Raises:
        StorageError: the index cannot be read.
        ConfigurationError: a list of names cannot be read.
    """
    policy = read_policy(config.policy)
    found, row, length, since = await _known(config, name)
    tags = row.tags if row is not None else {}
    settings, verdict = policy.settings(name), policy.package(name)
    version = tags.get(asked, asked) if asked is not None else None
    versions = _versions(policy, found, since) if found is not None else []
    told = [one for one in versions if version in {None, one["version"]}]
    if version is not None and not told:
        told = [_unknown(verdict, settings, version)]
    return {
        "package": name,
        "state": found.state or None if found is not None else None,
        **_verdict(verdict),
        "settings": {
            key: {"value": getattr(settings, key), "rule": settings.rule(key)} for key in SETTINGS
        },
        "document": _document(settings, row, length),
        "doubted": found is not None and found.doubted,
        "versions": told,
    }


async def _known(
    config: Config, name: str
) -> tuple[Shelf | None, PackageRow | None, int | None, str | None]:
    """The package's versions, itself, the length of its newest document, when following began."""
    if not config.storage.index_path.exists():
        return None, None, None, None
    async with await IndexReader.open(await index_of(config), connections=1) as reader:
        row, following = await reader.package(name), await reader.following()
        found = await reader.ask(partial(shelf.shelf, name=name))
        length = await reader.ask(partial(shelf.document_length, name=name))
    return found, row, length, following.at if following else None


def _document(settings: Settings, row: PackageRow | None, length: int | None) -> Report:
    """Whether the limit of documents leaves the package alone: by the last look, else by `length`."""
    skip, limit = row.skip if row is not None else None, settings.max_packument_bytes
    if skip is not None and skip.reason == OUTSIZED and limit:
        drop = outsized(settings, None)
    else:
        drop = outsized(settings, length) if length is not None else None
    return {
        "wanted": drop is None,
        "rule": settings.rule("max_packument_bytes"),
        "why": drop.why if drop is not None else None,
        "bytes": length,
    }


def _versions(policy: Policy, found: Shelf, since: str | None) -> list[Report]:
    """Newest first. What is held is judged among what is held, as `prune` does."""
    settings, package = policy.settings(found.package), policy.package(found.package)
    present = [Candidate(one.version, one.published_at) for one in found.versions if one.present]
    verdicts = judged(settings, present, found.latest)
    verdicts |= judged(settings, candidates(found), found.latest)
    if isinstance(package, Drop):
        verdicts = dict.fromkeys(verdicts, package)
        wanted: set[str] = set()
    else:
        wanted = by_itself(settings, present, found.latest, since)
    return [_version(one, verdicts.get(one.version), found.state, wanted) for one in _by_age(found)]


def _by_age(found: Shelf) -> Sequence[Shelved]:
    def key(one: Shelved) -> Any:
        return age(Candidate(one.version, one.published_at))

    return sorted(found.versions, key=key, reverse=True)


def _version(one: Shelved, verdict: Verdict | None, state: str, wanted: set[str]) -> Report:
    gone = verdict is None or state != LIVE
    told = {"wanted": True, "rule": "gone upstream", "why": None} if gone else _verdict(verdict)
    return {
        "version": one.version,
        "published_at": one.published_at,
        "known": True,
        "held": one.held,
        "bytes": one.size if one.held else None,
        "gone": gone,
        **told,
        "by_itself": not gone and one.version in wanted,
    }


def _unknown(package: Verdict, settings: Settings, version: str) -> Report:
    alone = judged(settings, [Candidate(version)], None)[version]
    return {
        "version": version,
        "published_at": None,
        "known": False,
        "held": False,
        "bytes": None,
        "gone": False,
        **_verdict(package if isinstance(package, Drop) else alone),
        "by_itself": False,
    }


def _verdict(verdict: Verdict | None) -> Report:
    if verdict is None:
        return {"wanted": True, "rule": "policy", "why": None}
    why = verdict.why if isinstance(verdict, Drop) else None
    return {"wanted": not isinstance(verdict, Drop), "rule": verdict.rule, "why": why}
