"""The registry as it is now: documents, manifests, dist-tags."""

import pytest

from tests.server.conftest import SHORT, Serve

pytestmark = pytest.mark.anyio


async def test_a_packument_is_the_captured_one_but_for_its_tarballs(served: Serve) -> None:
    """Every member as upstream wrote it; `dist.tarball` leads to the mirror."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0", "1.1.0")
        answer = await here.ask("/left-pad")
        assert answer.status == 200
        upstream = (await here.ask(f"{here.mirror.upstream.url}/left-pad")).json
        for version, manifest in upstream["versions"].items():
            manifest["dist"]["tarball"] = f"{here.url}/left-pad/-/left-pad-{version}.tgz"
        assert answer.json == upstream


async def test_both_spellings_of_a_scoped_name(served: Serve) -> None:
    """`/@s/n`, `/@s%2fn` and `/@s%2Fn` are one package; so are its tarballs."""
    async with served() as here:
        await here.publish("@s/n", "1.0.0")
        answers = [await here.ask(path) for path in ("/@s/n", "/@s%2fn", "/@s%2Fn")]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert len({answer.body for answer in answers}) == 1
        url = answers[0].json["versions"]["1.0.0"]["dist"]["tarball"]
        assert url == f"{here.url}/@s/n/-/n-1.0.0.tgz"
        for path in ("/@s/n/-/n-1.0.0.tgz", "/@s%2fn/-/n-1.0.0.tgz"):
            assert (await here.ask(path)).body == here.registry.tarball("@s/n", "1.0.0")


async def test_the_abbreviated_form(served: Serve) -> None:
    """Exactly npm's members at the top, and no scripts below."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        answer = await here.ask("/left-pad", headers={"Accept": SHORT})
        assert answer.headers["Content-Type"] == "application/vnd.npm.install-v1+json"
        assert set(answer.json) == {"name", "modified", "dist-tags", "versions"}
        assert "scripts" not in answer.json["versions"]["1.0.0"]


async def test_a_change_is_seen_at_the_next_request(served: Serve) -> None:
    """A ready answer is dropped once another one committed to the index."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        assert set((await here.short("/left-pad"))["versions"]) == {"1.0.0"}
        await here.publish("left-pad", "1.1.0")
        assert set((await here.short("/left-pad"))["versions"]) == {"1.0.0", "1.1.0"}
