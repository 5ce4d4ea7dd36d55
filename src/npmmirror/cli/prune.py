"""`npmmirror prune`."""

from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import columns, plural, say, say_json, shown_bytes
from npmmirror.errors import NpmmirrorError

if TYPE_CHECKING:
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.config import Config

Report = dict[str, Any]
Tell = Callable[[Report], None]
LISTED = 20
"""Files that a dry run tells; `--json` has more of them."""


def prune(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted, and how many bytes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Delete the tarballs that the policy wants no longer.

    Example: npmmirror prune --dry-run
    """
    from npmmirror.cli.configuration import for_work  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above
    from npmmirror.daemon.pruning import plan  # noqa: PLC0415 - as above

    config = for_work(context)
    with Meter(quiet=as_json) as meter:
        if dry_run:
            report = carry_out(lambda _: plan(config, meter.show))
        else:
            report = carry_out(lambda by: _work(config, meter.show, by))
    if as_json:
        say_json(report)
    else:
        for line in _told(report):
            say(line)


async def _work(config: "Config", tell: Tell, interruption: "Interruption") -> Report:
    """Have it done, by the daemon where one runs; the report."""
    from npmmirror.cli.interrupt import interrupted  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.registry import registry_of_run  # noqa: PLC0415 - as above
    from npmmirror.daemon import standalone  # noqa: PLC0415 - as above
    from npmmirror.daemon.index_file import index_of  # noqa: PLC0415 - as above
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above
    from npmmirror.daemon.selecting import read_policy  # noqa: PLC0415 - as above

    await index_of(config)
    digest = read_policy(config.policy).digest
    interruption.rest = "the daemon goes on with it; the same command watches it again"
    report = await _by_daemon(config, digest, tell)
    if report is not None:
        return report
    interruption.rest = "the next `npmmirror prune` goes on from there"
    source = Source(registry_of_run(config.upstream).url)
    with interruption.drains() as stop:
        report = await standalone.prune(config, source, digest, tell=tell, stop=stop)
    if report is None:
        raise interrupted(interruption.rest)
    return report


async def _by_daemon(config: "Config", digest: str, tell: Tell) -> Report | None:
    """What the daemon reports at the end; None where there is none."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is None:
            return None
        async with aclosing(daemon.prune({"digest": digest})) as reports:
            async for report in reports:
                if "error" in report:
                    raise NpmmirrorError(report["error"])
                if report.pop("end", False):
                    return report
                tell(report)
    raise NpmmirrorError("the daemon went away; the next `npmmirror prune` goes on from there")


def _told(report: Report) -> Iterator[str]:
    files, size = plural(report["files"], "tarball"), shown_bytes(report["bytes"])
    packages = plural(report["packages"], "package")
    if not report["files"]:
        yield f"{packages} looked at; the policy wants all that is held, or it is gone upstream"
        return
    if report["dry_run"]:
        yield f"{packages} looked at; {files} ({size}) would be deleted:"
    else:
        yield f"{packages} looked at; {files} ({size}) deleted:"
    sums = report["rules"].items()
    yield from columns(
        [(rule, plural(one["files"], "tarball"), shown_bytes(one["bytes"])) for rule, one in sums],
        "  ",
    )
    if report["dry_run"]:
        yield from _listed(report)


def _listed(report: Report) -> Iterator[str]:
    yield "of these:" if report["files"] > LISTED else "these:"
    yield from columns(
        [
            (f"{one['package']}@{one['version']}", shown_bytes(one["bytes"]), one["rule"])
            for one in report["listed"][:LISTED]
        ],
        "  ",
    )
    if report["files"] > LISTED:
        yield f"  and {report['files'] - LISTED:,} more; `npmmirror policy explain NAME` tells why"
