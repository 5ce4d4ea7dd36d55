"""The configuration of the buffer, and of the topic that it may be."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from npmmirror.config.section import Section, contradiction
from npmmirror.config.values import PATH_OR_PEM, Brokers, File, OneLine, Topic, path_or_pem


class KafkaSection(Section):
    """The topic that is the buffer where its backend is "kafka", and how its brokers are reached."""

    bootstrap_servers: Brokers = Field(
        ("localhost:9092",),
        description="Brokers that are asked for the others, each as host:port.",
    )
    topic: Topic = Field(
        "npm-changes",
        description="The topic. It is created where it is not there, and belongs to one mirror.",
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        12,
        description="How many partitions the topic is created with. One that is there with "
        "another number is used as it is.",
    )
    replication_factor: Annotated[int, Field(ge=1, le=1000)] = Field(
        1,
        description="On how many brokers each partition lies, where the topic is created. 3 on a "
        "cluster of three or more.",
    )
    compression: Literal["lz4", "zstd"] = Field(
        "lz4", description="How records are compressed. Old ones stay readable after a change."
    )
    group: OneLine = Field(
        "npmmirror",
        description="The consumer group whose offsets show to others how far the mirror is. "
        "Nothing reads them back.",
    )
    client_id: OneLine = Field(
        "npmmirror", description="The name of the mirror in the brokers' logs and metrics."
    )
    keep_hours: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        24.0,
        description="How long records that are worked off are kept for people who look, in hours. "
        "What is not worked off is never deleted.",
    )
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0,
        description="How long a reader at the topic's end waits before it looks at the topic "
        "itself, in seconds: whether it is still the same, and whole.",
    )
    poll_records: Annotated[int, Field(ge=1, le=10_000)] = Field(
        500, description="How many records are read at once."
    )
    request_seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        20.0, description="How long brokers may take for an answer, in seconds."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT",
        description="How brokers are spoken to. SSL: encrypted, which authenticates the brokers, "
        "and with ssl_certificate the mirror. SASL: the mirror has a user name and a password.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How the password is proven. PLAIN sends it as it is."
    )
    sasl_username: str | None = Field(
        None, description="The user name, where the protocol is SASL.", examples=["npmmirror"]
    )
    sasl_password: SecretStr | None = Field(
        None,
        description="The password. Better in NPMMIRROR_BUFFER__KAFKA__SASL_PASSWORD, or in a file "
        "of its own. It is never shown.",
        examples=["…"],
    )
    sasl_password_file: File | None = Field(
        None,
        description="The file that holds the password where sasl_password is not set, such as a "
        "credential of systemd. A line break at its end does not count.",
        examples=["/run/credentials/npmmirror.service/kafka-password"],
    )
    ssl_ca: str | None = Field(
        None,
        description="The certificates of those who may vouch for brokers: the path of a PEM file, "
        "or its contents. Not set: those that the machine trusts.",
        examples=["/etc/npmmirror/kafka-ca.pem"],
        json_schema_extra=PATH_OR_PEM,
    )
    ssl_certificate: str | None = Field(
        None,
        description="The mirror's own certificate, where brokers ask for one: the path of a PEM "
        "file, or its contents.",
        examples=["/etc/npmmirror/kafka.pem"],
        json_schema_extra=PATH_OR_PEM,
    )
    ssl_key: SecretStr | None = Field(
        None,
        description="The key that belongs to ssl_certificate, without a pass phrase: the path of "
        "a PEM file, or its contents. It is never shown.",
        examples=["…"],
        json_schema_extra=PATH_OR_PEM,
    )
    ssl_check_hostname: bool = Field(
        True, description="Whether a broker's certificate must name the host that was asked."
    )

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and a password are sent."""
        return self.security_protocol.startswith("SASL")

    @property
    def uses_ssl(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def under(self, base: Path) -> Self:
        """The same, with relative paths starting at `base`."""
        changed: dict[str, object] = {}
        if self.sasl_password_file is not None:
            changed["sasl_password_file"] = base / self.sasl_password_file
        for name in ("ssl_ca", "ssl_certificate"):
            if (value := getattr(self, name)) is not None:
                changed[name] = path_or_pem(value, base)
        if self.ssl_key is not None:
            changed["ssl_key"] = SecretStr(path_or_pem(self.ssl_key.get_secret_value(), base))
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.uses_sasl and not self.sasl_username:
            raise contradiction("SASL needs sasl_username", "security_protocol")
        if self.uses_sasl and self.sasl_password is None and self.sasl_password_file is None:
            raise contradiction(
                "SASL needs sasl_password or sasl_password_file", "security_protocol"
            )
        if (self.ssl_key is None) != (self.ssl_certificate is None):
            raise contradiction(
                "ssl_certificate and ssl_key belong together", "ssl_certificate", "ssl_key"
            )
        return self


class BufferSection(Section):
    """The durable buffer between the follower and the rest."""

    backend: Literal["sqlite", "kafka"] = Field(
        "sqlite",
        description='What the buffer is made of. "sqlite": a file, buffer.db in data_dir. '
        '"kafka": a topic of Apache Kafka. To move from one to the other, change it and restart.',
    )
    kafka: KafkaSection = KafkaSection()
