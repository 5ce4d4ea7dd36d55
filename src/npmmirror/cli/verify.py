"""`npmmirror verify`."""

from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli import completion
from npmmirror.cli.output import (
    columns,
    complain,
    paint,
    plural,
    say,
    say_json,
    shown_bytes,
    visible,
)
from npmmirror.errors import NpmmirrorError, UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.config import Config
    from npmmirror.daemon.verification.run import Asked

Report = dict[str, Any]

LISTED = 50
"""Findings that are told one by one; --json has more."""
_NEXT = (
    ({"missing", "altered", "unreadable"}, "`npmmirror verify --repair` fetches tarballs again"),
    ({"lost"}, "`npmmirror retry` asks again for what was lost"),
    ({"capture_damaged", "document_unreadable"}, "put that segment back from a copy"),
    ({"not_indexed", "not_recorded", "index_differs"}, "`npmmirror reindex` makes the index anew"),
)
"""What helps against which findings."""


def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Packages; everything where none is named.",
            autocompletion=completion.packages,
        ),
    ] = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Fetch again what is missing or altered.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Repair even where much of the archive is damaged.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Begin anew, not where an interrupted one left off."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Hash everything again; compare files, capture log and index.

    Example: npmmirror verify --repair left-pad
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above
    from npmmirror.daemon.verification.run import Asked  # noqa: PLC0415 - as above

    if force and not repair:
        raise UsageError("--force says how to repair: it needs --repair")
    config = for_work(context)
    asked = Asked(tuple(dict.fromkeys(names)) if names else None, repair, restart, force)
    with Meter(quiet=as_json) as meter:
        report = carry_out(lambda by: _work(config, asked, meter.show, by))
    if as_json:
        say_json(report)
    else:
        for line in columns(list(_sum(report))):
            say(line)
        say(_verdict(report))
        for line in _findings(report):
            complain(line)
    if not report["well"]:
        raise typer.Exit(1)


async def _work(
    config: "Config", asked: "Asked", tell: Callable[[Report], None], interruption: "Interruption"
) -> Report:
    """Have it done, by the daemon where one runs; the report."""
    from npmmirror.cli.interrupt import interrupted  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.registry import registry_of_run, registry_without_feed  # noqa: PLC0415 - as above
    from npmmirror.daemon import standalone  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.daemon.showing import shown  # noqa: PLC0415 - as above

    async with shown(config) as showing:
        for name in asked.packages or ():
            await showing.known(name)
    interruption.rest = "the daemon goes on with it; the same command watches it again"
    report = await _by_daemon(config, asked, tell)
    interruption.rest = "the next `npmmirror verify` goes on from there" * (asked.packages is None)
    if report is None:
        upstream, server = config.upstream, config.server
        found = (
            registry_without_feed(upstream, server=server)
            if asked.repair
            else registry_of_run(upstream)
        )
        source = Source(found.url)
        with interruption.drains() as stop:
            report = await standalone.verify(config, source, asked, tell=tell, stop=stop)
    if report is None:
        raise interrupted(interruption.rest)
    return report


async def _by_daemon(
    config: "Config", asked: "Asked", tell: Callable[[Report], None]
) -> Report | None:
    """What the daemon reports at the end; None where there is none."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is None:
            return None
        async with aclosing(daemon.verify(asked.to_json())) as reports:
            async for report in reports:
                if "error" in report:
                    raise NpmmirrorError(report["error"])
                if report.pop("end", False):
                    return report
                tell(report)
    raise NpmmirrorError("the daemon went away; the next `npmmirror verify` goes on from there")


def _sum(report: Report) -> Iterator[tuple[str, str]]:
    """What was looked at."""
    if report["packages"] is None:
        yield "capture log", plural(report["records"], "record")
    erased = f", {report['documents_erased']:,} erased" if report["documents_erased"] else ""
    size = shown_bytes(report["document_bytes"])
    yield "documents", f"{report['documents']:,} decoded and hashed ({size}){erased}"
    yield "tarballs", f"{report['tarballs']:,} hashed ({shown_bytes(report['tarball_bytes'])})"
    yield "files", f"{report['files']:,} found"
    if report["problems"]:
        left = report["problems"] - report["repaired"]
        yield "problems", f"{report['problems']:,}, {report['repaired']:,} repaired, {left:,} left"


def _verdict(report: Report) -> str:
    """In a sentence; where something is left, what to do next."""
    if report["well"]:
        told = "as it should be" if not report["problems"] else "as it should be again"
        return paint(f"everything is {told}", "green")
    found = {finding["what"] for finding in report["findings"] if not finding["repaired"]}
    advice = [text for kinds, text in _NEXT if found & kinds]
    return paint("not everything is as it should be", "red") + "".join(f"; {t}" for t in advice)


def _findings(report: Report) -> Iterator[str]:
    """What is wrong, and what became of it."""
    findings = sorted(report["findings"], key=lambda finding: finding["repaired"])
    for finding in findings[:LISTED]:
        yield _finding(finding)
    left_out = report["problems"] - len(findings[:LISTED])
    if left_out:
        yield f"and {left_out:,} more: --json tells them"
    if report["refused"]:
        yield paint(f"not repaired: {visible(report['refused'])}", "red")


def _finding(finding: Report) -> str:
    name = finding["package"] or finding["path"] or "the capture log"
    if finding["version"] is not None:
        name += f"@{finding['version']}"
    text = f"{visible(name)}: {finding['what'].replace('_', ' ')}"
    if finding["detail"]:
        text += f" ({visible(finding['detail'])})"
    if finding["path"] and finding["package"]:
        text += f", {visible(finding['path'])}"
    return f"{text}; {visible(finding['repair'])}" if finding["repair"] else text
