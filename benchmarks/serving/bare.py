"""A bare aiohttp handler that answers bytes from memory: what any server on aiohttp has to pay.

    python -m benchmarks.serving.bare PORT DIRECTORY

The files of the directory are its answers, `<name>/index.json` that of `/<name>`; with `.gz` behind
the name, the one for clients that take gzip. No router, no access log, uvloop.
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from benchmarks.serving.subjects import ABBREVIATED

TYPES = {".tgz": "application/octet-stream", ".json": ABBREVIATED}


def answers(directory: Path) -> dict[tuple[str, bool], tuple[bytes, dict[str, str]]]:
    """Bodies and headers by path, and by whether they are gzipped."""
    found = {}
    for file in directory.rglob("*.*"):
        zipped = file.suffix == ".gz"
        plain = file.with_suffix("") if zipped else file
        path = "/" + str(plain.relative_to(directory)).removesuffix("/index.json")
        headers = {"Content-Type": TYPES[plain.suffix]}
        found[path, zipped] = (
            file.read_bytes(),
            headers | ({"Content-Encoding": "gzip"} if zipped else {}),
        )
    return found


async def main(port: int, directory: Path) -> None:
    """Serve until killed."""
    known = answers(directory)

    async def handle(request: web.BaseRequest) -> web.Response:
        body, headers = known[
            request.raw_path, "gzip" in request.headers.get("Accept-Encoding", "")
        ]
        return web.Response(body=body, headers=headers)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
