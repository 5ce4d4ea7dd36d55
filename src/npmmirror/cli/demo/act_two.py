"""The second act: three packages of a real registry, where one answers."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npmmirror.cli.demo.place import Place
from npmmirror.cli.demo.process import program, surroundings
from npmmirror.cli.demo.stage import Stage
from npmmirror.cli.output import plural, shown_bytes, visible
from npmmirror.cli.registry import Registry, registry_without_feed
from npmmirror.config import UpstreamSection
from npmmirror.config.keys import without_password

PACKAGES = ("left-pad", "chalk", "@babel/core")
PATIENCE_SECONDS = 20.0
"""How long the registry is waited for in all."""

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of it. `held` are versions, `lacking` sentences; both empty: nobody answered."""

    held: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def play(stage: Stage, place: Place, upstream: UpstreamSection) -> Ending:
    """Mirror the packages of the registry that `npmmirror sync` would ask."""
    stage.title("Act two: a real registry")
    with stage.waiting("looking for the registry that npm is configured for"):
        registry = registry_without_feed(upstream)
    place.write_two()
    stage.item("sync", f"npmmirror sync {' '.join(PACKAGES)}")
    with stage.waiting("asking the registry"):
        reports = _synced(place.two, registry, upstream)
    if not any(report["complete"] for report in reports):
        stage.item("left out", _left_out(registry, reports))
        return Ending()
    for report in reports:
        stage.item(*_told(report))
    lacking = [line for report in reports for line in _lacks(report)]
    lacking += _verified(stage, place.two)
    held = [
        f"{report['package']}@{version}" for report in reports for version in report["tarballs"]
    ]
    return Ending(tuple(held), tuple(lacking))


def _synced(config: Path, registry: Registry, upstream: UpstreamSection) -> list[Report]:
    """What `sync --json` says; nothing where it takes too long."""
    settings = {
        "NPMMIRROR_UPSTREAM__REGISTRY": registry.url,
        "NPMMIRROR_UPSTREAM__TARBALL_HOSTS": ",".join(upstream.tarball_hosts),
        "NPMMIRROR_UPSTREAM__CONTACT": upstream.contact,
        "NPMMIRROR_UPSTREAM__CONNECT_SECONDS": "5",
        "NPMMIRROR_UPSTREAM__READ_SECONDS": "10",
        "NPMMIRROR_UPSTREAM__MAX_ATTEMPTS": "2",
    }
    return _answer(config, "sync", PACKAGES, settings) or []


def _answer(
    config: Path, command: str, words: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Any:
    """The JSON that a command prints; None where there is none in time."""
    with config.with_name(f"{command}.log").open("wb") as complaints:
        try:
            said = subprocess.run(  # noqa: S603 - this very program
                program(config, command, *words, "--json"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=surroundings(settings),
                timeout=PATIENCE_SECONDS,
                process_group=0,
                check=False,
            ).stdout
            return json.loads(said)
        except (subprocess.TimeoutExpired, ValueError):
            return None


def _left_out(registry: Registry, reports: Sequence[Report]) -> str:
    reason = (reports[0]["outcome"] or "no answer").partition(" (")[0] if reports else "too slow"
    return (
        f"nothing could be had of the registry at {without_password(registry.url)} "
        f"({visible(reason)}), so there is no second act; NPM_CONFIG_REGISTRY=URL names another."
    )


def _told(report: Report) -> tuple[str, str, str]:
    versions = ", ".join(report["tarballs"])
    size = shown_bytes(sum(report["tarballs"].values()))
    if not report["complete"]:
        return report["package"], visible(report["outcome"] or "no answer"), "yellow"
    return report["package"], f"{versions}, {size}: the bytes that the registry promises", "green"


def _lacks(report: Report) -> list[str]:
    missing = [
        f"{report['package']}@{version}: {why}" for version, why in report["missing"].items()
    ]
    if report["complete"]:
        return []
    return missing or [f"{report['package']}: {report['outcome']}"]


def _verified(stage: Stage, config: Path) -> list[str]:
    """Hash again what lies on the disk; what is wrong with it."""
    report = _answer(config, "verify") or {"well": False, "findings": []}
    if not report["well"]:
        return ["npmmirror verify found something wrong in the second act's mirror"]
    tarballs = plural(report["tarballs"], "tarball")
    documents = plural(report["documents"], "document")
    stage.item("verify", f"{tarballs} and {documents} hashed again: nothing is wrong.", "green")
    return []
