"""Keys of `[server]`: what is refused, and whose address is the mirror's own."""

from typing import Any

import pytest
from pydantic import ValidationError

from npmmirror.config import Config, ServerSection, is_own_address


@pytest.mark.parametrize("listen", ["", "127.0.0.1:0", "0.0.0.0:4873", "[::]:80", "host:65535"])
def test_addresses_to_listen_on(listen: str) -> None:
    """A host and a port, or nothing."""
    assert ServerSection(listen=listen).listen == listen


@pytest.mark.parametrize(
    "keys",
    [
        {"listen": "4873"},
        {"listen": "host:65536"},
        {"listen": "::1:80"},
        {"listen": "http://host:80"},
        {"trusted_proxies": ["proxy.example"]},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"tokens": ["secret"]},
        {"public_url": "npm.example"},
    ],
)
def test_what_is_refused(keys: dict[str, Any]) -> None:
    """An address that is none, a proxy by its name, a token as it is, a URL without its scheme."""
    with pytest.raises(ValidationError):
        ServerSection.model_validate(keys)


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("http://127.0.0.1:4873", "127.0.0.1:4873"),
        ("http://localhost:4873/", "127.0.0.1:4873"),
        ("http://[::1]:4873", "localhost:4873"),
        ("http://127.0.0.1:4873/-/raw", "0.0.0.0:4873"),
        ("http://machine:4873", "[::]:4873"),
        ("https://npm.example/x", "127.0.0.1:1"),
    ],
)
def test_own_addresses(url: str, listen: str) -> None:
    """By any name of loopback, by any of the machine's where all are listened on, in public."""
    server = ServerSection(listen=listen, public_url="https://npm.example")
    assert is_own_address(url, server, frozenset({"machine"}))


@pytest.mark.parametrize(
    ("url", "listen"),
    [
        ("http://127.0.0.1:4874", "127.0.0.1:4873"),
        ("http://other.example:4873", "0.0.0.0:4873"),
        ("http://machine:4873", "127.0.0.1:4873"),
        ("http://127.0.0.1:4873", ""),
        ("http://npm.example", "127.0.0.1:1"),
    ],
)
def test_addresses_of_others(url: str, listen: str) -> None:
    """Another port, another host, another scheme's port, nothing that listens."""
    server = ServerSection(listen=listen, public_url="https://npm.example")
    assert not is_own_address(url, server, frozenset({"machine"}))


@pytest.mark.parametrize("key", ["registry", "feed"])
def test_an_upstream_that_is_the_mirror_itself(key: str) -> None:
    """It is refused with the names of both keys."""
    with pytest.raises(ValidationError, match=f"upstream.{key} must not be server.listen"):
        Config.model_validate({"upstream": {key: "http://localhost:4873"}})
