"""`npmmirror erase`."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from npmmirror.cli import completion
from npmmirror.cli.output import complain, plural, say, say_json, shown_bytes, visible
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config
    from npmmirror.daemon.erase import Plan

_YES = {"y", "yes"}


def erase(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The package.", autocompletion=completion.packages),
    ],
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the capture log.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON; needs --yes or --dry-run.")
    ] = False,
) -> None:
    """Erase all that is held of a package, where the law asks for it.

    Example: npmmirror erase some-package --reason "court order 7/2026" --dry-run
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    if not reason.strip():
        raise UsageError("--reason needs words: it is all that will be left to explain it")
    asks = not (yes or dry_run)
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError("erasing for good wants to be sure: add --yes, or --dry-run to look first")
    config = for_work(context)
    with Meter(quiet=as_json) as meter:
        work = partial(_work, config, name, reason, dry_run=dry_run, asks=asks, meter=meter)
        plan = carry_out(work)
    if as_json:
        say_json(plan.to_json())
    else:
        _conclude(plan, dry_run=dry_run)
    if plan.damaged or not (plan.done or dry_run):
        raise typer.Exit(1)


async def _work(
    config: "Config",
    name: str,
    reason: str,
    interruption: "Interruption",
    *,
    dry_run: bool,
    asks: bool,
    meter: "Meter",
) -> "Plan":
    from npmmirror.cli.interrupt import answer_to  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.erase import erase as carry_out  # noqa: PLC0415 - as above

    interruption.rest = "nothing was erased"

    async def agree(plan: "Plan") -> bool:
        if not meter.quiet:
            for line in _told(plan):
                say(line)
        if dry_run:
            return False
        if asks and (await answer_to("Erase all of it, for good? [y/N]")).lower() not in _YES:
            return False
        interruption.rest = "the same command finishes what it began"
        return True

    return await carry_out(config, name, reason, agree, tell=meter.show)


def _told(plan: "Plan") -> Iterator[str]:
    """What there is."""
    files = (*plan.files, *plan.aside)
    size = shown_bytes(sum(file.size for file in files))
    yield (
        f"{visible(plan.package)}: {plural(len(plan.documents), 'captured document')} "
        f"({shown_bytes(plan.document_bytes)} of captures), {plural(len(files), 'file')} ({size})"
    )


def _conclude(plan: "Plan", *, dry_run: bool) -> None:
    name = visible(plan.package)
    if plan.nothing_left:
        say(f"{name} was erased before: nothing is left of it")
    elif dry_run:
        say("nothing was erased (--dry-run)")
    elif plan.done:
        say(f"{name} is erased; the capture log says so, and why")
    else:
        say("nothing was erased")
    for error in plan.damaged:
        complain(f"{visible(error)} It cannot be blanked.")
    if plan.elsewhere and (plan.done or dry_run):
        complain("These copies may hold data of it, too:")
        for path in plan.elsewhere:
            complain(f"  {path}")
