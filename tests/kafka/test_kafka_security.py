"""TLS and SASL against a broker that insists on them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npmmirror.buffer.base import BufferUnavailableError
from npmmirror.buffer.kafka_security import connection_options
from npmmirror.config import KafkaSection
from npmmirror.errors import UsageError
from tests.buffer.contract import append, changes
from tests.kafka.broker import Broker
from tests.kafka.conftest import buffer_of, section

pytestmark = [pytest.mark.anyio, pytest.mark.kafka, pytest.mark.timeout(400)]

PASSWORD = "correct horse"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
PLAIN = (
    f'org.apache.kafka.common.security.plain.PlainLoginModule required user_mirror="{PASSWORD}";'
)
PROPERTIES = {
    f"listener.name.{name}.{key}": value
    for name in ("sasl_plaintext", "sasl_ssl")
    for key, value in {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "plain.sasl.jaas.config": PLAIN,
        "scram-sha-256.sasl.jaas.config": SCRAM,
        "scram-sha-512.sasl.jaas.config": SCRAM,
    }.items()
}


class Certificates:
    """An authority, and certificates that it vouches for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca"),
            *("-keyout", "ca.key", "-out", "ca.pem"),
        )
        self.make("broker")
        self.make("mirror")

    def make(self, name: str) -> None:
        (self.directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem"),
        )

    def text(self, file: str) -> str:
        return (self.directory / file).read_text()

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True)

    @property
    def properties(self) -> dict[str, str]:
        """What a broker needs of them."""
        store = self.directory / "broker.store"
        store.write_text(self.text("broker.key") + self.text("broker.pem"))
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca),
            "listener.name.ssl.ssl.client.auth": "required",
        }


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def strict_broker(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """A broker that wants to know who is there."""
    directory = tmp_path_factory.mktemp("strict")
    listeners = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
    properties = PROPERTIES | certificates.properties
    with Broker(directory, listeners, properties, users={"mirror": PASSWORD}) as broker:
        yield broker


def strict(broker: Broker, topic: str, protocol: str, **keys: Any) -> KafkaSection:
    return section(broker.addresses[protocol], topic, security_protocol=protocol, **keys)


async def works(made: KafkaSection, directory: Path) -> None:
    """A page can be appended and is held."""
    async with buffer_of(made, directory) as buffer:
        await buffer.refresh()
        assert await buffer.holds(await append(buffer, changes(1, 5)))


async def refusal(made: KafkaSection, directory: Path) -> str:
    """What is told where it is refused."""
    async with buffer_of(made, directory) as buffer:
        with pytest.raises(BufferUnavailableError) as caught:
            await buffer.refresh()
    return str(caught.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_user_with_the_right_password(
    strict_broker: Broker, topic: str, tmp_path: Path, mechanism: str
) -> None:
    """By each of the mechanisms."""
    user = {"sasl_mechanism": mechanism, "sasl_username": "mirror", "sasl_password": PASSWORD}
    await works(strict(strict_broker, topic, "SASL_PLAINTEXT", **user), tmp_path)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_told_without_it(
    strict_broker: Broker, topic: str, tmp_path: Path, mechanism: str
) -> None:
    """Who refuses whom, in words that the broker chose."""
    user = {"sasl_mechanism": mechanism, "sasl_username": "mirror", "sasl_password": "hunter2"}
    told = await refusal(strict(strict_broker, topic, "SASL_PLAINTEXT", **user), tmp_path)
    address = strict_broker.addresses["SASL_PLAINTEXT"]
    assert f"{address} refuses the user mirror" in told
    assert "hunter2" not in told


async def test_a_password_from_a_file_over_tls(
    strict_broker: Broker, certificates: Certificates, topic: str, tmp_path: Path
) -> None:
    """As systemd gives credentials; the line break at its end is not part of it."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    made = strict(
        strict_broker,
        topic,
        "SASL_SSL",
        sasl_username="mirror",
        sasl_password_file=str(tmp_path / "password"),
        ssl_ca=str(certificates.ca),
    )
    await works(made, tmp_path)


@pytest.mark.parametrize("contents", [True, False], ids=["contents", "files"])
async def test_a_certificate_for_the_mirror(
    strict_broker: Broker,
    certificates: Certificates,
    topic: str,
    tmp_path: Path,
    *,
    contents: bool,
) -> None:
    """As files or as their contents."""
    names = {"ssl_ca": "ca.pem", "ssl_certificate": "mirror.pem", "ssl_key": "mirror.key"}
    given = {
        key: certificates.text(name) if contents else str(certificates.directory / name)
        for key, name in names.items()
    }
    await works(strict(strict_broker, topic, "SSL", **given), tmp_path)


async def test_a_broker_that_nobody_vouches_for(
    strict_broker: Broker, topic: str, tmp_path: Path
) -> None:
    """The machine does not know the authority."""
    told = await refusal(strict(strict_broker, topic, "SSL"), tmp_path)
    assert "certificate verify failed" in told


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"ssl_ca": "/nowhere/ca.pem"}, "ssl_ca: /nowhere/ca.pem: No such file"),
        ({"ssl_ca": "-----BEGIN nonsense"}, "ssl_ca: no right PEM"),
        (
            {"ssl_certificate": "-----BEGIN x", "ssl_key": "-----BEGIN hunter2"},
            "ssl_certificate and ssl_key: no right PEM",
        ),
        (
            {
                "security_protocol": "SASL_SSL",
                "sasl_username": "u",
                "sasl_password_file": "/nowhere/secret",
            },
            "sasl_password_file: /nowhere/secret: No such file",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(keys: dict[str, Any], sentence: str) -> None:
    """At the start, with the key's name and without its value."""
    made = section("localhost:9092", "t", **{"security_protocol": "SSL", **keys})
    with pytest.raises(UsageError) as caught:
        connection_options(made)
    assert f"buffer.kafka.{sentence}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
