"""How long, how much and how often: the small values that a client is made with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for a connection to stand, for a silence, and for a request with its body."""

    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    total_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that are taken at most; an answer that has more is `too_large`.

    `max_packument_bytes` and `max_feed_bytes` count the document, `max_compressed_bytes` what
    arrives of one that is compressed. `max_tarball_bytes` counts the file; None: no limit.
    """

    max_packument_bytes: int = 512 * 1024 * 1024
    max_compressed_bytes: int = 256 * 1024 * 1024
    max_feed_bytes: int = 64 * 1024 * 1024
    max_tarball_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """The pauses between the few quick attempts of one request; all in seconds.

    Before attempt n + 1: `initial` * 2 ** (n - 1) plus up to `jitter`, `longest` at most, and no
    further attempt once `total` has passed. `patience` is how long a request waits for a host
    that asked for quiet (`Retry-After`); where more is asked for, the caller is told instead.
    """

    initial: float = 0.2
    longest: float = 5.0
    jitter: float = 0.5
    total: float = 45.0
    patience: float = 10.0


@dataclass(slots=True)
class Traffic:
    """What went over the wire since the start: plain sums for `status`."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_received: int = 0
