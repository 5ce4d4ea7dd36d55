"""Keys and attestations as they are served: now, byte for byte, and as they stood once."""

import pytest

from npmmirror.testing.signing import Signing
from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.anyio

KEYS = "/-/npm/v1/keys"
VIEWS = ("", "/-/raw")


def sign(here: Served) -> Signing:
    """Have the registry sign what is published from now on."""
    here.registry.signing = Signing()
    return here.registry.signing


def last(here: Served) -> str:
    """The view of the newest mark."""
    [(newest,)] = here.mirror.rows("SELECT max(ordinal) FROM marks")
    return f"/-/at/seq:{newest}"


def bundle(name: str, version: str = "1.0.0") -> str:
    return f"/-/npm/v1/attestations/{name}@{version}"


async def test_a_mirror_without_keys_says_so(served: Serve) -> None:
    """404, as upstream: clients take that for a registry that does not sign."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        for view in (*VIEWS, last(here)):
            assert (await here.ask(f"{view}{KEYS}")).status == 404


async def test_keys_are_served_as_upstream_serves_them(served: Serve) -> None:
    """Byte for byte, in all views, with an ETag."""
    async with served() as here:
        signing = sign(here)
        await here.publish("a", "1.0.0")
        for view in (*VIEWS, last(here)):
            answer = await here.ask(f"{view}{KEYS}")
            assert (answer.status, answer.body) == (200, signing.document)
            assert answer.headers["Content-Type"] == "application/json"
            headers = {key.lower(): value for key, value in answer.headers.items()}
            known = {"If-None-Match": headers["etag"]}
            assert (await here.ask(f"{view}{KEYS}", headers=known)).status == 304


async def test_keys_of_the_past_are_those_of_then(served: Serve) -> None:
    """Before the first there are none; a moment that cannot be told of is refused."""
    async with served() as here:
        await here.publish("a", "1.0.0")
        before, signing = last(here), sign(here)
        await here.publish("b", "1.0.0")
        one, first = signing.document, last(here)
        signing.rotate("2026-02-01T00:00:00.000Z")
        await here.publish("c", "1.0.0")
        assert (await here.ask(f"{before}{KEYS}")).status == 404
        assert (await here.ask(f"{first}{KEYS}")).body == one
        assert (await here.ask(KEYS)).body == (await here.ask(f"{last(here)}{KEYS}")).body
        assert (await here.ask(KEYS)).body == signing.document != one
        assert (await here.ask(f"/-/at/seq:999999{KEYS}")).status == 400


@pytest.mark.parametrize("name", ["a", "@s/a"])
async def test_attestations_are_served_byte_for_byte(served: Serve, name: str) -> None:
    """Under both spellings of a scoped name, in all views."""
    async with served() as here:
        await here.publish("b", "1.0.0")
        before = last(here)
        here.registry.publish(name, "1.0.0", attested=True)
        await here.sync(name)
        expected = here.registry.attestations(name, "1.0.0")
        for view in (*VIEWS, last(here)):
            for spelt in (name, name.replace("/", "%2f"), name.replace("/", "%2F")):
                answer = await here.ask(f"{view}{bundle(spelt)}")
                assert (answer.status, answer.body) == (200, expected), (view, spelt)
        assert (await here.ask(f"{before}{bundle(name)}")).status == 404


async def test_where_there_are_none_it_is_a_404(served: Serve) -> None:
    """Of versions without, of versions and packages that are not there, and of none."""
    async with served() as here:
        here.registry.publish("a", "1.0.0", attested=True)
        here.registry.publish("a", "2.0.0")
        await here.sync("a")
        for view in (*VIEWS, last(here)):
            for asked in (bundle("a", "2.0.0"), bundle("a", "9.9.9"), bundle("b"), bundle("a", "")):
                assert (await here.ask(f"{view}{asked}")).status == 404
            for asked in ("/-/npm/v1/attestations/", "/-/npm/v1/attestations/..%2f..%2fkeys@1"):
                assert (await here.ask(f"{view}{asked}")).status in {400, 404}


async def test_signatures_are_served_as_they_came(served: Serve) -> None:
    """In both forms of a document: what clients verify."""
    async with served() as here:
        sign(here)
        await here.publish("a", "1.0.0")
        upstream = (await here.ask(f"{here.mirror.upstream.url}/a")).json
        expected = upstream["versions"]["1.0.0"]["dist"]["signatures"]
        for document in ((await here.ask("/a")).json, await here.short("/a")):
            assert document["versions"]["1.0.0"]["dist"]["signatures"] == expected


async def test_the_address_of_attestations_leads_to_the_mirror(served: Serve) -> None:
    """Clients take its path alone, and ask the registry that they are told to use."""
    async with served() as here:
        here.registry.publish("@s/a", "1.0.0", attested=True)
        await here.sync("@s/a")
        told = (await here.ask("/@s%2fa")).json["versions"]["1.0.0"]["dist"]["attestations"]["url"]
        path = told.removeprefix(here.registry.base).removeprefix(here.url)
        assert (await here.ask(path)).status == 200
