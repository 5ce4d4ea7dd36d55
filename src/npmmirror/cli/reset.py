"""`npmmirror reset`."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npmmirror.cli.output import (
    columns,
    complain,
    facts,
    paint,
    plural,
    say,
    say_json,
    shown_bytes,
    visible,
)
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config
    from npmmirror.daemon.reset import Part, Plan

_YES = {"y", "yes"}
_EFFECTS = {
    "index": "what is known of the archive; work list, attempts, checks and skips",
    "buffer": "the changes that wait in it; the feed is read again for them",
    "archive": "every captured document and every tarball, for good",
    "cursor": "where the feed was read to",
}


def reset(
    context: typer.Context,
    *,
    index: Annotated[
        bool, typer.Option("--index", help="The index; `reindex` makes it anew of the archive.")
    ] = False,
    buffer: Annotated[
        bool, typer.Option("--buffer", help="The buffer; the feed is read again for it.")
    ] = False,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="All documents and tarballs, for good. Not lightly."),
    ] = False,
    cursor: Annotated[
        bool, typer.Option("--cursor", help="Where the feed was read to; follow.since holds again.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All four.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    confirm: Annotated[
        Path | None,
        typer.Option(
            "--confirm",
            metavar="DIR",
            help="The data directory, written out: what --yes needs where the archive goes.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON; needs --yes or --dry-run.")
    ] = False,
) -> None:
    """Start over with index, buffer, archive or cursor.

    Example: npmmirror reset --index --dry-run
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    said: dict[Part, bool] = {
        "index": index,
        "buffer": buffer,
        "archive": archive,
        "cursor": cursor,
    }
    parts: list[Part] = [part for part, wanted in said.items() if wanted or everything]
    asks = not (yes or dry_run)
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError("deleting wants to be sure: add --yes, or --dry-run to look first")
    config = for_work(context)
    _check_confirmed(config, parts, yes=yes and not dry_run, confirm=confirm)
    with Meter(quiet=as_json) as meter:
        work = partial(_work, config, parts, dry_run=dry_run, asks=asks, meter=meter)
        plan = carry_out(work)
    if as_json:
        say_json(plan.to_json())
    else:
        _conclude(plan, dry_run=dry_run)
    if not (plan.done or dry_run):
        raise typer.Exit(1)


def _check_confirmed(
    config: "Config", parts: Sequence[str], *, yes: bool, confirm: Path | None
) -> None:
    """No script deletes the archive of a directory that it does not name."""
    data_dir = config.storage.data_dir
    if confirm is not None and confirm.resolve() != data_dir.resolve():
        raise UsageError(f"--confirm names {confirm}, and the data directory is {data_dir}")
    if yes and "archive" in parts and confirm is None:
        raise UsageError(
            f"the archive is the mirror itself: beside --yes it takes --confirm {data_dir}"
        )


async def _work(
    config: "Config",
    parts: "Sequence[Part]",
    interruption: "Interruption",
    *,
    dry_run: bool,
    asks: bool,
    meter: "Meter",
) -> "Plan":
    from npmmirror.daemon import reset as resetting  # noqa: PLC0415 - keeps --help fast

    interruption.rest = "nothing was deleted"

    async def agree(plan: "Plan") -> bool:
        _refuse_nothing(plan)
        meter.clear()
        if not meter.quiet:
            _tell(plan)
        if asks and not await _agreed(plan):
            return False
        interruption.rest = "the same command finishes what it began"
        return True

    if dry_run:
        plan = await resetting.plan_of(config, parts, meter.show)
        _refuse_nothing(plan)
        meter.clear()
        if not meter.quiet:
            _tell(plan)
        return plan
    return await resetting.reset(config, parts, agree, tell=meter.show)


def _refuse_nothing(plan: "Plan") -> None:
    if not plan.parts:
        raise UsageError("say what to start over: --index, --buffer, --archive, --cursor, or --all")


async def _agreed(plan: "Plan") -> bool:
    """Ask; where the archive goes, an answer that nobody gives by habit."""
    from npmmirror.cli.interrupt import answer_to  # noqa: PLC0415 - keeps --help fast

    if "archive" not in plan.parts:
        return (await answer_to("Delete it? [y/N]")).lower() in _YES
    say("This deletes the mirror itself. Nothing brings back what upstream no longer has.")
    directory = str(plan.data_dir)
    return await answer_to(f"To go on, type {directory}\n>") == directory


def _tell(plan: "Plan") -> None:
    """What goes, and what stays."""
    say(paint(visible(str(plan.data_dir)), "bold"))
    if plan.unfinished:
        words = ", ".join(plan.unfinished)
        say(f"An earlier reset ({words}) was not finished; it is finished now.")
    rows = [
        (going.part, plural(going.count, going.unit), _size(going.size))
        if going.part != "cursor"
        else (going.part, "not known" if plan.cursor is None else plan.cursor, "")
        for going in plan.going
    ]
    say("what goes")
    for line in columns(rows, indent="  "):
        say(line)
    for going in plan.going:
        for place in going.places:
            say(f"    {visible(place)}")
    say("what that means")
    for line in facts([(f"  {part}", text) for part, text in _meaning(plan)]):
        say(line)
    if plan.stranger_count:
        say(f"{plural(plan.stranger_count, 'file')} there that the mirror did not make will stay:")
        for stranger in plan.strangers:
            say(f"    {visible(stranger)}")


def _size(size: int | None) -> str:
    return "" if size is None else shown_bytes(size)


def _meaning(plan: "Plan") -> Iterator[tuple[str, str]]:
    parts = set(plan.parts)
    for part in plan.parts:
        text = _EFFECTS[part]
        if part == "cursor":
            text += f"; `run` begins at follow.since = {plan.since!r} again"
        yield part, text
    if "archive" in parts and "index" not in parts:
        kept = "nothing" if "cursor" in parts else "where the feed was read to"
        yield "index", f"is begun anew, for it is made of the archive; of it {kept} stays"
    if {"archive", "index"} <= parts and "cursor" not in parts:
        yield (
            "cursor",
            f"nothing knows it then: `run` begins at follow.since = {plan.since!r} again",
        )
    stays = [
        part for part in _EFFECTS if part not in parts and part not in dict(_gone_along(parts))
    ]
    if stays:
        yield "stays", ", ".join(stays)


def _gone_along(parts: "set[Part]") -> Iterator[tuple[str, str]]:
    """What goes without having been named."""
    if "archive" in parts:
        yield "index", "archive"
        if "index" in parts:
            yield "cursor", "archive"


def _conclude(plan: "Plan", *, dry_run: bool) -> None:
    if dry_run:
        say("nothing was deleted (--dry-run)")
    elif not plan.done:
        complain("nothing was deleted")
    else:
        say(f"done; next: {_next(plan)}")


def _next(plan: "Plan") -> str:
    if "index" in plan.parts and "archive" not in plan.parts:
        return "`npmmirror reindex`, then `npmmirror run`"
    return "`npmmirror run`, or `npmmirror sync NAME`"
