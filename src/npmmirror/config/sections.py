"""The configuration's sections: every key, its type, its bounds, its default and what it does.

`mirror.toml` and `docs/configuration.md` are made from these models (`npmmirror.config.reference`).
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    Strict,
    model_validator,
)
from pydantic_core import PydanticCustomError

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):[0-9]{1,5}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
PATH_OR_PEM: dict[str, JsonValue] = {"path_or_pem": True}
"""Marks a key whose value is a path, or what the file there would hold."""
_OWN_FILES = frozenset(
    {
        *("lock", "control.sock", "in_work", "in_work.new", "reset.json", "reset.new"),
        *("buffer.db", "buffer.db-wal", "buffer.db-shm", "research.db"),
        *("captures", "damaged", "staging", "packages", "set_aside"),
    }
)

_MIB = 1 << 20
_GIB = 1 << 30


def base_url(text: str) -> str:
    """A URL that paths can be put behind: http or https, without its last slash.

    Raises:
        ValueError: it is no such URL; the message says what it must be.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a URL without spaces and control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError("must be a URL with a valid host and port") from error
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise ValueError("must be a URL with a valid host and port")
    if "?" in text or "#" in text:
        raise ValueError("must have no query (?) and no fragment (#)")
    return text.rstrip("/")


def registry_of_feed(feed: str) -> str:
    """The registry that belongs to a feed: its host with `replicate.` replaced by `registry.`.

    A feed on any other host is a CouchDB database, which answers with the documents itself.
    """
    parts = urlsplit(feed)
    user, at, host = parts.netloc.rpartition("@")
    if not host.startswith("replicate."):
        return feed
    return f"{parts.scheme}://{user}{at}registry.{host.removeprefix('replicate.')}"


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError('must be hosts in small letters, such as "files.example" or "host:8080"')
    return text


def _header_text(text: str) -> str:
    if not text.isascii() or not (text.isprintable() or text == ""):
        raise ValueError("must be one line of ASCII text, for it is sent in a header")
    return text


def _directory(value: object) -> object:
    """Paths are written as text; everything else is left to the type's own check."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("must be a directory's path")
    if value.startswith("~"):
        raise ValueError('must not begin with "~": write the whole path')
    return Path(value)


def _file_name(text: str) -> str:
    if not text or text in {".", ".."} or "/" in text or not text.isprintable():
        raise ValueError("must be a file name without a directory: the file lies in data_dir")
    if text in _OWN_FILES:
        raise ValueError("must be another name: this one is taken by another file of data_dir")
    return text


def _file(value: object) -> object:
    """As `_directory`, for a file."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("must be a file's path")
    if value.startswith("~"):
        raise ValueError('must not begin with "~": write the whole path')
    return Path(value)


def _broker(text: str) -> str:
    if not _BROKER.fullmatch(text):
        raise ValueError('must be brokers as host:port, such as "localhost:9092"')
    return text


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("must be a topic's name: letters, digits, and . _ -, at most 249 of them")
    return text


def _one_line(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be one line of text that is not empty")
    return text


def path_or_pem(text: str, base: Path) -> str:
    """A PEM document as it is; anything else as a path, which starts at `base`."""
    return text if text.lstrip().startswith("-----BEGIN") else str(base / text)


def _since(value: object) -> object:
    """`"now"`, a number, or an opaque text; bool is an int only to Python."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError('must be "now", or a seq of the feed: a number, or its text in quotes')
    if isinstance(value, int) and value < 0:
        raise ValueError("must be at least 0")
    if isinstance(value, str) and value.isdecimal():
        raise ValueError("must be a number without quotes")
    return value


BaseUrl = Annotated[str, AfterValidator(base_url)]
Directory = Annotated[Path, BeforeValidator(_directory)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Strict(False)]
File = Annotated[Path, BeforeValidator(_file)]
Brokers = Annotated[
    tuple[Annotated[str, AfterValidator(_broker)], ...], Strict(False), Field(min_length=1)
]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def contradiction(message: str, *keys: str) -> PydanticCustomError:
    """The error of keys of one section whose values are possible alone, but not together."""
    return PydanticCustomError("contradiction", "{message}", {"keys": keys, "message": message})


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, no value of another type made to fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _not_less(section: Section, greater: str, less: str) -> None:
    """Refuse a section in which the key `greater` has a smaller value than the key `less`."""
    limit, value = getattr(section, greater), getattr(section, less)
    if limit < value:
        raise contradiction(
            f"{greater} ({limit:_}) must not be less than {less} ({value:_})", greater, less
        )


class UpstreamSection(Section):
    """The registry that is mirrored, and how it is asked."""

    feed: BaseUrl = Field(
        "https://replicate.npmjs.com/registry",
        description="The changes feed to follow: npm's replication service, or a CouchDB database "
        "that holds a registry's documents.",
    )
    registry: BaseUrl | None = Field(
        None,
        description="The registry that is asked for packuments and tarballs. Where it is not set, "
        "`run` takes the feed's host with `replicate.` replaced by `registry.` (on any other host "
        "the feed's own URL); `sync` and other commands that need no feed look at npm's own "
        "configuration first.",
        examples=["https://registry.example"],
    )
    tarball_hosts: Hosts = Field(
        (),
        description="Hosts beside the registry's own that tarballs may be fetched from, where a "
        'packument or a redirect leads there, such as ["files.example"].',
    )
    contact: Annotated[str, AfterValidator(_header_text)] = Field(
        "",
        description="How upstream's operators reach you: a mail address or a URL. It is sent in "
        "the User-Agent.",
    )
    connect_seconds: Seconds = Field(
        10.0, description="How long making a connection may take, in seconds."
    )
    read_seconds: Seconds = Field(
        60.0, description="How long upstream may be silent within an answer, in seconds."
    )
    total_seconds: Seconds = Field(
        600.0, description="How long a whole request may take, its body included, in seconds."
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        4,
        description="How often a request is sent in quick succession before it counts as failed "
        "and waits in the work list.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("connect_seconds", "read_seconds"):
            _not_less(self, "total_seconds", name)
        return self


class FollowSection(Section):
    """How the changes feed is followed."""

    since: Annotated[int | str, BeforeValidator(_since)] = Field(
        "now",
        description='Where following begins: "now", or a seq of the feed. Read only at the very '
        "first start, where neither the index nor the capture log knows how far the mirror is.",
    )
    page_rows: Annotated[int, Field(ge=1, le=10_000)] = Field(
        10_000, description="How many rows of the feed are asked for at once."
    )
    poll_seconds: Seconds = Field(
        5.0,
        description="How long to wait between two looks at the feed once its end is reached, in "
        "seconds. Behind the end there is no wait.",
    )


class KafkaSection(Section):
    """The topic that is the buffer where its backend is "kafka", and how its brokers are reached."""

    bootstrap_servers: Brokers = Field(
        ("localhost:9092",),
        description="Brokers that are asked for the others, each as host:port.",
    )
    topic: Annotated[str, AfterValidator(_topic)] = Field(
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
    group: Annotated[str, AfterValidator(_one_line)] = Field(
        "npmmirror",
        description="The consumer group whose offsets show to others how far the mirror is. "
        "Nothing reads them back.",
    )
    client_id: Annotated[str, AfterValidator(_one_line)] = Field(
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


class FetchSection(Section):
    """How packuments and tarballs are fetched, and how failures are tried again."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="How many packages are worked on at the same time."
    )
    work_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25,
        description="The share of those that the work list (retries, tarballs left over) gets "
        "while there are live changes too.",
    )
    tarballs_per_job: Count = Field(
        50,
        description="How many tarballs one job fetches; those beyond wait in the work list, so "
        "that a package with thousands does not hold up its new changes.",
    )
    large_packument_bytes: Count = Field(
        2 * _MIB,
        description="Packuments of more than this many bytes wait on disk and pass one at a time, "
        "which bounds the memory in use.",
    )
    max_packument_bytes: Count = Field(
        256 * _MIB,
        description="Packuments of more than this many bytes, decompressed, are refused and "
        "recorded as failed.",
    )
    max_attempts: Count = Field(
        12,
        description="How many jobs may fail for a packument or tarball before it is set aside as "
        "a dead letter, until its next change or `npmmirror retry`.",
    )
    retry_seconds: Seconds = Field(
        30.0,
        description="The pause before the first retry, in seconds. Each further one is about "
        "twice as long.",
    )
    retry_max_seconds: Seconds = Field(
        21_600.0, description="The longest pause between two retries, in seconds."
    )
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        20.0,
        description="How long work in progress may go on after a request to stop, in seconds. "
        "What is not done by then is done after the next start.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _not_less(self, "retry_max_seconds", "retry_seconds")
        _not_less(self, "max_packument_bytes", "large_packument_bytes")
        return self


class PolicySection(Section):
    """What is kept."""

    tarballs: Literal["none", "latest", "new", "all"] = Field(
        "new",
        description='Which tarballs are fetched. "none": no tarball, packuments only. "latest": '
        'the version that the tag latest names. "new": latest at the first sight of a package, and '
        'every version published since. "all": every version.',
    )
    max_tarball_bytes: Count = Field(
        _GIB, description="Tarballs of more than this many bytes are skipped, and recorded so."
    )
    confirm_removal_answers: Count = Field(
        3,
        description='How many answers "not found" it takes to record a package as removed '
        "upstream. Nothing that is held is ever deleted for it.",
    )
    confirm_removal_hours: Annotated[float, Field(ge=0)] = Field(
        24.0, description="How long those answers must lie apart, first to last, in hours."
    )


class StorageSection(Section):
    """Where things are on disk. Relative paths start at the directory of the configuration file."""

    data_dir: Directory = Field(
        Path("data"),
        description="The directory that holds the mirror: capture log, index, buffer, and "
        "tarballs where packages_dir is not set.",
        examples=["./data"],
    )
    staging_dir: Directory | None = Field(
        None,
        description="Where files are while they are fetched and checked. Not set: staging in "
        "data_dir. Best on a local disk. It must hold nothing else: leftovers are deleted.",
        examples=["/var/tmp/npmmirror"],  # noqa: S108 - an example in a comment, nothing is written there
    )
    packages_dir: Directory | None = Field(
        None,
        description="Where the tarballs are. Not set: packages in data_dir. May be a NAS.",
        examples=["/mnt/nas/packages"],
    )
    index: Annotated[str, AfterValidator(_file_name)] = Field(
        "index.db", description="The file name of the index, a SQLite database in data_dir."
    )
    subdirectory_hash_length: Annotated[int, Field(ge=1, le=8)] = Field(
        2,
        description="How many hex digits of the SHA-256 of a package's name make the subdirectory "
        "of packages_dir that its tarballs lie in. Files that are there stay valid on a change.",
    )
    commit_count: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="How many finished jobs are made durable together at most."
    )
    commit_seconds: Seconds = Field(
        0.5, description="How long a finished job waits at most for others, in seconds."
    )
    segment_bytes: Annotated[int, Field(ge=1024)] = Field(
        _GIB,
        description="The size in bytes at which the capture log begins a new file. Closed files "
        "never change, which suits rsync.",
    )
    min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        _GIB,
        description="Fetching pauses while a disk of the mirror has fewer bytes free than this, "
        "and goes on by itself.",
    )

    @property
    def staging_path(self) -> Path:
        """The directory of temp files."""
        return self.staging_dir or self.data_dir / "staging"

    @property
    def packages_path(self) -> Path:
        """The directory of tarballs."""
        return self.packages_dir or self.data_dir / "packages"

    @property
    def set_aside_path(self) -> Path:
        """The directory of records of the buffer that are no changes."""
        return self.data_dir / "set_aside"

    @property
    def index_path(self) -> Path:
        """The index's file."""
        return self.data_dir / self.index

    def under(self, base: Path) -> Self:
        """The same, with relative paths starting at `base`."""
        paths = {name: base / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        # staging is emptied at start, and packages is searched for orphans
        for other in (self.data_dir, self.packages_path):
            if other.is_relative_to(self.staging_path):
                raise contradiction(
                    "staging_dir must not hold data_dir or packages_dir", "staging_dir"
                )
        for other in (self.data_dir, self.staging_path):
            if other.is_relative_to(self.packages_path):
                raise contradiction(
                    "packages_dir must not hold data_dir or staging_dir", "packages_dir"
                )
        return self


class LogSection(Section):
    """What is written to the standard error output."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important messages that are written."
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto",
        description='How they are written. "json": an object a line. "console": for people. '
        '"auto": console on a terminal, else json.',
    )
    changes: Literal["info", "debug"] = Field(
        "info",
        description='How important the line is that each finished change gets. "debug" keeps it '
        "out of a log whose level is info; what failed is told in any case.",
    )
    max_changes_per_second: Annotated[int, Field(ge=0, le=100_000)] = Field(
        10,
        description="How many of these lines are written a second. Beyond that one line a second "
        "sums up the rest, as while catching up. 0 leaves the sums alone.",
    )


class Config(Section):
    """The whole configuration."""

    upstream: UpstreamSection = UpstreamSection()
    follow: FollowSection = FollowSection()
    buffer: BufferSection = BufferSection()
    fetch: FetchSection = FetchSection()
    policy: PolicySection = PolicySection()
    storage: StorageSection = StorageSection()
    log: LogSection = LogSection()
