"""`npmmirror status`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import (
    columns,
    facts,
    paint,
    plural,
    say,
    say_json,
    shown_bytes,
    visible,
)
from npmmirror.cli.times import Times, duration, shown_seconds
from npmmirror.confusion import DIFFERS, NOT_COMPARED
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.config import Config

Report = dict[str, Any]

INTERVAL = 2.0
_ERRORS = 10


def status(
    context: typer.Context,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval", metavar="SECONDS", min=0.1, help="Between two looks of --watch (2)."
        ),
    ] = None,
    utc: Annotated[
        bool, typer.Option("--utc", help="Times by the clock, not by their distance.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON; with --watch, a line each time.")
    ] = False,
) -> None:
    """Say how far the mirror is, what it does, and what is wrong.

    Example: npmmirror status --watch
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import InterruptedByUserError, carry_out  # noqa: PLC0415 - as above

    if interval is not None and not watch:
        raise UsageError("--interval says how often to look: it needs --watch")
    config = load(context.obj.config_file).config
    if not watch:
        report = carry_out(lambda _: look(config))
        if as_json:
            say_json(report)
        else:
            say("\n".join(lines(report, Times(utc=utc))))
        return
    try:
        carry_out(lambda by: _watch(config, interval or INTERVAL, by, utc=utc, as_json=as_json))
    except InterruptedByUserError:
        return  # the way to end it, which leaves nothing undone


async def look(config: "Config") -> Report:
    """What the daemon says, or what the index says where none runs."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is not None:
            return await daemon.status()
    from npmmirror.daemon.resting import resting_report  # noqa: PLC0415 - as above

    return await resting_report(config)


async def _watch(
    config: "Config", interval: float, _: "Interruption", *, utc: bool, as_json: bool
) -> None:
    """Look until cancelled. The first look has to succeed; what is in the way later is told."""
    import anyio  # noqa: PLC0415 - keeps --help fast

    from npmmirror.cli.screen import Screen  # noqa: PLC0415 - as above
    from npmmirror.errors import NpmmirrorError  # noqa: PLC0415 - as above

    report = await look(config)
    with Screen() as screen:
        while True:
            if as_json:
                say_json(report, line=True)
            else:
                screen.show([*lines(report, Times(utc=utc)), "", _footer(interval)])
            await anyio.sleep(interval)
            try:
                report = await look(config)
            except NpmmirrorError as error:
                screen.show([paint(visible(str(error)), "red")])


def _footer(interval: float) -> str:
    return paint(f"every {interval:g} s; Ctrl-C ends it", "dim")


def lines(report: Report, times: Times) -> Iterator[str]:
    """The state for people."""
    yield from facts(list(_facts(report, times)))
    yield from _errors(report, times)


def _facts(report: Report, times: Times) -> Iterator[tuple[str, str]]:
    """A line a subject: the word and what there is to say."""
    totals = report["totals"]
    yield "daemon", _daemon(report, times)
    yield "feed", _feed(report["feed"])
    yield from (("", text) for text in _watched(report["feed"], times))
    if report["daemon"] is not None:
        yield "mirror", _mirror(report["mirror"], times)
    yield from (("buffer", text) for text in _buffer(report["buffer"]))
    yield "packages", _counts(totals["packages"]) or "none yet"
    yield (
        "tarballs",
        (
            f"{totals['tarballs']:,} held, {shown_bytes(totals['tarball_bytes'])}; "
            f"{plural(totals['versions'], 'version')} known"
        ),
    )
    yield (
        "history",
        f"{plural(totals['revisions'], 'revision')}, {plural(totals['events'], 'event')}",
    )
    yield from (("latency", text) for text in _latency(report["latency"]))
    yield "work list", _counts(report["work_list"]) or "empty"
    yield "dead letters", _dead_letters(report["dead_letters"])
    if report["removals"]["tripped"]:
        yield "removals", _removals(report["removals"], times)
    yield "skipped", _counts(report["skips"]) or "nothing"
    if states := report["signatures"]["states"]:
        yield "signatures", _signatures(states, report["signatures"]["invalid"])
    if number := report["signatures"]["attestations"]:
        yield "attestations", f"of {plural(number, 'version')}"
    if found := report["manifest_confusions"]:
        yield "manifests", _confusions(found)
    if (change := report["policy_change"]) is not None:
        yield "policy", _policy(change, times)
    yield from _cold_start(report, times)
    for disk in report["disks"]:
        yield "disk", _disk(disk)
    if (change := report["last_change"]) is not None:
        version = f"@{change['latest_version']}" if change["latest_version"] else ""
        name = visible(f"{change['package']}{version}")
        yield "last change", f"{name}, {times.tell(change['observed_at'])}"


def _signatures(states: dict[str, int], invalid: list[str]) -> str:
    """How many versions are in each state, and which are signed wrongly: an alarm."""
    text = _counts({word.replace("_", " "): n for word, n in states.items() if word != "invalid"})
    if not invalid:
        return text
    more = ", ..." if states["invalid"] > len(invalid) else ""
    told = f"{states['invalid']:,} invalid ({visible(', '.join(invalid))}{more})"
    return f"{paint(told, 'red')}, {text}" if text else paint(told, "red")


def _confusions(found: dict[str, int]) -> str:
    """How many tarballs have another manifest than was published, and how many were not compared."""
    unknown = sum(number for word, number in found.items() if word in NOT_COMPARED)
    other = sum(found.values()) - unknown
    text = f"{other:,} not as in the packument"
    if found.get(DIFFERS, 0) < other:
        text += f" ({_counts({w: n for w, n in found.items() if w not in NOT_COMPARED})})"
    text = paint(text, "yellow") if other else "none differs"
    return f"{text}, {unknown:,} not compared" if unknown else text


def _cold_start(report: Report, times: Times) -> Iterator[tuple[str, str]]:
    """What brings packages that nobody announces, where anything does."""
    if (backfill := report["backfill"]) is not None:
        yield "backfill", _backfill(backfill, times, at_work=report["daemon"] is not None)
    if (now := report["reconciliation"]) is not None:
        total = f" of {now['total']:,}" if now["total"] is not None else ""
        began = times.tell(now["started_at"])
        yield "reconciling", f"{now['phase']}, {now['done']:,}{total}, begun {began}"


def _backfill(backfill: Report, times: Times, *, at_work: bool) -> str:
    total = f" of {backfill['total']:,}" if backfill["total"] is not None else ""
    text = f"{backfill['done']:,}{total} packages, begun {times.tell(backfill['started_at'])}"
    if backfill["failed"]:
        text += f", {backfill['failed']:,} failed so far"
    if backfill["state"] == "paused":
        return f"{paint('paused', 'yellow')} at {text}; `npmmirror backfill --resume` goes on"
    if not at_work:
        return f"{text}; nobody works at it: `npmmirror run` does, or `npmmirror backfill`"
    if backfill["per_second"] is not None:
        text += f", {backfill['per_second']:,.1f} a second"
    if backfill["seconds_left"] is not None:
        text += f", {duration(backfill['seconds_left'])} left"
    return f"{text}; {paint(visible(backfill['error']), 'red')}" if backfill["error"] else text


def _policy(change: Report, times: Times) -> str:
    queued = f"{plural(change['queued_packages'], 'package')} and "
    queued += f"{plural(change['queued_tarballs'], 'tarball')} queued"
    looked = f"{plural(change['packages'], 'package')} looked at, {queued}"
    return f"changed; being applied since {times.tell(change['since'])}: {looked}"


def _daemon(report: Report, times: Times) -> str:
    daemon = report["daemon"]
    if daemon is None:
        return "not running"
    fetch = report["fetch"]
    word = paint("paused", "yellow") if fetch["paused"] else paint(daemon["state"], "green")
    text = f"{word}, process {daemon['pid']}, started {times.tell(daemon['started_at'])}"
    if fetch["paused"]:
        return f"{text}: {visible(fetch['paused'])}, since {times.tell(fetch['paused_since'])}"
    return f"{text}, {plural(fetch['in_work'], 'package')} in work"


def _feed(feed: Report) -> str:
    if feed["cursor"] is None and feed["error"]:
        return f"waiting for it: {paint(feed['error'], 'red')}"
    if feed["cursor"] is None:
        return "never followed; `npmmirror run` does"
    lag = feed["follow_lag"]
    text = f"at {visible(str(feed['cursor']))}"
    if lag is not None:
        text += f", {lag:,} behind the head" if lag else ", at the head"
    text += f" of {visible(str(feed['url']))}"
    return f"{text}; {paint(visible(feed['error']), 'red')}" if feed["error"] else text


def _watched(feed: Report, times: Times) -> Iterator[str]:
    """What came late, stood still or went back; nothing where nothing did."""
    if feed["late_rows"]:
        yield f"{plural(feed['late_rows'], 'row')} came late"
    if feed["rebuilds"]:
        times_made = plural(feed["rebuilds"], "time")
        yield paint(f"it stood still: connected anew {times_made}", "yellow")
    if feed["registry_revs"] == "absent":
        yield "documents have no revisions: their dates and versions say which one is older"
    if (fallen := feed["head_went_back"]) is not None:
        told = f"its head went back from {fallen['before']:,} to {fallen['after']:,}"
        since = f"{told}, {times.tell(fallen['at'])}"
        yield f"{paint(since, 'red')}; not reconciled since (`npmmirror reconcile`)"


def _mirror(mirror: Report, times: Times) -> str:
    if mirror["at_head"]:
        return "everything that was announced is finished"
    if mirror["lag"] == 0:
        return "at the head; what is left to do is on the work list"
    lag = "" if mirror["lag"] is None else f"{mirror['lag']:,} seqs behind the head"
    if mirror["oldest_unfinished_at"] is None:
        return lag or "nothing is told of it yet"
    oldest = f"the oldest unfinished change was seen {times.tell(mirror['oldest_unfinished_at'])}"
    return f"{lag}, {oldest}" if lag else oldest


def _buffer(buffer: Report) -> Iterator[str]:
    """How much waits in it, and what is wrong with it; nothing where neither is known."""
    if buffer.get("error"):
        yield f"{buffer['backend']}, {paint(visible(buffer['error']), 'red')}"
    elif buffer["depth"] is not None:
        yield f"{buffer['backend']}, {plural(buffer['depth'], 'change')} not finished"


def _latency(windows: Report) -> Iterator[str]:
    """How long new versions took until they were here; nothing where there were none."""
    window = "day" if windows["day"]["until_captured"]["count"] else "week"
    legs = windows[window]
    whole, last = (
        ("until_held", "held") if legs["until_held"]["count"] else ("until_captured", "captured")
    )
    found = legs[whole]
    if not found["count"]:
        return
    when = "the last 24 hours" if window == "day" else "seven days"
    shares = ", ".join(f"{name} {shown_seconds(found[name])}" for name in ("p50", "p90", "p99"))
    yield f"from publication to {last}, {plural(found['count'], 'version')} of {when}: {shares}"
    steps = [leg for leg in ("announced", "observed", last) if legs[leg]["count"]]
    yield "p50 of its legs: " + ", ".join(
        f"{leg} {shown_seconds(legs[leg]['p50'])}" for leg in steps
    )


def _dead_letters(counts: dict[str, int]) -> str:
    told = _counts(counts)
    return f"{paint(told, 'yellow')}; `npmmirror retry` tries them again" if told else "none"


def _removals(removals: Report, times: Times) -> str:
    held, since = plural(removals["held"], "removal"), times.tell(removals["since"])
    told = f"the breaker tripped: {held} held, the first {since}"
    return f"{paint(told, 'red')}; `npmmirror removals` says which, and what to do"


def _disk(disk: Report) -> str:
    path = visible(disk["path"])
    if "error" in disk:
        return paint(visible(disk["error"]), "red")
    return f"{shown_bytes(disk['free_bytes'])} free at {path}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {visible(word)}" for word, number in counts.items() if number)


def _errors(report: Report, times: Times) -> Iterator[str]:
    """The newest things that went wrong, for whoever wants to know why."""
    errors = report["last_errors"][:_ERRORS]
    if not errors:
        return
    rows = [
        (
            f"{error['package']}@{error['item']}" if error["item"] else error["package"],
            error["reason"],
            f"tried {error['attempts']:,}x",
            times.due(error["not_before"]) if error["not_before"] else "given up",
            error["detail"],
        )
        for error in errors
    ]
    yield ""
    yield "last errors, and the next try"
    yield from columns(rows, indent="  ")
