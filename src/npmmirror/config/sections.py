"""The configuration's sections: every key, its type, its bounds, its default and what it does.

`mirror.toml` and `docs/configuration.md` are made from these models (`npmmirror.config.reference`).
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from npmmirror.config.buffer import BufferSection
from npmmirror.config.policy import PolicySection
from npmmirror.config.section import Section, contradiction, not_less
from npmmirror.config.server import ServerSection, is_own_address
from npmmirror.config.values import (
    BaseUrl,
    Count,
    Directory,
    FileName,
    HeaderText,
    Hosts,
    Seconds,
    Since,
)

_MIB = 1 << 20
_GIB = 1 << 30


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
        "`run` takes the feed's host with `replicate.` replaced by `registry.` (of another "
        "mirror's feed its `/-/raw`, on any other host the feed's own URL); `sync` and other "
        "commands that need no feed look at npm's own configuration first.",
        examples=["https://registry.example"],
    )
    tarball_hosts: Hosts = Field(
        (),
        description="Hosts beside the registry's own that tarballs may be fetched from, where a "
        'packument or a redirect leads there, such as ["files.example"].',
    )
    contact: HeaderText = Field(
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
            not_less(self, "total_seconds", name)
        return self


class FollowSection(Section):
    """How the changes feed is followed."""

    since: Since = Field(
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
    overlap_seqs: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        10_000,
        description="How many seqs back the feed is read again now and then, for rows that were "
        "inserted late. Does nothing where seqs are no numbers. 0: only overlap_minutes counts.",
    )
    overlap_minutes: Annotated[float, Field(ge=0, le=4320)] = Field(
        180.0,
        description="How old each stretch of the feed is, in minutes, when it is read again for "
        "the last time. npm shows rows up to two hours late. 0: only overlap_seqs counts.",
    )
    overlap_every_minutes: Seconds = Field(
        10.0,
        description="How long to wait between two such readings, in minutes. They are made at the "
        "end of the feed only.",
    )
    head_fall_minutes: Seconds = Field(
        10.0,
        description="How long the feed's head must lie below the cursor, in minutes, until the "
        "mirror believes that it went back, goes on from there, and asks for a reconciliation.",
    )
    stall_minutes: Annotated[float, Field(ge=0)] = Field(
        10.0,
        description="How long the cursor may stand still while the feed goes on, in minutes, until "
        "the connection to the feed is made anew. 0: for ever.",
    )
    stall_lag: Annotated[int, Field(ge=0)] = Field(
        200,
        description="By how many seqs the follow lag may grow from its lowest, at the end of the "
        "feed, until the connection to the feed is made anew. 0: by any.",
    )
    stall_restarts: Annotated[int, Field(ge=0)] = Field(
        3,
        description="How many new connections may bring no progress before the daemon ends with "
        "exit status 69, for systemd to start it again. 0: it never does.",
    )
    reconcile_days: Annotated[float, Field(ge=0)] = Field(
        7.0,
        description="How often the whole list of packages is held against the index, in days, "
        "which finds what the feed lost. 0: never by itself, only by `npmmirror reconcile`.",
    )


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
        not_less(self, "retry_max_seconds", "retry_seconds")
        not_less(self, "max_packument_bytes", "large_packument_bytes")
        return self


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
    index: FileName = Field(
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
    server: ServerSection = ServerSection()
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def _asks_another(self) -> Self:
        for key in ("registry", "feed"):
            url = getattr(self.upstream, key)
            if url is not None and is_own_address(url, self.server):
                path = f"upstream.{key}"
                raise contradiction(f"{path} must not be server.listen: a mirror of itself", path)
        return self

    @model_validator(mode="after")
    def _without_conflict(self) -> Self:
        # What the guard refuses is a failure: the policy would never come to its own word.
        limit, guard = self.policy.max_packument_bytes, self.fetch.max_packument_bytes
        if limit > guard:
            raise contradiction(
                f"policy.max_packument_bytes ({limit:_}) must not be greater than "
                f"fetch.max_packument_bytes ({guard:_})",
                "policy.max_packument_bytes",
                "fetch.max_packument_bytes",
            )
        return self
