"""Strange paths and headers, sent to a real server: never an error of ours, never a file."""

import asyncio
import re
from collections.abc import Callable

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.anyio

STATUSES = {200, 206, 304, 400, 401, 404, 405, 410, 413, 414, 416, 451}
DISK = re.compile(rb"/(tmp|root|home|usr|work|var)/|data_dir|Traceback|packages/|captures")

PIECES = st.sampled_from(
    [
        *("/", "//", "-", "@s", "%2f", "%2F", "..", ".", "%2e%2e", "%00", "%0a", "%0d%0a", "%"),
        *("left-pad", "@s/n", "1.0.0", "latest", "^1", "*", "left-pad-1.0.0.tgz", ".tgz", "?", "#"),
        *("/-/", "/-/ping", "/-/raw/", "/-/at/", "seq:1", "2026-01-01T00:00:00Z", "/-/package/"),
        *(
            "dist-tags",
            "/-/v1/search?text=",
            "/-/npm/v1/keys",
            "/-/npm/v1/attestations/",
            "a" * 300,
        ),
        *("/-/replicate/registry/", "_changes", "_all_docs", "since=", "limit=-1", "&", "=", "\\"),
        *("etc/passwd", "index.db", "%ff", "%c0%ae", "%ed%a0%80", "%F0%9F%98%80", "~", "'", '"'),
        *("/-/npmmirror/revision/", "revisions/", "999999999999999999999", "-1", "constructor"),
    ]
)
PATHS = st.lists(PIECES, max_size=7).map(lambda pieces: "/" + "".join(pieces))
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("Accept", "Accept-Encoding", "If-None-Match", "If-Modified-Since", "Range"),
            *("If-Range", "Authorization", "X-Forwarded-Host", "X-Forwarded-Proto", "Cookie"),
            *("X-Forwarded-Prefix", "npm-session", "Content-Encoding", "Expect", "TE"),
        ]
    ),
    st.one_of(
        st.sampled_from(
            [
                *("", "*", "*/*", "q=", "gzip;q=2", "bytes=0-0", "bytes=-", "bytes=9-1", "0"),
                *("bytes=99999999999999999999-", "Bearer ", "W/", '"', "a, b", "application/json"),
                *("application/vnd.npm.install-v1+json", "zstd", "br", "100-continue", ";;;,,,"),
            ]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=30),
    ),
    max_size=4,
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "X"])


async def exchange(url: str, method: str, path: str, headers: dict[str, str]) -> bytes:
    """The raw answer to a raw request."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode("latin-1"))
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


def hold(here: Served, told: list[bytes]) -> Callable[[], None]:
    """A property of whatever is asked; the answers are appended to `told`."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=400,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(METHODS, PATHS, HEADERS)
    def ask(method: str, path: str, headers: dict[str, str]) -> None:
        path = path.encode("ascii", "ignore").decode().replace(" ", "")
        asked = exchange(here.url, method, path, headers)
        answer = asyncio.run_coroutine_threadsafe(asked, loop).result(30)
        status = int(answer[9:12])
        assert status in STATUSES, (method, path, headers, answer[:300])
        head, _, body = answer.partition(b"\r\n\r\n")
        assert not DISK.search(head + (body if status >= 400 else b"")), (path, answer[:300])
        told.append(answer)

    return ask


async def test_strange_requests(served: Serve) -> None:
    """Each gets a status that fits; no error of ours is logged, and no path of the disk is told."""
    async with served() as here:
        await here.publish("left-pad", "1.0.0")
        await here.publish("@s/n", "1.0.0")
        told: list[bytes] = []
        with structlog.testing.capture_logs() as lines:
            await asyncio.to_thread(hold(here, told))
        assert {line["event"] for line in lines} <= {"request", "request_failed"}
        assert len({answer[9:12] for answer in told}) > 3
        assert (await here.ask("/left-pad")).status == 200
