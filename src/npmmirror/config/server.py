"""The configuration of the server: where it answers, whom, and how much it takes for that."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Strict

from npmmirror.config.section import Section
from npmmirror.config.values import PATTERNS, BaseUrl, Count, Seconds, pattern_under
from npmmirror.patterns import check_pattern

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})")
_TOKEN = re.compile(r"sha256:[0-9a-f]{64}")
_MIB = 1 << 20


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if text and (match is None or int(match[3]) > 65535):
        raise ValueError('must be host:port, such as "127.0.0.1:4873" or "[::]:4873", or empty')
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            'must be addresses or networks, such as "127.0.0.1" or "10.0.0.0/8"'
        ) from error
    return text


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(
            'must be "sha256:" and the 64 hex digits of the token\'s SHA-256, as '
            "`npmmirror serve --make-token` prints it; never the token itself"
        )
    return text


def _withheld(text: str) -> str:
    """A pattern of names; what follows an `@` in it is looked at where versions are understood."""
    at = -1 if text.startswith("/") else text.find("@", 1)
    if at == len(text) - 1 > 0:
        raise ValueError('must have a version or a range behind "@", such as "left-pad@<1.3.0"')
    check_pattern(text if at < 0 or text.startswith("file:") else text[:at])
    return text


ListenAddress = Annotated[str, AfterValidator(_address)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Strict(False)]
Withheld = Annotated[tuple[Annotated[str, AfterValidator(_withheld)], ...], Strict(False)]
Tokens = Annotated[tuple[Annotated[str, AfterValidator(_token)], ...], Strict(False)]


class ServerSection(Section):
    """The registry that `npmmirror run` and `npmmirror serve` are. `docs/serving.md` has more."""

    listen: ListenAddress = Field(
        "127.0.0.1:4873",
        description="Where npm, pnpm, yarn and bun are answered, as host:port; port 0 is any free "
        'one. Empty: `run` answers nobody. "0.0.0.0:4873" or "[::]:4873" answers other machines.',
    )
    public_url: BaseUrl | None = Field(
        None,
        description="The address that answers name for tarballs. Not set: the one that the client "
        "used, by its Host header.",
        examples=["https://npm.example"],
    )
    trusted_proxies: Networks = Field(
        (),
        description="Proxies whose X-Forwarded-Proto, -Host and -Prefix are believed, as addresses "
        'or networks, such as ["127.0.0.1", "10.0.0.0/8"].',
    )
    tokens: Tokens = Field(
        (),
        description="Who may read: SHA-256 digests of bearer tokens. None: everybody. "
        "`npmmirror serve --make-token` makes one.",
    )
    cache_bytes: Annotated[int, Field(ge=0)] = Field(
        256 * _MIB,
        description="How much memory each process may keep ready answers in, in bytes.",
    )
    max_requests: Count = Field(
        1000,
        description="How many requests are answered at the same time; more are told to come again "
        "(503 with Retry-After).",
    )
    max_connections: Count = Field(
        4000, description="How many connections are held at the same time; more are closed at once."
    )
    client_seconds: Seconds = Field(
        60.0,
        description="A client that sends nothing, or takes nothing of its answer, for so long is "
        "cut off, in seconds.",
    )
    unheld: Literal["hide", "fetch"] = Field(
        "hide",
        description='What clients get of a version whose tarball is not held. "hide": it is left '
        'out, and dist-tags with it. "fetch": `run` shows it, and fetches it when it is asked for; '
        "so it does with packages that it never saw. `serve` fetches nothing, and hides.",
    )
    unheld_fetches: Annotated[int, Field(ge=1, le=1000)] = Field(
        16,
        description="How many such fetches may be under way at the same time; more wait for their "
        "turn, up to 20 times as many. Beyond that they are told to come again (503).",
    )
    withhold: Withheld = Field(
        (),
        description="What clients are never given though it is held, such as known malware: names, "
        "versions and ranges of them, and patterns as in policy.allow, such as "
        '["evil", "left-pad@1.2.3", "left-pad@>=2.0.0 <2.1.0", "@bad", "*-miner", "file:bad.txt"]. '
        "Prereleases are within a range where their place in the order is.",
        json_schema_extra=PATTERNS,
    )
    access_log: bool = Field(
        False,
        description="Whether each request is a line of the log: who, what, status, bytes, "
        "milliseconds; never a token.",
    )

    def under(self, base: Path) -> Self:
        """The same, with the paths of lists starting at `base`."""
        entries = tuple(pattern_under(entry, base) for entry in self.withhold)
        return self.model_copy(update={"withhold": entries})


def is_own_address(url: str, server: ServerSection, names: frozenset[str] = frozenset()) -> bool:
    """Whether a URL leads to the mirror's own listener.

    `names` are those of this machine, which count as it where the listener takes every address.
    """
    told = _host_and_port(url)
    if server.public_url is not None and told == _host_and_port(server.public_url):
        return True
    match = _ADDRESS.fullmatch(server.listen)
    if match is None or told[1] != int(match[3]):
        return False
    host, listens = told[0], match[1].strip("[]").lower()
    if host == listens:
        return True
    everywhere = listens in {"0.0.0.0", "::"}  # noqa: S104 - compared, nothing listens there
    local = _is_loopback(host)
    return (local and (everywhere or _is_loopback(listens))) or (everywhere and host in names)


def _host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
