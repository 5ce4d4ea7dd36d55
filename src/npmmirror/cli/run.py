"""`npmmirror run`."""

import gc
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from npmmirror.pipeline.examiner_start import StartedExaminer

COLLECT_AFTER = 10_000
"""New objects that start a collection of garbage. Python's 700 are made by a single document; a
hundred times more could hold hundreds of documents that failed."""
SWITCH_SECONDS = 0.0002
"""How long the event loop may keep a thread waiting for the interpreter's lock. A file that is
received takes it five times, and waited for Python's 5 ms each time: 24 ms a tarball, and 16 so
(`benchmarks/README.md`, "Catching up")."""


def run(context: typer.Context) -> None:
    """Follow the registry's changes and mirror them, until stopped.

    Example: npmmirror --config /etc/npmmirror/mirror.toml run
    """
    from npmmirror.pipeline.examiner_start import StartedExaminer  # noqa: PLC0415 - as below

    with ExitStack() as stack:
        examiner = None
        with suppress(OSError):  # told where it is tried again
            examiner = stack.enter_context(StartedExaminer())  # gets ready beside what follows
        _run(context, examiner)


def _run(context: typer.Context, examiner: "StartedExaminer | None") -> None:
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli import logs  # noqa: PLC0415 - as above
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above
    from npmmirror.cli.registry import registry_of_run  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.daemon.notify import Notifier  # noqa: PLC0415 - as above
    from npmmirror.daemon.run import run as run_daemon  # noqa: PLC0415 - as above
    from npmmirror.memory import bound  # noqa: PLC0415 - as above

    bound()
    config = load(context.obj.config_file).config
    logs.configure(config.log, verbose=context.obj.verbose, daemon=True)
    source = Source(registry_of_run(config.upstream).url, config.upstream.feed)
    notifier = Notifier.from_environment()
    _calm_collector()
    sys.setswitchinterval(SWITCH_SECONDS)
    daemon = run_daemon(config, source, own_process=True, examiner=examiner, notifier=notifier)
    try:
        uvloop.run(daemon)
    finally:
        logs.finish()


def _calm_collector() -> None:
    """Have garbage collected less often, and not looked for in what the program is made of.

    Measured by `gc.callbacks`: 0.07 ms a change instead of 0.20.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)
