"""The scripted registry signs, changes its keys, and serves attestations."""

import base64
from typing import Any

import aiohttp
import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from npmmirror.testing import ScriptedRegistry, ScriptedUpstream

pytestmark = pytest.mark.anyio


def signing() -> ScriptedRegistry:
    registry = ScriptedRegistry(seed=3, signs=True)
    registry.publish("@s/a", "1.0.0", attested=True)
    return registry


def dist(registry: ScriptedRegistry, version: str) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(registry.document("@s/a"))["versions"][version]["dist"]
    return told


def is_right(registry: ScriptedRegistry, version: str) -> bool:
    """Whether the version's signature is made with the served key that it names."""
    assert registry.signing is not None
    [signature] = dist(registry, version)["signatures"]
    served = {key["keyid"]: key for key in orjson.loads(registry.signing.document)["keys"]}
    public = load_der_public_key(base64.b64decode(served[signature["keyid"]]["key"]))
    assert isinstance(public, EllipticCurvePublicKey)
    message = f"@s/a@{version}:{dist(registry, version)['integrity']}".encode()
    try:
        public.verify(base64.b64decode(signature["sig"]), message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def test_releases_are_signed_as_npm_signs_them() -> None:
    """With the key in use; the same bytes in each registry of a seed."""
    registry = signing()
    assert is_right(registry, "1.0.0")
    assert registry.document("@s/a") == signing().document("@s/a")


def test_keys_rotate_and_expire() -> None:
    """The old one stays served with its end, the new one signs."""
    registry = signing()
    assert registry.signing is not None
    registry.signing.rotate("2026-02-01T00:00:00.000Z")
    registry.publish("@s/a", "1.1.0")
    keys = orjson.loads(registry.signing.document)["keys"]
    assert [key["expires"] for key in keys] == ["2026-02-01T00:00:00.000Z", None]
    assert dist(registry, "1.1.0")["signatures"][0]["keyid"] == keys[1]["keyid"]
    assert is_right(registry, "1.1.0")


def test_bad_unknown_and_missing_signatures() -> None:
    """On command."""
    registry = signing()
    assert registry.signing is not None
    registry.publish("@s/a", "2.0.0", signature="bad")
    registry.publish("@s/a", "3.0.0", signature="unknown")
    registry.publish("@s/a", "4.0.0", signature="none")
    assert not is_right(registry, "2.0.0")
    known = {key["keyid"] for key in orjson.loads(registry.signing.document)["keys"]}
    assert dist(registry, "3.0.0")["signatures"][0]["keyid"] not in known
    assert "signatures" not in dist(registry, "4.0.0")


async def test_what_is_served(http: aiohttp.ClientSession) -> None:
    """Keys and attestations where there are any, else 404."""
    registry = signing()
    async with ScriptedUpstream(registry) as upstream:

        async def get(path: str) -> tuple[int, bytes]:
            async with http.get(f"{upstream.url}{path}") as answer:
                return answer.status, await answer.read()

        assert registry.signing is not None
        assert await get("/-/npm/v1/keys") == (200, registry.signing.document)
        told = dist(registry, "1.0.0")["attestations"]["url"].removeprefix(registry.base)
        bundle = registry.attestations("@s/a", "1.0.0")
        assert await get(told) == await get("/-/npm/v1/attestations/@s/a@1.0.0") == (200, bundle)
        registry.attest("@s/a", "1.0.0", None)
        registry.signing.served = False
        assert {(await get(path))[0] for path in (told, "/-/npm/v1/keys")} == {404}
        assert upstream.count("keys") == 2
        assert upstream.count("attestations", "@s/a") == 3


async def test_a_registry_that_does_not_sign_has_neither(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    """As a plain copy of a registry."""
    for path in ("/-/npm/v1/keys", "/-/npm/v1/attestations/zero@1.0.0"):
        async with http.get(f"{upstream.url}{path}") as answer:
            assert answer.status == 404
