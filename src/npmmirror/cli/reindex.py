"""`npmmirror reindex`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import complain, plural, say, say_json, shown_bytes, visible
from npmmirror.cli.times import duration

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config
    from npmmirror.daemon.rebuilt import Finding, Rebuilt

Report = dict[str, Any]

LISTED = 50
"""Findings that are told one by one; --json has more."""


def reindex(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Make the index anew of the capture log.

    Interrupted, the next one goes on from there.

    Example: npmmirror reindex
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above

    config = for_work(context)
    with Meter(quiet=as_json) as meter:
        rebuilt = carry_out(lambda by: _work(config, meter, by))
    if as_json:
        say_json(rebuilt.to_json())
    else:
        for line in _sum(rebuilt):
            say(line)
        for line in _findings(rebuilt):
            complain(line)
    if not rebuilt.whole:
        raise typer.Exit(1)


async def _work(config: "Config", meter: "Meter", interruption: "Interruption") -> "Rebuilt":
    from npmmirror.daemon.reindex import reindex as rebuild  # noqa: PLC0415 - keeps --help fast

    interruption.rest = "the index is as before; the next `npmmirror reindex` goes on from there"
    return await rebuild(config, meter.show)


def _sum(rebuilt: "Rebuilt") -> Iterator[str]:
    """What was made, and of what."""
    status = rebuilt.status
    since = f" behind record {rebuilt.resumed_at:,}" if rebuilt.resumed_at is not None else ""
    yield (
        f"{plural(rebuilt.records, 'record')}{since} read in {_lasted(rebuilt.seconds)} "
        f"({shown_bytes(rebuilt.bytes)} of captures)"
    )
    if status is not None:
        packages = sum(status.packages.values())
        yield (
            f"{plural(packages, 'package')}, {plural(status.versions, 'version')}, "
            f"{plural(status.revisions, 'revision')}, {plural(status.events, 'event')}, "
            f"{plural(status.tarballs, 'tarball')} held"
        )
    yield _CARRIED[rebuilt.carried]
    if rebuilt.kept is not None:
        yield f"the index before is kept as {rebuilt.kept}"


def _lasted(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else duration(seconds)


_CARRIED = {
    "all": "work list, checks and progress were taken over from the index before",
    "some": (
        "work list and checks were taken over from the index before; its progress was not, for "
        "the capture log lacks what it was made of: the feed is followed from the last mark"
    ),
    "none": "no index before could be read: the feed is followed from the last mark",
}


def _findings(rebuilt: "Rebuilt") -> Iterator[str]:
    """What is lost, or has to be looked after."""
    for aside in rebuilt.set_aside:
        yield (
            f"captures/{aside.segment:06}.log: {shown_bytes(aside.length)} behind byte "
            f"{aside.offset} were no complete records and are now in {aside.path}"
        )
    for finding in rebuilt.damaged[:LISTED]:
        yield _told(finding)
    if rebuilt.damaged_count > LISTED:
        yield f"{plural(rebuilt.damaged_count, 'record')} damaged in all; --json lists more"
    yield from _files(rebuilt)


def _told(finding: "Finding") -> str:
    place = f"captures/{finding.segment:06}.log, byte {finding.offset}"
    if finding.ordinal is None:
        record = "what is there"
    elif finding.count > 1:
        record = f"each of records {finding.ordinal} to {finding.ordinal + finding.count - 1}"
    else:
        record = f"record {finding.ordinal}"
    package = f" ({visible(finding.package)})" if finding.package is not None else ""
    return f"{place}: {record}{package} is lost to the index: {finding.reason}"


def _files(rebuilt: "Rebuilt") -> Iterator[str]:
    files = rebuilt.files
    for key, word in ((files.missing, "missing"), (files.altered, "of another size")):
        for name, version in key[:LISTED]:
            yield f"{visible(name)}@{visible(version)}: the file is {word}"
    if files.unreachable is not None:
        yield f"the tarballs could not be looked at: {files.unreachable}"
    elif files.too_many:
        yield (
            f"{files.missing_count:,} of {plural(files.count, 'tarball')} are missing: is "
            "storage.packages_dir mounted? Nothing was done about it."
        )
    elif files.missing_count:
        yield f"{plural(files.missing_count, 'missing tarball')}: on the work list now"
    if files.altered_count:
        yield (
            f"{plural(files.altered_count, 'altered tarball')}: "
            "`npmmirror verify --repair` fetches them again"
        )
