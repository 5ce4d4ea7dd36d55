"""What `npmmirror show NAME --at TIME` tells people."""

from collections.abc import Iterator
from typing import Any

from npmmirror.cli.output import paint, plural, visible
from npmmirror.cli.show_lines import listed, row
from npmmirror.cli.times import Times


def past_lines(report: dict[str, Any], times: Times) -> Iterator[str]:
    """A package as it was; of its tarballs, which are here now."""
    moment, revision, versions = report["at"], report["revision"], report["versions"]
    state = report["state"].replace("_", " ")
    yield f"{paint(visible(report['package']), 'bold')}: {state}, as of record {moment['ordinal']}"
    yield from row("committed", moment["committed_at"])
    yield from row("removed", report["removed_by"] and f"by record {report['removed_by']}")
    captured = f"revision {revision['revision']}, {times.tell(revision['observed_at'])}"
    yield from row("captured", captured + (f", rev {revision['rev']}" if revision["rev"] else ""))
    yield from row(
        "published",
        f"{times.tell(report['created_at'])}, the newest change {times.tell(report['modified_at'])}",
    )
    tags = [f"{tag} {version}" for tag, version in report["dist_tags"].items()]
    yield from row("dist-tags", ", ".join(tags))
    yield from row("maintainers", ", ".join(each["name"] for each in report["people"]))
    yield from row("problems", ", ".join(report["problems"]))
    held = [each["version"] for each in versions if each["held"]]
    yield from row("tarballs", f"{len(held):,} of {plural(len(versions), 'version')} held now")
    yield from row("held", listed(held))
    others = [each["version"] for each in versions if not each["held"]]
    yield from row("not held", listed(others))
    deprecated = [each["version"] for each in versions if each["deprecated"] is not None]
    yield from row("deprecated", listed(deprecated))
