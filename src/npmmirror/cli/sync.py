"""`npmmirror sync`."""

from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import complain, plural, say, say_json, shown_bytes, visible
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.config import Config

Report = dict[str, Any]


def sync(
    context: typer.Context,
    specs: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME[@VERSION|@TAG|@RANGE]...", help="What to mirror."),
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read more of them, one a line; - is stdin.")
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="The tarballs of all versions.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Ask upstream anew, whatever is held.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Mirror packages now: their documents, and the versions that are asked for.

    Example: npmmirror sync left-pad chalk@^5 @babel/core@latest
    """
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli import logs  # noqa: PLC0415 - as above
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above

    wanted = [*(specs or []), *_listed(file)]
    if not wanted:
        raise UsageError("name at least one package, or a file of them with --file")
    config = load(context.obj.config_file).config
    logs.configure(config.log.model_copy(update={"level": "error"}), verbose=context.obj.verbose)
    options = {"all_versions": all_versions, "force": force}
    tell = (lambda _: None) if as_json else (lambda report: say(_step(report)))
    ends = uvloop.run(_work(config, wanted, options, tell))
    if as_json:
        say_json(ends)
    else:
        _conclude(ends)
    if not all(end["complete"] for end in ends):
        raise typer.Exit(1)


def _listed(file: Path | None) -> Iterator[str]:
    """Names of a file, one a line; empty lines and those that begin with # say nothing."""
    if file is None:
        return
    try:
        text = (
            typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the list {file}: {error}") from error
    for line in text.splitlines():
        name = line.strip()
        if name and not name.startswith("#"):
            yield name


async def _work(
    config: "Config", specs: list[str], options: dict[str, bool], tell: Callable[[Report], None]
) -> list[Report]:
    """Have it done, by the daemon where one runs; the last report of each package."""
    from npmmirror.cli.registry import registry_without_feed  # noqa: PLC0415 - as above
    from npmmirror.daemon import standalone  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.pipeline.sync import wishes  # noqa: PLC0415 - as above

    asked = wishes(specs, all_versions=options["all_versions"], mode=config.policy.tarballs)
    ends = await _by_daemon(config, specs, options, tell)
    if ends is not None:
        return ends
    reports = await standalone.sync(
        config,
        Source(registry_without_feed(config.upstream).url),
        asked,
        force=options["force"],
        progress=lambda report: tell(report.to_json()),
    )
    found = {report.package: report.to_json() for report in reports}
    return [found.get(package) or _untouched(package) for package in asked]


async def _by_daemon(
    config: "Config", specs: list[str], options: dict[str, bool], tell: Callable[[Report], None]
) -> list[Report] | None:
    """What the daemon reports; None where there is none."""
    from npmmirror.control.client import daemon_of  # noqa: PLC0415 - keeps --help fast

    async with daemon_of(config.storage.data_dir) as daemon:
        if daemon is None:
            return None
        ends: list[Report] = []
        async with aclosing(daemon.sync(specs, options)) as reports:
            async for report in reports:
                if report.get("end"):
                    ends.append(report)
                else:
                    tell(report)
        return ends


def _untouched(package: str) -> Report:
    """A package that was not come to before Ctrl-C."""
    return {
        "package": package,
        "complete": False,
        "outcome": "not done: it was interrupted",
        "tarballs": {},
        "missing": {},
        "waiting": 0,
    }


def _step(report: Report) -> str:
    """How far a package is, in a line."""
    name = visible(report["package"])
    held, waiting = len(report["tarballs"]), report["waiting"]
    size = shown_bytes(sum(report["tarballs"].values()))
    line = f"{name}: {visible(report['outcome'] or 'asked')}"
    if held:
        line += f", {plural(held, 'tarball')} ({size})"
    if waiting:
        line += f", {waiting} to go"
    return line


def _conclude(ends: list[Report]) -> None:
    """What is not there, and why; then the sum."""
    for end in ends:
        if not end["complete"]:
            name = visible(end["package"])
            if end["outcome"] not in {"mirrored", "unchanged"}:
                complain(f"{name}: {visible(end['outcome'] or 'no answer')}")
            for version, reason in end["missing"].items():
                complain(f"{name}@{visible(version)}: {visible(reason)}")
            if end["waiting"]:
                complain(f"{name}: {plural(end['waiting'], 'tarball')} left on the work list")
    complete = sum(end["complete"] for end in ends)
    tarballs = [size for end in ends for size in end["tarballs"].values()]
    say(
        f"{complete} of {plural(len(ends), 'package')} complete; "
        f"{plural(len(tarballs), 'tarball')} fetched and verified ({shown_bytes(sum(tarballs))})"
    )
