"""`npmmirror reconcile`."""

from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import columns, complain, plural, say, say_json, visible
from npmmirror.errors import NpmmirrorError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.config import Config

Report = dict[str, Any]

_KINDS = {
    "missing": "listed, and nothing of it is captured",
    "older": "listed with a newer revision than the captured one",
    "returned": "removed by our word, and listed",
    "unlisted": "held, and listed no more",
}


def reconcile(
    context: typer.Context,
    *,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also what this mirror never set out to have."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Find what the feed lost, and queue what differs.

    Example: npmmirror reconcile --dry-run
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    config = for_work(context)
    asked = {"dry_run": dry_run, "everything": everything}
    with Meter(quiet=as_json) as meter:
        report = carry_out(lambda by: _work(config, asked, meter.show, by))
    if as_json:
        say_json(report)
    else:
        for line in columns(list(_rows(report))):
            say(line)
        _conclude(report)
    if any(report[kind] for kind in (*_KINDS, "waiting")) or report["disbelieved"]:
        raise typer.Exit(1)


async def _work(
    config: "Config",
    asked: dict[str, bool],
    tell: Callable[[Report], None],
    interruption: "Interruption",
) -> Report:
    """Have it done, by the daemon where one runs; the report."""
    from npmmirror.cli.interrupt import interrupted  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.registry import registry_of_run  # noqa: PLC0415 - as above
    from npmmirror.daemon import cold_commands  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.pipeline.reconcile import Asked  # noqa: PLC0415 - as above

    interruption.rest = "the daemon goes on with it: `npmmirror status` tells how far it is"
    told = await _by_daemon(config, asked, tell)
    if told is not None:
        return told
    interruption.rest = "the next one begins anew"
    source = Source(registry_of_run(config.upstream).url, config.upstream.feed)
    with interruption.drains() as stop:
        report = await cold_commands.reconcile(config, source, Asked(**asked), tell=tell, stop=stop)
    if report is None:
        raise interrupted(interruption.rest)
    return report | {"by_daemon": False}


async def _by_daemon(
    config: "Config", asked: dict[str, bool], tell: Callable[[Report], None]
) -> Report | None:
    """What the daemon reports at the end; None where there is none."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is None:
            return None
        async with aclosing(daemon.reconcile(asked)) as reports:
            async for report in reports:
                if "error" in report:
                    raise NpmmirrorError(report["error"])
                if report.pop("end", False):
                    return report | {"by_daemon": True}
                tell(report)
    raise NpmmirrorError("the daemon went away; the next reconciliation begins anew")


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    total = "" if report["total"] is None else f" of {report['total']:,}"
    yield "listed", f"{report['listed']:,}{total}; {report['changed']:,} changed meanwhile"
    for kind, meaning in _KINDS.items():
        yield kind, f"{report[kind]:,} {meaning}" if report[kind] else "0"
    if report["waiting"]:
        yield "waiting", f"{report['waiting']:,} more that are on the work list already"
    if report["not_expected"]:
        count = f"{report['not_expected']:,} listed"
        yield "not ours", f"{count} that this mirror was never to have; --all takes them"


def _conclude(report: Report) -> None:
    if report["disbelieved"]:
        complain(f"what is not listed was left alone: {visible(report['disbelieved'])}")
    found = sum(report[kind] for kind in _KINDS)
    queued = plural(report["queued"], "package")
    if report["woken"]:
        queued += f" queued, {plural(report['woken'], 'dead letter')} woken"
    else:
        queued += " queued"
    if not found and report["waiting"]:
        say("nothing else to fetch or to look at")
    elif not found:
        agree = "the list and the index agree"
        say("nothing to fetch or to look at" if report["not_expected"] else agree)
    elif report["dry_run"]:
        say("nothing was queued (--dry-run)")
    elif report["by_daemon"]:
        say(f"{queued}; the daemon looks at them now (`npmmirror status`)")
    else:
        say(f"{queued}; `npmmirror run` looks at them, or `npmmirror retry`")
    say(f"report: {visible(report['report'])}")
