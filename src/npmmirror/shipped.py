"""A `package.json` as it was shipped, held against what the packument says of the version.

npm normalises a manifest before it publishes it (normalize-package-data, @npmcli/package-json and
what was there before them), so both are brought to one form first. What npm and Yarn add by
themselves is no difference.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from npmmirror.confusion import NO_MANIFEST, Confusion, Difference
from npmmirror.jsontext import Raw, UnreadableError, members, value
from npmmirror.tarred import Tarred

_FIELDS: Final = (
    *("name", "version", "dependencies", "optionalDependencies", "peerDependencies"),
    *("bundleDependencies", "bundledDependencies", "scripts", "bin", "directories"),
)
_MAPS: Final = ("dependencies", "optionalDependencies", "peerDependencies", "scripts", "bin")
_VERSION: Final = re.compile(
    r"[=v\s]*(\d+)\.(\d+)\.(\d+)"
    r"(?:-?((?:\d*[A-Za-z-][0-9A-Za-z-]*|\d+)(?:\.(?:\d*[A-Za-z-][0-9A-Za-z-]*|\d+))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_LONGEST_VERSION: Final = 256
_BIN_PREFIX: Final = re.compile(r"(?:\.[/\\])?node_modules[/\\].bin[\\/]")
_LISTED: Final = re.compile(r"(:?[@\s><=])")
_BETWEEN: Final = re.compile(r"[\s,]+")
_LONGEST_GIT: Final = 1000
_GIT: Final = re.compile(
    r"(?:(?P<short>github|gitlab|bitbucket):|"
    r"(?:git\+)?(?:git|https?|ssh)://(?:[^@/]*@)?(?:www\.)?(?P<host>{0})[/:]|"
    r"[^@/:]*@(?P<scp>{0}):)?"
    r"(?P<user>[^/:@#~.\s][^/:@#\s]*)/(?P<repository>[^/:@#\s]+?)(?:\.git)?/?"
    r"(?:/tree/(?P<tree>[^#\s]+))?(?:#(?P<committish>.*))?".format(
        r"github\.com|gitlab\.com|bitbucket\.org"
    )
)
_INSTALLING: Final = ("install", "preinstall")
_ADDED: Final = (("start", "node server.js"), ("install", "node-gyp rebuild"))
_WAF: Final = "node-waf "


@dataclass(frozen=True, slots=True)
class Form:
    """What of a manifest is compared. `bundles_all` is `bundleDependencies: true`.

    `bin_directory` stands for all programs in it, where they are not listed.
    """

    name: str | None
    version: str | None
    maps: Mapping[str, Mapping[str, str]]
    bundled: frozenset[str]
    bundles_all: bool
    bin_directory: str | None


class ShippedManifest:
    """Takes in the bytes of a tarball, and compares as soon as `package.json` is there.

    `told` is what the packument says of this version, in JSON; None where it has no such version.
    """

    def __init__(self, name: str, version: str, told: bytes | Raw | None) -> None:
        self._name = name
        self._version = version
        self._told = told
        self._tarred = Tarred()
        self._compared = told is None
        self._confusion = Confusion(NO_MANIFEST) if told is None else None

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes; never raises."""
        if self._told is None or self._compared:
            return
        self._tarred.update(chunk)
        if self._tarred.content is not None:
            self._confusion = confusion(self._name, self._version, self._told, self._tarred.content)
            self._compared = True

    @property
    def confusion(self) -> Confusion | None:
        """What came of it, once all bytes are there; None: they agree."""
        if not self._compared:
            self._tarred.end()
            self._confusion = Confusion(self._tarred.problem or "")
            self._compared = True
        return self._confusion


def confusion(name: str, version: str, told: bytes | Raw, shipped: bytes) -> Confusion | None:
    """How a `package.json` differs from what the packument says of that version; None: not.

    Never raises: what cannot be read of the tarball's is a reason, of the packument's as nothing.
    """
    try:
        ours = _fields(shipped)
    except UnreadableError as error:
        return Confusion(error.reason)
    try:
        theirs = _fields(told)
    except UnreadableError:
        theirs = {}
    theirs |= {"name": name, "version": version}
    if theirs == ours:
        return None
    return Confusion.of(_differences(_form(theirs), _form(ours)))


def _fields(raw: bytes | Raw) -> dict[str, Any]:
    found = members(raw)
    return {field: value(found[field]) for field in _FIELDS if field in found}


def _differences(told: Form, shipped: Form) -> Iterator[Difference]:
    for field, one, other in (
        ("name", told.name, shipped.name),
        ("version", told.version, shipped.version),
    ):
        if one != other:
            yield Difference.cut(field, one, other)
    for field in _MAPS:
        ours, theirs = shipped.maps[field], told.maps[field]
        if ours == theirs:
            continue
        for key in sorted({*theirs, *ours}):
            pair = theirs.get(key), ours.get(key)
            if pair[0] != pair[1] and not _is_npms_own(field, key, pair, shipped):
                yield Difference.cut(f"{field}.{key}", *pair)
    yield from _bundles(told, shipped)


def _bundles(told: Form, shipped: Form) -> Iterator[Difference]:
    ours, theirs = shipped.bundled, told.bundled
    if told.bundles_all or shipped.bundles_all:
        # Whether optional ones are among them depends on the npm that published.
        optional = {*told.maps["optionalDependencies"], *shipped.maps["optionalDependencies"]}
        ours, theirs = ours - optional, theirs - optional
    for name in sorted(ours ^ theirs):
        pair = ("*", None) if name in theirs else (None, "*")
        yield Difference.cut(f"bundleDependencies.{name}", *pair)


def _is_npms_own(field: str, key: str, pair: tuple[str | None, str | None], shipped: Form) -> bool:
    """Whether npm made the difference, as it looked at the files that were to be published."""
    published, ours = pair
    if published is None or ours is not None:
        return False
    if field == "bin":
        directory = shipped.bin_directory
        return directory is not None and _is_of(directory, key, published)
    if field != "scripts":
        return False
    if key in _INSTALLING and published.startswith(_WAF):
        return True
    return (key, published) in _ADDED


def _is_of(directory: str, key: str, program: str) -> bool:
    """Whether it is the program that npm finds in a directory of programs."""
    inside = not directory or program.startswith(f"{directory}/")
    return inside and posixpath.basename(program) == key


def _form(fields: dict[str, Any]) -> Form:
    name = _text(fields.get("name"))
    optional = _dependencies(fields.get("optionalDependencies"))
    bundle = fields.get("bundleDependencies")
    if bundle is None:
        bundle = fields.get("bundledDependencies")
    listed = _dependencies(fields.get("dependencies"))
    bundled = frozenset(listed) if bundle is True else frozenset(_names(bundle))
    # npm has them depended on, too, and put optional ones among the others.
    dependencies = dict.fromkeys(bundled, "*") | listed | optional
    directories = fields.get("directories")
    folder = directories.get("bin") if isinstance(directories, dict) else None
    return Form(
        name,
        _version(fields.get("version")),
        {
            "dependencies": dependencies,
            "optionalDependencies": optional,
            "peerDependencies": _dependencies(fields.get("peerDependencies")),
            "scripts": _scripts(fields.get("scripts")),
            "bin": _programs(name, fields.get("bin")),
        },
        bundled,
        bundle is True,
        _unixified(folder) if isinstance(folder, str) else None,
    )


def _text(found: Any) -> str | None:
    if found is None or isinstance(found, str):
        return (found or "").strip() or None
    return orjson.dumps(found).decode()


def _version(found: Any) -> str | None:
    """As npm cleans it: without build metadata, and with the dash that some left out."""
    text = _text(found)
    match = _VERSION.fullmatch(text) if text and len(text) <= _LONGEST_VERSION else None
    if match is None:
        return text
    *numbers, extra = match.groups()
    plain = ".".join(_plain(number) for number in numbers)
    return plain + (f"-{'.'.join(map(_plain, extra.split('.')))}" if extra else "")


def _plain(part: str) -> str:
    return part.lstrip("0") or "0" if part.isdecimal() else part


def _names(bundle: Any) -> Iterator[str]:
    if isinstance(bundle, list | dict):
        yield from (name for name in bundle if isinstance(name, str) and name)


def _dependencies(found: Any) -> dict[str, str]:
    if isinstance(found, str):
        found = _BETWEEN.split(found.strip())
    if isinstance(found, list):
        found = dict(_listed(each) for each in found if isinstance(each, str))
    return _strings(found, _requirement)


def _listed(text: str) -> tuple[str, str]:
    """`name@range`, `name >1` and so on."""
    name, *rest = _LISTED.split(text.strip())
    return name, "".join(rest).removeprefix("@").strip()


def _requirement(text: str) -> str:
    """A range; a repository of one of the three hosts in one spelling of the many."""
    text = text.strip() or "*"
    match = _GIT.fullmatch(text) if "/" in text and len(text) <= _LONGEST_GIT else None
    if match is None:
        return text
    host = match["host"] or match["scp"] or match["short"] or "github"
    committish = match["committish"] or match["tree"] or ""
    return f"{host.partition('.')[0]}:{match['user']}/{match['repository']}#{committish}"


def _scripts(found: Any) -> dict[str, str]:
    return _strings(found, _without_prefix)


def _without_prefix(script: str) -> str:
    match = _BIN_PREFIX.match(script)
    return script[match.end() :] if match else script


def _programs(name: str | None, found: Any) -> dict[str, str]:
    if isinstance(found, str):
        found = {name: found} if name else {}
    elif isinstance(found, list):
        found = {posixpath.basename(each): each for each in found if isinstance(each, str)}
    programs = {}
    for key, path in _strings(found, _unixified).items():
        base = posixpath.basename(_unixified(key))
        if base and path:
            programs[base] = path
    return programs


def _unixified(path: str) -> str:
    """A path within the package, without dots at its head."""
    return posixpath.normpath("/" + path.replace("\\", "/").replace(":", "/")).lstrip("/")


def _strings(found: Any, spelt: Callable[[str], str]) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {key: spelt(text) for key, text in found.items() if isinstance(text, str)}
