"""The first act: a registry of the demo's own, the real daemon, and a SIGKILL in the midst."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from npmmirror.cli.configuration import load
from npmmirror.cli.demo.gauge import Gauge, Reading
from npmmirror.cli.demo.place import Place
from npmmirror.cli.demo.process import Daemon, DemoError, Report, wait_a_little
from npmmirror.cli.demo.proof import Proof, path_of, prove
from npmmirror.cli.demo.stage import Stage
from npmmirror.cli.demo.upstream import FARTHEST_SECONDS, NEAREST_SECONDS
from npmmirror.cli.output import plural
from npmmirror.config import Config
from npmmirror.daemon.status import resting_report
from npmmirror.testing.remote import RemoteUpstream

PACKAGES = 300
KILLED_AT = 0.45
"""Which part of the packages is mirrored when the daemon is killed."""
MOMENTS = 8
"""How often the registry changes by itself, in the second half."""
MOMENT_SECONDS = 0.3
REFUSAL_SECONDS = 1.5
RETRY_AFTER = 1
"""What the answers 429 ask for, in seconds."""
DEADLINE_SECONDS = 60.0
"""How long anything that is waited for may take."""
_REFUSED = "digest_mismatch"


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of it, for the summary. `report` is what `status --json` says at the end."""

    report: Report
    proof: Proof
    tampered: dict[str, str]
    unpublished: dict[str, Any]


def play(stage: Stage, place: Place, seed: int) -> Ending:
    """Play it, to its end.

    Raises:
        DemoError: it did not go as it must.
    """
    with (place.directory / "upstream.log").open("wb") as complaints:
        words = ("--packages", str(PACKAGES), "--seed", str(seed))
        module = "npmmirror.cli.demo.upstream"
        with RemoteUpstream(
            *words, module=module, complaints=complaints, process_group=0
        ) as upstream:
            place.write_one(feed=upstream.feed, registry=upstream.url)
            config = load(place.one, {}).config
            log = place.directory / "one.log"
            with Daemon(place.one, config.storage.data_dir, log) as daemon:
                return _Act(stage, upstream, daemon, config).play()


class _Act:
    """The act's scenes, in their order."""

    def __init__(
        self, stage: Stage, upstream: RemoteUpstream, daemon: Daemon, config: Config
    ) -> None:
        self._stage = stage
        self._upstream = upstream
        self._daemon = daemon
        self._config = config
        self._gauge = Gauge(None)
        self._known: dict[str, Any] = {}

    def play(self) -> Ending:
        self._introduce()
        self._begin()
        self._kill()
        self._start_again()
        unpublished, tampered = self._live()
        self._refuse()
        report = self._end()
        gone = self._taken_back(unpublished)
        refused = {path_of(self._config, tampered["package"], tampered["version"])}
        truth = self._upstream.do("promises")
        proof = prove(self._config, truth, gone=gone, refused=refused)
        _check_verdict(report, tampered)
        return Ending(report, proof, tampered, unpublished)

    def _introduce(self) -> None:
        self._known = self._upstream.do("promises")
        versions = sum(len(told["versions"]) for told in self._known.values())
        milliseconds = f"{NEAREST_SECONDS * 1000:.0f} to {FARTHEST_SECONDS * 1000:.0f} ms"
        self._stage.title("Act one: a registry of our own, on this machine")
        self._stage.item(
            "upstream",
            f"{len(self._known)} invented packages with {versions:,} versions, served on loopback "
            f"by a process of their own. Each answer takes {milliseconds}, as over a network.",
        )

    def _begin(self) -> None:
        self._daemon.start()
        self._stage.item(
            "mirror",
            f"npmmirror run, process {self._daemon.pid}: follows the changes from the beginning, "
            "with every tarball.",
        )
        enough = len(self._known) * KILLED_AT
        self._gauge = Gauge(len(self._known))
        self._watch(lambda _, reading: reading.packages >= enough and reading.in_work > 0)
        self._stage.settle()

    def _kill(self) -> None:
        last = self._report()
        self._daemon.kill()
        in_work = plural(last["fetch"]["in_work"], "package")
        self._stage.item(
            "SIGKILL", f"to process {self._daemon.pid}, with {in_work} in work.", "red"
        )
        found = anyio.run(resting_report, self._config)["totals"]
        unfinished = sum(1 for _ in self._config.storage.staging_path.glob("*"))
        self._stage.item(
            "on disk",
            f"{plural(sum(found['packages'].values()), 'package')} and "
            f"{plural(found['tarballs'], 'tarball')} on record, "
            f"{plural(unfinished, 'file')} unfinished.",
        )

    def _start_again(self) -> None:
        began = time.monotonic()
        self._daemon.start()
        left = self._report()["buffer"]["depth"]
        took = time.monotonic() - began
        self._stage.item(
            "started",
            f"as process {self._daemon.pid}; at work after {took:.1f} s. {self._recovery(left)}",
            "green",
        )
        self._gauge = Gauge(len(self._known))
        self._watch(lambda report, _: self._is_finished(report))
        self._stage.settle()

    def _recovery(self, left: int) -> str:
        """What the daemon itself says it found."""
        swept = sum(each["files"] for each in self._daemon.logged("staging_swept"))
        forward = sum(each["records"] for each in self._daemon.logged("rolled_forward"))
        parts = [
            *([f"removed {plural(swept, 'unfinished file')}"] if swept else []),
            *([f"took over {plural(forward, 'record')} of its log"] if forward else []),
            f"goes on with {plural(left, 'change')} left in its buffer",
        ]
        return f"It {', '.join(parts[:-1])} and {parts[-1]}." if parts[1:] else f"It {parts[0]}."

    def _live(self) -> tuple[dict[str, Any], dict[str, str]]:
        self._stage.item("caught up", "Now the registry lives on: publishes, tags, deprecations.")
        self._gauge = Gauge(None)
        for _ in range(MOMENTS // 2):
            self._moment()
        self._known = self._upstream.do("promises")
        unpublished = self._upstream.do("unpublish")
        versions = plural(len(unpublished["versions"]), "version")
        self._stage.item(
            "unpublish",
            f"{unpublished['package']} ({versions}) and "
            f"{unpublished['other']}@{unpublished['version']} are taken back.",
        )
        tampered = self._upstream.do("tamper")
        self._stage.item(
            "tampering",
            f"{tampered['package']}@{tampered['version']} is published, but upstream serves other "
            "bytes than it promises.",
        )
        for _ in range(MOMENTS // 2):
            self._moment()
        self._watch(lambda report, _: self._is_finished(report))
        return unpublished, tampered

    def _refuse(self) -> None:
        """Answer 429 for a while, as changes come."""
        said = f"429 Too Many Requests, Retry-After: {RETRY_AFTER}"
        self._stage.item("overload", f"upstream answers everything with {said}.", "yellow")
        fault = {"kind": "status", "code": 429, "retry_after": str(RETRY_AFTER)}
        self._upstream.do("fault", fault=fault, scope="*", times=None)
        self._upstream.do("live")
        began = time.monotonic()
        self._watch(lambda *_: time.monotonic() - began >= REFUSAL_SECONDS)
        refused = self._upstream.do("played")["* status"]
        self._upstream.do("heal")
        began = time.monotonic()
        self._watch(lambda report, _: self._is_finished(report))
        self._stage.settle()
        self._stage.item(
            "recovered",
            f"after {plural(refused, 'refusal')} the mirror waited as it was asked to. "
            f"{time.monotonic() - began:.1f} s after the overload it had fetched everything.",
            "green",
        )

    def _end(self) -> Report:
        status = self._daemon.stop()
        if status != 0:
            raise DemoError(f"the daemon ended with status {status}")
        self._stage.item(
            "SIGTERM", "the daemon finished what it had begun and ended with status 0."
        )
        return anyio.run(resting_report, self._config)

    def _taken_back(self, unpublished: dict[str, Any]) -> dict[str, str]:
        """The tarballs that upstream took back: paths, and the SHA-512 that it had promised."""
        name, other = unpublished["package"], unpublished["other"]
        keys = [(name, version) for version in unpublished["versions"]]
        return {
            path_of(self._config, package, version): self._known[package]["versions"][version]
            for package, version in (*keys, (other, unpublished["version"]))
        }

    def _moment(self) -> None:
        """Let the registry change a little, and look on for a while."""
        self._upstream.do("live")
        began = time.monotonic()
        self._watch(lambda *_: time.monotonic() - began >= MOMENT_SECONDS)

    def _watch(self, seen: Callable[[Report, Reading], bool]) -> None:
        """Show how far the daemon is, until something is seen.

        Raises:
            DemoError: it takes too long.
        """
        began = time.monotonic()
        while True:
            report = self._report()
            reading = self._gauge.read(report, time.monotonic())
            self._stage.progress(reading)
            if seen(report, reading):
                return
            if time.monotonic() - began > DEADLINE_SECONDS:
                raise DemoError("the daemon did not get on")
            wait_a_little()

    def _report(self) -> Report:
        """What the daemon says, as soon as it says something."""
        began = time.monotonic()
        while (report := self._daemon.status()) is None:
            if time.monotonic() - began > DEADLINE_SECONDS:
                raise DemoError("the daemon does not answer")
            wait_a_little()
        return report

    def _is_finished(self, report: Report) -> bool:
        """Whether everything that upstream told is finished, but for what it refuses to keep."""
        behind = report["feed"]["cursor"] != self._upstream.do("head")
        waiting = {reason for reason, count in report["work_list"].items() if count}
        busy = report["buffer"]["depth"] or report["fetch"]["in_work"]
        return not behind and not busy and waiting <= {_REFUSED}


def _check_verdict(report: Report, tampered: dict[str, str]) -> None:
    """See that the mirror tells of the tampered tarball, with both digests.

    Raises:
        DemoError: it does not.
    """
    found = [
        error["detail"]
        for error in report["last_errors"]
        if (error["package"], error["item"]) == (tampered["package"], tampered["version"])
        and error["reason"] == _REFUSED
    ]
    if not any(tampered["promised"] in text and tampered["served"] in text for text in found):
        raise DemoError("the mirror does not tell of the tarball that was tampered with")
