"""The model of the scripted registry: determinism, byte stability, the feed's moods."""

import hashlib
import io
import json
import tarfile
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from npmmirror.testing import ScriptedRegistry
from npmmirror.testing.feed import BadQueryError, Feed
from npmmirror.testing.tarball import path_of


def small() -> ScriptedRegistry:
    registry = ScriptedRegistry(seed=5)
    registry.publish("a", "1.0.0")
    registry.publish("a", "1.1.0")
    registry.publish("b", "1.0.0")
    return registry


def document(registry: ScriptedRegistry, name: str = "a") -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(registry.document(name))
    return told


def rows(registry: ScriptedRegistry, since: int = 0) -> list[tuple[str, bool]]:
    found = registry.changes(since)["results"]
    return [(row["id"], row.get("deleted", False)) for row in found]


def test_the_same_calls_give_the_same_bytes() -> None:
    """Two registries with one history differ in nothing."""
    one, other = small(), small()
    assert one.document("a") == other.document("a")
    assert one.tarball("a", "1.1.0") == other.tarball("a", "1.1.0")
    assert one.changes() == other.changes()
    assert one.state() == other.state()


def test_versions_keep_their_bytes_and_order() -> None:
    """A new version is appended; what was there stands as it stood."""
    registry = small()
    before = registry.document("a")
    manifest = before[before.index(b'"1.0.0":{') : before.index(b',"1.1.0":{')]
    registry.publish("a", "0.9.0", tag="old")
    after = registry.document("a")
    assert manifest in after
    assert list(document(registry)["versions"]) == ["1.0.0", "1.1.0", "0.9.0"]


def test_a_tarball_is_a_real_one() -> None:
    """It holds `package/package.json` with name and version."""
    with tarfile.open(fileobj=io.BytesIO(small().tarball("a", "1.1.0"))) as archive:
        file = archive.extractfile("package/package.json")
        assert file is not None
        assert json.load(file)["version"] == "1.1.0"


def test_revs_count_up_and_match_the_feed() -> None:
    """The announced rev is that of the document, its number one more with each change."""
    registry = small()
    rev = registry.tag("a", "next", "1.0.0")
    assert rev.startswith("3-")
    assert document(registry)["_rev"] == rev
    assert registry.changes()["results"][-1]["changes"] == [{"rev": rev}]


def test_a_version_is_never_used_again() -> None:
    """Publishing one a second time is refused, also after it was unpublished."""
    registry = small()
    registry.unpublish_version("a", "1.1.0")
    assert document(registry)["dist-tags"] == {"latest": "1.0.0"}
    with pytest.raises(ValueError, match=r"a@1\.1\.0"):
        registry.publish("a", "1.1.0")
    registry.remove("a")
    with pytest.raises(ValueError, match=r"a@1\.0\.0"):
        registry.publish("a", "1.0.0")


def test_times_come_from_the_upstream() -> None:
    """Each change has a later time, with milliseconds and Z; `at` gives one by hand."""
    registry = small()
    registry.publish("a", "2.0.0", at="2031-01-01T00:00:00.000Z")
    times = document(registry)["time"]
    assert list(times) == ["created", "modified", "1.0.0", "1.1.0", "2.0.0"]
    assert times["created"] == times["1.0.0"] == "2026-01-01T00:01:01.007Z"
    assert times["modified"] == times["2.0.0"] == "2031-01-01T00:00:00.000Z"


def test_time_can_be_set() -> None:
    """Later changes go on from there."""
    registry = small()
    registry.set_time("2040-01-01T00:00:00Z")
    registry.publish("a", "2.0.0")
    assert document(registry)["time"]["2.0.0"] == "2040-01-01T00:01:01.007Z"


def test_unpublished_has_npms_document() -> None:
    """Neither versions nor tags; the times tell what was there."""
    registry = small()
    registry.unpublish("a")
    told = document(registry)
    assert list(told) == ["_id", "_rev", "name", "time"]
    assert told["time"]["unpublished"]["versions"] == ["1.0.0", "1.1.0"]
    registry.publish("a", "3.0.0")
    assert list(document(registry)["versions"]) == ["3.0.0"]
    assert "unpublished" not in document(registry)["time"]


def test_removed_has_no_document_and_a_deleted_row() -> None:
    """A takedown is a 404 and `deleted` in the feed."""
    registry = small()
    registry.remove("a")
    assert registry.revision("a").full is None
    assert rows(registry) == [("b", False), ("a", True)]
    assert registry.names() == ["b"]


def test_security_hold_leaves_only_the_placeholder() -> None:
    """Old versions are left in `time` alone."""
    registry = small()
    registry.security_hold("a")
    told = document(registry)
    assert list(told["versions"]) == ["0.0.1-security"]
    assert told["versions"]["0.0.1-security"]["_npmUser"]["name"] == "npm"
    assert {"1.0.0", "1.1.0"} <= set(told["time"])


def test_deprecate_and_undeprecate() -> None:
    """The message comes and goes on a version already published."""
    registry = small()
    before = registry.revision("a").versions["1.0.0"]
    registry.deprecate("a", "1.0.0", "old")
    assert document(registry)["versions"]["1.0.0"]["deprecated"] == "old"
    registry.deprecate("a", "1.0.0", None)
    assert registry.revision("a").versions["1.0.0"] == before


def test_maintainers_come_and_go() -> None:
    """The document names those who maintain it now."""
    registry = small()
    registry.add_maintainer("a", "second")
    registry.remove_maintainer("a", "author-of-a")
    assert [one["name"] for one in document(registry)["maintainers"]] == ["second"]


def test_overrides_reach_the_manifest() -> None:
    """A key of the manifest or of `dist` can be set, or taken out with None."""
    registry = ScriptedRegistry()
    registry.publish(
        "a", "1.0.0", manifest={"license": None, "libc": ["glibc"]}, dist={"shasum": None}
    )
    manifest = document(registry)["versions"]["1.0.0"]
    assert "license" not in manifest
    assert manifest["libc"] == ["glibc"]
    assert "shasum" not in manifest["dist"]


def test_stale_reads_are_counted() -> None:
    """After the announcement the next reads give the revision before."""
    registry = small()
    registry.publish("a", "2.0.0")
    registry.serve_stale("a", 2)
    found = [registry.read("a") for _ in range(3)]
    assert [one.rev.partition("-")[0] for one in found if one] == ["2", "2", "3"]


def test_a_query_gets_past_a_cache_where_it_does() -> None:
    """A cache-busting parameter gets the newest revision, and only where asked for."""
    registry = small()
    registry.serve_stale("a", 9, busted=True)
    fresh, stale = registry.read("a", query=True), registry.read("a")
    assert fresh is registry.revision("a")
    assert stale is not None
    assert stale.rev.startswith("1-")


def test_a_new_package_can_be_late_itself() -> None:
    """The revision before the first is a 404."""
    registry = small()
    registry.serve_stale("b", 1)
    assert registry.read("b") is None
    assert registry.read("b") is not None


def test_late_insertion_lies_behind_last_seq() -> None:
    """A late row is not there at first, and then behind what was read already."""
    registry = small()
    registry.publish("late", "1.0.0", announce="late")
    registry.publish("b", "1.1.0")
    last = registry.changes()["last_seq"]
    assert "late" not in [name for name, _ in rows(registry)]
    registry.reveal("late")
    assert rows(registry) == [("a", False), ("late", False), ("b", False)]
    assert rows(registry, since=last) == []


def test_hidden_row_comes_back_once() -> None:
    """Hiding and showing a row leaves one row."""
    registry = small()
    registry.hide("a")
    assert rows(registry) == [("b", False)]
    registry.reveal("a")
    assert rows(registry) == [("a", False), ("b", False)]


def test_a_lost_event_moves_the_head_alone() -> None:
    """`last_seq` exceeds the last row; `_all_docs` knows the rev all the same."""
    registry = small()
    last = registry.changes()["last_seq"]
    rev = registry.publish("a", "2.0.0", announce="never")
    answer = registry.changes()
    assert answer["last_seq"] > last
    assert answer["results"][-1]["id"] == "b"
    assert registry.revs()["a"] == rev


def test_the_head_can_go_back() -> None:
    """All rows are numbered anew, in their order."""
    registry = small()
    registry.design_document()
    registry.reset_head(7)
    assert registry.changes()["last_seq"] == 7
    assert [name for name, _ in rows(registry)] == ["a", "b", "_design/app"]


def test_opaque_seqs_are_cursors() -> None:
    """They are strings, `since` takes them back, and a number alone is refused."""
    registry = ScriptedRegistry(opaque_seqs=True)
    registry.publish("a", "1.0.0")
    last = registry.changes()["last_seq"]
    assert "-g1AAAA" in last
    assert registry.feed.number(last) == registry.feed.head
    with pytest.raises(BadQueryError):
        registry.feed.number("1")


def test_without_revs_no_document_has_one() -> None:
    """A plain copy of a registry leaves `_rev` out."""
    registry = ScriptedRegistry(without_revs=True)
    registry.publish("a", "1.0.0")
    assert "_rev" not in document(registry)


def test_raw_documents_are_served_as_they_are() -> None:
    """Any bytes go, with tarballs under npm's own path and under other URLs."""
    registry = ScriptedRegistry()
    urls = {"https://elsewhere.example/x.tgz": b"E", "https://registry.example/a/../y.tgz": b"Y"}
    registry.put_document("odd", b"\xff{", tarballs_of={"1.0.0": b"T"}, urls=urls, rev="9-x")
    assert registry.document("odd") == b"\xff{"
    assert registry.tarball("odd", "1.0.0") == b"T"
    assert registry.file("/x.tgz") is None
    found = registry.file("/x.tgz", "elsewhere.example"), registry.file("/y.tgz")
    assert [one.raw for one in found if one] == [b"E", b"Y"]


def test_state_tells_the_truth() -> None:
    """State, digests and tags of each package that was ever there."""
    registry = small()
    registry.remove("b")
    state = registry.state()
    assert state["b"]["state"] == "removed"
    sha512 = hashlib.sha512(registry.tarball("a", "1.0.0")).hexdigest()
    assert state["a"]["versions"]["1.0.0"] == sha512
    assert state["a"]["sha256"] == hashlib.sha256(registry.document("a")).hexdigest()


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("nnnlx")), max_size=60),
    st.integers(1, 7),
)
def test_pages_hold_each_newest_row_once(moves: list[tuple[str, str]], limit: int) -> None:
    """Whatever happened, pages joined by `last_seq` are the newest rows, ascending."""
    feed, newest = Feed(seed=1), {}
    for number, (name, move) in enumerate(moves):
        if move == "x":
            feed.lose()
            continue
        late = move == "l"
        newest[name] = (feed.withhold if late else feed.announce)(name, f"{number}-r")
        if late:
            feed.reveal(name)
    seen, since = [], 0
    while page := feed.changes(since, limit)["results"]:
        seen += [(row["seq"], row["id"]) for row in page]
        since = feed.changes(since, limit)["last_seq"]
    assert seen == sorted((seq, name) for name, seq in newest.items())
    assert feed.changes(since, limit)["last_seq"] == feed.head


def test_a_forgotten_package_is_not_served_any_more() -> None:
    """Neither its document nor its tarballs take memory; its row in the feed stays."""
    registry = small()
    path = path_of("b", "1.0.0")
    assert registry.file(path) is not None
    registry.unpublish("b")
    assert registry.versions_ever("b") == {"1.0.0"}
    registry.forget("b")
    assert (registry.read("b"), registry.file(path)) == (None, None)
    assert "b" not in registry.state()
    assert registry.feed.row("b") is not None
