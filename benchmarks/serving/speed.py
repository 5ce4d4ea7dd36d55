"""Requests a second: all servers ask the same, take turns, and are told one beside the other."""

import argparse
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import answers
from benchmarks.serving.contestants import (
    BARE,
    MIRROR,
    MIRROR_COLD,
    NGINX,
    VERDACCIO,
    NoVerdaccioError,
    Server,
    Starting,
    mirrored,
    others,
)
from benchmarks.serving.publishing import got_json, published, synced
from benchmarks.serving.subjects import TARBALLS, Subject, subjects

WARM_SECONDS = 1
OF_BARE = 0.5
"""The part of the bare handler's speed that is wanted."""
_TURNS = """
local paths, turn = {PATHS}, 0
request = function()
    turn = turn % #paths + 1
    return wrk.format("GET", paths[turn])
end
"""
_NEEDS = {VERDACCIO: {"node", "npm"}, NGINX: {"nginx"}}


@dataclass(frozen=True)
class Turn:
    """One run of wrk. `cpu` is the server's, in seconds a request; `late` ms that 99 % are below."""

    rate: float
    cpu: float
    late: float


@dataclass
class Figures:
    """All turns, by subject and server."""

    turns: dict[tuple[str, str], list[Turn]] = field(default_factory=dict)

    def rate(self, subject: Subject, server: str) -> float:
        """The median of requests a second."""
        return statistics.median(turn.rate for turn in self.turns[subject.title, server])

    def ratio(self, subject: Subject, server: str) -> float:
        """The mirror's speed to another's: the median over the rounds."""
        both = zip(
            self.turns[subject.title, MIRROR], self.turns[subject.title, server], strict=True
        )
        return statistics.median(ours.rate / theirs.rate for ours, theirs in both)


def measure(options: argparse.Namespace, directory: Path, missing: frozenset[str]) -> bool:
    """Print the table; whether what is wanted was reached."""
    left_out = {*options.without, *(name for name, needs in _NEEDS.items() if needs & missing)}
    config, bodies = synced(directory), directory / "bodies"
    lacking = bool(missing)
    if VERDACCIO not in left_out:
        try:
            published(directory)
        except NoVerdaccioError as fault:
            print(f"{fault}. It takes no part.", file=sys.stderr)
            left_out.add(VERDACCIO)
            lacking = True
    with ExitStack() as stack:
        servers = [
            stack.enter_context(start())
            for name, start in mirrored(config).items()
            if name not in left_out
        ]
        versions = {name: got_json(f"{servers[0].url}/{name}")["versions"] for name in TARBALLS}
        asked = [each for each in subjects(versions) if each.kind in options.answers]
        answers.keep(servers[0], subjects(versions), bodies)
        starting: dict[str, Starting] = dict(others(directory, bodies))
        servers += [
            stack.enter_context(starting[name]()) for name in starting if name not in left_out
        ]
        answers.compare(servers, servers[0], asked)
        sizes = {
            (each.title, server.name): len(answers.asked(server, each, each.paths[0]).sent)
            for each in asked
            for server in servers
        }
        figures = take_turns(options, directory, servers, asked)
    print("\n".join(table(figures, asked, servers, sizes)))
    verdicts = list(judged(figures, asked, {server.name for server in servers}))
    print("\n".join(["", *(text for _, text in verdicts), ""]))
    return all(good for good, _ in verdicts) and not lacking


def _takes_part(server: Server, subject: Subject) -> bool:
    """Documents are not made for each request: it is tarballs that may lie on the disk alone."""
    return server.name != MIRROR_COLD or subject.is_tarball


def take_turns(
    options: argparse.Namespace, directory: Path, servers: list[Server], asked: list[Subject]
) -> Figures:
    """All rounds; each server is warmed up by each subject first."""
    turns = [
        (subject, server, command(options, directory, server, subject))
        for subject in asked
        for server in servers
        if _takes_part(server, subject)
    ]
    for subject, server, words in turns:
        wrk(server, subject, [*words, f"-d{WARM_SECONDS}s"])
    figures = Figures()
    for number in range(1, options.rounds + 1):
        for subject, server, words in turns:
            turn = wrk(server, subject, [*words, f"-d{options.seconds}s"])
            figures.turns.setdefault((subject.title, server.name), []).append(turn)
            told = f"round {number}, {subject.title}, {server.name}: {turn.rate:,.0f}"
            print(told, file=sys.stderr)
    return figures


def command(
    options: argparse.Namespace, directory: Path, server: Server, subject: Subject
) -> list[str]:
    """How wrk is called, in one thread."""
    words = ["wrk", server.url + subject.paths[0]]
    words += ["--latency", "-t1", f"-c{options.connections}"]
    for name, value in subject.headers.items():
        words += ["-H", f"{name}: {value}"]
    if len(subject.paths) > 1:
        script = directory / f"{Path(subject.paths[0]).parts[1]}.lua"
        script.write_text(_TURNS.replace("PATHS", ", ".join(f'"{path}"' for path in subject.paths)))
        words += ["-s", str(script)]
    return words


def wrk(server: Server, subject: Subject, words: list[str]) -> Turn:
    """Have wrk ask.

    Raises:
        WrongAnswerError: there were other answers than 200, or none, or broken connections.
    """
    before = server.cpu()
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    cpu = server.cpu() - before
    if "Non-2xx" in told or "Socket errors" in told:
        raise answers.WrongAnswerError(f"{server.name}, {subject.title}: {told}")
    if " 0 requests in" in told:
        raise answers.WrongAnswerError(f"{server.name}, {subject.title}: no answer in that time")
    count, rate = found(r"(\d+) requests in", told), found(r"Requests/sec:\s+([\d.]+)", told)
    return Turn(rate, cpu / count, milliseconds(told))


def found(pattern: str, text: str) -> float:
    """A number in what wrk said."""
    match = re.search(pattern, text)
    if match is None:
        raise answers.WrongAnswerError(f"wrk said: {text}")
    return float(match[1])


def milliseconds(told: str) -> float:
    """The time that 99 % of the answers took less than."""
    match = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", told)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
    return float(match[1]) * scale[match[2]] if match else float("nan")


def table(
    figures: Figures,
    asked: list[Subject],
    servers: list[Server],
    sizes: dict[tuple[str, str], int],
) -> Iterator[str]:
    """A row for each subject and server."""
    yield (
        "| answer | server | bytes | requests/s | lowest to highest | npmmirror to it "
        "| CPU us/request | 99 % below, ms |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for subject in asked:
        for server in servers:
            if not _takes_part(server, subject):
                continue
            turns = figures.turns[subject.title, server.name]
            rates = [turn.rate for turn in turns]
            cpu = statistics.median(turn.cpu for turn in turns) * 1e6
            late = statistics.median(turn.late for turn in turns)
            yield (
                f"| {subject.title} | {server.name} | {sizes[subject.title, server.name]:,} "
                f"| {figures.rate(subject, server.name):,.0f} "
                f"| {min(rates):,.0f} to {max(rates):,.0f} "
                f"| {figures.ratio(subject, server.name):.2f} | {cpu:,.0f} | {late:.1f} |"
            )


def judged(figures: Figures, asked: list[Subject], servers: set[str]) -> Iterator[tuple[bool, str]]:
    """What was wanted, and whether it is so."""
    for subject in asked:
        for server, goal in ((VERDACCIO, subject.goal), (BARE, OF_BARE)):
            if server in servers:
                ratio = figures.ratio(subject, server)
                word = "reached" if ratio >= goal else "MISSED"
                yield ratio >= goal, f"{subject.title}: {goal:g} x {server} {word} ({ratio:.2f})"
