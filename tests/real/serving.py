"""A small registry over a mirror's data directory: what it holds, and 404 for all else."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from npmmirror.archive import CaptureReader
from npmmirror.index import IndexReader

HELD = {"held", "unverifiable"}


@dataclass
class Serving:
    """Answers clients from what is held; `missed` are the paths that got a 404."""

    data_dir: Path
    index: IndexReader
    captures: CaptureReader
    url: str = ""
    missed: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """A document with its tarballs' URLs put right, or a tarball."""
        path = request.path.lstrip("/")
        if request.method == "POST":  # npm asks for advisories
            return web.json_response({})
        name, found, file = path.partition("/-/")
        answer = await (self._tarball(name, file) if found else self._document(path))
        if answer is None:
            self.missed.append(path)
            return web.json_response({"error": "Not found"}, status=404)
        return answer

    async def _document(self, name: str) -> web.Response | None:
        known = await self.index.known(name)
        if known is None or known.place is None:
            return None
        document = json.loads(self.captures.document(known.place))
        for version, manifest in document.get("versions", {}).items():
            place = f"{quote(name, safe='@')}/-/{quote(version, safe='')}"
            manifest["dist"]["tarball"] = f"{self.url}/{place}"
        return web.json_response(document)

    async def _tarball(self, name: str, file: str) -> web.StreamResponse | None:
        version = file.removeprefix(f"{name.rpartition('/')[2]}-").removesuffix(".tgz")
        rows = await self.index.versions(name, version)
        if not rows or rows[0].state not in HELD or rows[0].path is None:
            return None
        return web.FileResponse(self.data_dir / "packages" / rows[0].path)


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[Serving]:
    """Serve a mirror on loopback."""
    async with await IndexReader.open(data_dir / "index.db", connections=1) as index:
        with CaptureReader(data_dir / "captures") as captures:
            served = Serving(data_dir, index, captures)
            runner = web.ServerRunner(web.Server(served.answer, access_log=None))
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield served
            finally:
                await runner.cleanup()
