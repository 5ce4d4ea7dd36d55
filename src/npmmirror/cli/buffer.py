"""`npmmirror buffer status | peek`."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from npmmirror.cli.help import Command
from npmmirror.cli.output import columns, facts, paint, plural, say, say_json, visible
from npmmirror.cli.times import Times

Report = dict[str, Any]

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look into the buffer between feed and mirror.\n\nExample: npmmirror buffer status",
)


@group.command(cls=Command)
def status(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say how far the buffer is worked off, partition by partition, and whether it is as wanted.

    Example: npmmirror buffer status
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.daemon.buffer_view import buffer_report  # noqa: PLC0415 - as above

    config = load(context.obj.config_file).config
    report = carry_out(lambda _: buffer_report(config))
    if as_json:
        say_json(report)
        return
    say("\n".join([*facts(list(_facts(report))), "", *columns(list(_partitions(report)))]))


@group.command(cls=Command)
def peek(
    context: typer.Context,
    *,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, max=10_000, help="How many.")
    ] = 10,
    utc: Annotated[
        bool, typer.Option("--utc", help="Times by the clock, not by their distance.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show the changes that wait in the buffer, those that are next first.

    Example: npmmirror buffer peek -n 5
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.daemon.buffer_view import peek as look  # noqa: PLC0415 - as above

    config = load(context.obj.config_file).config
    items = carry_out(lambda _: look(config, count))
    if as_json:
        say_json(items)
    elif items:
        say("\n".join(columns([_HEAD, *(_row(item, Times(utc=utc)) for item in items)])))
    else:
        say("no change waits in the buffer")


_HEAD = ("place", "seq", "package", "rev", "seen")


def _row(item: Report, times: Times) -> tuple[str, ...]:
    place = f"{item['partition']}@{item['offset']}"
    change = item["change"]
    if change is None:
        return (place, "-", "(no change)", "", "")
    name = f"{change['id']} (deleted)" if change["deleted"] else change["id"]
    seen = times.tell(change["observed_at"])
    return (place, str(change["seq"]), name, change["rev"] or "-", seen)


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "buffer", visible(f"{report['backend']}, {report['place']}")
    yield "checkpoint", _checkpoint(report)
    topic = report["topic"]
    if topic is not None:
        yield "brokers", visible(", ".join(report["brokers"]))
        yield "topic", _topic(topic)
        for odd in topic["unwanted"]:
            told = f"{odd['key']} is {odd['value']}, and {odd['wanted']} is wanted"
            yield "", paint(visible(told), "yellow")
    yield "set aside", _set_aside(report["set_aside"])


def _checkpoint(report: Report) -> str:
    if report["checkpoint_is_ours"] is None:
        return "none yet; `npmmirror run` begins"
    if not report["checkpoint_is_ours"]:
        word = "of another buffer: the next start reads the feed again from what is finished"
        return paint(word, "yellow")
    return f"{plural(report['depth'], 'change')} not finished behind it"


def _topic(topic: Report) -> str:
    text = plural(topic["partitions"], "partition")
    if topic["partitions"] != topic["configured_partitions"]:
        text += paint(f" ({topic['configured_partitions']} are configured)", "yellow")
    text += f", {plural(topic['replicas'], 'replica')}"
    if topic["replicas"] != topic["configured_replicas"]:
        text += paint(f" ({topic['configured_replicas']} are configured)", "yellow")
    if topic["in_sync"] < topic["replicas"]:
        text += paint(f", {topic['in_sync']} in sync", "yellow")
    return f"{text}; id {visible(topic['id'] or 'unknown')}"


def _set_aside(aside: Report) -> str:
    if not aside["count"]:
        return "nothing"
    newest = "; ".join(f"{one['place']}: {one['why']}" for one in aside["newest"][:1])
    text = f"{plural(aside['count'], 'record')} in {aside['directory']}; {newest}"
    return paint(visible(text), "yellow")


def _partitions(report: Report) -> Iterator[tuple[str, ...]]:
    kafka = report["topic"] is not None
    head = ("partition", "start", "checkpoint", "end", "not finished")
    yield (*head, f"group {visible(report['group'])}", "its lag") if kafka else head
    for one in report["partitions"]:
        row = [one[key] for key in ("partition", "start", "checkpoint", "end", "depth")]
        if kafka:
            row += [one["group"], one["group_lag"]]
        yield tuple("-" if cell is None else f"{cell:,}" for cell in row)
