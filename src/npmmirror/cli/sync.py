"""`npmmirror sync`."""

from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli import completion
from npmmirror.cli.closure import Wish, close_over
from npmmirror.cli.output import complain, plural, say, say_json, shown_bytes, visible
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.cli.registry import Registry
    from npmmirror.config import Config

Report = dict[str, Any]
Tell = Callable[[Report], None]


def sync(
    context: typer.Context,
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME[@VERSION|@TAG|@RANGE]",
            help="What to mirror.",
            autocompletion=completion.packages,
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Read more of them, one a line; - is stdin."
        ),
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="The tarballs of all versions.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever is held, and whatever the policy says.")
    ] = False,
    with_dependencies: Annotated[
        bool, typer.Option("--with-dependencies", help="And all that they need to be installed.")
    ] = False,
    production: Annotated[
        bool, typer.Option("--production", help="Without devDependencies of those named.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=0, help="Only so many steps away.")
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            "--node", metavar="VERSION", help="For clients on this Node; else on any since 20."
        ),
    ] = None,
    lockfile: Annotated[
        list[Path] | None,
        typer.Option(
            "--lockfile", metavar="FILE", help="What a lock file of npm, pnpm or Yarn names."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Mirror packages now, in the versions asked for.

    Example: npmmirror sync left-pad chalk@^5 @babel/core@latest
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out, interrupted  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    wanted = [*(specs or []), *_listed(file)]
    _check_options(
        named=bool(wanted),
        locked=bool(lockfile),
        closed=with_dependencies,
        others=production or depth is not None or bool(node),
    )
    if with_dependencies or lockfile:
        wish = Wish(
            specs=wanted,
            lockfiles=lockfile or [],
            all_versions=all_versions,
            production=production,
            depth=depth,
            nodes=node or [],
            force=force,
        )
        close_over(for_work(context), wish, as_json=as_json)
        return
    if not wanted:
        raise UsageError("name at least one package, or a file of them with --file")
    config = for_work(context)
    options = {"all_versions": all_versions, "force": force}
    with Meter(quiet=as_json) as meter:
        ends, asked, cut_off = carry_out(lambda by: _work(config, wanted, options, meter, by))
    if as_json:
        say_json(ends)
    else:
        _conclude(ends, asked)
    if cut_off:
        raise interrupted("what is done is kept; the same command goes on from there")
    if not all(end["complete"] for end in ends):
        raise typer.Exit(1)


def _check_options(*, named: bool, locked: bool, closed: bool, others: bool) -> None:
    """Refuse what would be passed over in silence."""
    if locked and (named or closed):
        raise UsageError("a lock file names all that it needs; ask for it without names")
    if others and not closed:
        raise UsageError("--production, --depth and --node go with --with-dependencies")
    if closed and not named:
        raise UsageError("name at least one package, or a file of them with --file")


def _listed(file: Path | None) -> Iterator[str]:
    """Names of a file, one a line; empty lines and those that begin with # say nothing."""
    if file is None:
        return
    try:
        text = (
            typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the list {file}: {why}") from error
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield name


async def _work(
    config: "Config",
    specs: list[str],
    options: dict[str, bool],
    meter: "Meter",
    interruption: "Interruption",
) -> "tuple[list[Report], Registry | None, bool]":
    """Have it done, by the daemon where one runs.

    Returns:
        The last report of each package, the registry where it was this process that asked, and
        whether Ctrl-C ended it before its time.
    """
    from npmmirror.cli.registry import registry_without_feed  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon import standalone  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.pipeline.sync import wishes  # noqa: PLC0415 - as above

    asked = wishes(specs, all_versions=options["all_versions"], mode=config.policy.tarballs)
    tell = _Teller(len(asked), meter)
    interruption.rest = "the daemon goes on with it: `npmmirror status` tells how far it is"
    told = await _by_daemon(config, specs, options, tell)
    if told is not None:
        return [told.get(package) or _untouched(package) for package in asked], None, False
    interruption.rest = "what is done is kept; the same command goes on from there"
    registry = registry_without_feed(config.upstream, server=config.server)
    with interruption.drains() as stop:
        reports = await standalone.sync(
            config,
            Source(registry.url),
            asked,
            force=options["force"],
            progress=lambda report: tell(report.to_json()),
            stop=stop,
        )
    found = {report.package: report.to_json() for report in reports}
    ends = [found.get(package) or _untouched(package) for package in asked]
    return ends, registry, interruption.asked


async def _by_daemon(
    config: "Config", specs: list[str], options: dict[str, bool], tell: Tell
) -> dict[str, Report] | None:
    """The daemon's last word on each package that it came to; None where there is no daemon."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is None:
            return None
        ends: dict[str, Report] = {}
        async with aclosing(daemon.sync(specs, options)) as reports:
            async for report in reports:
                if report.pop("end", False):
                    ends[report["package"]] = report
                else:
                    tell(report)
        return ends


def _untouched(package: str) -> Report:
    """A package that was not come to before Ctrl-C, or before the daemon stopped."""
    return {
        "package": package,
        "complete": False,
        "outcome": "not done: it was interrupted",
        "tarballs": {},
        "missing": {},
        "waiting": 0,
    }


class _Teller:
    """Tells how far it is: a line for each package that moves, and the sum of all."""

    def __init__(self, total: int, meter: "Meter") -> None:
        self._total = total
        self._meter = meter
        self._bytes: dict[str, int] = {}
        self._done: set[str] = set()
        self._show()

    def __call__(self, report: Report) -> None:
        """What failed is told at the end, all of it together."""
        if self._meter.quiet:
            return
        if _there(report):
            say(_step(report))
        self._bytes[report["package"]] = sum(report["tarballs"].values())
        if not report["waiting"]:
            self._done.add(report["package"])
        self._show()

    def _show(self) -> None:
        self._meter.show(
            {
                "phase": "sync",
                "done": len(self._done),
                "total": self._total,
                "bytes": sum(self._bytes.values()),
                "total_bytes": None,
            }
        )


def _there(report: Report) -> bool:
    """Whether the package itself could be had, whatever became of its tarballs."""
    return report["outcome"] in {"mirrored", "unchanged"}


def _step(report: Report) -> str:
    name = visible(report["package"])
    held, waiting = len(report["tarballs"]), report["waiting"]
    size = shown_bytes(sum(report["tarballs"].values()))
    line = f"{name}: {report['outcome']}"
    if held:
        line += f", {plural(held, 'tarball')} ({size})"
    if waiting:
        line += f", {waiting:,} to go"
    return line


def _conclude(ends: list[Report], asked: "Registry | None") -> None:
    """What is not there, and why; then the sum."""
    for end in ends:
        if not end["complete"]:
            for line in _lacks(end):
                complain(f"{visible(end['package'])}{line}")
    if any(_is_refused(end) for end in ends):
        complain("what the policy does not want, --force fetches all the same")
    elif asked is not None and not any(_there(end) for end in ends):
        complain(whom_it_asked(asked))
    complete = sum(end["complete"] for end in ends)
    tarballs = [size for end in ends for size in end["tarballs"].values()]
    say(
        f"{complete:,} of {plural(len(ends), 'package')} complete; "
        f"{plural(len(tarballs), 'tarball')} fetched and verified ({shown_bytes(sum(tarballs))})"
    )


def _is_refused(end: Report) -> bool:
    """Whether the policy does not want something of it."""
    reasons = (end["outcome"] or "", *end["missing"].values())
    return any(reason.startswith("policy (") for reason in reasons)


def _lacks(end: Report) -> Iterator[str]:
    """What a package lacks, a line each, to be put behind its name."""
    if not _there(end):
        yield f": {visible(end['outcome'] or 'no answer')}"
    for version, reason in end["missing"].items():
        yield f"@{visible(version)}: {visible(reason)}"
    if end["waiting"]:
        yield f": {plural(end['waiting'], 'tarball')} left on the work list"


def whom_it_asked(registry: "Registry") -> str:
    """Where to look when not one package could be had."""
    from npmmirror.config.keys import without_password  # noqa: PLC0415 - keeps --help fast

    return (
        f"the registry asked was {without_password(registry.url)} ({registry.origin}); "
        "NPM_CONFIG_REGISTRY, or upstream.registry in mirror.toml, names another registry"
    )
