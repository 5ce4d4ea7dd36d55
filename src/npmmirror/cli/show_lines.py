"""What `npmmirror show` tells people of a package, a version, a captured document."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from npmmirror.cli.output import columns, paint, plural, shown_bytes, visible, wrapped
from npmmirror.cli.times import Times
from npmmirror.confusion import DIFFERS, NOT_COMPARED

Report = dict[str, Any]

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


def package_lines(report: Report, times: Times) -> Iterator[str]:
    """A package: its document, and what is held of it and what is not."""
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


def version_lines(report: Report, times: Times) -> Iterator[str]:
    """One version: how its tarball stands, and what its manifest tells."""
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


def revision_lines(report: Report, times: Times) -> Iterator[str]:
    """One captured document."""
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


def event_lines(found: list[Report], limit: int, times: Times) -> Iterator[str]:
    """The newest `limit` of what happened, oldest first; nothing where nothing did."""
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
