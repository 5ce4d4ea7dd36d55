"""`npmmirror coverage`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli import completion
from npmmirror.cli.output import (
    cells,
    columns,
    complain,
    facts,
    paint,
    plural,
    say,
    say_json,
    shown_bytes,
    visible,
    wrapped,
)
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config
    from npmmirror.daemon.coverage.check import Copy
    from npmmirror.daemon.coverage.counting import MissingRow
    from npmmirror.daemon.coverage.selection import Selection

Report = dict[str, Any]

AT_ONCE = 500
"""Lines of --list that are written by one call."""
LISTED = 50
"""Deviations that are told one by one; --json has more."""
_REASONS = {
    "policy": "not wanted",
    "size": "larger than the policy allows",
    "failed": "tried in vain",
    "gone": "upstream has no file of it",
    "not_yet": "wanted, and not tried yet",
    "erased": "erased",
}


def coverage(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Packages, or globs of them; everything where none is named.",
            autocompletion=completion.packages,
        ),
    ] = None,
    *,
    list_: Annotated[
        bool, typer.Option("--list", help="Every one that is missing, a line each, and why.")
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="Write down what is held, to be signed."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", metavar="FILE", help="Hold a manifest against the data; needs no index."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="A copy of the data directory, for --check to look at."
        ),
    ] = None,
    after: Annotated[
        str, typer.Option("--after", metavar="NAME", help="--check goes on behind this package.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON, no progress; with --list, a line each.")
    ] = False,
) -> None:
    """Say how complete the mirror is, and why the rest is missing.

    Example: npmmirror coverage --list left-pad
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above
    from npmmirror.daemon.coverage.selection import selected  # noqa: PLC0415 - as above

    _refuse(names, list_=list_, manifest=manifest, check=check, data=data, after=after)
    config, selection = for_work(context), selected(names or ())
    with Meter(quiet=as_json) as meter:
        if check is not None:
            copy = _copy(config, data)
            well = _check(copy, check, selection, meter, after=after, as_json=as_json)
        elif manifest is not None:
            well = _write(config, manifest, meter, as_json=as_json)
        elif list_:
            well = _list(config, selection, as_json=as_json)
        else:
            well = _count(config, selection, meter, as_json=as_json)
    if not well:
        raise typer.Exit(1)


def _refuse(
    names: list[str] | None,
    *,
    list_: bool,
    manifest: Path | None,
    check: Path | None,
    data: Path | None,
    after: str,
) -> None:
    if list_ + (manifest is not None) + (check is not None) > 1:
        raise UsageError("--list, --manifest and --check are three things: ask for one of them")
    if manifest is not None and names:
        raise UsageError("--manifest is of everything that is held: name no packages")
    if check is None and (data is not None or after):
        raise UsageError("--data and --after say how to check a manifest: they need --check")


def _count(config: "Config", selection: "Selection", meter: "Meter", *, as_json: bool) -> bool:
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - keeps --help fast

    report = carry_out(lambda _: _counted(config, selection, meter))
    meter.clear()
    if as_json:
        say_json(report)
    else:
        for line in _lines(report):
            say(line)
    return bool(report["complete"])


async def _counted(config: "Config", selection: "Selection", meter: "Meter") -> Report:
    from npmmirror.daemon.coverage.run import looking, report_of  # noqa: PLC0415 - keeps --help fast

    async with looking(config, meter.show) as (reader, look):
        await _known(config, selection)
        return await report_of(reader, selection, await look.count(selection))


async def _known(config: "Config", selection: "Selection") -> None:
    """See that every name is one that the mirror has met; the nearest are told."""
    from npmmirror.daemon.showing import shown  # noqa: PLC0415 - keeps --help fast

    async with shown(config) as showing:
        for name in selection.names:
            await showing.known(name)


def _list(config: "Config", selection: "Selection", *, as_json: bool) -> bool:
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - keeps --help fast

    return carry_out(lambda _: _listed(config, selection, as_json=as_json))


async def _listed(config: "Config", selection: "Selection", *, as_json: bool) -> bool:
    """Write the lines as they are found; whether nothing of it is wanted."""
    from npmmirror.daemon.coverage.run import looking  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.coverage.wishes import WANTED_REASONS  # noqa: PLC0415 - as above

    well, lines = True, list[str]()
    async with looking(config, lambda _: None) as (_, look):
        await _known(config, selection)
        async for row in look.missing(selection):
            well = well and row.reason not in WANTED_REASONS
            lines.append(_missing_json(row) if as_json else _missing_line(row))
            if len(lines) == AT_ONCE:
                say("\n".join(lines))
                lines.clear()
    if lines:
        say("\n".join(lines))
    return well


def _missing_json(row: "MissingRow") -> str:
    import orjson  # noqa: PLC0415 - only where JSON is asked for

    return orjson.dumps(row.report()).decode()


def _missing_line(row: "MissingRow") -> str:
    sizes = (row.size, row.unpacked_size)
    cells = (row.package, row.version, row.reason, row.word, *sizes, row.detail)
    return "\t".join("" if cell is None else visible(str(cell)) for cell in cells)


def _write(config: "Config", file: Path, meter: "Meter", *, as_json: bool) -> bool:
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - keeps --help fast

    report = carry_out(lambda _: _written(config, file, meter))
    meter.clear()
    if as_json:
        say_json(report)
        return True
    say(
        f"{visible(report['file'])}: {plural(report['files'], 'file')}, "
        f"{shown_bytes(report['bytes'])}, up to record {report['head']['ordinal']:,}"
    )
    say(f"SHA-256 of its lines  {report['sha256']}")
    say(f"head of the chain     {report['head']['sha256']}")
    return True


async def _written(config: "Config", file: Path, meter: "Meter") -> Report:
    from npmmirror.clock import SystemClock  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.coverage.manifest import write_manifest  # noqa: PLC0415 - as above
    from npmmirror.daemon.coverage.run import looking  # noqa: PLC0415 - as above
    from npmmirror.daemon.verification.bench import Ticker  # noqa: PLC0415 - as above

    async with looking(config, meter.show) as (reader, _):
        return await write_manifest(reader, file, Ticker(meter.show, SystemClock()))


def _check(
    copy: "Copy",
    file: Path,
    selection: "Selection",
    meter: "Meter",
    *,
    after: str,
    as_json: bool,
) -> bool:
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - keeps --help fast
    from npmmirror.clock import SystemClock  # noqa: PLC0415 - as above
    from npmmirror.daemon.coverage.check import check_manifest  # noqa: PLC0415 - as above
    from npmmirror.daemon.verification.bench import Ticker  # noqa: PLC0415 - as above

    ticker = Ticker(meter.show, SystemClock())
    report = carry_out(lambda _: check_manifest(file, copy, selection, ticker, after=after))
    meter.clear()
    if as_json:
        say_json(report)
    else:
        _tell_check(report, whole=selection.everything and not after)
    return bool(report["well"])


def _copy(config: "Config", data: Path | None) -> "Copy":
    """Where to look: at a copy that was named, else where the configuration says."""
    from npmmirror.daemon.coverage.check import Copy  # noqa: PLC0415 - keeps --help fast

    if data is not None:
        return Copy(data / "packages", data / "captures")
    return Copy(config.storage.packages_path, config.storage.data_dir / "captures")


def _tell_check(report: Report, *, whole: bool) -> None:
    head = report["head"]
    for line in columns(
        [
            ("head", f"record {head['ordinal']:,}, {head['committed_at']}"),
            ("capture log", plural(report["records"], "record")),
            ("tarballs", f"{report['tarballs']:,} hashed ({shown_bytes(report['tarball_bytes'])})"),
        ]
    ):
        say(line)
    if report["well"]:
        what = "everything" if whole else "what was asked for"
        say(paint(f"{what} is as the manifest says", "green"))
        return
    say(
        paint(
            f"not everything is as the manifest says: {plural(report['problems'], 'deviation')}",
            "red",
        )
    )
    for finding in report["findings"][:LISTED]:
        complain(_finding(finding))
    if left_out := report["problems"] - len(report["findings"][:LISTED]):
        complain(f"and {left_out:,} more: --json tells them")


def _finding(finding: Report) -> str:
    name = finding["package"] or finding["path"] or "the data"
    if finding["version"] is not None:
        name += f"@{finding['version']}"
    text = f"{visible(name)}: {finding['what'].replace('_', ' ')} ({visible(finding['detail'])})"
    if finding["path"] and finding["package"]:
        text += f", {visible(finding['path'])}"
    return text


def _lines(report: Report) -> Iterator[str]:
    """The sums, then a line a reason."""
    packages, versions = report["packages"], report["versions"]
    documents = f"{packages['held']:,} held, {packages['complete']:,} of them complete"
    tarballs = f"{versions['held']:,} held ({shown_bytes(versions['held_bytes'])})"
    yield from facts(
        [
            ("packages", f"{packages['expected']:,} expected, {documents}"),
            ("versions", f"{versions['expected']:,} expected, {tarballs}"),
            ("wanted", _wanted(report)),
        ]
    )
    rows = list(_rows(packages["missing"], versions["missing"]))
    if rows:
        yield ""
        yield from _table([("missing", "packages", "versions", "bytes", "why"), *rows])


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Aligned; the last cell is wrapped, not cut: the words in it are what is looked for."""
    heads = columns([row[:-1] for row in rows])
    room = max(map(cells, heads)) + 2
    for head, row in zip(heads, rows, strict=True):
        yield from wrapped(visible(row[-1]), " " * room, head + " " * (room - cells(head)))


def _wanted(report: Report) -> str:
    if report["complete"]:
        return paint("everything that the policy wants is held", "green")
    packages, versions = (
        sum(report[what]["missing"][reason]["count"] for reason in ("failed", "not_yet"))
        for what in ("packages", "versions")
    )
    held = report["versions"]["held"]
    share = 100 * held / max(held + versions, 1)
    told = f"{share:.2f} %" if share < 99.995 or not versions else "nearly all"
    missing = [(packages, "package"), (versions, "version")]
    short = " and ".join(plural(count, noun) for count, noun in missing if count)
    return f"{told} of wanted versions held; {short} missing"


def _rows(packages: Report, versions: Report) -> Iterator[tuple[str, ...]]:
    for reason, found in versions.items():
        count = packages[reason]["count"]
        if not count and not found["count"]:
            continue
        words = {**packages[reason]["words"], **found["words"]}
        told = ", ".join(word for word in words if word)
        why = _REASONS[reason] + (f": {told}" if told and told != reason else "")
        yield reason.replace("_", " "), f"{count:,}", f"{found['count']:,}", _bytes(found), why


def _bytes(found: Report) -> str:
    """How much it is, as far as anybody knows."""
    if not found["count"] or found["unsized"] == found["count"]:
        return "unknown" if found["count"] else ""
    if found["estimated_bytes"] is None:
        return f"{shown_bytes(found['unpacked_bytes'])} unpacked"
    exact = not found["unpacked_bytes"] and not found["unsized"]
    least = "more than " if found["unsized"] else ""
    return f"{least}{'' if exact else 'about '}{shown_bytes(found['estimated_bytes'])}"
