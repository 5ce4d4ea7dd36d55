"""`npmmirror erase`."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from npmmirror.cli.output import complain, plural, say, say_json, shown_bytes, visible
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.config import Config
    from npmmirror.daemon.erase import Plan


def erase(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The package.")],
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
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli import logs  # noqa: PLC0415 - as above
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above

    if not reason.strip():
        raise UsageError("--reason needs words: it is all that will be left to explain it")
    asks = not (yes or dry_run)
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError("erasing for good wants to be sure: add --yes, or --dry-run to look first")
    config = load(context.obj.config_file).config
    logs.configure(config.log.model_copy(update={"level": "error"}), verbose=context.obj.verbose)
    plan = uvloop.run(_work(config, name, reason, dry_run=dry_run, asks=asks, quiet=as_json))
    if as_json:
        say_json(plan.to_json())
    else:
        _conclude(plan, dry_run=dry_run)
    if plan.damaged or not (plan.done or dry_run):
        raise typer.Exit(1)


async def _work(
    config: "Config", name: str, reason: str, *, dry_run: bool, asks: bool, quiet: bool
) -> "Plan":
    from npmmirror.daemon.erase import erase as carry_out  # noqa: PLC0415 - keeps --help fast

    async def agree(plan: "Plan") -> bool:
        if not quiet:
            for line in _told(plan):
                say(line)
        return not dry_run and (not asks or typer.confirm("Erase all of it, for good?"))

    return await carry_out(config, name, reason, agree)


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
