"""Documents as odd as npm's: each is answered in every form, and none is an error of ours."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog

from npmmirror.testing.oddities import oddities
from tests.server.conftest import SHORT, Answer, Serve, Served

pytestmark = pytest.mark.anyio


def tarballs(answer: Answer) -> Iterator[str]:
    """The tarball URLs of a document, as far as it has any."""
    document: Any = json.loads(answer.body.decode("utf-8", "replace"))  # as clients do
    for manifest in (document.get("versions") or {}).values():
        dist = manifest.get("dist") if isinstance(manifest, dict) else None
        if isinstance(dist, dict):
            yield dist["tarball"]


async def wrong(here: Served, name: str) -> list[str]:
    """What is asked of a package, and answered neither with it nor with 404."""
    path, bad = f"/{quote(name, safe='@')}", list[str]()
    fits = {200, 404, 400} if "\n" in name else {200, 404}
    for accept in ("application/json", SHORT):
        answer = await here.ask(path, headers={"Accept": accept})
        if answer.status not in fits:
            bad.append(f"{path} {answer.status}")
        for url in tarballs(answer) if answer.status == 200 else ():
            if (await here.ask(url, "HEAD")).status != 200:
                bad.append(url)
    for rest in ("/latest", "/*", "/__proto__"):
        if (await here.ask(path + rest)).status not in fits:
            bad.append(path + rest)
    return bad


async def test_every_oddity_is_answered(served: Serve) -> None:
    """A document that clients can read, or 404; each tarball that it names is there."""
    async with served({"fetch": {"max_attempts": 1}}) as here:
        for oddity in oddities():
            oddity.put(here.registry)
        names = here.registry.names()
        await here.mirror.sync(*names, all_versions=True)
        with structlog.testing.capture_logs() as lines:
            bad = [each for name in names for each in await wrong(here, name)]
        assert len(names) > 50
        assert not bad
        assert not [line for line in lines if line["event"] == "bug"]
