"""What is sent to kill a mirror: a recorded outcome each, and the daemon goes on."""

import json
from typing import Any

import pytest

from npmmirror.testing import faults
from npmmirror.testing.faults import Fault
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio

MIB = 1 << 20
CAP = 4 * MIB
FEW_TRIES = {"max_attempts": 1}
SLACK = 8 * MIB
"""What may be on its way when the cap is met: buffers of sockets, and other packages."""

BOMBS = [
    faults.EndlessGzip(),
    faults.Zeros(),
    faults.Zeros(announced=True),
]


async def settled(mirror: RunningMirror) -> dict[str, Any]:
    """The status once nothing is left but dead letters."""
    head = mirror.upstream.registry.changes(descending=True, limit=1)["last_seq"]
    return await mirror.until(
        lambda status: (
            status["feed"]["cursor"] == head
            and status["mirror"]["at_head"]
            and not status["buffer"]["depth"]
        )
    )


def name_of(fault: Fault) -> str:
    """For the test's id."""
    return f"{fault.kind}{'-announced' if getattr(fault, 'announced', False) else ''}"


@pytest.mark.parametrize("bomb", BOMBS, ids=name_of)
async def test_a_document_without_end_is_cut_at_the_cap(mirror: Open, bomb: Fault) -> None:
    """Whether it is large by itself or once it is unpacked; little more than the cap is taken."""
    caps = {"max_packument_bytes": CAP, "large_packument_bytes": MIB}
    async with mirror(fetch={**FEW_TRIES, **caps}) as here:
        here.upstream.registry.publish("bomb", "1.0.0")
        here.upstream.registry.publish("good", "1.0.0")
        here.upstream.fault("packument", bomb, name="bomb", times=None)
        async with here.running():
            status = await settled(here)
        assert status["dead_letters"] == {"too_large": 1}
        assert status["totals"]["packages"] == {"live": 1}
        assert status["fetch"]["bytes_received"] < CAP + SLACK
        assert not list(here.config.storage.staging_path.iterdir())


@pytest.mark.parametrize("bomb", BOMBS[1:], ids=name_of)
async def test_a_tarball_without_end_is_cut_at_the_cap(mirror: Open, bomb: Fault) -> None:
    """Skipped as too large, which is no failure; nothing of it stays on disk."""
    async with mirror(policy={"max_tarball_bytes": CAP}) as here:
        here.upstream.registry.publish("bomb", "1.0.0")
        here.upstream.registry.publish("good", "1.0.0")
        here.upstream.fault("tarball", bomb, name="bomb", times=None)
        async with here.running():
            status = await settled(here)
        assert status["skips"] == {"too_large": 1}
        assert status["totals"]["tarballs"] == 1
        assert status["fetch"]["bytes_received"] < CAP + SLACK
        assert not list(here.config.storage.staging_path.iterdir())


@pytest.mark.parametrize("bomb", BOMBS, ids=name_of)
async def test_a_feed_without_end_is_asked_again(mirror: Open, bomb: Fault) -> None:
    """A page that cannot be read leaves the cursor where it is."""
    async with mirror() as here:
        here.upstream.registry.publish("good", "1.0.0")
        here.upstream.fault("feed", bomb, times=2)
        async with here.running():
            status = await settled(here)
        assert status["totals"]["packages"] == {"live": 1}


def deep(levels: int, kind: str = "[]") -> str:
    """Nested arrays, or objects."""
    opening, closing = ("[", "]") if kind == "[]" else ('{"a":', "1}")
    return opening * levels + ("" if kind == "[]" else "1") + closing.replace("1", "") * levels


def document(name: str, **fields: str) -> str:
    """A packument of one version; `fields` are JSON, and replace those of npm."""
    manifest = json.dumps(
        {
            "name": name,
            "version": "1.0.0",
            "dist": {"tarball": f"http://none.example/{name}/-/{name}-1.0.0.tgz"},
        }
    )
    members = {
        "_id": json.dumps(name),
        "name": json.dumps(name),
        "dist-tags": '{"latest":"1.0.0"}',
        "versions": f'{{"1.0.0":{manifest}}}',
        "time": '{"1.0.0":"2020-01-01T00:00:00.000Z"}',
        **fields,
    }
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members.items()) + "}"


VERSION_DEEP = '{"1.0.0":%s,"__proto__":{"name":"x"}}'
POISON: dict[str, dict[str, str]] = {
    "deep_array": {"x": deep(10_000)},
    "deeper_array": {"x": deep(1_000_000)},
    "deep_object": {"x": deep(10_000, "{}")},
    "deep_manifest": {"versions": VERSION_DEEP % deep(10_000)},
    "deep_time": {"time": f'{{"1.0.0":{deep(10_000)}}}'},
    "deep_tags": {"dist-tags": f'{{"latest":{deep(900)}}}'},
    "deep_and_surrogate": {"x": deep(10_000), "y": '"\\ud800"'},
    "not_so_deep_and_surrogate": {"x": deep(700), "readme": '"\\ud800"'},
    "surrogates_everywhere": {
        "dist-tags": '{"\\udc00\\ud800":"\\udfff"}',
        "maintainers": '[{"name":"\\ud800","email":"\\udfff"}]',
        "versions": '{"\\ud800":{"name":"\\ud800","license":"\\udc00","deprecated":"\\udfff"}}',
        "time": '{"\\ud800":"\\ud800","modified":"\\udc00"}',
        "_rev": '"9-\\ud800"',
    },
    "huge_numbers": {
        "versions": '{"1.0.0":{"dist":{"fileCount":1e999,"unpackedSize":-1e999}}}',
        "time": '{"1.0.0":1e400,"modified":-1e999}',
        "_rev": "1e999",
    },
    "endless_digits": {
        "versions": '{"1.0.0":{"dist":{"fileCount":%s}}}' % ("9" * 500_000),
    },
    "duplicate_keys": {
        "versions": '{"1.0.0":{"license":"A"},"1.0.0":{"license":"B"},"1.0.0":3}',
        "dist-tags": '{"latest":"1","latest":"1.0.0","latest":null}',
    },
    "proto_everywhere": {
        "versions": '{"__proto__":{"name":"x"},"constructor":{},"toString":{"dist":{}}}',
        "dist-tags": '{"__proto__":"__proto__","latest":"constructor"}',
        "time": '{"__proto__":"2020-01-01T00:00:00.000Z"}',
    },
    "versions_that_are_paths": {
        "versions": '{"../../../x":{},"/etc/passwd":{},"..":{},"a\\u0000b":{},"a\\nb":{},"":{},'
        '"%s":{}}' % ("v" * 5000),
    },
    "a_tag_of_a_megabyte": {"dist-tags": '{"%s":"1.0.0"}' % ("t" * MIB)},
    "many_maintainers": {
        "maintainers": "[" + ",".join(f'{{"name":"m{n}"}}' for n in range(30_000)) + "]"
    },
    "many_tags": {"dist-tags": "{" + ",".join(f'"t{n}":"1.0.0"' for n in range(30_000)) + "}"},
    "backslashes": {"readme": '"' + "\\\\" * 500_000 + '\\ud800"'},
    "not_utf8": {"readme": '"' + "\udcff" * 500_000 + '"'},
    "half_of_emoji": {"readme": '"' + "🦄" * 500_000},
    "control_characters": {"description": '"\\u0000\\u001b[2J\\u202e"'},
}


async def test_every_poisonous_document_ends_with_a_recorded_outcome(mirror: Open) -> None:
    """Captured or refused for a reason that is told; twice, as a change finds what is known."""
    async with mirror(fetch=FEW_TRIES, policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        async with here.running():
            for version in range(2):
                registry.publish("good", f"1.{version}.0")
                for name, fields in POISON.items():
                    text = document(name, **{"round": str(version), **fields})
                    registry.put_document(name, text.encode("utf-8", "surrogateescape"))
                await settled(here)
        state = here.end_state()
        packages = {name: state.packages.get(name) for name in POISON}
        nothing_told = [
            name
            for name, one in packages.items()
            if one is None or not (one.revisions or one.work_list or one.skips)
        ]
        assert nothing_told == []
        assert {name: refused(here, name) for name in POISON if refused(here, name)} == {
            "deep_array": "too_deep",
            "deeper_array": "too_deep",
            "deep_object": "too_deep",
            "deep_manifest": "too_deep",
            "deep_time": "too_deep",
            "deep_and_surrogate": "too_deep",
            "half_of_emoji": "not_json",
        }
        assert len(state.packages["good"].revisions) == 2
        assert_nothing_outside(here)


def refused(mirror: RunningMirror, name: str) -> str | None:
    """Why the document itself was not taken."""
    row = mirror.work_list(name).get("")
    return row.reason if row is not None else None


def assert_nothing_outside(mirror: RunningMirror) -> None:
    """No file beside the data directory, none in it that is not the mirror's."""
    data_dir = mirror.config.storage.data_dir
    assert [path.name for path in data_dir.parent.iterdir()] == ["data"]
    assert not list(mirror.config.storage.staging_path.iterdir())
    known = {"lock", "in_work", "captures", "packages", "staging"}
    names = {path.name for path in data_dir.iterdir()}
    assert {name for name in names if not name.startswith(("index.db", "buffer.db"))} <= known
    packages = mirror.config.storage.packages_path
    marker = packages / ".npmmirror"
    files = [path for path in packages.rglob("*") if not path.is_dir() and path != marker]
    assert {len(path.relative_to(packages).parts) for path in files} == {3}


NAMES = [
    "..",
    ".",
    "../../../etc/passwd",
    "a/../../b",
    "/etc/passwd",
    "//host.example/x",
    "http://host.example/x",
    "%00",
    "%2e%2e%2f%2e%2e%2fx",
    "nul\0byte",
    "line\nbreak",
    "carriage\r\nHost: x.example",
    "tab\tbed",
    "\x1b[2Jescape",
    "\u202eright-to-left",
    "\ud800",
    "\udc00\ud800",
    "x" * 300,
    "x" * 5000,
    "@scope/" + "y" * 300,
    "é" * 300,
    "🦄" * 100,
    "@a/b/c",
    "@/",
    "@",
    "@a/",
    " ",
    "?since=0",
    "a?b#c",
    "#",
    "a;b",
    "$(reboot)",
    "<script>alert(1)</script>",
    "'; DROP TABLE packages; --",
    "-rf",
    "~root",
    "con",
    "constructor",
]


async def test_names_in_the_feed_lead_nowhere(mirror: Open) -> None:
    """Each is finished: mirrored under a harmless path where it can be asked for, else refused."""
    async with mirror(fetch=FEW_TRIES, policy={"confirm_removal_answers": 1}) as here:
        here.upstream.registry.publish("good", "1.0.0")
        for name in NAMES:
            here.upstream.registry.put_document(name, document(name).encode())
        async with here.running():
            await settled(here)
        found = here.end_state().packages
        spelt = {name: name.encode("utf-8", "backslashreplace").decode() for name in NAMES}
        missed = [name for name in NAMES if spelt[name] not in found]
        assert missed == []
        untold = [
            name
            for name in NAMES
            if not (
                found[spelt[name]].revisions
                or found[spelt[name]].work_list
                or found[spelt[name]].skips
            )
        ]
        assert untold == []
        assert found["good"].revisions
        assert_nothing_outside(here)
