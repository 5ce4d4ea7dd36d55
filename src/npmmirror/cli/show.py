"""`npmmirror show`."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from npmmirror.cli import completion
from npmmirror.cli.output import say, say_json
from npmmirror.cli.show_lines import (
    Report,
    event_lines,
    package_lines,
    revision_lines,
    version_lines,
)
from npmmirror.cli.show_past import past_lines
from npmmirror.cli.times import Times
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.config import Config
    from npmmirror.past import When

EVENTS = 20


def show(
    context: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION|@TAG]",
            help="The package, or one version.",
            autocompletion=completion.packages,
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, with everything.")] = False,
    packument: Annotated[
        bool,
        typer.Option("--packument", help="Write the captured document itself, byte for byte."),
    ] = False,
    revision: Annotated[
        int | None,
        typer.Option(
            "--revision",
            metavar="N",
            help="Show the N-th captured document instead (1 is the oldest; stale ones count); "
            "with --packument, write that one.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="Show the package as it was then: a time with its zone (2026-11-20T10:00:00Z), or "
            "seq:N, the N-th record of the capture log.",
        ),
    ] = None,
    events: Annotated[
        int, typer.Option("--events", metavar="N", min=0, help="So many events, the newest.")
    ] = EVENTS,
    utc: Annotated[
        bool, typer.Option("--utc", help="Times by the clock, not by their distance.")
    ] = False,
) -> None:
    """Show what is stored of a package, what is missing, and why.

    Example: npmmirror show chalk@latest
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.policy import parse_spec  # noqa: PLC0415 - as above

    try:
        name, version = parse_spec(spec)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if version is not None and (packument or revision is not None or at is not None):
        raise UsageError("a document is the whole package's: write its name without a version")
    which = _when(at, revision) if at is not None else revision
    config = load(context.obj.config_file).config
    if packument:
        sys.stdout.buffer.write(carry_out(lambda _: _document(config, name, which)))
        sys.stdout.buffer.flush()
        return
    report = carry_out(lambda _: _report(config, name, version, which))
    if as_json:
        say_json(report)
        return
    for line in _lines(report, events, Times(utc=utc)):
        say(line)


def _when(at: str, revision: int | None) -> "When":
    from npmmirror.past import parse_when  # noqa: PLC0415 - keeps --help fast

    if revision is not None:
        raise UsageError("--at and --revision each name a document: write one of them")
    try:
        return parse_when(at)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from error


async def _document(config: "Config", name: str, which: "int | When | None") -> bytes:
    from npmmirror.daemon.showing import shown  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.showing_past import shown_past  # noqa: PLC0415 - as above

    if which is None or isinstance(which, int):
        async with shown(config) as showing:
            return await showing.document(name, which)
    async with shown_past(config, which) as past:
        return await past.document(name)


async def _report(
    config: "Config", name: str, version: str | None, which: "int | When | None"
) -> Report:
    from npmmirror.daemon.showing import shown  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.showing_past import shown_past  # noqa: PLC0415 - as above

    if which is not None and not isinstance(which, int):
        async with shown_past(config, which) as past:
            return await past.package(name)
    async with shown(config) as showing:
        if version is not None:
            return await showing.version(name, version)
        if which is not None:
            return await showing.revision(name, which)
        return await showing.package(name)


def _lines(report: Report, events: int, times: Times) -> Iterator[str]:
    """The report for people, whichever of the four it is."""
    if "removed_by" in report:
        yield from past_lines(report, times)
        yield from event_lines(report["events"], events, times)
    elif "revisions" in report:
        yield from package_lines(report, times)
        yield from event_lines(report["events"], events, times)
    elif "revision" in report:
        yield from revision_lines(report, times)
    else:
        yield from version_lines(report, times)
        yield from event_lines(report["events"], events, times)
