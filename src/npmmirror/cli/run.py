"""`npmmirror run`."""

import typer


def run(context: typer.Context) -> None:
    """Follow the registry's changes and mirror them, until told to stop.

    Example: npmmirror --config /etc/npmmirror/mirror.toml run
    """
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli import logs  # noqa: PLC0415 - as above
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above
    from npmmirror.cli.registry import registry_of_run  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.daemon.run import run as run_daemon  # noqa: PLC0415 - as above

    config = load(context.obj.config_file).config
    logs.configure(config.log, verbose=context.obj.verbose)
    source = Source(registry_of_run(config.upstream).url, config.upstream.feed)
    uvloop.run(run_daemon(config, source, watch_crashes=True))
