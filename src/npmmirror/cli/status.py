"""`npmmirror status`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import columns, paint, plural, say, say_json, shown_bytes

if TYPE_CHECKING:
    from npmmirror.config import Config

Report = dict[str, Any]


def status(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say how far the mirror is, what it does, and what is wrong.

    Example: npmmirror status
    """
    import uvloop  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli.configuration import load  # noqa: PLC0415 - as above

    report = uvloop.run(_report(load(context.obj.config_file).config))
    if as_json:
        say_json(report)
    else:
        for line in columns(_lines(report)):
            say(line)
        for line in _errors(report):
            say(line)


async def _report(config: "Config") -> Report:
    """What the daemon says, or what the index says where none runs."""
    from npmmirror.control.client import daemon_of  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.status import resting_report  # noqa: PLC0415 - as above

    async with daemon_of(config.storage.data_dir) as daemon:
        return await (daemon.status() if daemon is not None else resting_report(config))


def _lines(report: Report) -> list[tuple[str, str]]:
    """A line a subject: the word and what there is to say."""
    totals = report["totals"]
    lines = [
        ("daemon", _daemon(report)),
        ("feed", _feed(report["feed"])),
        *(_live_lines(report) if report["daemon"] is not None else []),
        ("packages", _counts(totals["packages"]) or "none yet"),
        (
            "tarballs",
            (
                f"{totals['tarballs']:,} held, {shown_bytes(totals['tarball_bytes'])}; "
                f"{plural(totals['versions'], 'version')} known"
            ),
        ),
        (
            "history",
            f"{plural(totals['revisions'], 'revision')}, {plural(totals['events'], 'event')}",
        ),
        ("work list", _counts(report["work_list"]) or "empty"),
        ("dead letters", _counts(report["dead_letters"]) or "none"),
        ("skipped", _counts(report["skips"]) or "nothing"),
        *(("disk", _disk(disk)) for disk in report["disks"]),
    ]
    change = report["last_change"]
    if change is not None:
        version = f"@{change['latest_version']}" if change["latest_version"] else ""
        lines.append(
            ("last change", f"{change['package']}{version}, {change['observed_at'][:19]}Z")
        )
    return lines


def _live_lines(report: Report) -> list[tuple[str, str]]:
    """What only a daemon knows."""
    return [("mirror", _mirror(report["mirror"])), ("buffer", _buffer(report["buffer"]))]


def _daemon(report: Report) -> str:
    daemon = report["daemon"]
    if daemon is None:
        return "not running"
    fetch = report["fetch"]
    paused = fetch["paused"] and daemon["state"] == "running"
    word = paint("paused", "yellow") if paused else paint(daemon["state"], "green")
    text = f"{word}, process {daemon['pid']}, since {daemon['started_at'][:19]}Z"
    if paused:
        return f"{text}: {fetch['paused']}"
    return f"{text}, {plural(fetch['in_work'], 'package')} in work"


def _feed(feed: Report) -> str:
    if feed["cursor"] is None:
        return "never followed; `npmmirror run` does"
    lag = feed["follow_lag"]
    text = f"at {feed['cursor']} of {feed['url']}"
    if lag is not None:
        text += f", {lag:,} behind the head" if lag else ", at the head"
    return f"{text}; {paint(feed['error'], 'red')}" if feed["error"] else text


def _mirror(mirror: Report) -> str:
    if mirror["at_head"]:
        return "everything that was announced is finished"
    if mirror["oldest_unfinished_at"] is None:
        return "-"
    lag = "" if mirror["lag"] is None else f"{mirror['lag']:,} seqs behind the head, "
    return f"{lag}oldest unfinished change seen {mirror['oldest_unfinished_at'][:19]}Z"


def _buffer(buffer: Report) -> str:
    return f"{buffer['backend']}, {plural(buffer['depth'], 'change')} not finished"


def _disk(disk: Report) -> str:
    if "error" in disk:
        return f"{paint(disk['error'], 'red')}: {disk['path']}"
    return f"{shown_bytes(disk['free_bytes'])} free at {disk['path']}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {word}" for word, number in counts.items() if number)


def _errors(report: Report) -> list[str]:
    """The newest things that went wrong, for whoever wants to know why."""
    errors = report["last_errors"]
    if not errors:
        return []
    rows = [
        (
            f"{error['package']}@{error['item']}" if error["item"] else error["package"],
            error["reason"],
            f"tried {error['attempts']}x",
            error["detail"][:60],
        )
        for error in errors
    ]
    return ["", "last errors", *columns(rows, indent="  ")]
