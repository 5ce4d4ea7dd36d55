"""`npmmirror retry`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli import completion
from npmmirror.cli.output import plural, say, say_json

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config

Report = dict[str, Any]


def retry(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Packages; all where none is named.",
            autocompletion=completion.packages,
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Try again now what failed before, dead letters included.

    Example: npmmirror retry left-pad
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out, interrupted  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    config = for_work(context)
    with Meter(quiet=as_json) as meter:
        report, cut_off = carry_out(lambda by: _retry(config, names or [], meter, by))
    if as_json:
        say_json(report)
    else:
        say(_told(report))
    if cut_off:
        raise interrupted("what is left stays on the work list")
    if report["left"]:
        raise typer.Exit(1)


async def _retry(
    config: "Config", names: list[str], meter: "Meter", interruption: "Interruption"
) -> tuple[Report, bool]:
    """Wake the rows, and work them off where no daemon does; whether Ctrl-C ended that."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.registry import registry_without_feed  # noqa: PLC0415 - as above
    from npmmirror.daemon import standalone  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is not None:
            return {"by_daemon": True, "rows": await daemon.retry(names), "left": None}, False
    source = Source(registry_without_feed(config.upstream, server=config.server).url)
    with interruption.drains() as stop:
        rows, left = await standalone.retry(
            config, source, frozenset(names) or None, tell=meter.show, stop=stop
        )
    return {"by_daemon": False, "rows": rows, "left": left}, interruption.asked


def _told(report: Report) -> str:
    rows = f"{plural(report['rows'], 'row')} of the work list"
    if report["by_daemon"]:
        return f"{rows} made due; the daemon tries them now (`npmmirror status`)"
    left = f"{rows} tried, {report['left']:,} left"
    return f"{left}; `npmmirror status` tells why" if report["left"] else left
