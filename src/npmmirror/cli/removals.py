"""`npmmirror removals list | confirm | discard`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from npmmirror.cli import completion
from npmmirror.cli.help import Command
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
from npmmirror.cli.times import Times
from npmmirror.errors import NpmmirrorError, UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config

Report = dict[str, Any]
Verdict = Literal["confirm", "discard"]

STATES = ("held", "confirming", "removed", "unpublished", "security_hold")

group = typer.Typer(
    rich_markup_mode=None,
    help="See what upstream has no longer; judge what is held back.\n\n"
    "Without a command it is `list`.\n\nExample: npmmirror removals",
)


@group.callback(invoke_without_command=True)
def _listed(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _show(context, None, utc=False, as_json=False)


@group.command("list", cls=Command)
def list_(
    context: typer.Context,
    *,
    state: Annotated[
        str | None,
        typer.Option("--state", metavar="STATE", help=f"One kind alone: {', '.join(STATES)}."),
    ] = None,
    utc: Annotated[
        bool, typer.Option("--utc", help="Times by the clock, not by their distance.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List what upstream has no longer, and what is held of it.

    Example: npmmirror removals list --state held
    """
    if state is not None and state not in STATES:
        raise UsageError(f"there is no state {state!r}; there are {', '.join(STATES)}")
    _show(context, state, utc=utc, as_json=as_json)


_NAMES = typer.Argument(
    metavar="NAME",
    help="Packages; all that are held where none is named.",
    autocompletion=completion.packages,
)


@group.command(cls=Command)
def confirm(
    context: typer.Context,
    names: Annotated[list[str] | None, _NAMES] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Record removals that are held: the packages are really gone.

    Example: npmmirror removals confirm left-pad
    """
    _decide(context, "confirm", names, as_json=as_json)


@group.command(cls=Command)
def discard(
    context: typer.Context,
    names: Annotated[list[str] | None, _NAMES] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Disbelieve removals that are held: look at them anew later.

    Example: npmmirror removals discard
    """
    _decide(context, "discard", names, as_json=as_json)


def _show(context: typer.Context, state: str | None, *, utc: bool, as_json: bool) -> None:
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.daemon.removal_list import RemovalList  # noqa: PLC0415 - as above

    found = RemovalList(load(context.obj.config_file).config, state)
    if as_json:
        carry_out(lambda _: _say_json(found.pages()))
    else:
        nothing = (
            "nothing is gone upstream" if state is None else f"no package is in the state {state}"
        )
        carry_out(lambda _: _say(found.pages(), Times(utc=utc), nothing))


async def _say_json(pages: AsyncIterator[tuple[str, list[Report]]]) -> None:
    """One object, written as it is read: a line for each package."""
    import orjson  # noqa: PLC0415 - only where JSON is asked for

    waiting = ["held", "confirming", "gone"]
    opened, comma = "breaker", ""
    async for part, items in pages:
        if part == "breaker":
            say(f'{{"breaker": {orjson.dumps(items[0]).decode()},')
            say(f'"{(opened := waiting.pop(0))}": [')
            continue
        while opened != part:
            say(f'], "{(opened := waiting.pop(0))}": [')
            comma = ""
        for item in items:
            say(comma + orjson.dumps(item).decode())
            comma = ","
    for left in waiting:
        say(f'], "{left}": [')
    say("]}")


async def _say(
    pages: AsyncIterator[tuple[str, list[Report]]],
    times: Times,
    nothing: str = "nothing is gone upstream",
) -> None:
    before = None
    async for part, items in pages:
        if part == "breaker":
            for line in _breaker(items[0], times):
                say(line)
            continue
        for line in _lines(part, items, times, begins=part != before):
            say(line)
        before = part
    if before is None:
        say(nothing)


def _lines(part: str, items: list[Report], times: Times, *, begins: bool) -> Iterator[str]:
    """A page of a part, with its title where it is the first."""
    head, row = _ROWS[part]
    rows = [row(item, times) for item in items]
    if begins:
        yield _TITLES[part]
        rows.insert(0, head)
    # Times by the clock take more room than there is; who asks for them wants them whole.
    yield from columns(rows, indent="  ", whole=times.utc)


def _breaker(breaker: Report, times: Times) -> Iterator[str]:
    if not breaker["tripped"]:
        return
    held = plural(breaker["held"], "removal")
    yield paint(f"the breaker tripped {times.tell(breaker['since'])}: {held} held", "red")
    yield "If upstream really has them no longer: npmmirror removals confirm [NAME...]"
    yield "If upstream was at fault, or nobody knows: npmmirror removals discard [NAME...]"
    yield "A package that answers again, or is announced again, is let go of by itself."


_TITLES = {
    "held": "held by the breaker",
    "confirming": "not there, and asked for again",
    "gone": "gone upstream; everything captured stays",
}


def _held(item: Report, times: Times) -> tuple[str, ...]:
    return (
        item["package"],
        item["reason"],
        times.tell(item["held_at"]),
        _evidence(item["evidence"]),
        *_holdings(item),
    )


def _confirming(item: Report, times: Times) -> tuple[str, ...]:
    return (
        item["package"],
        f"{item['answers']} of {item['needed']}",
        times.tell(item["since"]),
        times.due(item["next_at"]) if item["next_at"] else "never by itself",
        "deleted" if item["deleted_by_feed"] else "",
    )


def _gone(item: Report, times: Times) -> tuple[str, ...]:
    told = item["evidence"] if item["state"] == "removed" else {}
    found = times.tell(item["at"])
    return (item["package"], item["state"], found, _evidence(told), *_holdings(item))


def _evidence(evidence: Report) -> str:
    """What shows it, in a few words."""
    words = []
    if "status" in evidence:
        answers = evidence.get("answers")
        words.append(f"{answers}x {evidence['status']}" if answers else str(evidence["status"]))
    if evidence.get("feed") == "deleted":
        words.append("deleted")
    if "confirmed_by" in evidence:
        words.append("confirmed")
    return ", ".join(words) or "its document"


def _holdings(item: Report) -> tuple[str, str]:
    tarballs = f"{item['tarballs']:,} of {item['versions']:,}"
    return tarballs, shown_bytes(item["tarball_bytes"])


_HOLDINGS = ("tarballs", "bytes")
_ROWS = {
    "held": (("package", "reason", "held", "evidence", *_HOLDINGS), _held),
    "confirming": (("package", "answers", "since", "next", "feed"), _confirming),
    "gone": (("package", "state", "found", "evidence", *_HOLDINGS), _gone),
}


def _decide(
    context: typer.Context, verdict: Verdict, names: list[str] | None, *, as_json: bool
) -> None:
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    config = for_work(context)
    with Meter(quiet=as_json) as meter:
        report = carry_out(lambda by: _work(config, verdict, names or None, meter, by))
    report.pop("end", None)
    if as_json:
        say_json(report)
    elif report["packages"] or not report["unknown"]:
        say(_told(report))
    for name in report["unknown"]:
        complain(f"no removal of {visible(name)} is held")
    if report["unknown"]:
        raise typer.Exit(1)


async def _work(
    config: "Config",
    verdict: Verdict,
    names: list[str] | None,
    meter: "Meter",
    interruption: "Interruption",
) -> Report:
    """Have it done, by the daemon where one runs."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import interrupted  # noqa: PLC0415 - as above
    from npmmirror.daemon.index_file import index_of  # noqa: PLC0415 - as above
    from npmmirror.daemon.removals import decide_alone  # noqa: PLC0415 - as above

    interruption.rest, waits = "the daemon goes on with it", ""
    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is not None:
            async with aclosing(daemon.decide_removals(verdict, names)) as reports:
                async for report in reports:
                    if report.get("end"):
                        return report
                    if error := report.get("error"):
                        raise NpmmirrorError(error)
                    waits = _told_waits(report, waits, meter)
                    meter.show(report)
            raise NpmmirrorError("the daemon went away; the same command does what is left")
    await index_of(config)
    interruption.rest = "what is not decided is still held"
    with interruption.drains() as stop:
        done = await decide_alone(config, verdict, names, tell=meter.show, stop=stop)
    if done is None:
        raise interrupted(interruption.rest)
    return done


def _told_waits(report: Report, before: str, meter: "Meter") -> str:
    """Say once what the daemon waits for, where it does; what was said last."""
    waits = report.get("waits") or ""
    if waits and waits != before and not meter.quiet:
        complain(f"waiting with all other work, for fetching is paused: {visible(waits)}")
    return waits or before


def _told(report: Report) -> str:
    done = {
        "confirm": "recorded as removed; everything captured stays",
        "discard": "put back, to be looked at anew",
    }
    if not report["packages"] and not report["left"]:
        return "no removal is held"
    told = f"{plural(report['packages'], 'package')} {done[report['decision']]}"
    if report["left"]:
        return f"{told}; {plural(report['left'], 'removal')} still held"
    return f"{told}; no removal is held any more"
