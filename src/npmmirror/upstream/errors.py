"""What can go wrong with upstream, told apart by what the caller does next."""

import errno
import os
import ssl

import aiohttp
from yarl import URL

TOO_LARGE = "too_large"
"""The reason of a `BadAnswer` that has more bytes than are taken."""
FOREIGN = (aiohttp.ClientError, TimeoutError, OSError)
"""What aiohttp raises for faults of the network; nothing else is translated."""


class UpstreamError(Exception):
    """A request that gave no usable answer.

    `reason` is a stable word such as `http_503`, `detail` one line for a person.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class HostFault(UpstreamError):  # noqa: N818 - named for what the caller does: pause this host
    """The host cannot be used now: pause fetching as a whole, no package is to blame.

    `retry_after` are the seconds that the host asked for (or that its throttle still holds).
    Reasons: `dns`, `refused`, `unreachable`, `connect_timeout`, `tls`, `proxy`, `http_429`,
    `http_503`, `throttled`; and `descriptors`, where it is our own machine that cannot.
    """

    def __init__(self, reason: str, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after = retry_after


class ServerFault(UpstreamError):  # noqa: N818 - see HostFault: the host's fault or the package's
    """It failed, and may work later; whether the host or the package is to blame is open.

    Reasons: `http_500` and its like, `http_408`, `http_425`, `timeout`, `truncated`, `reset`,
    `bad_http`.
    """


class BadAnswer(UpstreamError):  # noqa: N818 - see HostFault: this answer will not do
    """The host answered, and the answer is no good: the package's own fault.

    Reasons: `too_large`, `html`, `not_json`, `empty`, `wrong_encoding`, `redirect_refused`,
    `host_refused`, `bad_name`, `bad_url`, `bad_feed`, `http_403` and its like.
    """


def shown(url: URL) -> str:
    """A URL as it may be told: without credentials."""
    return str(url.with_user(None)) if url.raw_user is not None else str(url)


def translated(error: Exception, url: URL) -> UpstreamError:
    """One of our errors for one of `FOREIGN`."""
    if isinstance(error, aiohttp.ClientConnectorError) and _no_descriptor_left(error):
        return HostFault("descriptors", f"no file descriptor is left to reach {shown(url)}")
    detail = f"{shown(url)}: {_said(error)}"
    for kinds, reason in _HOST_FAULTS:
        if isinstance(error, kinds):
            return HostFault(reason, detail)
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = error.errno == errno.ECONNREFUSED
        return HostFault("refused" if refused else "unreachable", detail)
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return BadAnswer("bad_url", detail)
    for kinds, reason in _SERVER_FAULTS:
        if isinstance(error, kinds):
            return ServerFault(reason, detail)
    return ServerFault("reset", detail)


def _said(error: Exception) -> str:
    """The error in as few words as tell it; aiohttp's own repeat host and port."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause
        return f"its certificate is not accepted: {why}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"its name cannot be resolved: {error.strerror}"
    return str(error) or type(error).__name__


def _no_descriptor_left(error: aiohttp.ClientConnectorError) -> bool:
    """Whether it is for that; a resolver that cannot open its socket does not say so."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return True
    if not isinstance(error, aiohttp.ClientConnectorDNSError):
        return False
    try:
        os.close(os.dup(2))
    except OSError as refused:
        return refused.errno in {errno.EMFILE, errno.ENFILE}
    return False


# The first match counts: aiohttp's classes are each other's bases.
_HOST_FAULTS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns"),
    ((aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError), "proxy"),
    ((aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError), "tls"),
    (aiohttp.ConnectionTimeoutError, "connect_timeout"),
)
_SERVER_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientPayloadError, "truncated"),
    (TimeoutError, "timeout"),
    (aiohttp.ClientResponseError, "bad_http"),
)
