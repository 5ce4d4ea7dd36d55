"""Lock files of npm, pnpm and Yarn: what they want, and what becomes of nonsense."""

import json
import random
from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.lockfiles import MAX_BYTES, Lockfile, LockfileError, read
from npmmirror.lockfiles.locked import Locked
from tests.lockfiles import samples

SHA512 = "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA=="
SHA1 = "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="


def wanted(found: Lockfile) -> set[str]:
    """`NAME@VERSION` of each."""
    return {f"{one.package}@{one.version}" for one in found.packages}


def elsewhere(found: Lockfile) -> dict[str, str]:
    """What is of no registry, by name."""
    return {one.name: one.what for one in found.elsewhere}


def of(found: Lockfile, package: str) -> Locked:
    """The entry of a package that has one."""
    [one] = [one for one in found.packages if one.package == package]
    return one


@pytest.mark.parametrize("name", samples.ALL)
def test_the_format_is_told_by_the_content(name: str) -> None:
    """Whatever the file is called, with a byte order mark, and with other ends of lines."""
    raw = samples.ALL[name]
    assert read(raw).format == name
    assert read(b"\xef\xbb\xbf" + raw) == read(raw)
    assert read(raw.replace(b"\n", b"\r\n")) == read(raw)


@pytest.mark.parametrize("raw", [samples.NPM_3, samples.NPM_1], ids=["3", "1"])
def test_npm(raw: bytes) -> None:
    """Aliases by what is behind them, places in the tree, and no bundled ones."""
    found = read(raw)
    assert wanted(found) == {"left-pad@1.3.0", "left-pad@1.1.0", "@s/n@2.0.0", "fsevents@2.3.3"}
    assert of(found, "fsevents") == Locked("fsevents", "2.3.3", SHA1, optional=True)
    assert Locked("left-pad", "1.3.0", SHA512) in found.packages
    kinds = elsewhere(found)
    assert kinds.pop("member") in {"workspace", "file"}
    assert kinds == {"fork": "git", "loose": "url"}


def test_npm_2_is_read_as_3() -> None:
    """Both tables are in it: the flat one counts."""
    both = orjson.loads(samples.NPM_3) | {"lockfileVersion": 2, "dependencies": {"x": {}}}
    assert read(orjson.dumps(both)).packages == read(samples.NPM_3).packages


def test_npm_5_wrote_urls_in_the_place_of_versions() -> None:
    """The version is in the name of the registry's tarball then."""
    url = "https://registry.example/a-1/-/a-1-1.0.0-rc.1.tgz"
    raw = {"lockfileVersion": 1, "dependencies": {"a-1": {"version": url}}}
    assert wanted(read(orjson.dumps(raw))) == {"a-1@1.0.0-rc.1"}


def test_pnpm_9() -> None:
    """Peers' suffixes aside, strange tarball URLs of a registry, numbers that are versions."""
    found = read(samples.PNPM_9)
    assert wanted(found) == {"@s/n@2.0.0", "fsevents@2.3.3", "left-pad@1.3.0", "odd@1.10.0"}
    assert of(found, "fsevents") == Locked("fsevents", "2.3.3", SHA1, optional=True)
    assert of(found, "@s/n").integrity == SHA512
    told = {(one.name, one.what) for one in found.elsewhere}
    assert told == {
        ("fork", "url"),
        ("repo", "git"),
        ("left-pad", "patch"),
        ("member", "workspace"),
    }


def test_pnpm_6() -> None:
    """Keys begin with a slash."""
    found = read(samples.PNPM_6)
    assert wanted(found) == {"@s/n@2.0.0", "fsevents@2.3.3"}
    assert of(found, "fsevents").optional
    assert elsewhere(found) == {"fork": "url"}


def test_pnpm_5() -> None:
    """Name and version are parted by a slash, another registry's host may come first."""
    found = read(samples.PNPM_5)
    assert wanted(found) == {"@s/n@2.0.0", "left-pad@1.3.0", "@t/m@1.0.0"}
    assert elsewhere(found) == {"fork": "url"}


def test_pnpm_11_puts_its_own_needs_into_a_document_of_their_own() -> None:
    """Both count."""
    own = (
        b"---\nlockfileVersion: '9.0'\npackages:\n  pnpm@11.0.0:\n    resolution: {integrity: x}\n"
    )
    found = read(own + b"---\n" + samples.PNPM_9)
    assert {"pnpm@11.0.0", "left-pad@1.3.0"} <= wanted(found)


def test_yarn_1() -> None:
    """Several patterns, aliases, SHA-1 behind the URL where there is no integrity."""
    found = read(samples.YARN_1)
    assert set(found.packages) == {
        Locked("@s/n", "2.0.1", SHA1),
        Locked("left-pad", "1.3.0", SHA512),
    }
    assert elsewhere(found) == {"fork": "git", "member": "file"}


def test_yarn_berry() -> None:
    """Its checksums are of zip files, its own patches nobody's business."""
    found = read(samples.YARN_BERRY)
    assert set(found.packages) == {
        Locked("@s/n", "2.0.1"),
        Locked("left-pad", "1.3.0"),
        Locked("odd", "1.10.0"),
    }
    assert elsewhere(found) == {"fork": "url", "member": "workspace"}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "no lock file of npm, pnpm or Yarn"),
        (b"hello", "no lock file of npm, pnpm or Yarn"),
        (b'{"lockfileVersion": 3,\n "packages": {"a" 1}}', "line 2: not JSON"),
        (b'{"lockfileVersion": 4, "packages": {}}', "lockfileVersion 4 is not 1, 2 or 3"),
        (b"{}", "neither packages nor dependencies"),
        (b'{"lockfileVersion": 3, "packages": {"node_modules/a": 1}}', "'node_modules/a' is not"),
        (b"[" * 100_000, "no lock file"),
        (b'{"a":' * 100_000, "line 1: not JSON"),
        (b"lockfileVersion: '4.0'\n", "lockfileVersion '4.0' is not one of 5 to 9"),
        (b"lockfileVersion: '9.0'\npackages: [\n", "not YAML"),
        (b"lockfileVersion: '9.0'\na: &b {}\n", "line 2: no lock file has an anchor"),
        (b"lockfileVersion: '9.0'\na: *b\n", "line 2: no lock file has an alias"),
        (b"lockfileVersion: '9.0'\na: !!python/name:os.system x\n", "line 2: no lock file has a"),
        (b"lockfileVersion: '9.0'\na: 1\na: 2\n", "line 3: no lock file has the key 'a' twice"),
        (b"lockfileVersion: '9.0'\n? [a]\n: 1\n", "line 2: no lock file has a key that is no"),
        (b"lockfileVersion: '9.0'\na: " + b"[" * 50_000, "line 2: no lock file has something nest"),
        (b"__metadata:\n  version: 8\na@npm:1:\n  version: 1\n", "'a@npm:1' has no resolution"),
        (b'{"lockfileVersion": [3], "packages": {}}', "lockfileVersion [3] is not 1, 2 or 3"),
        (b"# yarn lockfile v1\n\na@1:\n  version\n", "line 4: not understood ('version')"),
        (b"# yarn lockfile v1\n\na@1:\n  resolved x\n", "line 3: 'a@1' has no version"),
        (b"# yarn lockfile v1\n<<<<<<< HEAD\n", "line 2: a merge conflict that nobody resolved"),
        (b"# yarn lockfile v1\n\na@1:\n      version x\n", "line 4: not understood"),
        (b"# yarn lockfile v1\n\na@1:\n  version \xff\n", "line 4: no UTF-8"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(raw: bytes, told: str) -> None:
    """With the line, or the key."""
    with pytest.raises(LockfileError) as caught:
        read(raw)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_end_is_refused() -> None:
    """Before anything is parsed."""
    with pytest.raises(LockfileError, match="are the most"):
        read(b"{" + b" " * MAX_BYTES)


names = st.from_regex(r"(@[a-z][a-z0-9-]{0,5}/)?[a-z][a-z0-9.-]{0,8}[a-z0-9]", fullmatch=True)
numbers = st.integers(0, 50)
versions = st.builds(
    "{}.{}.{}{}".format, numbers, numbers, numbers, st.sampled_from(["", "-rc.1", "-0"])
)
projects = st.dictionaries(st.tuples(names, versions), st.booleans(), max_size=12)
Project = dict[tuple[str, str], bool]


def as_npm_3(project: Project) -> bytes:
    """As npm writes it, each in a folder of its own; scalars of its own order."""
    packages = {
        f"{'node_modules/up/' * depth}node_modules/{name}": {
            "version": version,
            "resolved": f"https://registry.example/{name}/-/x-{version}.tgz",
            "integrity": SHA1,
            **({"optional": True} if optional else {}),
        }
        for depth, ((name, version), optional) in enumerate(project.items())
    }
    return json.dumps({"lockfileVersion": 3, "packages": packages}).encode()


def as_npm_1(project: Project) -> bytes:
    """The same, each below the one before."""
    tree: dict[str, object] = {}
    for (name, version), optional in project.items():
        entry = {"version": version, "integrity": SHA1, "optional": optional}
        tree = {name: {**entry, "dependencies": tree}}
    return json.dumps({"lockfileVersion": 1, "dependencies": tree}).encode()


def as_pnpm_9(project: Project) -> bytes:
    """As pnpm writes it."""
    lines = ["lockfileVersion: '9.0'", "packages:"]
    for name, version in project:
        lines += [f"  '{name}@{version}':", f"    resolution: {{integrity: {SHA1}}}"]
    lines += ["snapshots:"]
    for (name, version), optional in project.items():
        lines += [f"  '{name}@{version}(x@1.0.0)':", f"    optional: {str(optional).lower()}"]
    return "\n".join([*lines, ""]).encode()


def as_yarn_1(project: Project) -> bytes:
    """As Yarn 1 writes it, which knows nothing of what is optional."""
    lines = ["# yarn lockfile v1", ""]
    for name, version in project:
        lines += ["", f'"{name}@^{version}", {name}-x@npm:{name}@1:' if name[0] != "@" else ""]
        if name[0] == "@":
            lines[-1] = f'"{name}@^{version}":'
        url = f"https://registry.example/{name}/-/x.tgz"
        lines += [
            f'  version "{version}"',
            f'  resolved "{url}#{"da39a3ee5e6b4b0d3255bfef95601890afd80709"}"',
        ]
    return "\n".join([*lines, ""]).encode()


WRITERS = [as_npm_3, as_npm_1, as_pnpm_9, as_yarn_1]


@pytest.mark.parametrize("write", WRITERS, ids=lambda one: one.__name__)
@settings(max_examples=60, deadline=None)
@given(project=projects)
def test_what_is_written_is_read_again(write: object, project: Project) -> None:
    """Every package, version, digest and flag."""
    assert callable(write)
    found = read(write(project))
    knows_optional = write is not as_yarn_1
    assert {(one.package, one.version): one.optional for one in found.packages} == {
        key: optional and knows_optional for key, optional in project.items()
    }
    assert {one.integrity for one in found.packages} <= {SHA1}
    assert found.elsewhere == ()


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(samples.ALL)),
    seed=st.integers(0, 2**32),
    junk=st.binary(max_size=12)
    | st.sampled_from([b"{", b"}", b'"', b": ", b"\n  ", b"null", b"1"]),
)
def test_mutilated_files_raise_nothing_else(name: str, seed: int, junk: bytes) -> None:
    """Cut, doubled, swapped, sprinkled with junk: a lock file or a sentence."""
    raw, dice = samples.ALL[name], random.Random(seed)
    for _ in range(dice.randrange(1, 4)):
        one, other = sorted(dice.randrange(len(raw) + 1) for _ in range(2))
        raw = dice.choice(
            [
                raw[:one] + junk + raw[one:],
                raw[:one] + raw[min(other, one + 40) :],
                raw[:one] + raw[one:other] * 2 + raw[other:],
                raw[:one] + junk + raw[other:] + raw[one:other],
            ]
        )
    with suppress(LockfileError):
        read(raw)
