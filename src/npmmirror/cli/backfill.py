"""`npmmirror backfill`."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli.output import complain, plural, say, say_json, visible
from npmmirror.errors import NpmmirrorError, UsageError

if TYPE_CHECKING:
    from npmmirror.backfill import Wish
    from npmmirror.cli.configuration import Loaded
    from npmmirror.cli.interrupt import Interruption
    from npmmirror.cli.progress import Meter
    from npmmirror.config import Config
    from npmmirror.daemon.mirror import Source

Report = dict[str, Any]
Tell = Callable[[Report], None]
_CHUNK = 1 << 16


def backfill(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="The names in a file, one a line; - is stdin."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="GLOB", help="Packages whose name matches; repeatable."),
    ] = None,
    metadata_only: Annotated[
        bool, typer.Option("--metadata-only", help="No tarballs for what it brings.")
    ] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Have it wait.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Have it go on.")] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Give it up; what was fetched stays.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, no progress.")] = False,
) -> None:
    """Mirror all packages that the feed lists, or those of a file. Goes on where it was.

    Example: npmmirror backfill --metadata-only --only '@babel/*'
    """
    from npmmirror.backfill import Wish  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.configuration import for_work, load  # noqa: PLC0415 - as above
    from npmmirror.cli.interrupt import carry_out, interrupted  # noqa: PLC0415 - as above
    from npmmirror.cli.progress import Meter  # noqa: PLC0415 - as above
    from npmmirror.pipeline.backfill import patterns_of  # noqa: PLC0415 - as above

    words = [
        word for word, said in (("pause", pause), ("resume", resume), ("cancel", cancel)) if said
    ]
    brings = bool(file is not None or only or metadata_only)
    if len(words) > 1 or (words and brings):
        raise UsageError("--pause, --resume and --cancel go with nothing else")
    config = for_work(context)
    if words and words != ["resume"]:
        there = carry_out(lambda _: _steer(config, words[0]))["there"]
        _told_of(words[0], there=there, as_json=as_json)
        return
    wish = None
    if brings:
        source = "file" if file is not None else "feed"
        wish = Wish(source, tuple(only or ()), metadata_only)  # type: ignore[arg-type]  # one of two words
        patterns_of(wish)  # before anybody is asked for anything
    loaded = load(context.obj.config_file)
    with Meter(quiet=as_json) as meter:
        report, cut_off = carry_out(
            lambda by: _work(loaded, config, (wish, file, bool(words)), meter, by)
        )
    if as_json:
        say_json(report)
    else:
        _conclude(report)
    if cut_off:
        raise interrupted("`npmmirror backfill` goes on from there, and so does `npmmirror run`")
    if report["state"] != "done" or report["failed"] or report.get("left"):
        raise typer.Exit(1)


def _told_of(word: str, *, there: bool, as_json: bool) -> None:
    if as_json:
        say_json({"there": there})
    elif there:
        say({"pause": "paused; `npmmirror backfill --resume` goes on", "cancel": "given up"}[word])
    if not there:
        raise NpmmirrorError("there is no backfill under way")


async def _steer(config: "Config", word: str) -> Report:
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon import cold_commands  # noqa: PLC0415 - as above

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is not None:
            return await daemon.steer_backfill(word)
    if not config.storage.index_path.exists():
        return {"there": False}
    return await cold_commands.steer(config, word)


async def _work(
    loaded: "Loaded",
    config: "Config",
    asked: "tuple[Wish | None, Path | None, bool]",
    meter: "Meter",
    interruption: "Interruption",
) -> tuple[Report, bool]:
    """Have it done, by the daemon where one runs; the last report, and whether Ctrl-C ended it."""
    from npmmirror.daemon import cold_commands  # noqa: PLC0415 - keeps --help fast

    wish, file, resumes = asked
    if resumes and not (await _steer(config, "resume"))["there"]:
        raise NpmmirrorError("there is no backfill under way")
    names = _chunks(file) if file is not None else None

    def tell(report: Report) -> None:
        meter.show(_shown(report))

    interruption.rest = "the daemon goes on with it: `npmmirror status` tells how far it is"
    told = await _by_daemon(config, {"wish": _plain(wish), "begins": not resumes}, names, tell)
    if told is not None:
        return told, False
    interruption.rest = "`npmmirror backfill` goes on from there, and so does `npmmirror run`"
    with interruption.drains() as stop:
        report = await cold_commands.backfill(
            config, _source(loaded, wish), wish, names, tell=tell, stop=stop, own_process=True
        )
    return report, interruption.asked


async def _by_daemon(
    config: "Config", asked: Report, names: AsyncIterator[bytes] | None, tell: Tell
) -> Report | None:
    """The daemon's last word; None where there is none."""
    from npmmirror.cli.beside import running_daemon  # noqa: PLC0415 - keeps --help fast

    async with running_daemon(config.storage.data_dir) as daemon:
        if daemon is None:
            return None
        async with aclosing(daemon.backfill(asked, names)) as reports:
            async for report in reports:
                if "error" in report and "state" not in report:
                    raise _refused(report)
                if report.pop("end", False):
                    return report
                tell(report)
    raise NpmmirrorError("the daemon went away; it goes on with it when it runs again")


def _plain(wish: "Wish | None") -> Report | None:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    return None if wish is None else msgspec.to_builtins(wish)


def _refused(report: Report) -> NpmmirrorError:
    kind = UsageError if report.get("status") == UsageError.exit_status else NpmmirrorError
    return kind(report["error"])


def _source(loaded: "Loaded", wish: "Wish | None") -> "Source":
    """Whom to ask: names of a file need no feed, unless the configuration names one."""
    from npmmirror.cli.registry import registry_of_run, registry_without_feed  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.mirror import Source  # noqa: PLC0415 - as above

    upstream = loaded.config.upstream
    by_file = wish is not None and wish.source == "file"
    if by_file and loaded.origins.get("upstream.feed") == "default":
        return Source(registry_without_feed(upstream, server=loaded.config.server).url)
    return Source(registry_of_run(upstream).url, upstream.feed)


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    """The bytes of a file, or of the standard input."""
    import sys  # noqa: PLC0415 - only for --file

    import anyio  # noqa: PLC0415 - keeps --help fast

    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            while chunk := await anyio.to_thread.run_sync(stream.read, _CHUNK):
                yield chunk
    except OSError as error:
        raise UsageError(f"cannot read the list {file}: {error.strerror}") from error


def _shown(report: Report) -> Report:
    return {
        "phase": "backfill",
        "done": report["done"],
        "total": report["total"],
        "bytes": 0,
        "total_bytes": None,
    }


def _conclude(report: Report) -> None:
    """The sum; then what is not there."""
    if report["state"] == "none":
        say("there is nothing to bring")
        return
    woken = f"{report['woken']:,} dead letters woken, " if report["woken"] else ""
    say(
        f"{plural(report['listed'], 'name')} listed: {report['queued']:,} brought, "
        f"{report['current']:,} current, {report['waiting']:,} on the work list before, "
        f"{woken}{report['left_out']:,} left out"
    )
    if report["tarballs"]:
        say(f"{plural(report['tarballs'], 'tarball')} of packages captured before brought, too")
    if report["state"] == "paused":
        complain("it is paused; `npmmirror backfill --resume` goes on")
    elif report["state"] == "done" and (report["failed"] or report.get("left")):
        left = max(report["failed"], report.get("left") or 0)
        complain(f"{plural(left, 'row')} of the work list left; `npmmirror status` tells why")
    elif report["state"] == "cancelled":
        complain("it was given up")
    if report.get("error"):
        complain(f"the feed: {visible(report['error'])}")
