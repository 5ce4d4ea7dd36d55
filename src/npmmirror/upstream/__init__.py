"""The client for what is mirrored: a registry, and the changes feed in front of it."""

from npmmirror.upstream.client import Upstream
from npmmirror.upstream.errors import BadAnswer, HostFault, ServerFault, UpstreamError
from npmmirror.upstream.feed import Listed
from npmmirror.upstream.limits import Limits, Timeouts, Traffic, Waits
from npmmirror.upstream.registry import Found, Missing, NotModified, Outsized, Packument
from npmmirror.upstream.tarball import TarballBody

__all__ = [
    "BadAnswer",
    "Found",
    "HostFault",
    "Limits",
    "Listed",
    "Missing",
    "NotModified",
    "Outsized",
    "Packument",
    "ServerFault",
    "TarballBody",
    "Timeouts",
    "Traffic",
    "Upstream",
    "UpstreamError",
    "Waits",
]
