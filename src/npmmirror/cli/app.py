"""The program `npmmirror`: its options, its commands, and how it ends."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from npmmirror import __version__
from npmmirror.cli import (
    backfill,
    buffer,
    completion,
    config,
    coverage,
    demo,
    erase,
    policy,
    prune,
    reconcile,
    reindex,
    removals,
    reset,
    retry,
    run,
    serve,
    show,
    status,
    sync,
    verify,
)
from npmmirror.cli.help import Command, FrontPage, Group
from npmmirror.cli.output import complain, paint
from npmmirror.errors import NpmmirrorError


@dataclass(frozen=True, slots=True)
class Options:
    """What was said before the command's name; commands find it as `context.obj`."""

    config_file: Path | None
    verbose: bool


app = typer.Typer(
    name="npmmirror",
    cls=FrontPage,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS = {
    "Mirror": (
        demo.demo,
        run.run,
        serve.serve,
        sync.sync,
        retry.retry,
        backfill.backfill,
        reconcile.reconcile,
    ),
    "Look": (status.status, show.show, coverage.coverage),
    "Keep": (verify.verify, prune.prune, reindex.reindex, erase.erase, reset.reset),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(cls=Command, rich_help_panel=_panel)(_command)
app.add_typer(buffer.group, name="buffer", cls=Group, rich_help_panel="Look")
app.add_typer(removals.group, name="removals", cls=Group, rich_help_panel="Keep")
app.add_typer(policy.group, name="policy", cls=Group, rich_help_panel="Look")
app.add_typer(config.group, name="config", cls=Group, rich_help_panel="Set up")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"npmmirror {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The configuration. Else NPMMIRROR_CONFIG, ./mirror.toml, "
            "/etc/npmmirror/mirror.toml.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log everything, whatever log.level says.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A faithful, verified mirror of an npm registry, with its whole history.

    It follows the registry's changes feed, keeps every revision of every packument and the
    tarballs you want, each checked against the registry's own digests. Kill it at any time: it
    goes on where it was. Each command has a --help with an example.
    """
    context.obj = Options(config_file, verbose)


def main() -> None:
    """Run the command that the words of the command line name, and end the process."""
    completion.mend_words(os.environ)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream in a test's memory
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # or a file
    try:
        app(prog_name="npmmirror")
    except Exception as error:
        told = plain_error(error)
        if told is None:
            raise
        complain(f"{paint('npmmirror:', 'red', sys.stderr)} {told}")
        sys.exit(told.exit_status)


def plain_error(error: BaseException) -> NpmmirrorError | None:
    """The error that a person has to read; None where there is a bug to be seen whole.

    Tasks that fail together come as a group: its first error is told if all of them are plain.
    """
    if isinstance(error, BaseExceptionGroup):
        told = [plain_error(inner) for inner in error.exceptions]
        return told[0] if None not in told else None
    return error if isinstance(error, NpmmirrorError) else None
