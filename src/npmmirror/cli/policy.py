"""`npmmirror policy explain`."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from npmmirror.cli import completion
from npmmirror.cli.help import Command
from npmmirror.cli.output import columns, paint, plural, say, say_json, visible
from npmmirror.errors import UsageError

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Say what the policy wants, and why.\n\nExample: npmmirror policy explain left-pad",
)

Report = dict[str, Any]
LISTED = 50
"""Versions that are told; `--json` has all of them."""


@group.command(cls=Command)
def explain(
    context: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION|@TAG]",
            help="The package, or one version of it.",
            autocompletion=completion.packages,
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say which key or rule decides what of a package and its versions.

    Example: npmmirror policy explain left-pad@1.0.0
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.daemon.explaining import explain as explained  # noqa: PLC0415 - as above
    from npmmirror.policy import parse_spec  # noqa: PLC0415 - as above

    try:
        name, version = parse_spec(spec)
    except ValueError as error:
        raise UsageError(str(error)) from error
    config = for_work(context)
    report = carry_out(lambda _: explained(config, name, version))
    if as_json:
        say_json(report)
    else:
        for line in _told(report):
            say(line)


def _told(report: Report) -> Iterator[str]:
    word = paint("wanted", "green") if report["wanted"] else paint("not wanted", "red")
    empty = ", which is empty" if report["wanted"] and report["rule"] == "policy.allow" else ""
    yield f"{visible(report['package'])}: {word}, by {_why(report)}{empty}"
    if report["wanted"]:
        settings = report["settings"].items()
        yield from columns(
            [(key, _value(one["value"]), one["rule"]) for key, one in settings], "  "
        )
    if not report["document"]["wanted"]:
        stays = "; what is captured of it stays" if report["state"] is not None else ""
        yield f"its document is not wanted, by {_why(report['document'])}{stays}"
    if report["state"] is None:
        yield "nothing of it is captured"
    if report["doubted"]:
        yield (
            "it may be gone upstream (the feed calls it deleted, its removal is held, or the last "
            "look at it failed): what is held of it stays"
        )
    yield from _versions(report)


def _versions(report: Report) -> Iterator[str]:
    versions, tarballs = report["versions"], report["settings"]["tarballs"]["rule"]
    if versions:
        order = ", the newest first" if len(versions) > 1 else ""
        yield f"{plural(len(versions), 'version')}{order}:"
        yield from columns([list(_row(one, tarballs)) for one in versions[:LISTED]], "  ")
    if len(versions) > LISTED:
        yield f"  and {len(versions) - LISTED:,} more: --json tells them"
    if any(one["held"] and not one["wanted"] for one in versions) and not report["doubted"]:
        yield "`npmmirror prune` deletes what is held and not wanted"


def _row(one: Report, tarballs: str) -> Iterator[str]:
    """`tarballs` is the key or rule that says which are fetched without being asked for."""
    yield one["version"]
    yield "held" if one["held"] else "not held" if one["known"] else "not known"
    if one["gone"]:
        yield "stays: upstream has it no longer" if one["held"] else "gone upstream"
    elif not one["wanted"]:
        yield f"not wanted, by {_why(one)}"
    elif one["by_itself"]:
        yield f"wanted, by {_why(one)}"
    else:
        yield f"wanted where somebody asks for it ({tarballs})"


def _why(one: Report) -> str:
    return f"{one['rule']}: {one['why']}" if one["why"] else str(one["rule"])


def _value(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:,}" if isinstance(value, int) else str(value)
