"""Faults on command: what a client sees of each."""

import asyncio
import zlib
from collections.abc import Callable

import aiohttp
import pytest

from npmmirror.testing import ScriptedUpstream
from npmmirror.testing.faults import (
    KINDS,
    Altered,
    Drip,
    Empty,
    EndlessGzip,
    HtmlPage,
    Redirect,
    Reset,
    Stall,
    Status,
    Truncated,
    WrongEncoding,
    WrongLength,
    fault_from,
)

pytestmark = pytest.mark.anyio

PATH = "/zero/-/zero-1.0.0.tgz"


async def fetch(http: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with http.get(url, allow_redirects=False) as answer:
        return answer.status, await answer.read()


async def test_status_with_retry_after(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A status comes with the `Retry-After` asked for, once; then all is well."""
    upstream.fault("packument", Status(429, retry_after="7"), name="zero")
    assert (await fetch(http, f"{upstream.url}/left-pad"))[0] == 200
    async with http.get(f"{upstream.url}/zero") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert (await fetch(http, f"{upstream.url}/zero"))[0] == 200


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        (Altered(), lambda got, true: len(got) == len(true) and got != true),
        (WrongLength(), lambda got, true: len(got) == len(true) + 17),
        (WrongLength(-9), lambda got, true: got == true[:-9]),
        (Empty(), lambda got, _: got == b""),
        (HtmlPage(), lambda got, _: got.startswith(b"<!DOCTYPE html>")),
    ],
)
async def test_whole_answers_with_a_wrong_body(
    upstream: ScriptedUpstream,
    http: aiohttp.ClientSession,
    fault: Altered,
    wrong: Callable[[bytes, bytes], bool],
) -> None:
    """These come with status 200, an honest length, and bytes that are not the tarball's."""
    upstream.fault("tarball", fault)
    status, body = await fetch(http, upstream.url + PATH)
    assert status == 200
    assert wrong(body, upstream.registry.tarball("zero", "1.0.0"))


@pytest.mark.parametrize("fault", [Truncated(), Reset(), Reset(None)])
async def test_broken_bodies_break_the_client(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, fault: Truncated
) -> None:
    """A body that ends before its length is an error to the client; the next one is whole."""
    armed = upstream.fault("tarball", fault, times=None)  # aiohttp asks twice by itself
    with pytest.raises(aiohttp.ClientError):
        await fetch(http, upstream.url + PATH)
    upstream.heal(armed)
    assert (await fetch(http, upstream.url + PATH))[0] == 200


async def test_stall_lasts_until_released(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A stalled answer comes when it is released, whole."""
    upstream.fault("tarball", Stall(after=10))
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(fetch(http, upstream.url + PATH))
        await upstream.asked("tarball", "zero")
        assert not answer.done()
        upstream.release()
    assert answer.result() == (200, upstream.registry.tarball("zero", "1.0.0"))


async def test_a_stall_does_not_outlive_the_upstream(http: aiohttp.ClientSession) -> None:
    """Leaving the upstream ends what it stalls."""
    async with ScriptedUpstream() as upstream, asyncio.TaskGroup() as tasks:
        upstream.fault("*", Stall())
        tasks.create_task(fetch(http, f"{upstream.url}/-/ping"))
        await upstream.asked("other")
        await upstream.__aexit__(None, None, None)


async def test_drip_gives_the_whole_body(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A slow body is a right one."""
    upstream.fault("tarball", Drip(rate=20_000))
    body = (await fetch(http, upstream.url + PATH))[1]
    assert body == upstream.registry.tarball("zero", "1.0.0")


async def test_wrong_encoding_is_not_gzip(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """The header says gzip and the body is none."""
    upstream.fault("packument", WrongEncoding())
    async with http.get(f"{upstream.url}/zero") as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        with pytest.raises(zlib.error):
            zlib.decompress(await answer.read(), 31)


async def test_endless_gzip_grows_without_end(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """Little over the wire becomes more than 64 MiB, and more would come."""
    upstream.fault("packument", EndlessGzip())
    async with http.get(f"{upstream.url}/zero") as answer:
        unpacker, size = zlib.decompressobj(31), 0
        async for piece in answer.content.iter_any():
            size += len(unpacker.decompress(piece))
            if size > 64 << 20:
                break
        assert not answer.content.at_eof()


async def test_redirect_names_its_place(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A redirect leads where it is told to."""
    upstream.fault("tarball", Redirect("http://other.example/x.tgz"))
    async with http.get(upstream.url + PATH, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "http://other.example/x.tgz")


async def test_heal_takes_faults_back(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A fault without an end ends when it is taken back."""
    armed = upstream.fault("*", Status(503), times=None)
    assert [(await fetch(http, f"{upstream.url}/zero"))[0] for _ in range(3)] == [503] * 3
    upstream.heal(armed)
    assert (await fetch(http, f"{upstream.url}/zero"))[0] == 200
    assert armed.played == 3


async def test_what_was_played_is_told_by_scope_and_kind(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """Of two faults of a kind the later one hid the other, and who asked saw a storm without it."""
    upstream.fault("packument", Status(503))
    upstream.fault("packument", Status(502), times=None, chance=0.0)
    upstream.fault("tarball", Status(500))
    for path in ("/zero", "/zero", PATH):
        await fetch(http, upstream.url + path)
    assert upstream.played == {"packument status": 1, "tarball status": 1}


async def test_a_hook_runs_before_the_answer(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """A hook may change the registry at the moment of a request."""

    async def publish(_asked: object) -> None:
        upstream.hooks.clear()
        upstream.registry.publish("zero", "9.0.0")

    upstream.hooks.append(publish)
    _, body = await fetch(http, f"{upstream.url}/zero/9.0.0")
    assert b'"version":"9.0.0"' in body


async def test_second_host_serves_the_same(http: aiohttp.ClientSession) -> None:
    """Tarballs can be asked for on another host."""
    async with ScriptedUpstream(second_host=True) as upstream:
        upstream.registry.publish("zero", "1.0.0")
        assert upstream.second_url.startswith("http://127.0.0.2:")
        assert (await fetch(http, upstream.second_url + PATH))[0] == 200


async def test_a_bug_in_the_script_is_raised_at_the_end(http: aiohttp.ClientSession) -> None:
    """A mistake of the script itself does not pass for a fault."""

    async def mistake(_asked: object) -> None:
        raise LookupError("oops")

    upstream = await ScriptedUpstream().__aenter__()
    upstream.hooks.append(mistake)
    assert (await fetch(http, f"{upstream.url}/x"))[0] == 500
    with pytest.raises(LookupError):
        await upstream.__aexit__(None, None, None)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_can_be_named(kind: str) -> None:
    """Commands name faults by their kind."""
    assert fault_from({"kind": kind}) == KINDS[kind]()


def test_a_fault_with_an_unknown_key_is_refused() -> None:
    """A misspelt key is no silent default."""
    with pytest.raises(ValueError, match="coed"):
        fault_from({"kind": "status", "coed": 500})
