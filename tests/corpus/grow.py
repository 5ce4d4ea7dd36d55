"""Grows the fuzz corpus; run by hand, where `pip install atheris` works.

    python tests/corpus/grow.py packument --seconds 300

Candidates come from hypothesis, from what npm is known to send, and from atheris, which mutates
them towards lines that were not reached yet. What crashes a target is left in the directory that
is printed. Then the smallest files are kept that reach each line, from each other line and about
so often, that any reached.
"""

import argparse
import base64
import hashlib
import importlib
import itertools
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, given, settings, strategies as st

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent
LONGEST = 4096
KINDS = ("packument", "gone", "tarball", "mark", "following", "genesis")

Lines = frozenset[tuple[str, int, int, int]]


def main() -> None:
    """Grow, then thin out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--fuzz", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    if options.fuzz is not None:
        fuzz(options.target, options.fuzz, options.seconds)
        return
    home = Path(tempfile.mkdtemp(prefix=f"corpus-{options.target}-"))
    candidates = [*kept(options.target), *seeds(options.target, options.examples)]
    for candidate in candidates:
        (home / name_of(candidate)).write_bytes(candidate)
    # A process of its own: libFuzzer ends it.
    again = [sys.executable, __file__, *sys.argv[1:], "--fuzz", str(home)]
    ended = subprocess.run(again, cwd=home, check=False)
    print(f"{home}: the fuzzer ended with {ended.returncode}")  # noqa: T201 - a script
    found = [path.read_bytes() for path in sorted(home.iterdir()) if is_candidate(path)]
    thin_out(options.target, found)


def is_candidate(path: Path) -> bool:
    """Whether it is a file of the corpus, and no report of a crash."""
    return path.is_file() and "-" not in path.name and path.stat().st_size <= LONGEST


def fuzz(target: str, home: Path, seconds: int) -> None:
    """Run atheris over a directory."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["npmmirror"]):
        targets = importlib.import_module("tests.corpus.targets")
    limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10"]
    atheris.Setup([sys.argv[0], *limits, str(home)], targets.TARGETS[target])
    atheris.Fuzz()


def thin_out(target: str, found: Iterable[bytes]) -> None:
    """Keep the smallest files that reach what any reaches."""
    run = importlib.import_module("tests.corpus.targets").TARGETS[target]
    directory = CORPUS / target
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        path.unlink()
    reached: set[tuple[str, int, int, int]] = set()
    for data in sorted(set(found), key=lambda one: (len(one), one)):
        lines = lines_of(run, data)
        if not lines <= reached:
            reached |= lines
            (directory / name_of(data)).write_bytes(data)
    files = [path.stat().st_size for path in directory.iterdir()]
    print(f"{target}: {len(files)} files, {sum(files):,} bytes, {len(reached)} lines")  # noqa: T201 - a script


def lines_of(run: Any, data: bytes) -> Lines:
    """Which lines of the package a target passes, from which, and how often (in powers of two)."""
    passed: Counter[tuple[str, int, int]] = Counter()
    before: dict[CodeType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if "npmmirror" not in code.co_filename:
            return None
        if event == "line":
            name = code.co_filename.rpartition("/")[2]
            passed[name, before.get(code, 0), frame.f_lineno] += 1
            before[code] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return frozenset((*place, count.bit_length()) for place, count in passed.items())


def name_of(data: bytes) -> str:
    """A file's name: of its content alone."""
    return hashlib.sha256(data).hexdigest()[:12]


def kept(target: str) -> Iterator[bytes]:
    """The corpus as it is."""
    directory = CORPUS / target
    if directory.is_dir():
        yield from (path.read_bytes() for path in sorted(directory.iterdir()))


def seeds(target: str, examples: int) -> list[bytes]:
    """What hypothesis makes up, and what npm sends."""
    found: list[bytes] = [*known_oddities()] if target == "packument" else []
    if target in {"segment", "record"}:
        found += log_seeds()

    if target == "tarball":
        found += archives()

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(STRATEGIES[target])
    def collect(data: bytes) -> None:
        if len(data) <= LONGEST:
            found.append(data)

    collect()
    return found


def known_oddities() -> Iterator[bytes]:
    """Documents as npm really sends them."""
    oddities = importlib.import_module("npmmirror.testing.oddities").oddities
    for oddity in oddities():
        raw = oddity.raw.replace(json.dumps(oddity.name)[1:-1].encode(), b"left-pad")
        if len(raw) <= LONGEST:
            yield raw


def log_seeds() -> list[bytes]:
    """A small log of each kind of record, as a segment and as `targets.record` takes it."""
    archive = importlib.import_module("npmmirror.archive")
    capture = importlib.import_module("npmmirror.capture")
    at = "2026-11-20T10:00:00.000000Z"
    with tempfile.TemporaryDirectory() as home:
        with archive.CaptureLog.open(Path(home)) as log:
            payload = archive.PayloadEncoder().encode(b'{"name":"a"}' * 20, None, None)
            for kind in KINDS[:-1]:
                made = capture.NewRecord(
                    capture.Kind(kind), at, "a", payload=payload if kind == "packument" else None
                )
                log.append(made)
            log.write()
            log.sync()
        segment = (Path(home) / "000001.log").read_bytes()
    headers = [
        b'{"at":"%s","kind":"%s","name":"a","ordinal":%d,"prev":"@"}'
        % (at.encode(), kind.encode(), number)
        for number, kind in enumerate(reversed(KINDS), start=1)
    ]
    pieces = b"\xff".join(header + b"\xff" for header in headers)
    return [segment, b"\0" * 12 + b"\xff" + pieces, b"\1" * 12 + b"\xff" + pieces]


def archives() -> Iterator[bytes]:
    """Small archives with one file, in each layout, and what is odd about some."""
    paths = ("package/package.json", "p/" + "./" * 70 + "package.json", "package.json", "a/b/c")
    layouts: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)  # ustar, GNU, pax
    for path, layout in itertools.product(paths, layouts):
        head = tarfile.TarInfo(path)
        head.size = 3
        for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE, b"g"):
            head.type = kind
            if len(raw := head.tobuf(layout) + b"{} ".ljust(512, b"\0")) <= LONGEST:
                yield raw
                yield raw + bytes(1024)
    head = tarfile.TarInfo("package/x")
    head.pax_headers = {"size": "2", "path": "package/package.json"}
    yield head.tobuf(tarfile.PAX_FORMAT) + b"{}".ljust(512, b"\0")


texts = st.text(max_size=12) | st.sampled_from(
    ["1.0.0", "latest", "__proto__", "2020-01-01T00:00:00.000Z", "0.0.1-security", "npm", "1-a"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
manifests = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("name", "dist", "dependencies", "license", "deprecated", "_npmUser", "scripts"),
        values,
    ),
)
documents = st.fixed_dictionaries(
    {"_id": st.just("left-pad")},
    optional={
        "_rev": texts,
        "versions": st.dictionaries(texts, manifests | values, max_size=3) | values,
        "dist-tags": st.dictionaries(texts, texts, max_size=3) | values,
        "time": st.dictionaries(texts, texts | values, max_size=4) | values,
        "maintainers": st.lists(values, max_size=3) | values,
    },
)
rows = st.fixed_dictionaries(
    {},
    optional={
        key: values | texts | st.lists(st.fixed_dictionaries({"rev": texts}), max_size=2)
        for key in ("seq", "id", "key", "value", "changes", "deleted")
    },
)
pages = st.fixed_dictionaries(
    {},
    optional={
        "results": st.lists(rows, max_size=3),
        "rows": st.lists(rows, max_size=3),
        "last_seq": values,
        "update_seq": values,
        "doc_count": values,
    },
)
hashes = st.sampled_from(["sha1", "sha256", "sha512", "sha384", "md5", "sha9"])
entries = st.tuples(hashes, st.binary(max_size=64)).map(
    lambda pair: f"{pair[0]}-{base64.b64encode(pair[1]).decode()}"
)
ranges = st.from_regex(r"\A(@[a-z]{1,3}/)?[a-z-]{1,5}(@[\^~<>=v*x0-9. |-]{0,16})?\Z")


shippable = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "version": st.sampled_from(["v1.2.0", "1.2.0-01.a+b", "=1.2", "1.2.0"]) | values,
        **dict.fromkeys(
            ("dependencies", "optionalDependencies", "peerDependencies"),
            values
            | st.lists(st.sampled_from(["a@1", "@s/b@^2", "c >1", "d"]), max_size=3)
            | st.dictionaries(
                texts,
                st.sampled_from(
                    ["", "^1", "u/r", "git+https://github.com/u/r.git#v", "gitlab:u/r"]
                ),
                max_size=3,
            ),
        ),
        **dict.fromkeys(
            ("bundleDependencies", "bundledDependencies"), values | st.lists(texts, max_size=2)
        ),
        "scripts": values
        | st.dictionaries(
            st.sampled_from(["install", "preinstall", "start", "test"]),
            st.sampled_from(["node-gyp rebuild", "node-waf x", "node server.js"])
            | st.just("./node_modules/.bin/mocha"),
        ),
        "bin": values | st.dictionaries(texts, st.sampled_from(["./a.js", "bin/b", "../c", ""])),
        "directories": values | st.fixed_dictionaries({"bin": st.sampled_from(["bin", "./", ""])}),
    },
)


def _json(made: Any) -> bytes:
    return json.dumps(made).encode()


STRATEGIES = {
    "packument": documents.map(_json) | values.map(_json),
    "feed": pages.map(_json) | values.map(_json),
    "spec": ranges.map(str.encode)
    | st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace")),
    "sri": st.lists(entries | texts, max_size=3).map(
        lambda e: " ".join(e).encode("utf-8", "replace")
    ),
    "segment": st.binary(max_size=400),
    "tarball": st.binary(max_size=600),
    "shipped": st.tuples(shippable, shippable).map(lambda two: b"\xff".join(map(_json, two))),
    "record": st.lists(st.binary(max_size=60), max_size=5).map(b"\xff".join),
}


if __name__ == "__main__":
    main()
