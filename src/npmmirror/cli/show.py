"""`npmmirror show`."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npmmirror.cli import completion
from npmmirror.cli.output import (
    columns,
    paint,
    plural,
    say,
    say_json,
    shown_bytes,
    visible,
    wrapped,
)
from npmmirror.cli.times import Times
from npmmirror.confusion import DIFFERS, NOT_COMPARED
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from npmmirror.config import Config
    from npmmirror.past import When

Report = dict[str, Any]

EVENTS = 20
VERSIONS = 40
"""Versions that are named one by one; of the others the number is told."""
MISSING = 20

_LABEL = 13
_HERE = {
    "waiting": "waiting for their turn",
    "failed": "failed, to be tried again",
    "set_aside": "set aside after failing again and again",
    "skipped": "skipped",
    "dropped": "dropped",
    "unpublished": "unpublished before they were wanted",
    "not_wanted": "not wanted",
}
_SIGNATURES = {
    "valid": "valid",
    "invalid": "INVALID: it is not what the key that it names makes of this version",
    "unsigned": "none",
    "unknown_key": "of a key that the registry had not served",
    "expired_key": "right, but made with a key that had expired when the version was published",
}
_ATTESTATIONS = {
    "archived": "archived",
    "absent": "told of, but upstream has none",
    "erased": "erased",
    "not_archived": "told of, not archived",
}
_TOLD = {"failed", "set_aside", "skipped", "dropped", "waiting"}


def show(
    context: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@VERSION|@TAG]",
            help="The package, or one version.",
            autocompletion=completion.packages,
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, with everything.")] = False,
    packument: Annotated[
        bool,
        typer.Option("--packument", help="Write the captured document itself, byte for byte."),
    ] = False,
    revision: Annotated[
        int | None,
        typer.Option(
            "--revision",
            metavar="N",
            help="Show the N-th captured document instead (1 is the oldest; stale ones count); "
            "with --packument, write that one.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="Show the package as it was then: a time with its zone (2026-11-20T10:00:00Z), or "
            "seq:N, the N-th record of the capture log.",
        ),
    ] = None,
    events: Annotated[
        int, typer.Option("--events", metavar="N", min=0, help="So many events, the newest.")
    ] = EVENTS,
    utc: Annotated[
        bool, typer.Option("--utc", help="Times by the clock, not by their distance.")
    ] = False,
) -> None:
    """Show what is stored of a package, what is missing, and why.

    Example: npmmirror show chalk@latest
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.cli.interrupt import carry_out  # noqa: PLC0415 - as above
    from npmmirror.policy import parse_spec  # noqa: PLC0415 - as above

    try:
        name, version = parse_spec(spec)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if version is not None and (packument or revision is not None or at is not None):
        raise UsageError("a document is the whole package's: write its name without a version")
    which = _when(at, revision) if at is not None else revision
    config = load(context.obj.config_file).config
    if packument:
        sys.stdout.buffer.write(carry_out(lambda _: _document(config, name, which)))
        sys.stdout.buffer.flush()
        return
    report = carry_out(lambda _: _report(config, name, version, which))
    if as_json:
        say_json(report)
        return
    for line in _lines(report, events, Times(utc=utc)):
        say(line)


def _when(at: str, revision: int | None) -> "When":
    from npmmirror.past import parse_when  # noqa: PLC0415 - keeps --help fast

    if revision is not None:
        raise UsageError("--at and --revision each name a document: write one of them")
    try:
        return parse_when(at)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from error


async def _document(config: "Config", name: str, which: "int | When | None") -> bytes:
    from npmmirror.daemon.showing import shown  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.showing_past import shown_past  # noqa: PLC0415 - as above

    if which is None or isinstance(which, int):
        async with shown(config) as showing:
            return await showing.document(name, which)
    async with shown_past(config, which) as past:
        return await past.document(name)


async def _report(
    config: "Config", name: str, version: str | None, which: "int | When | None"
) -> Report:
    from npmmirror.daemon.showing import shown  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.showing_past import shown_past  # noqa: PLC0415 - as above

    if which is not None and not isinstance(which, int):
        async with shown_past(config, which) as past:
            return await past.package(name)
    async with shown(config) as showing:
        if version is not None:
            return await showing.version(name, version)
        if which is not None:
            return await showing.revision(name, which)
        return await showing.package(name)


def _lines(report: Report, events: int, times: Times) -> Iterator[str]:
    """The report for people, whichever of the four it is."""
    if "removed_by" in report:
        from npmmirror.cli.show_past import past_lines  # noqa: PLC0415 - it needs this module

        yield from past_lines(report, times)
        yield from _events(report["events"], events, times)
    elif "revisions" in report:
        yield from _package(report, times)
        yield from _events(report["events"], events, times)
    elif "revision" in report:
        yield from _revision(report, times)
    else:
        yield from _version(report, times)
        yield from _events(report["events"], events, times)


def _package(report: Report, times: Times) -> Iterator[str]:
    state = report["state"] or "nothing captured"
    yield f"{paint(visible(report['package']), 'bold')}: {state.replace('_', ' ')}"
    if report["skipped"] is not None:
        yield from row("skipped", _reason(report["skipped"]))
    if report["document_work"] is not None:
        yield from row("document", _to_do(report["document_work"], times))
    if report["revisions"]:
        yield from row("captured", _captured(report["revisions"], times))
        yield from row(
            "published",
            f"{times.tell(report['created_at'])}, the newest change {times.tell(report['modified_at'])}",
        )
    tags = [f"{tag} {version}" for tag, version in report["dist_tags"].items()]
    yield from row("dist-tags", ", ".join(tags))
    people = [each["name"] for each in report["people"] if each["role"] == "maintainer"]
    yield from row("maintainers", ", ".join(people))
    yield from row("license", report["license"])
    yield from row("problems", ", ".join(report["problems"]))
    yield from _tarballs(report["versions"], times)


def _captured(revisions: list[Report], times: Times) -> str:
    stale = sum(each["stale"] for each in revisions)
    newest = revisions[-1]
    text = plural(len(revisions), "revision")
    if stale:
        text += f" ({stale} stale)"
    text += f", the newest {times.tell(newest['observed_at'])}"
    return f"{text}, rev {newest['rev']}" if newest["rev"] else text


def _tarballs(versions: list[Report], times: Times) -> Iterator[str]:
    """What is held, what is not, and why not."""
    held = [each for each in versions if each["tarball"] == "held"]
    size = shown_bytes(sum(each["size"] or 0 for each in held))
    yield from row("tarballs", f"{len(held):,} of {plural(len(versions), 'version')} held, {size}")
    yield from row("held", listed([each["version"] for each in held]))
    yield from row("not held", "; ".join(_not_held(versions)))
    yield from row("signatures", _signatures(versions))
    told = [each for each in versions if each["tarball"] in _TOLD]
    if told:
        yield ""
        yield "not held"
    for each in told[-MISSING:]:
        yield from row(each["version"], _missing(each, times), indent=2)
    if len(told) > MISSING:
        yield f"  and {len(told) - MISSING:,} more: --json has them all"


def _signatures(versions: list[Report]) -> str:
    """How many versions are in each state, and which are signed wrongly."""
    states = Counter(each["signature"] for each in versions if each["signature"])
    told = [f"{count:,} {state.replace('_', ' ')}" for state, count in states.most_common()]
    wrong = [each["version"] for each in versions if each["signature"] == "invalid"]
    text = ", ".join(told)
    return f"{text}; invalid: {listed(wrong)}" if wrong else text


def _not_held(versions: list[Report]) -> Iterator[str]:
    """How many are not, by why; those that are not wanted by the rule that says so."""
    others = Counter(each["tarball"] for each in versions if each["tarball"] != "held")
    unwanted = Counter(each["reason"] for each in versions if each["tarball"] == "not_wanted")
    for word, text in _HERE.items():
        if word == "not_wanted":
            for rule, count in unwanted.most_common():
                yield f"{count:,} not wanted by {rule or 'the policy'}"
        elif others[word]:
            yield f"{others[word]:,} {text}"


def listed(versions: list[str]) -> str:
    """The newest of some versions, and how many older ones there are."""
    left_out = len(versions) - VERSIONS
    text = ", ".join(versions[-VERSIONS:])
    return f"{text} and {left_out:,} older ones" if left_out > 0 else text


def _missing(each: Report, times: Times) -> str:
    """Why a tarball is not here, and when it is tried again."""
    text = f"{each['tarball'].replace('_', ' ')}: {_reason(each)}"
    if each["tarball"] in {"failed", "set_aside"}:
        text += f"; {_tries(each, times)}"
    return text


def _to_do(work: Report, times: Times) -> str:
    return f"{_reason(work)}; {_tries(work, times)}"


def _tries(work: Report, times: Times) -> str:
    tried = f"tried {work['attempts']}x"
    if work["next_try"] is None:
        return f"{tried}, not again by itself (npmmirror retry)"
    return f"{tried}, next try {times.due(work['next_try'])}"


def _reason(told: Report) -> str:
    reason = (told["reason"] or "no reason told").removeprefix("policy: ")
    return f"{reason} ({told['detail']})" if told["detail"] else reason


def _version(report: Report, times: Times) -> Iterator[str]:
    name = f"{report['package']}@{report['version']}"
    state = "" if report["present"] else ", no longer there upstream"
    yield f"{paint(visible(name), 'bold')}: {_here(report)}{state}"
    dist = report["dist"]
    if report["tarball"] in _TOLD:
        yield from row("reason", _missing(report, times))
    yield from row("file", report["path"])
    if report["size"] is not None:
        yield from row("size", f"{report['size']:,} bytes")
    if report["tarball"] == "held":
        yield from row("verified", _verified(report, times))
    yield from row("published", _published(report, times))
    yield from row("dist-tags", ", ".join(report["dist_tags"]))
    yield from row("deprecated", report["deprecated"])
    yield from row("license", report["license"])
    yield from row("signature", _SIGNATURES.get(report["signature"]))
    yield from row("attestations", _ATTESTATIONS.get(report["attestations"]))
    yield from _confusion(report["manifest_confusion"])
    if report["has_install_script"]:
        yield from row("scripts", "runs one on installation")
    yield from row("tarball", dist["tarball"])
    yield from row("integrity", dist["integrity"])
    yield from row("shasum", dist["shasum"])
    if dist["unpacked_size"] is not None:
        files = "" if dist["file_count"] is None else f" in {plural(dist['file_count'], 'file')}"
        yield from row("unpacked", f"{dist['unpacked_size']:,} bytes{files}")
    yield from _dependencies(report["dependencies"])


def _confusion(found: Report | None) -> Iterator[str]:
    """How the tarball's package.json differs from the packument."""
    if found is None:
        return
    if found["reason"] in NOT_COMPARED:
        yield from row("manifest", f"not compared: {found['reason'].replace('_', ' ')}")
        return
    if found["reason"] != DIFFERS:
        yield from row(
            "manifest", paint(f"none in the tarball: {found['reason'].replace('_', ' ')}", "yellow")
        )
        return
    yield from row("manifest", paint("not as in the packument:", "yellow"))
    for each in found["differences"]:
        told, shipped = _quoted(each["packument"]), _quoted(each["tarball"])
        yield from row("", f"{each['field']}: {told} published, {shipped} in the tarball")
    if found["more"]:
        yield from row("", f"and {found['more']:,} more")


def _quoted(text: str | None) -> str:
    return "nothing" if text is None else f"'{text}'"


def _here(report: Report) -> str:
    """How the tarball stands, in a word or few."""
    word: str = report["tarball"]
    if word == "held":
        return "held, unverifiable" if report["unverifiable"] else word
    return word.replace("_", " ")


def _verified(report: Report, times: Times) -> str:
    text = times.tell(report["verified_at"])
    if report["check"] is not None:
        text += f"; npmmirror verify found it {report['check']} {times.tell(report['checked_at'])}"
    return text


def _published(report: Report, times: Times) -> str:
    by = f" by {report['publisher']}" if report["publisher"] else ""
    return f"{times.tell(report['published_at'])}{by}"


def _dependencies(needs: list[Report] | None) -> Iterator[str]:
    """By kind; those of versions that no dist-tag names are in the document alone."""
    kinds: dict[str, list[str]] = {}
    for each in needs or ():
        kinds.setdefault(each["kind"], []).append(f"{each['name']} {each['requirement']}".rstrip())
    for kind, named in kinds.items():
        yield ""
        yield kind
        yield from wrapped(", ".join(map(visible, named)), "  ")


def _revision(report: Report, times: Times) -> Iterator[str]:
    name = paint(visible(report["package"]), "bold")
    yield f"{name}: revision {report['revision']}{', stale' if report['stale'] else ''}"
    yield from row("rev", report["rev"])
    yield from row("announced", report["announced_rev"])
    yield from row("seq", report["seq"])
    yield from row("observed", times.tell(report["observed_at"]))
    yield from row("etag", report["etag"])
    yield from row("sha256", report["sha256"])
    yield from row(
        "size",
        f"{report['length']:,} bytes, stored in {report['stored_length']:,}"
        f"{' as a delta' if report['delta'] else ''}",
    )
    yield from row(
        "record",
        f"{report['ordinal']}, in captures/{report['segment']:06}.log at byte {report['offset']:,}",
    )
    if report["version_count"] is not None:
        tags = ", ".join(f"{tag} {version}" for tag, version in report["dist_tags"].items())
        yield from row("names", f"{plural(report['version_count'], 'version')}; {tags}")


def _events(found: list[Report], limit: int, times: Times) -> Iterator[str]:
    if not found or not limit:
        return
    earlier = len(found) - limit
    yield ""
    yield "events" if earlier <= 0 else f"events, the newest {limit:,} of {len(found):,}"
    rows = [
        (times.tell(each["happened_at"] or each["observed_at"]), each["kind"], _happened(each))
        for each in found[-limit:]
    ]
    yield from columns(rows, indent="  ")


def _happened(event: Report) -> str:
    """What the event is about, in as many words as a line has room for."""
    words = [event["tag"] and f"{event['tag']}:", event["version"]]
    words += [event["publisher"] and f"by {event['publisher']}"]
    words += [f"{key} {value}" for key, value in event["detail"].items() if value]
    return " ".join(str(word) for word in words if word)


def row(label: str, text: object, indent: int = 0) -> Iterator[str]:
    """A labelled line, wrapped; nothing where there is nothing to say."""
    if text is None or text == "":
        return
    start = f"{' ' * indent}{visible(label)}".ljust(_LABEL)
    if len(start) > _LABEL:
        start += "  "
    yield from wrapped(visible(str(text)), " " * _LABEL, start)
