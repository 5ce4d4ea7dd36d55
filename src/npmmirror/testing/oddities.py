"""Every oddity that npm's documents are known for (and some that it could send), ready to serve.

Parser tests and pipeline tests use the same corpus. All are made from one plain document of two
versions, `1.0.0` and `1.1.0` (`latest`), changed in one respect each.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from npmmirror.testing import tarball as tarballs
from npmmirror.testing.registry import ScriptedRegistry

ELSEWHERE = "https://elsewhere.example/files/odd.tgz"
REV = "2-" + "c" * 32
THEN_REV = "3-" + "d" * 32


@dataclass(frozen=True, slots=True)
class Oddity:
    """A strange package.

    `raw` is its document, `then` the next one, for what shows in a change alone; the feed
    announces them as `REV` and `THEN_REV`. `tarballs` maps versions to bytes under npm's own
    path, `urls` maps further tarball URLs to bytes.
    """

    id: str
    name: str
    raw: bytes
    tarballs: Mapping[str, bytes]
    urls: Mapping[str, bytes] = field(default_factory=dict)
    then: bytes | None = None

    def put(self, registry: ScriptedRegistry) -> None:
        """Serve `raw`."""
        registry.put_document(
            self.name, self.raw, tarballs_of=self.tarballs, urls=self.urls, rev=REV
        )

    def put_then(self, registry: ScriptedRegistry) -> None:
        """Serve `then`."""
        if self.then is not None:
            registry.put_document(self.name, self.then, rev=THEN_REV)


Edit = Callable[[dict[str, Any]], None]
RawEdit = Callable[[bytes], bytes]


def oddities() -> Iterator[Oddity]:
    """The corpus, always in the same order."""
    for name in NAMES:
        yield _oddity(f"name:{name[:40]!r}", name)
    for key, edit in EDITS.items():
        yield _oddity(key, edit=edit)
    for key, raw_edit in RAW_EDITS.items():
        yield _oddity(key, raw_edit=raw_edit)
    for key, later in CHANGES.items():
        yield _oddity(key, later=later)
    for key, raw in WHOLE.items():
        yield Oddity(key, f"odd-{key}", raw, {})
    yield _elsewhere("tarball_elsewhere", ELSEWHERE)
    yield _elsewhere("tarball_http", "http://registry.example/odd-tarball_http/-/x-1.1.0.tgz")
    yield _elsewhere("tarball_odd_path", "https://registry.example/a/b/../c%20d.tar.gz?x=1#y")
    yield _empty_tarball()


def plain(name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The document that oddities are made from, and its tarballs."""
    registry = ScriptedRegistry(seed=3)
    for version in ("1.0.0", "1.1.0"):
        registry.publish(name, version, manifest={"dependencies": {"left-pad": "^1.0.0"}})
    bodies = {version: registry.tarball(name, version) for version in ("1.0.0", "1.1.0")}
    return {**json.loads(registry.document(name)), "_rev": REV}, bodies


def put(*path: str, value: Any) -> Edit:
    """Set a key. A path that starts with `VERSION` leads into the manifest of version 1.1.0."""

    def edit(document: dict[str, Any]) -> None:
        _at(document, path)[path[-1]] = value

    return edit


def drop(*path: str) -> Edit:
    """Take a key out."""

    def edit(document: dict[str, Any]) -> None:
        del _at(document, path)[path[-1]]

    return edit


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(document: dict[str, Any]) -> None:
        for one in edits:
            one(document)

    return edit


def swap(old: str, new: str) -> RawEdit:
    """Replace bytes of the document, which must hold them."""

    def edit(raw: bytes) -> bytes:
        if old.encode() not in raw:
            raise ValueError(f"nothing to replace: {old}")
        return raw.replace(old.encode(), new.encode(), 1)

    return edit


def _at(document: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        document = document["versions"]["1.1.0"] if key == VERSION else document[key]
    return document


def _renamed_version(new: str) -> Edit:
    """Call version 1.1.0 otherwise wherever its name is a key or a tag."""

    def edit(document: dict[str, Any]) -> None:
        manifest = document["versions"].pop("1.1.0")
        document["versions"][new] = {**manifest, "version": new}
        document["time"][new] = document["time"].pop("1.1.0")
        document["dist-tags"]["latest"] = new

    return edit


VERSION = "\0version"
"""In a path: the manifest of version 1.1.0."""

NAMES = (
    "JSONStream",
    "jsonstream",
    "ETag",
    "etag",
    "@Scope/Capital",
    "@scope/capital",
    "fs",
    "node_modules",
    "-",
    "-----hsad-----",
    "constructor",
    "__proto__",
    "hasOwnProperty",
    "with space",
    "~tilde!'()*",
    "ünïcödé-名前-🦄",
    ".leading-dot",
    "a.tgz",
    "@scope/.x",
    "long-" + "n" * 214,
    "@long/" + "é" * 130,
    "line\nbreak",
    "per%cent%2f",
    "back\\slash",
)

EDITS: dict[str, Edit] = {
    "version_proto": _renamed_version("__proto__"),
    "version_constructor": _renamed_version("constructor"),
    "version_not_semver": _renamed_version("1.1"),
    "version_with_slash": _renamed_version("1.1.0/../../x"),
    "version_with_build": _renamed_version("1.1.0+build.5"),
    "version_key_differs": put(VERSION, "version", value="7.7.7"),
    "tag_dangling": put("dist-tags", "next", value="9.9.9"),
    "tag_no_latest": drop("dist-tags", "latest"),
    "tag_latest_not_semver": put("dist-tags", "latest", value="not a version"),
    "tag_latest_dangling": put("dist-tags", "latest", value="9.9.9"),
    "tag_control_characters": put("dist-tags", "a\u0000\u001b[31m\nb", value="1.0.0"),
    "tag_emoji": put("dist-tags", "🚀", value="1.0.0"),
    "tag_proto": put("dist-tags", "__proto__", value="1.0.0"),
    "tag_value_no_string": put("dist-tags", "broken", value={"version": "1.0.0"}),
    "tags_empty": put("dist-tags", value={}),
    "tags_missing": drop("dist-tags"),
    "tags_null": put("dist-tags", value=None),
    "time_of_unknown_version": put("time", "0.9.0", value="2014-01-01T00:00:00.000Z"),
    "time_missing": drop("time"),
    "time_ctime_mtime": both(
        drop("time"),
        put("ctime", value="2012-01-01T00:00:00.000Z"),
        put("mtime", value="2013-01-01T00:00:00.000Z"),
    ),
    "time_without_z": put("time", "1.1.0", value="2013-05-05T10:11:12"),
    "time_no_date": put("time", "1.1.0", value="yesterday"),
    "time_number": put("time", "1.1.0", value=1_367_748_672),
    "time_null": put("time", "1.1.0", value=None),
    "time_no_created": drop("time", "created"),
    "time_no_modified": drop("time", "modified"),
    "time_far_future": put("time", "1.1.0", value="9999-12-31T23:59:59.999Z"),
    "time_string": put("time", value="2013"),
    "no_shasum": drop(VERSION, "dist", "shasum"),
    "no_integrity": drop(VERSION, "dist", "integrity"),
    "no_digest": both(drop(VERSION, "dist", "shasum"), drop(VERSION, "dist", "integrity")),
    "no_file_count": both(
        drop(VERSION, "dist", "fileCount"), drop(VERSION, "dist", "unpackedSize")
    ),
    "no_tarball_url": drop(VERSION, "dist", "tarball"),
    "no_dist": drop(VERSION, "dist"),
    "dist_null": put(VERSION, "dist", value=None),
    "dist_string": put(VERSION, "dist", value="gone"),
    "tarball_number": put(VERSION, "dist", "tarball", value=5),
    "integrity_nonsense": put(VERSION, "dist", "integrity", value="sha9-!!"),
    "file_count_string": put(VERSION, "dist", "fileCount", value="3"),
    "unpacked_size_huge": put(VERSION, "dist", "unpackedSize", value=2**70),
    "unpacked_size_float": put(VERSION, "dist", "unpackedSize", value=1.5),
    "dependencies_array": put(VERSION, "dependencies", value=["left-pad"]),
    "dependencies_string": put(VERSION, "dependencies", value="left-pad"),
    "dependencies_null": put(VERSION, "dependencies", value=None),
    "dependency_no_string": put(VERSION, "dependencies", value={"left-pad": {"version": "1"}}),
    "bundle_dependencies_true": put(VERSION, "bundleDependencies", value=True),
    "bundle_dependencies_old_spelling": put(VERSION, "bundledDependencies", value=["left-pad"]),
    "nul_escape": put("description", value="before\u0000after"),
    "nul_in_license": put(VERSION, "license", value="MIT\u0000"),
    "maintainers_empty": put("maintainers", value=[]),
    "maintainers_missing": drop("maintainers"),
    "maintainers_string": put("maintainers", value="someone"),
    "maintainers_of_strings": put("maintainers", value=["someone <someone@people.example>"]),
    "maintainer_without_name": put("maintainers", value=[{"email": "x@people.example"}]),
    "maintainers_twice": put("maintainers", value=[{"name": "x"}, {"name": "x", "email": "y"}]),
    "npm_user_missing": drop(VERSION, "_npmUser"),
    "npm_user_string": put(VERSION, "_npmUser", value="someone"),
    "readme_no_string": put("readme", value={"text": "no"}),
    "license_object": put(VERSION, "license", value={"type": "MIT", "url": "https://x.example"}),
    "license_array": put(VERSION, "license", value=["MIT", "ISC"]),
    "licenses_old": both(
        drop(VERSION, "license"), put(VERSION, "licenses", value=[{"type": "BSD"}])
    ),
    "deprecated_empty": put(VERSION, "deprecated", value=""),
    "deprecated_true": put(VERSION, "deprecated", value=True),
    "deprecated_false": put(VERSION, "deprecated", value=False),
    "scripts_string": put(VERSION, "scripts", value="make"),
    "manifest_null": put("versions", "1.1.0", value=None),
    "manifest_string": put("versions", "1.1.0", value="1.1.0"),
    "manifest_empty": put("versions", "1.1.0", value={}),
    "versions_empty": put("versions", value={}),
    "versions_array": put("versions", value=[]),
    "versions_null": put("versions", value=None),
    "name_differs": put("name", value="somebody-else"),
    "name_missing": both(drop("name"), drop("_id")),
    "rev_missing": drop("_rev"),
    "rev_number": put("_rev", value=12),
    "rev_without_dash": put("_rev", value="abc"),
    "both_unpublished_and_versions": put(
        "time", "unpublished", value={"time": "2020-01-01T00:00:00.000Z", "versions": ["1.0.0"]}
    ),
    "attachments": put("_attachments", value={"odd-1.0.0.tgz": {"stub": True}}),
}

RAW_EDITS: dict[str, RawEdit] = {
    "lone_surrogate": swap('"description":"The', '"description":"\\ud800 The'),
    "lone_surrogate_in_tag": swap('"dist-tags":{', '"dist-tags":{"\\udc00":"1.0.0",'),
    "number_too_large": swap('"fileCount":2', '"fileCount":1e999'),
    "number_too_small": swap('"fileCount":2', '"fileCount":-1e999'),
    "duplicate_key": swap('"license":"MIT"', '"license":"ISC","license":"MIT"'),
    "duplicate_version": swap('"versions":{', '"versions":{"1.0.0":{"name":"first"},'),
    "duplicate_versions": swap('"versions":{', '"versions":{"0.0.1":{}},"versions":{'),
    "duplicate_tag": swap('"dist-tags":{', '"dist-tags":{"latest":"1.0.0",'),
    "deep": swap('"license":"MIT"', '"deep":' + "[" * 10_000 + "]" * 10_000 + ',"license":"MIT"'),
    "white_space": lambda raw: json.dumps(json.loads(raw), indent=2).encode() + b"\n\n",
    "escaped_keys": swap('"versions":{', '"\\u0076ersions":{'),
    "escaped_slashes": lambda raw: raw.replace(b"/", b"\\/"),
    "byte_order_mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "invalid_utf8": lambda raw: raw.replace(b'"description":"', b'"description":"\xff\xfe', 1),
    "control_character_raw": swap('"description":"The', '"description":"The\u0001'),
}

CHANGES: dict[str, Edit] = {
    "deprecated_later": put(VERSION, "deprecated", value="do not use"),
    "npm_user_later": put(VERSION, "_npmUser", value={"name": "another", "email": "a@b.example"}),
    "libc_later": put(VERSION, "libc", value=["glibc"]),
    "signatures_later": put(VERSION, "dist", "signatures", value=[]),
    "unpublished_later": both(
        put("time", "unpublished", value={"time": "2026-02-02T00:00:00.000Z", "versions": []}),
        drop("versions"),
        drop("dist-tags"),
    ),
}

WHOLE: dict[str, bytes] = {
    "empty_object": b"{}",
    "array": b"[]",
    "null": b"null",
    "number": b"5",
    "no_bytes": b"",
    "html": b"<!DOCTYPE html><title>no</title>",
    "half": b'{"_id":"odd-half","name":"odd-half","versions":{"1.0.0":{"na',
    "error_with_200": b'{"error":"Not found"}',
    "unpublished": (
        b'{"_id":"odd-unpublished","name":"odd-unpublished","time":{"created":"2013-01-01T00:00:00'
        b'.000Z","1.0.0":"2013-01-01T00:00:00.000Z","unpublished":{"name":"x","time":"2014-01-01'
        b'T00:00:00.000Z","versions":["1.0.0"]}}}'
    ),
}


def _oddity(
    key: str,
    name: str | None = None,
    *,
    edit: Edit | None = None,
    raw_edit: RawEdit | None = None,
    later: Edit | None = None,
) -> Oddity:
    name = f"odd-{key}" if name is None else name
    document, bodies = plain(name)
    if edit is not None:
        edit(document)
    raw = _bytes(document)
    if raw_edit is not None:
        raw = raw_edit(raw)
    return Oddity(key, name, raw, bodies, then=_later(document, later))


def _later(document: dict[str, Any], later: Edit | None) -> bytes | None:
    if later is None:
        return None
    later(document)
    document["_rev"] = THEN_REV
    return _bytes(document)


def _elsewhere(key: str, url: str) -> Oddity:
    document, bodies = plain(f"odd-{key}")
    document["versions"]["1.1.0"]["dist"]["tarball"] = url
    held = {"1.0.0": bodies["1.0.0"]}
    return Oddity(key, f"odd-{key}", _bytes(document), held, {url: bodies["1.1.0"]})


def _empty_tarball() -> Oddity:
    """An empty file whose digest says that it is one."""
    document, bodies = plain("odd-empty_tarball")
    dist = document["versions"]["1.1.0"]["dist"]
    dist.update(shasum=tarballs.sha1(b""), integrity=tarballs.integrity(b""), fileCount=0)
    return Oddity("empty_tarball", "odd-empty_tarball", _bytes(document), {**bodies, "1.1.0": b""})


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
