"""Over HTTP: what is withheld or not held is hidden, in every view and by every address."""

from pathlib import Path

import pytest

from npmmirror.config import ConfigurationError, ServerSection
from npmmirror.server.lists import read_withheld
from tests.server.conftest import SHORT, Serve

WITHHELD = {"error": "Withheld by this mirror"}
TARBALL = "/a/-/a-{}.tgz"


@pytest.mark.anyio
async def test_a_version_that_is_not_held_is_left_out_until_it_is(served: Serve) -> None:
    """Of every form of the document, and of what is made of it; then it is there."""
    async with served({"policy": {"tarballs": "none"}}) as one:
        one.registry.publish("a", "1.0.0")
        one.registry.publish("a", "1.1.0")
        one.registry.publish("a", "2.0.0", tag="next")
        await one.mirror.sync("a@1.0.0")
        full, short = (await one.ask("/a")).json, await one.short("/a")
        assert full["versions"].keys() == short["versions"].keys() == {"1.0.0"}
        assert full["dist-tags"] == short["dist-tags"] == {"latest": "1.0.0"}
        assert {"1.1.0", "2.0.0"} < full["time"].keys()
        assert (await one.ask("/-/package/a/dist-tags")).json == {"latest": "1.0.0"}
        assert (await one.ask("/a/latest")).json["version"] == "1.0.0"
        assert (await one.ask("/a/1.1.0")).status == 404
        assert (await one.ask("/a/next")).status == 404
        assert (await one.ask(TARBALL.format("1.1.0"))).status == 404
        etag = (await one.ask("/a")).headers["Etag"]
        await one.mirror.sync("a@2.0.0")
        after = await one.ask("/a", headers={"If-None-Match": etag})
        assert after.status == 200
        assert after.json["dist-tags"] == {"latest": "1.0.0", "next": "2.0.0"}
        assert after.headers["Etag"] != etag


@pytest.mark.anyio
async def test_a_version_that_was_dropped_is_left_out_at_once(served: Serve) -> None:
    """A damaged file that `verify` found, or one that `prune` deleted: the answer was ready."""
    async with served({"policy": {"tarballs": "all"}}) as one:
        await one.publish("a", "1.0.0", "1.1.0")
        assert (await one.ask("/a")).json["dist-tags"] == {"latest": "1.1.0"}
        one.registry.publish("a", "1.2.0")
        config = one.mirror.config
        policy = config.policy.model_copy(update={"keep_versions": 1})
        one.mirror.config = config.model_copy(update={"policy": policy})
        await one.mirror.sync("a@1.2.0")
        shown = (await one.ask("/a")).json
        assert shown["versions"].keys() == {"1.2.0"}
        assert (await one.ask(TARBALL.format("1.0.0"))).status == 404


@pytest.mark.anyio
async def test_where_nobody_fetches_what_is_not_held_is_hidden(served: Serve) -> None:
    """`npmmirror serve` fetches nothing, whatever `server.unheld` says."""
    async with served({"policy": {"tarballs": "none"}}, unheld="fetch") as one:
        one.registry.publish("a", "1.0.0")
        one.registry.publish("a", "1.1.0")
        await one.mirror.sync("a@1.0.0")
        assert (await one.ask("/a")).json["versions"].keys() == {"1.0.0"}
        assert (await one.ask(TARBALL.format("1.1.0"))).status == 404
        assert (await one.ask("/never-seen")).status == 404


@pytest.mark.anyio
async def test_a_package_of_which_nothing_is_held_is_not_found(served: Serve) -> None:
    """The byte for byte view has its document all the same."""
    async with served({"policy": {"tarballs": "none"}}) as one:
        one.registry.publish("a", "1.0.0")
        await one.mirror.sync("a")
        assert (await one.ask("/a")).status == 404
        assert (await one.ask("/a", headers={"Accept": SHORT})).status == 404
        assert (await one.ask("/-/raw/a")).json["versions"].keys() == {"1.0.0"}


@pytest.mark.anyio
async def test_a_package_without_versions_upstream_is_served_without(served: Serve) -> None:
    """One that was unpublished: npm's own answer is a document without versions, too."""
    async with served() as one:
        await one.publish("a", "1.0.0")
        one.registry.unpublish("a")
        await one.sync("a")
        answer = await one.ask("/a")
        assert answer.status == 200
        assert "unpublished" in answer.json["time"]


@pytest.mark.anyio
async def test_what_is_withheld_is_refused_by_every_address(served: Serve) -> None:
    """Now, in the past, and as a file byte for byte; the rest of the package is not touched."""
    async with served(withhold=["a@1.1.0", "evil"]) as one:
        await one.publish("a", "1.0.0", "1.1.0")
        await one.publish("evil", "1.0.0")
        [(last,)] = one.mirror.rows("SELECT max(ordinal) FROM marks")
        for view in ("", f"/-/at/seq:{last}"):
            shown = (await one.ask(f"{view}/a")).json
            assert shown["versions"].keys() == {"1.0.0"}, view
            assert shown["dist-tags"] == {"latest": "1.0.0"}
            for path in ("/a/1.1.0", "/a/-/a-1.1.0.tgz", "/evil", "/evil/latest", "/evil/1.0.0"):
                answer = await one.ask(view + path)
                assert (answer.status, answer.json) == (451, WITHHELD), view + path
            assert (await one.ask(f"{view}/a/-/a-1.0.0.tgz")).status == 200
            assert (await one.ask(f"{view}/a/-/a-1.1.0.tgz", "HEAD")).status == 451
        for name, file in (("a", "a-1.1.0"), ("evil", "evil-1.0.0")):
            answer = await one.ask(f"/-/raw/{name}/-/{file}.tgz")
            assert (answer.status, answer.json) == (451, WITHHELD)
            captured = (await one.ask(f"/-/raw/{name}")).body
            assert captured == one.registry.document(name)
        held = one.mirror.rows("SELECT count(*) FROM versions WHERE state = 'held'")
        assert held == [(3,)]


@pytest.mark.anyio
async def test_a_scoped_package_is_withheld_in_both_spellings(served: Serve) -> None:
    """And a range of a pattern counts for each package that it matches."""
    async with served(withhold=["@bad/*@<2"]) as one:
        await one.publish("@bad/thing", "1.0.0", "2.0.0")
        for path in ("/@bad%2fthing", "/@bad/thing"):
            assert (await one.ask(path)).json["versions"].keys() == {"2.0.0"}
            assert (await one.ask(f"{path}/1.0.0")).status == 451
        for path in ("/@bad/thing/-/thing-1.0.0.tgz", "/@bad%2Fthing/-/thing-1.0.0.tgz"):
            assert (await one.ask(path)).status == 451


def test_a_list_in_a_file_is_read_at_the_start(tmp_path: Path) -> None:
    """One entry a line; what cannot be read, or is no entry, is told before anybody is served."""
    listed = tmp_path / "bad.txt"
    listed.write_text("# of today\n\nevil\nworse@<2.0.0\n")
    section = ServerSection(withhold=(f"file:{listed}",))
    assert read_withheld(section).of("evil") is not None
    listed.write_text("worse@latest\n")
    with pytest.raises(ConfigurationError, match="no version and no range"):
        read_withheld(section)
    listed.unlink()
    with pytest.raises(ConfigurationError, match="cannot read the list"):
        read_withheld(section)
