"""Small tarballs that are asked for again are answered from memory, as long as that is true."""

from pathlib import Path

import anyio
import pytest

from npmmirror.daemon.erase import Plan, erase
from npmmirror.index import replication
from npmmirror.server import tarballs
from tests.server.conftest import Answer, Serve, Served

pytestmark = pytest.mark.anyio

PATH = "/left-pad/-/left-pad-1.0.0.tgz"


async def keep(here: Served) -> Answer:
    """Mirror a tarball and ask for it until it is in memory, then take its file away."""
    await here.publish("left-pad", "1.0.0", "1.1.0")
    first = await here.ask(PATH)
    assert first.status == 200
    with anyio.fail_after(30):
        while not here.resources.ready.bytes:
            again = await here.ask(PATH)
            assert again.headers.keys() == first.headers.keys()
    for file in packages(here).rglob("left-pad-1.0.0.tgz"):
        file.unlink()
    return first


def packages(here: Served) -> Path:
    """The directory of tarballs."""
    return here.mirror.config.storage.packages_path


async def test_a_tarball_asked_for_again_needs_no_disk(served: Serve) -> None:
    """The third answer is the first one, headers too, though the disk has nothing any more."""
    async with served() as here:
        first = await keep(here)
        again = await here.ask(PATH)
        assert again.body == first.body == here.registry.tarball("left-pad", "1.0.0")
        assert again.headers | {"Date": ""} == first.headers | {"Date": ""}
        assert (
            await here.ask(PATH, headers={"If-None-Match": first.headers["Etag"]})
        ).status == 304
        head = await here.ask(PATH, method="HEAD")
        assert (head.status, head.headers["Content-Length"]) == (200, f"{len(first.body)}")


async def test_a_tarball_that_is_read_once_is_not_kept(served: Serve) -> None:
    """Whoever reads everything once, as another mirror does, pushes nothing out."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        await here.ask(PATH)
        assert here.resources.ready.bytes == 0


async def test_a_kept_tarball_goes_with_its_version(served: Serve) -> None:
    """Once upstream took the version back it is not answered, however often it was before."""
    async with served() as here:
        await keep(here)
        here.registry.unpublish_version("left-pad", "1.0.0")
        await here.sync("left-pad")
        assert (await here.ask(PATH)).status == 404


async def test_a_part_of_a_kept_tarball_is_a_part(served: Serve) -> None:
    """Ranges are answered as those of any other."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        whole = [(await here.ask(PATH)).body for _ in range(3)]
        part = await here.ask(PATH, headers={"Range": "bytes=3-9"})
        assert (part.status, part.body) == (206, whole[2][3:10])


async def test_large_tarballs_are_not_kept(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are read in pieces stay on the disk, and are whole each time."""
    monkeypatch.setattr(tarballs, "AT_ONCE", 100)
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        for _ in range(3):
            assert (await here.ask(PATH)).body == here.registry.tarball("left-pad", "1.0.0")
        assert here.resources.ready.bytes == 0


async def test_what_is_remembered_of_tarballs_is_bounded(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten, and counts as asked for once again."""
    monkeypatch.setattr(tarballs, "REMEMBERED", 1)
    async with served() as here:
        await here.publish("left-pad", "1.0.0", "1.1.0")
        for path in (PATH, PATH.replace("1.0.0", "1.1.0")) * 2:
            assert (await here.ask(path)).status == 200
        assert here.resources.ready.bytes == 0


async def test_a_file_of_another_size_is_not_answered(served: Serve) -> None:
    """Neither a shorter nor a longer one than the index has: 503, and nothing of its bytes."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        [file] = packages(here).rglob("left-pad-1.0.0.tgz")
        whole = file.read_bytes()
        for damaged in (whole[:-1], whole + b"x", b""):
            file.write_bytes(damaged)
            for headers in ({}, {"Range": "bytes=0-3"}):
                assert (await here.ask(PATH, headers=headers)).status == 503
        file.write_bytes(whole)
        assert (await here.ask(PATH)).body == whole


async def test_what_would_not_be_kept_is_not_read_for_all(served: Serve) -> None:
    """Without room for it a tarball is answered from the disk each time."""
    async with served(cache_bytes=0) as here:
        await here.publish("left-pad", "1.0.0")
        for _ in range(3):
            assert (await here.ask(PATH)).body == here.registry.tarball("left-pad", "1.0.0")
        for file in packages(here).rglob("left-pad-1.0.0.tgz"):
            file.unlink()
        assert (await here.ask(PATH)).status == 503


@pytest.mark.parametrize("view", ["", "/-/raw", "/-/at/{}"])
async def test_a_kept_tarball_of_an_erased_package_is_forgotten(served: Serve, view: str) -> None:
    """In every view: what the law had taken away stays in no memory."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        path = view.format(await head(here)) + PATH
        with anyio.fail_after(30):
            while not here.resources.ready.bytes:
                assert (await here.ask(path)).status == 200
        await erase(here.mirror.config, "left-pad", "court order 7", agreed)
        assert (await here.ask(path)).status >= 400
        assert here.resources.ready.bytes == 0


async def head(here: Served) -> str:
    """The newest moment, as an address writes it."""
    index = here.resources.stock.index
    return f"seq:{(await index.ask(replication.head)).update_seq}"


async def agreed(_: Plan) -> bool:
    """To everything."""
    return True
