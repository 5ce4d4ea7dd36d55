"""Writes histories of documents into a capture log, as the mirror does."""

import base64
import json
import random
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from npmmirror.archive import CaptureLog, CaptureReader, PayloadEncoder, needed_numbers, records
from npmmirror.capture import Appended, Chain, Location

AT = "2026-11-20T10:00:00.000000Z"
ENCODER = PayloadEncoder()


@dataclass
class History:
    """A log, and what was put into it: for each document its place and its bytes."""

    log: CaptureLog
    reader: CaptureReader
    documents: list[tuple[Appended, bytes]] = field(default_factory=list)
    chains: dict[str, Chain] = field(default_factory=dict)
    places: dict[str, dict[int, Location]] = field(default_factory=dict)

    @classmethod
    def at(cls, directory: Path, segment_bytes: int = 1 << 30) -> "History":
        return cls(
            CaptureLog.open(directory, segment_bytes=segment_bytes), CaptureReader(directory)
        )

    def capture(self, name: str, raw: bytes, *, stale: bool = False) -> Appended:
        """Append a document and make it durable, for the next one may be a delta of it."""
        payload = ENCODER.encode(raw, self.chains.get(name), self.reader, aside=stale)
        rev, etag = f"{len(self.documents)}-{payload.sha256[:32]}", f'"{payload.sha256[32:]}"'
        record = records.packument(
            AT, name, payload, seq=123_456_789, announced=rev, rev=rev, etag=etag, stale=stale
        )
        appended = self.log.append(record)
        if not stale:
            self._advance(name, payload.number, appended.place)
        self.documents.append((appended, raw))
        self.log.write()
        self.log.sync()
        return appended

    def mark(self) -> Appended:
        appended = self.log.append(records.mark(AT, cursor=len(self.documents)))
        self.log.write()
        self.log.sync()
        return appended

    def close(self) -> None:
        self.log.close()
        self.reader.close()

    def _advance(self, name: str, number: int, place: Location) -> None:
        places = self.places.setdefault(name, {})
        if number == 0:
            places.clear()
        places[number] = place
        needed = {each: places[each] for each in needed_numbers(number)}
        self.chains[name] = Chain(number, needed)


def document(versions: int, *, seed: int = 0, manifest_bytes: int = 1_900) -> bytes:
    """A packument of npm's shape; the same seed gives the same versions again."""
    made = ",".join(_version(number, seed, manifest_bytes) for number in range(versions))
    time = {f"1.{number}.0": f"2026-01-01T00:{number:08}.000Z" for number in range(versions)}
    rest = {"dist-tags": {"latest": f"1.{versions - 1}.0"}, "name": "made-up", "time": time}
    return f'{{"versions":{{{made}}},{json.dumps(rest, separators=(",", ":"))[1:]}'.encode()


@lru_cache(10_000)
def _version(number: int, seed: int, manifest_bytes: int) -> str:
    """A member of `versions`, whose digests and signature are as good as random, as real ones are."""
    dice = random.Random(f"{seed} {number}")
    needs = {
        f"some-dependency-{each}": f"^{each}.{number // 40 + each % 7}.1"
        for each in range((manifest_bytes - 700) // 35)
    }
    manifest = {
        "name": "made-up",
        "version": f"1.{number}.0",
        "description": "A package for tests",
        "license": "MIT",
        "dependencies": needs,
        "scripts": {"test": "node --test", "build": "tsc -p ."},
        "_npmUser": {"name": "somebody", "email": "somebody@people.example"},
        "dist": {
            "integrity": f"sha512-{base64.b64encode(dice.randbytes(64)).decode()}",
            "shasum": dice.randbytes(20).hex(),
            "tarball": f"https://registry.example/made-up/-/made-up-1.{number}.0.tgz",
            "fileCount": 12,
            "unpackedSize": 40_000 + number,
            "signatures": [
                {
                    "keyid": "SHA256:c2NyaXB0ZWQtdXBzdHJlYW0tbm9uZS1zdWNoLWtleS0",
                    "sig": f"MEUCI{base64.b64encode(dice.randbytes(68)).decode()}",
                }
            ],
        },
    }
    return f'"1.{number}.0":{json.dumps(manifest, separators=(",", ":"))}'
