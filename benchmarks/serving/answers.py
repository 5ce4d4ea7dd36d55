"""Whether everybody gives the right answers: compared before anything is timed."""

import gzip
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.serving.contestants import BARE, NGINX, Server
from benchmarks.serving.subjects import Subject

SAME_BYTES = frozenset({BARE, NGINX})


class WrongAnswerError(Exception):
    """A server does not answer what it should."""


@dataclass(frozen=True)
class Answer:
    """What came. `body` is decompressed, `sent` is not."""

    status: int
    sent: bytes
    body: bytes

    def told(self, subject: Subject) -> Any:
        """What it says of the package: digests by version and dist-tags, or the tarball's digest."""
        if subject.is_tarball:
            return hashlib.sha512(self.body).hexdigest()
        document = json.loads(self.body)
        claims = {
            version: manifest["dist"]["integrity"]
            for version, manifest in document["versions"].items()
        }
        return document["name"], document["dist-tags"], claims


def asked(server: Server, subject: Subject, path: str) -> Answer:
    """A server's answer.

    Raises:
        WrongAnswerError: it is gzipped where it should not be, or the other way.
    """
    request = Request(server.url + path, headers=dict(subject.headers))  # noqa: S310 - loopback
    with urlopen(request) as answer:  # noqa: S310 - loopback
        sent = answer.read()
        zipped = answer.headers.get("Content-Encoding") == "gzip"
        if zipped != subject.is_zipped:
            raise WrongAnswerError(f"{server.name}, {subject.title}: gzip was {zipped}")
        return Answer(answer.status, sent, gzip.decompress(sent) if zipped else sent)


def keep(server: Server, subjects: Iterable[Subject], directory: Path) -> None:
    """Write a server's answers to files, for those that answer the same bytes."""
    for subject in subjects:
        ending = "" if subject.is_tarball else "/index.json"
        for path in subject.paths:
            file = directory / f"{path[1:]}{ending}{'.gz' if subject.is_zipped else ''}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(asked(server, subject, path).sent)


def compare(servers: Iterable[Server], ours: Server, subjects: Iterable[Subject]) -> None:
    """Hold all answers against those of the mirror.

    Raises:
        WrongAnswerError: one is another.
    """
    for server in servers:
        for subject in subjects:
            for path in subject.paths:
                right, found = asked(ours, subject, path), asked(server, subject, path)
                same = found.told(subject) == right.told(subject)
                if server.name in SAME_BYTES:
                    # The address of the server is in the documents' URLs, nothing else differs.
                    same = same and len(found.sent) == len(right.sent)
                if found.status != 200 or not same:
                    raise WrongAnswerError(f"{server.name} answers {path} otherwise")
