"""An upstream whose certificate cannot be trusted, until it can."""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from npmmirror.testing.remote import RemoteUpstream
from tests.daemon.tls_front import TlsFront
from tests.disks.daemon import DiskDaemon
from tests.kill.trial import settled

pytestmark = pytest.mark.long

Context = Callable[[trustme.CA], ssl.SSLContext]


def served(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """What a server with this certificate speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def good(ca: trustme.CA) -> ssl.SSLContext:
    """What it should be."""
    return served(ca.issue_cert("localhost"))


def unknown(ca: trustme.CA) -> ssl.SSLContext:
    """Signed by somebody whom nobody knows."""
    del ca
    return served(trustme.CA().issue_cert("localhost"))


def expired(ca: trustme.CA) -> ssl.SSLContext:
    """Nobody renewed it."""
    now = datetime.now(UTC)
    before, after = now - timedelta(days=90), now - timedelta(days=1)
    return served(ca.issue_cert("localhost", not_before=before, not_after=after))


def another(ca: trustme.CA) -> ssl.SSLContext:
    """That of another host."""
    return served(ca.issue_cert("another.example"))


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that the daemon trusts, as an operator would have it: by SSL_CERT_FILE."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


@pytest.fixture
def upstream() -> Iterator[RemoteUpstream]:
    """A scripted upstream in another process, empty."""
    with RemoteUpstream("--living", "0") as upstream:
        yield upstream


@pytest.fixture
def front(ca: trustme.CA, upstream: RemoteUpstream) -> Iterator[TlsFront]:
    """The same upstream behind TLS."""
    with TlsFront(int(upstream.url.rpartition(":")[2]), good(ca)) as front:
        yield front


SAID: dict[Context, bytes] = {
    unknown: b"unable to get local issuer certificate",
    expired: b"certificate has expired",
    another: b"Hostname mismatch",
}


@pytest.mark.parametrize("bad", SAID, ids=["unknown", "expired", "another"])
def test_a_registry_with_a_bad_certificate_is_waited_out(
    tmp_path: Path, ca: trustme.CA, upstream: RemoteUpstream, front: TlsFront, *, bad: Context
) -> None:
    """Fetching pauses as a whole with plain words, nobody's attempt is used up, and it goes on."""
    settings = {"UPSTREAM__REGISTRY": f"https://localhost:{front.port}", "FETCH__MAX_ATTEMPTS": 1}
    with DiskDaemon(tmp_path / "mirror", upstream, settings) as daemon:
        upstream.do("publish", name="p0", version="1.0.0")
        daemon.start()
        daemon.wait_for_head()
        front.present(bad(ca))
        for number in range(1, 12):
            upstream.do("publish", name=f"p{number}", version="1.0.0")
        line = daemon.wait_for_line(b'"fetching_paused"', b'"tls"', SAID[bad])
        assert b"its certificate is not accepted: " in line
        front.present(good(ca))
        daemon.wait_for_head()
        settled(upstream, daemon)


def test_a_feed_with_a_bad_certificate_is_waited_out(
    tmp_path: Path, ca: trustme.CA, upstream: RemoteUpstream, front: TlsFront
) -> None:
    """The follower says why, and goes on where it was."""
    feed = upstream.feed.replace(upstream.url, f"https://localhost:{front.port}")
    with DiskDaemon(tmp_path / "mirror", upstream, {"UPSTREAM__FEED": feed}) as daemon:
        upstream.do("publish", name="p0", version="1.0.0")
        daemon.start()
        daemon.wait_for_head()
        front.present(expired(ca))
        upstream.do("publish", name="p1", version="1.0.0")
        daemon.wait_for_line(b'"follow_failed"', b"its certificate is not accepted: ")
        front.present(good(ca))
        daemon.wait_for_head()
        settled(upstream, daemon)
