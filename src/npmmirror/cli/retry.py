"""`npmmirror retry`."""

from typing import TYPE_CHECKING, Annotated

import typer

from npmmirror.cli.output import plural, say

if TYPE_CHECKING:
    from npmmirror.config import Config


def retry(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Packages; all where none is named."),
    ] = None,
) -> None:
    """Try again now what failed before, dead letters included.

    Example: npmmirror retry left-pad
    """
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli import logs  # noqa: PLC0415 - as above
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above

    config = load(context.obj.config_file).config
    logs.configure(config.log, verbose=context.obj.verbose)
    if uvloop.run(_retry(config, names or [])):
        raise typer.Exit(1)


async def _retry(config: "Config", names: list[str]) -> int:
    """Wake the rows, and work them off where no daemon does; how many are left then."""
    from npmmirror.cli.registry import registry_without_feed  # noqa: PLC0415 - as above
    from npmmirror.control.client import daemon_of  # noqa: PLC0415 - as above
    from npmmirror.daemon import standalone  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above

    async with daemon_of(config.storage.data_dir) as daemon:
        if daemon is not None:
            rows = await daemon.retry(names)
            say(f"{plural(rows, 'row')} of the work list made due; the daemon tries them now")
            return 0
    source = Source(registry_without_feed(config.upstream).url)
    rows, left = await standalone.retry(config, source, frozenset(names) or None)
    say(f"{plural(rows, 'row')} of the work list woken, {left:,} left")
    return left
