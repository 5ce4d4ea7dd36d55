"""The address that a client used, by which answers tell it where tarballs are."""

import ipaddress
import re
from functools import lru_cache
from typing import Final

from aiohttp import web

from npmmirror.config import ServerSection

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~@-]{1,64}){0,8}/?")
_MEMO: Final = 1024


class Addresses:
    """Tells the server's address as a request names it.

    What a proxy says of it (`X-Forwarded-Proto`, `-Host`, `-Prefix`) is believed of trusted
    proxies alone; `server.public_url` goes before everything.
    """

    def __init__(self, section: ServerSection) -> None:
        self._public = section.public_url
        self._trusted = tuple(ipaddress.ip_network(each) for each in section.trusted_proxies)
        self._is_trusted = lru_cache(_MEMO)(self._looked_up)

    def of(self, request: web.BaseRequest) -> str:
        """The address without a slash at its end; empty where the Host header is no host."""
        if self._public is not None:
            return self._public
        headers = request.headers
        host = headers.get("Host")
        if host is None:  # only HTTP/1.0 may do without
            host = self._own(request)
        if self._trusted and self._is_trusted(self.peer(request)):
            return _address(
                headers.get("X-Forwarded-Host") or host,
                headers.get("X-Forwarded-Proto", "http"),
                headers.get("X-Forwarded-Prefix", ""),
            )
        return _address(host, "http", "")

    @staticmethod
    def _own(request: web.BaseRequest) -> str:
        """The address that was connected to."""
        found = request.transport.get_extra_info("sockname") if request.transport else None
        if not isinstance(found, tuple):
            return ""
        host = f"[{found[0]}]" if ":" in found[0] else found[0]
        return f"{host}:{found[1]}"

    @staticmethod
    def peer(request: web.BaseRequest) -> str:
        """The address of who is connected; empty where that is nobody any more."""
        found = request.transport.get_extra_info("peername") if request.transport else None
        return str(found[0]) if isinstance(found, tuple) and found else ""

    def _looked_up(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)


@lru_cache(_MEMO)
def _address(host: str, scheme: str, prefix: str) -> str:
    host, scheme = host.partition(",")[0].strip(), scheme.partition(",")[0].strip().lower()
    if not _HOST.fullmatch(host) or scheme not in {"http", "https"}:
        return ""
    if not _PREFIX.fullmatch(prefix):
        return ""
    return f"{scheme}://{host.lower()}{prefix.rstrip('/')}"
