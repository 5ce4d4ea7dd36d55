"""What is fuzzed: readers of bytes from outside. Each takes any bytes and raises for a bug alone.

A target lets pass what its reader promises to raise, asserts what it promises to give, and lets
everything else out.
"""

import base64
import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from npmmirror.archive import (
    CaptureDamagedError,
    CaptureLog,
    CaptureReader,
    Damage,
    ErasedError,
    records,
)
from npmmirror.archive.framing import (
    NO_HASH,
    Encoding,
    SegmentHeader,
    header_hash,
    pack_frame,
)
from npmmirror.capture import Kind, Location, Record
from npmmirror.comparison import changed_versions
from npmmirror.confusion import Confusion
from npmmirror.diff import diff
from npmmirror.effects import Effects, Known, KnownVersion
from npmmirror.index.rows import json_text
from npmmirror.integrity import Expected, Hasher
from npmmirror.layout import tarball_path
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.policy import Settings, Want, parse_spec, resolve, wanted_tarballs
from npmmirror.shipped import confusion
from npmmirror.staleness import is_stale
from npmmirror.tarred import Tarred
from npmmirror.upstream.errors import BadAnswer
from npmmirror.upstream.feed import read_listing, read_page, read_root

NAME: Final = "left-pad"
AT: Final = "2026-11-20T10:00:00.000000Z"
SINCE: Final = "2015-01-01T00:00:00.000000Z"
MANY: Final = 200
"""Versions that are looked at one by one."""

DOCUMENT: Final = Packument.parse(
    orjson.dumps(
        {
            "_id": NAME,
            "dist-tags": {"latest": "1.2.0", "next": "2.0.0-rc.1"},
            "versions": {v: {} for v in ("1.0.0", "1.2.0", "2.0.0-rc.1", "not semver", "")},
        }
    ),
    name=NAME,
)


def packument(data: bytes) -> None:
    """Parse a document, look at all of it, and compare it with itself."""
    try:
        document = Packument.parse(data, name=NAME)
    except NotAPackumentError:
        return
    first = diff(document, None, None, following_since=SINCE)
    check_storable(first)
    for version in list(document.versions)[:MANY]:
        manifest = document.manifest(version)
        assert manifest.facts(digest=document.digest(version), published_at=None).version == version
        manifest.dependencies()
        path = tarball_path(NAME, version, 2)
        assert ".." not in Path(path).parts
        assert not Path(path).is_absolute()
    wanted = wanted_tarballs(
        document, first, None, Settings("all"), Want(("*", "latest"), all_versions=True)
    )
    assert set(wanted) <= document.versions.keys()
    known = known_of(document)
    assert changed_versions(document, known) == ()
    assert not is_stale(document, known, None)
    again = diff(document, known, document, following_since=SINCE)
    assert again.events == (), again.events


def known_of(document: Packument) -> Known:
    """What an index knows once a document is captured."""
    return Known(
        state=document.state,
        rev=document.rev,
        modified_at=document.modified,
        sha256="00" * 32,
        versions={v: KnownVersion(document.digest(v)) for v in document.versions},
        tags=document.tags,
        maintainers=frozenset(person.name for person in document.maintainers),
    )


def check_storable(effects: Effects) -> None:
    """Every string of the effects is one that UTF-8 can hold, every detail JSON."""
    for event in effects.events:
        json.loads(json_text(event.detail))
    repr(effects).encode()


def spec(data: bytes) -> None:
    """Read what a person asks for, and resolve it."""
    text = data.decode("utf-8", "surrogateescape")  # as Python takes a command's words
    try:
        name, wanted = parse_spec(text)
    except ValueError:
        return
    assert name
    found = resolve(wanted, DOCUMENT)
    assert set(found) <= DOCUMENT.versions.keys()


def sri(data: bytes) -> None:
    """Read upstream's claim of a digest, and hold bytes against it."""
    text = data.decode("utf-8", "replace")
    integrity, _, shasum = text.partition("\n")
    hasher = Hasher(Expected.of(integrity, shasum))
    hasher.update(data)
    assert hasher.expected is not None or hasher.matches
    assert hasher.verdict()


def feed(data: bytes) -> None:
    """Read a page of the feed, of the listing, and the root."""
    for read in (read_page, read_listing, read_root):
        try:
            read(data)
        except BadAnswer:
            continue
        assert data
    try:
        changes = read_page(data).changes
    except BadAnswer:
        return
    assert all(change.id for change in changes)


def segment(data: bytes) -> None:
    """Read a log whose one segment holds any bytes at all."""
    read_log(data)


def record(data: bytes) -> None:
    """Read a log whose records have right checksums around any header and payload.

    The bytes are cut at each 0xff: the first piece gives encodings and bases, then header and
    payload take turns. `@` in a header stands for the hash of the one before.
    """
    pieces = data.split(b"\xff")
    first, prev = SegmentHeader(1, 1, NO_HASH, 0, ""), NO_HASH
    content = first.pack()
    for number in range(1, len(pieces), 2):
        control = pieces[0][number : number + 2].ljust(2, b"\0")
        header = pieces[number].replace(b"@", base64.b64encode(bytes.fromhex(prev)))
        stored = pieces[number + 1] if number + 1 < len(pieces) else b""
        encoding = Encoding(control[0] % len(Encoding))
        base = Location(1, control[1] * 16) if encoding is Encoding.DELTA else None
        content += pack_frame(header, stored, encoding, control[0], base) + header + stored
        prev = header_hash(header)
    read_log(content)


def read_log(content: bytes) -> None:
    """Scan it, read all documents, recover it, append to it."""
    with tempfile.TemporaryDirectory() as home:
        directory = Path(home) / "captures"
        directory.mkdir()
        (directory / "000001.log").write_bytes(content)
        with CaptureReader(directory) as reader:
            for found in reader.scan():
                if isinstance(found, Damage):
                    assert str(found.error())
                else:
                    read_document(reader, found)
        with CaptureLog.open(directory) as log:
            log.append(records.mark(AT, cursor=1))
            log.write()
            log.sync()
        with CaptureReader(directory) as reader:
            *_, last = reader.scan()
            assert isinstance(last, Record)
            assert last.kind is Kind.MARK


def read_document(reader: CaptureReader, found: Record) -> None:
    """Read a record's document, where it has one."""
    try:
        reader.document(found.place)
    except (CaptureDamagedError, ErasedError, LookupError):
        return


def tarball(data: bytes) -> None:
    """Look for the package.json of an archive, plain and compressed, whole and in two pieces."""
    for whole in (data, gzip.compress(data, 1, mtime=0)):
        found = [taken_out(whole), taken_out(whole[: len(whole) // 2], whole[len(whole) // 2 :])]
        assert found[0] == found[1]
        assert isinstance(found[0], bytes) or found[0] in UNREAD


UNREAD: Final = {"not_an_archive", "no_package_json", "damaged", "too_far", "too_large"}


def taken_out(*pieces: bytes) -> bytes | str | None:
    """The file, or why there is none."""
    reader = Tarred()
    for piece in pieces:
        reader.update(piece)
    reader.end()
    return reader.content if reader.content is not None else reader.problem


def shipped(data: bytes) -> None:
    """Hold a package.json against a manifest; the first 0xff stands between them."""
    told, _, file = data.partition(b"\xff")
    found = confusion(NAME, "1.2.0", told, file)
    again = Confusion.read(json.loads(json_text(found.facts))) if found is not None else None
    assert again == found
    assert found is None or len(json_text(found.facts)) < 25_000


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__: each for each in (packument, spec, sri, feed, segment, record, tarball, shipped)
}
