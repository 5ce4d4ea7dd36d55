"""`npmmirror sync` with dependencies, or of a lock file: what goes in, and what is told of it."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from npmmirror.cli.output import complain, plural, say, say_json, shown_bytes, visible
from npmmirror.errors import StorageError, UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.cli.registry import Registry
    from npmmirror.config import Config
    from npmmirror.pipeline.closure import Asked
    from npmmirror.policy.closure import Root

Report = dict[str, Any]
COMMAND_LINE = "command line"
"""Who requires what somebody named, in the place of a package's version."""
_SHOWN = 3
_REST = "what is done is kept; the same command goes on from there"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was typed. `depth` None: all the way down."""

    specs: list[str]
    lockfiles: list[Path]
    all_versions: bool
    production: bool
    depth: int | None
    nodes: list[str]
    force: bool


@dataclass(slots=True)
class _End:
    """What the reports add up to, in the shape that `--json` prints."""

    packages: list[Report] = field(default_factory=list)
    missing: list[Report] = field(default_factory=list)
    left_out: list[Report] = field(default_factory=list)
    complete: bool = False
    ended: bool = False
    fetched: int = 0
    bytes: int = 0

    def take(self, report: Report) -> None:
        """One report; an `error` ends it."""
        if "error" in report:
            raise StorageError(report["error"])
        if "package" in report:
            self.packages.append(report["package"])
        self.missing += report.get("missing", ())
        self.left_out += report.get("left_out", ())
        if "end" in report:
            told = report["end"]
            self.ended, self.complete = True, told["complete"]
            self.fetched, self.bytes = told["fetched"], told["bytes"]

    def to_json(self) -> Report:
        """For scripts."""
        return {
            "complete": self.complete,
            "packages": self.packages,
            "missing": self.missing,
            "left_out": self.left_out,
        }


def close_over(config: "Config", wish: Wish, *, as_json: bool) -> None:
    """Do it and tell of it.

    Raises:
        UsageError: what is asked for, or a lock file, is not understood.
    """
    from npmmirror.cli.interrupt import carry_out, interrupted  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    asked, left_out = _asked(wish)
    with Meter(quiet=as_json) as meter:
        end, registry, cut_off = carry_out(lambda by: _work(config, asked, meter, by))
    end.left_out = [*left_out, *end.left_out]
    if as_json:
        say_json(end.to_json())
    else:
        _conclude(end, registry, cut_off=cut_off)
    if cut_off:
        raise interrupted(_REST)
    if not end.ended:
        complain("the daemon stopped before it came to the end; ask again when it runs")
    if not end.complete:
        raise typer.Exit(1)


def _asked(wish: Wish) -> "tuple[Asked, list[Report]]":
    """What is to be mirrored, and what the lock files want that is of no registry."""
    from npmmirror.pipeline.closure import Asked  # noqa: PLC0415 - keeps --help fast
    from npmmirror.policy.semver import version_of  # noqa: PLC0415 - as above

    for node in wish.nodes:
        if version_of(node) is None:
            raise UsageError(f"--node {node!r} is no version; write one such as 20.11.1")
    roots, left_out = list(_named(wish)), []
    for path in wish.lockfiles:
        found, elsewhere = _locked(path)
        roots += found
        left_out += elsewhere
    asked = Asked(
        roots=tuple(roots),
        depth=0 if wish.lockfiles else wish.depth,
        developed=not wish.production and not wish.lockfiles,
        nodes=tuple(wish.nodes),
        force=wish.force,
    )
    return asked, left_out


def _named(wish: Wish) -> "Iterator[Root]":
    from npmmirror.policy import parse_spec  # noqa: PLC0415 - keeps --help fast
    from npmmirror.policy.closure import Root  # noqa: PLC0415 - as above
    from npmmirror.policy.requirements import ANY  # noqa: PLC0415 - as above

    for text in wish.specs:
        try:
            name, spec = parse_spec(text)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if spec is not None or not wish.all_versions:
            yield Root(name, spec if spec is not None else ANY, COMMAND_LINE)
        if wish.all_versions:
            yield Root(name, None, COMMAND_LINE)


def _locked(path: Path) -> "tuple[list[Root], list[Report]]":
    """The versions that a lock file wants, and what it wants from elsewhere."""
    from npmmirror.lockfiles import LockfileError, read  # noqa: PLC0415 - keeps --help fast
    from npmmirror.policy.closure import Root  # noqa: PLC0415 - as above

    by = visible(str(path))
    try:
        found = read(_content(path))
    except LockfileError as error:
        raise UsageError(f"cannot read the lock file {by}: {error}") from error
    roots = [
        Root(each.package, each.version, by, each.integrity, each.optional)
        for each in found.packages
    ]
    elsewhere = [
        {"name": each.name, "spec": each.spec, "what": each.what, "required_by": [by]}
        for each in found.elsewhere
    ]
    return roots, elsewhere


def _content(path: Path) -> bytes:
    """What is in the file, or one byte more than a lock file may have."""
    from npmmirror.lockfiles import MAX_BYTES  # noqa: PLC0415 - keeps --help fast

    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read the lock file {visible(str(path))}: {error.strerror}"
        ) from error


async def _work(
    config: "Config", asked: "Asked", meter: "Meter", interruption: "Interruption"
) -> "tuple[_End, Registry | None, bool]":
    """Have it done, by the daemon where one runs; the end, whom this process asked, and whether
    Ctrl-C ended it before its time."""  # noqa: D205, D209 - one sentence
    from npmmirror.cli.registry import registry_without_feed  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon import standalone  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above

    end = _End()
    interruption.rest = "the daemon goes on with it: `npmmirror status` tells how far it is"
    if await _by_daemon(config, asked, meter, end):
        return end, None, False
    interruption.rest = _REST
    registry = registry_without_feed(config.upstream, server=config.server)
    with interruption.drains() as stop:
        reports = await standalone.close_over(
            config,
            Source(registry.url),
            asked,
            progress=lambda told: _show(meter, told.found, told.done, told.bytes),
            stop=stop,
        )
    for report in reports:
        end.take(report)
    return end, registry, interruption.asked


async def _by_daemon(config: "Config", asked: "Asked", meter: "Meter", end: _End) -> bool:
    """Whether there is a daemon, which did it then."""
    import msgspec  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - as above

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is None:
            return False
        async with aclosing(daemon.closure(msgspec.to_builtins(asked))) as reports:
            async for report in reports:
                if (told := report.get("progress")) is not None:
                    _show(meter, told["found"], told["done"], told["bytes"])
                else:
                    end.take(report)
    return True


def _show(meter: "Meter", found: int, done: int, received: int) -> None:
    meter.show(
        {
            "phase": "sync",
            "done": done,
            "total": found,
            "bytes": received,
            "total_bytes": None,
            "growing": True,
        }
    )


def _conclude(end: _End, registry: "Registry | None", *, cut_off: bool) -> None:
    """What is left out and what is missing, a line each; then the sum."""
    for each in end.left_out:
        complain(f"left out, {_line(each['name'], each['spec'], each['what'], each)}")
    for each in () if cut_off else end.missing:
        told = "optional, not there: " if each["optional"] else ""
        complain(told + _line(each["package"], each["spec"], each["reason"], each))
    if registry is not None and not any(_is_there(each) for each in end.packages):
        from npmmirror.cli.sync import whom_it_asked  # noqa: PLC0415 - that module needs this one

        complain(whom_it_asked(registry))
    say(_sum(end))


def _line(name: str, spec: str, reason: str, each: Report) -> str:
    return f"{visible(name)}@{visible(spec)}: {visible(reason)}{_required_by(each['required_by'])}"


def _required_by(names: Sequence[str]) -> str:
    if list(names) == [COMMAND_LINE]:
        return ""
    shown = ", ".join(visible(name) for name in names[:_SHOWN])
    rest = len(names) - _SHOWN
    return f"; required by {shown}" + (f" and {rest:,} more" if rest > 0 else "")


def _is_there(package: Report) -> bool:
    return any(version["held"] for version in package["versions"])


def _sum(end: _End) -> str:
    versions = [version for package in end.packages for version in package["versions"]]
    held = sum(version["held"] for version in versions)
    return (
        f"{held:,} of {plural(len(versions), 'version')} of {plural(len(end.packages), 'package')} "
        f"held; {plural(end.fetched, 'tarball')} fetched and verified "
        f"({shown_bytes(end.bytes)})"
    )
