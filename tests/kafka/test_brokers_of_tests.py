"""The brokers that tests are run against do not stand in each other's way."""

from pathlib import Path

import pytest

from tests.kafka.broker import cluster_id, free_ports, listens, shared_broker


def test_no_identity_of_a_cluster_is_taken_for_an_option() -> None:
    """One of 64 began with a dash: the broker's tool took it for an option, and failed."""
    assert not [one for one in (cluster_id() for _ in range(1000)) if one.startswith("-")]


def test_a_port_is_given_to_nobody_else() -> None:
    """Neither by us nor by the kernel, also while its broker is down."""
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    found = free_ports(50) + free_ports(50)
    assert len(set(found)) == 100
    assert not set(found) & set(range(int(first), int(last) + 1))


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_a_broker_is_shared_until_the_last_one_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of one run share it, and who comes afterwards gets another one."""
    monkeypatch.delenv("NPMMIRROR_TEST_KAFKA", raising=False)
    with shared_broker(tmp_path) as address:
        for _ in range(2):
            with shared_broker(tmp_path) as same:
                assert same == address
        assert listens(address)
    assert not listens(address)
    assert not (tmp_path / "address").exists()
