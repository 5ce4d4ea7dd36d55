"""The command `npmmirror demo`."""

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

DIRECTORY = Path("npmmirror-demo")
SEED = 1


def demo(
    context: typer.Context,
    *,
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the demo's mirrors are left.")
    ] = DIRECTORY,
    no_keep: Annotated[
        bool, typer.Option("--no-keep", help="Leave nothing; else the mirrors stay, to look at.")
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Another number, other packages.")
    ] = SEED,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw what is shown as an SVG, too."),
    ] = None,
) -> None:
    """Show a mirror at work, killed once, in less than a minute.

    Example: npmmirror demo
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.demo import play  # noqa: PLC0415 - as above
    from npmmirror.cli.demo.place import check  # noqa: PLC0415 - as above

    upstream = load(context.obj.config_file).config.upstream
    check(directory)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    wrong = play.demo(upstream, directory, keep=not no_keep, seed=seed, picture=picture)
    if wrong:
        raise typer.Exit(1)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End by way of all that is to be put away."""
    raise SystemExit(128 + number)
