"""How complete a mirror says it is: every reason from a real run, and the sums of any index."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.backfill import Wish
from npmmirror.clock import SystemClock
from npmmirror.config import Config
from npmmirror.daemon import cold_commands
from npmmirror.daemon.coverage.counting import Coverage, MissingRow
from npmmirror.daemon.coverage.run import looking
from npmmirror.daemon.coverage.selection import selected
from npmmirror.daemon.coverage.tally import Tally
from npmmirror.daemon.coverage.wishes import REASONS, Why, Wishes, recorded
from npmmirror.daemon.erase import Plan, erase
from npmmirror.daemon.selecting import read_policy
from npmmirror.daemon.verification.bench import Ticker
from npmmirror.index import IndexReader, IndexWriter
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


async def agreed(_: Plan) -> bool:
    return True


async def looked(config: Config, *patterns: str) -> tuple[Tally, list[MissingRow]]:
    """The sums, and everything that is missing."""
    async with looking(config, lambda _: None) as (_, look):
        tally = await look.count(selected(patterns))
        return tally, [row async for row in look.missing(selected(patterns))]


def widened(config: Config) -> Config:
    """As the operator would have it from now on: all of `later`."""
    told = config.model_dump(exclude_unset=True)
    told["policy"]["rule"] = [{"match": ["later"], "tarballs": "all"}]
    return Config.model_validate(told)


async def filled(here: RunningMirror) -> None:
    """A mirror in which something is missing for every reason that there is."""
    registry, upstream = here.upstream.registry, here.upstream
    registry.publish("plain", "1.0.0")
    registry.publish("plain", "1.1.0")
    registry.publish("later", "1.0.0")
    registry.publish("later", "1.1.0")
    registry.publish(
        "large", "1.0.0", files={"noise": bytes(range(256)) * 200}, archive=b"x" * 9000
    )
    registry.publish("broken", "1.0.0")
    upstream.fault("tarball", faults.Altered(), name="broken", times=None)
    registry.publish("absent", "1.0.0")
    upstream.fault("packument", faults.Status(500), name="absent", times=None)
    registry.publish("shrunk", "1.0.0")
    registry.publish("shrunk", "1.1.0")
    registry.publish("court", "1.0.0")
    registry.publish("brief", "1.0.0")
    registry.unpublish("brief", deleted=True)
    registry.remove("brief")
    async with here.running():
        await here.until(lambda status: status["totals"]["packages"].get("live", 0) >= 6)
        await here.until(lambda status: sum(status["dead_letters"].values()) == 2)
        registry.unpublish_version("shrunk", "1.0.0")
        await here.until(lambda status: status["last_change"]["package"] == "shrunk")
    await erase(here.config, "court", "court order", agreed)


async def test_every_reason_is_told_of_a_real_mirror(mirror: Open) -> None:
    """Each of packages and versions that are missing, by the reason and its word."""
    async with mirror(fetch={"max_attempts": 2}, policy={"max_tarball_bytes": 5000}) as here:
        await filled(here)
        tally, rows = await looked(widened(here.config))
    assert {(row.package, row.version): (row.reason, row.word) for row in rows} == {
        ("plain", "1.0.0"): ("policy", "policy.tarballs"),
        ("later", "1.0.0"): ("not_yet", ""),
        ("large", "1.0.0"): ("size", "too_large"),
        ("broken", "1.0.0"): ("failed", "digest_mismatch"),
        ("absent", ""): ("failed", "http_500"),
        ("shrunk", "1.0.0"): ("gone", "version_unpublished"),
        ("court", ""): ("erased", "erased"),
        ("court", "1.0.0"): ("erased", "erased"),
        ("brief", ""): ("gone", "gone_before_capture"),
    }
    assert (tally.packages, tally.packages_held, tally.packages_complete) == (8, 5, 3)
    assert (tally.versions, tally.versions_held) == (9, 3)
    assert not tally.whole
    assert tally.missing_versions["erased"].known_bytes > 0


async def test_what_was_dropped_counts_under_its_rule() -> None:
    """However many sizes and numbers the sentences have that were written down."""
    sentence = "policy: policy.max_tarball_bytes: 9,000 bytes, more than 5,000"
    why = Why("size", "policy.max_tarball_bytes", "9,000 bytes, more than 5,000")
    assert recorded("dropped", sentence) == why
    sentence = "policy: policy.keep_versions: not among the newest 2"
    assert recorded("dropped", sentence) == Why(
        "policy", "policy.keep_versions", "not among the newest 2"
    )


@pytest.mark.parametrize("prereleases", [True, False])
async def test_documents_alone_are_not_all_that_is_wanted(
    mirror: Open, *, prereleases: bool
) -> None:
    """By `new` the tarball of latest is wanted, and nobody has asked for it yet."""
    policy = {"tarballs": "new", "prereleases": prereleases}
    async with mirror(policy=policy, follow={"since": "now"}) as here:
        for version in ("1.0.0", "1.1.0"):
            here.upstream.registry.publish("plain", version)
        here.upstream.registry.publish("early", "1.0.0-rc.1")
        await cold_commands.backfill(
            here.config, here.source, Wish(metadata_only=True), tell=lambda _: None
        )
        tally, rows = await looked(here.config)
        assert {(row.package, row.version): (row.reason, row.word) for row in rows} == {
            ("plain", "1.0.0"): ("policy", "policy.tarballs"),
            ("plain", "1.1.0"): ("not_yet", ""),
            ("early", "1.0.0-rc.1"): ("not_yet", "")
            if prereleases
            else ("policy", "policy.prereleases"),
        }
        counted = {reason: sums.count for reason, sums in tally.missing_versions.items()}
        assert counted["not_yet"] == (2 if prereleases else 1)
        assert not tally.whole
        await cold_commands.backfill(here.config, here.source, Wish(), tell=lambda _: None)
        assert (await looked(here.config))[0].whole


async def test_bytes_that_nobody_told_are_estimated_or_unknown(mirror: Open) -> None:
    """By what the held files are to their content; what tells nothing is counted."""
    async with mirror() as here:
        here.upstream.registry.publish("told", "1.0.0")
        here.upstream.registry.publish("told", "1.1.0")
        here.upstream.registry.publish("untold", "1.0.0", dist={"unpackedSize": None})
        here.upstream.registry.publish("untold", "1.1.0")
        await here.sync("told", "untold")
        tally, _ = await looked(here.config)
    found = tally.report()["versions"]["missing"]["policy"]
    held = sum(size for (size,) in here.rows("SELECT size FROM versions WHERE state = 'held'"))
    told = sum(n for (n,) in here.rows("SELECT unpacked_size FROM versions WHERE state = 'held'"))
    assert (found["count"], found["unsized"], found["known_bytes"]) == (2, 1, 0)
    assert found["estimated_bytes"] == found["unpacked_bytes"] * held // told


async def test_names_and_globs_narrow_what_is_counted(mirror: Open) -> None:
    """A star passes over the slash of a scope; a name is meant as it is."""
    async with mirror() as here:
        for name in ("@scope/a", "@scope/b", "@scoped/c", "left-pad", "left-pad-2"):
            here.upstream.registry.publish(name, "1.0.0")
        await here.sync("@scope/a", "@scope/b", "@scoped/c", "left-pad", "left-pad-2")
        for patterns, count in ((["@scope/*"], 2), (["@sc*"], 3), (["left-pad", "*/[ac]"], 3)):
            assert (await looked(here.config, *patterns))[0].packages == count


STATES = st.sampled_from(["", "live", "unpublished", "security_hold", "removed", "erased"])
VERSION = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["", "held", "unverifiable", "dropped"]),
        "reason": st.sampled_from([None, "policy", "missing", "erased"]),
        "present": st.integers(0, 1),
        "size": st.sampled_from([None, 10]),
        "unpacked": st.sampled_from([None, 30]),
        "work": st.sampled_from([None, (0, "a"), (2, "a"), (2, None)]),
        "skip": st.sampled_from([None, "too_large", "no_dist", "policy"]),
    }
)
PACKAGE = st.fixed_dictionaries(
    {
        "state": STATES,
        "work": st.sampled_from([None, (0, "a"), (2, "a"), (2, None)]),
        "skip": st.sampled_from([None, "too_large", "policy", "gone_before_capture"]),
        "versions": st.lists(VERSION, max_size=4),
    }
)
POLICY = st.sampled_from(
    [{"tarballs": word} for word in ("none", "latest", "new", "all")]
    + [{"tarballs": "all", "keep_versions": 1}, {"tarballs": "all", "deny": ["p1*"]}]
)


def written(path: Path, packages: list[dict[str, Any]]) -> None:
    """Put such rows into an index, as no mirror may ever have."""
    with closing(sqlite3.connect(path)) as index, index:
        for number, package in enumerate(packages, start=1):
            index.execute(
                "INSERT INTO packages (id, name, state, latest) VALUES (?, ?, ?, 'v0')",
                (number, f"p{number}", package["state"]),
            )
            marked(index, number, "", package)
            for place, version in enumerate(package["versions"]):
                index.execute(
                    "INSERT INTO versions (package_id, version, digest, present, state, reason, "
                    "size, unpacked_size) VALUES (?, ?, x'', ?, ?, ?, ?, ?)",
                    (
                        *(number, f"v{place}", version["present"], version["state"]),
                        *(version["reason"], version["size"], version["unpacked"]),
                    ),
                )
                marked(index, number, f"v{place}", version)


def marked(index: sqlite3.Connection, number: int, item: str, told: dict[str, Any]) -> None:
    if told["work"] is not None:
        index.execute(
            "INSERT INTO work_list (package_id, item, reason, attempts, not_before, deleted, "
            "since, detail) VALUES (?, ?, 'http_500', ?, ?, 0, 'a', '')",
            (number, item, *told["work"]),
        )
    if told["skip"] is not None:
        index.execute(
            "INSERT INTO skips VALUES (?, ?, ?, 'why', 'a')", (number, item, told["skip"])
        )


@settings(max_examples=60, deadline=None)
@given(packages=st.lists(PACKAGE, max_size=6), policy=POLICY)
async def test_held_and_missing_make_up_what_is_expected(
    packages: list[dict[str, Any]], policy: dict[str, Any]
) -> None:
    """Whatever the tables say: each is held or missing for one reason, and the list has just those."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "index.db")
        await (await IndexWriter.open(path)).close()
        written(path, packages)
        wishes = Wishes(read_policy(Config.model_validate({"policy": policy}).policy))
        async with await IndexReader.open(path) as reader:
            look = Coverage(reader, wishes, Ticker(lambda _: None, SystemClock()))
            tally = await look.count(selected([]))
            rows = [row async for row in look.missing(selected([]))]
            named = await look.count(selected(["p*"]))
    assert named == tally
    assert tally.packages == len(packages)
    assert tally.versions == sum(len(package["versions"]) for package in packages)
    missing = {
        reason: (tally.missing_packages[reason], tally.missing_versions[reason])
        for reason in REASONS
    }
    assert tally.packages_held + sum(found.count for found, _ in missing.values()) == tally.packages
    assert tally.versions_held + sum(found.count for _, found in missing.values()) == tally.versions
    listed = Counter((row.reason, row.version != "") for row in rows)
    for reason, found in missing.items():
        assert [each.count for each in found] == [listed[reason, False], listed[reason, True]]
        assert all(sum(each.words.values()) == each.count for each in found)
    short = {row.package for row in rows if row.reason in {"failed", "not_yet"}}
    captured = [
        n for n, each in enumerate(packages, start=1) if each["state"] not in {"", "erased"}
    ]
    assert tally.packages_complete == sum(f"p{number}" not in short for number in captured)
    assert [(row.package, row.version) for row in rows] == sorted(
        (row.package, row.version) for row in rows
    )
