"""The course of a soak: rounds of storm, calm and comparison."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.soaking import hazards
from benchmarks.soaking.daemon import CONFIG, Daemon
from benchmarks.soaking.disks import Disks
from benchmarks.soaking.judgement import Judge
from benchmarks.soaking.outside import Outside
from benchmarks.soaking.samples import MIB, Sample, Series, sample
from benchmarks.soaking.storm import Storm
from benchmarks.soaking.truth import NEWS_BEGIN, Journal
from benchmarks.soaking.verified import problems
from npmmirror.testing.remote import RemoteUpstream
from tests.daemon import derived

TICK_SECONDS = 0.1
SAMPLE_SECONDS = 1.0
REVEAL_SECONDS = 15.0
CHANGES_A_SECOND = 2.0
PACKAGES = 60
PATIENCE_SECONDS = 900.0
"""How long the mirror may take to the head: a pause after an outage lasts five minutes at most."""
MOST_REFUSALS = 20
"""Starts that may be refused one after the other where nothing is wrong any more."""
RETRY_SECONDS = 10.0
QUIET_SECONDS = 2.0

MOST_RSS = 600 * MIB
MOST_GROWTH = 320 * MIB
"""At rest, since the first look: malloc keeps what large documents took, see "Extremes"."""
MOST_LEAK = 64 * MIB
"""At rest, between the last two rounds of a process that lives on."""
MOST_WAL = 65 * MIB
MORE_DESCRIPTORS = 12
MORE_THREADS = 4


@dataclass(frozen=True, slots=True)
class Calm:
    """How it stood at the head: seconds since the soak's start, seconds that it took, a sample."""

    at: float
    recovery: float
    pid: int
    sample: Sample


class Soak:
    """A whole soak in a directory of its own. `deviations` are what must not happen."""

    def __init__(
        self, directory: Path, stack: ExitStack, *, seed: int, seconds: float, disks: Disks | None
    ) -> None:
        self.dice = Random(f"soak {seed}")
        self.seconds = seconds
        self.began = time.monotonic()
        self.deviations: list[str] = []
        self.calms: list[Calm] = []
        self.series = Series()
        self.reindexed = 0
        self._directory = directory
        self._data_dir = (disks.data if disks else directory) / "mirror"
        self._packages_dir = disks.packages / "packages" if disks else self._data_dir / "packages"
        journal = directory / "truth.db"
        self.upstream = stack.enter_context(
            RemoteUpstream(
                *(str(journal), "--seed", str(seed), "--packages", str(PACKAGES)),
                module="benchmarks.soaking.upstream",
                complaints=stack.enter_context((directory / "upstream.log").open("wb")),
                process_group=0,
            )
        )
        self.journal = stack.enter_context(closing(Journal(journal)))
        self.daemon = Daemon(directory, self._configured(), self._data_dir)
        stack.callback(self.daemon.kill)
        self.storm = Storm(list(self._hazards(disks)), Random(f"storm {seed}"), seconds=seconds)
        self.outside = stack.enter_context(
            closing(
                Outside(self.daemon.config, Random(f"typist {seed}"), self._names, self._is_sound)
            )
        )
        self.judge = Judge(
            self._data_dir,
            self._packages_dir,
            self.journal,
            lambda name: self.upstream.do("told", name=name),
            lambda name, path: self.upstream.do("sha512", name=name, file=Path(path).name),
        )
        self._next_sample = self._next_reveal = self._next_line = 0.0

    def run(self, rounds: int) -> None:
        """The first look, then the rounds: in the later half of them the process is let live."""
        self.daemon.start()
        if not self._come_to_head("the first look"):
            return
        self.upstream.do("set_time", moment=NEWS_BEGIN)
        for number in range(1, rounds + 1):
            lives_on = number > rounds / 2 and rounds > 1
            self._round(number, rounds, lives_on=lives_on)
            if self.deviations or self.daemon.deviations or self.outside.deviations:
                break  # what comes after it proves nothing
        self._end()

    def elapsed(self) -> float:
        """Seconds since the soak began."""
        return time.monotonic() - self.began

    def _round(self, number: int, rounds: int, *, lives_on: bool) -> None:
        name = f"round {number} of {rounds}"
        self.say(f"{name}: storm{', the process lives on' if lives_on else ''}")
        self.storm.forbidden = set(hazards.ENDINGS) if lives_on else set()
        if lives_on and number - 1 <= rounds / 2:
            self.series.forget_memory()
        until = time.monotonic() + self.seconds / rounds
        while time.monotonic() < until:
            self._tick()
        self.say(f"{name}: calm")
        self._calm()
        self._come_to_head(name)
        self._compare(name)
        if not lives_on and number < rounds:
            self._rebuild(name)
            self.daemon.start()

    def _tick(self) -> None:
        now = time.monotonic()
        self.daemon.look()
        self.storm.tick()
        self.outside.tick()
        if self.dice.random() < CHANGES_A_SECOND * TICK_SECONDS:
            self.upstream.do("step")
        if now >= self._next_reveal:
            self._next_reveal = now + REVEAL_SECONDS
            self.upstream.do("reveal")
        self._watch(now)
        time.sleep(TICK_SECONDS)

    def _watch(self, now: float) -> Sample | None:
        """Take a sample each second, and say how it stands now and then."""
        if now < self._next_sample:
            return None
        self._next_sample = now + SAMPLE_SECONDS
        pid = self.daemon.pid
        taken = sample(pid, self._data_dir) if pid is not None and self.daemon.is_up else None
        if taken is not None:
            self.series.add(taken)
        if now >= self._next_line:
            self._next_line = now + max(5.0, min(60.0, self.seconds / 60))
            self.say(self._standing(taken))
        return taken

    def _standing(self, taken: Sample | None) -> str:
        changes = sum(self.upstream.do("happened").values())
        process = "not up"
        if taken is not None:
            process = f"{taken.rss / MIB:.0f} MiB, {taken.descriptors} fds"
        wrong = ", ".join(self.storm.active) or "nothing wrong"
        return f"{changes:,} changes; {process}; {wrong}"

    def _calm(self) -> None:
        """End all hazards; what is odd in the feed is told once more."""
        self.storm.calm()
        self.outside.wait()
        self.upstream.do("settle")

    def _come_to_head(self, name: str) -> bool:
        """Wait until all is finished and nothing is left to do, with dead letters woken."""
        began, next_retry = time.monotonic(), time.monotonic() + RETRY_SECONDS
        status: dict[str, Any] | None = None
        while not self._is_at_head(status):
            self.daemon.look()
            self._watch(time.monotonic())
            stuck = self.daemon.refused_in_a_row > MOST_REFUSALS
            if stuck or time.monotonic() - began > PATIENCE_SECONDS:
                self.deviations.append(f"{name}: not at the head: {status}\n{self.daemon.tail()}")
                return False
            status = self.daemon.status() if self.daemon.is_up else None
            if status and status["dead_letters"] and time.monotonic() > next_retry:
                next_retry = time.monotonic() + RETRY_SECONDS
                self.outside.run("retry")
            time.sleep(0.3)
        recovery = time.monotonic() - began
        time.sleep(QUIET_SECONDS)
        pid = self.daemon.pid or 0
        taken = sample(pid, self._data_dir)
        if taken is None:
            self.deviations.append(f"{name}: the daemon ended at rest\n{self.daemon.tail()}")
            return False
        self.calms.append(Calm(self.elapsed(), recovery, pid, taken))
        self.say(f"{name}: at the head after {recovery:.1f} s, {taken.rss / MIB:.0f} MiB")
        return True

    def _is_at_head(self, status: dict[str, Any] | None) -> bool:
        return (
            status is not None
            and status["feed"]["cursor"] == self.upstream.do("head")
            and status["mirror"]["at_head"]
            and not status["dead_letters"]
            and status["fetch"]["paused"] is None
        )

    def _compare(self, name: str) -> None:
        """Hold the mirror against upstream, and have it verify itself."""
        began = time.monotonic()
        found = self.judge.deviations()
        verified = self.outside.run("verify", "--json")
        if verified.returncode not in {0, 1} or problems(verified.stdout, as_json=True):
            found.append(f"verify: {verified.returncode}\n{verified.stdout}{verified.stderr}")
        self.deviations += [f"{name}: {one}" for one in found]
        if not found:
            self.judge.forget(self.upstream.do("forget"))
        compared = ", ".join(f"{count:,} {what}" for what, count in self.judge.compared.items())
        seconds = time.monotonic() - began
        self.say(f"{name}: {len(found)} deviations; compared {compared} in {seconds:.1f} s")

    def _rebuild(self, name: str) -> None:
        """Stop, make the index anew, and compare its derived tables with those of before."""
        if not self.daemon.stopped():
            return
        before = self._directory / "before.db"
        index = self._data_dir / "index.db"
        before.unlink(missing_ok=True)
        with closing(sqlite3.connect(index)) as source, closing(sqlite3.connect(before)) as target:
            source.backup(target)
        done = self.outside.run("reindex", "--json")
        if done.returncode:
            self.deviations.append(
                f"{name}: reindex: {done.returncode}\n{done.stdout}{done.stderr}"
            )
            return
        found = derived.compare(before, index)
        self.deviations += [f"{name}: reindex: {one}" for one in found]
        self.reindexed += 1
        before.unlink()
        with suppress(OSError, TypeError):
            Path(json.loads(done.stdout)["kept"]).unlink()

    def _reindex_in_storm(self) -> bool:
        """As an operator does it in between: what is under way is not finished."""
        if self.daemon.pid is None or self.storm.is_in("disk") or not self.daemon.is_up:
            return False
        self.outside.wait()
        self._rebuild("in the storm")
        self.daemon.start_in(0.0)
        return True

    def _end(self) -> None:
        """Stop for good, rebuild a last time, and see whether all is back where it began."""
        if self.daemon.pid is not None:
            self._rebuild("the end")
        self.deviations += self.daemon.deviations
        self.deviations += self.outside.deviations
        self.deviations += [f"the scripted upstream: {bug}" for bug in self.upstream.do("bugs")]
        self.deviations += self._not_back()

    def _not_back(self) -> Iterator[str]:
        """What is not where it was at the first look."""
        if not self.calms:
            yield "there was no calm"
            return
        first, last = self.calms[0].sample, self.calms[-1].sample
        if (most := self.series.largest["rss"]) > MOST_RSS:
            yield f"memory: {most / MIB:.0f} MiB at most, and {MOST_RSS / MIB:.0f} are allowed"
        if (growth := last.rss - first.rss) > MOST_GROWTH:
            yield f"memory: {growth / MIB:.0f} MiB more at rest than at first"
        if (leak := self._leak()) > MOST_LEAK:
            yield f"memory: {leak / MIB:.0f} MiB more at rest after the last round than before it"
        if last.descriptors > first.descriptors + MORE_DESCRIPTORS:
            yield f"file descriptors: {last.descriptors}, {first.descriptors} at first"
        if last.threads > first.threads + MORE_THREADS:
            yield f"threads: {last.threads}, {first.threads} at first"
        for calm in self.calms:
            if calm.sample.staging:
                yield f"staging: {calm.sample.staging:,} bytes at rest"
            if max(calm.sample.index_wal, calm.sample.buffer_wal) > MOST_WAL:
                yield f"WAL: {calm.sample.index_wal:,} and {calm.sample.buffer_wal:,} bytes"

    def _leak(self) -> int:
        """How much more memory one and the same process took at rest after its last round."""
        before, last = (self.calms[0], *self.calms)[-2:]
        return last.sample.rss - before.sample.rss if before.pid == last.pid else 0

    def _hazards(self, disks: Disks | None) -> Iterator[hazards.Hazard]:
        yield from hazards.network(self.upstream)
        yield from hazards.outage(self.upstream)
        yield from hazards.bursts(self.upstream, self.dice)
        yield from hazards.deaths(self.daemon, self.dice)
        yield from hazards.hardships(self.daemon, self.dice)
        yield hazards.Hazard("reindex", "process", self._reindex_in_storm, weight=0.5)
        if disks is not None:
            yield from hazards.disks(disks)

    def _configured(self) -> Path:
        file = self._directory / "mirror.toml"
        file.write_text(
            CONFIG.format(
                feed=self.upstream.feed,
                registry=self.upstream.url,
                data_dir=self._data_dir,
                packages_dir=self._packages_dir,
            ),
            encoding="utf-8",
        )
        return file

    def _is_sound(self) -> bool:
        """Whether a verification has no reason to complain: files that cannot be opened are told."""
        return not self.storm.is_in("disk") and hazards.FEW_DESCRIPTORS not in self.storm.active

    def _names(self) -> list[str]:
        """The packages that there are."""
        return list(self.journal.names())

    def say(self, line: str) -> None:
        """A line for people."""
        minutes, seconds = divmod(int(self.elapsed()), 60)
        print(f"{minutes:4}:{seconds:02} {line}", flush=True)
