"""Mirroring what was asked for with everything that it needs, as far down as is asked for."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import anyio
import msgspec
from anyio.abc import TaskGroup

from npmmirror.archive import CaptureDamagedError, ErasedError, TarballStore
from npmmirror.clock import Clock, timestamp
from npmmirror.index import IndexReader
from npmmirror.integrity import agree, sri
from npmmirror.lockfiles import MAX_BYTES, LockfileError, read as read_lockfile
from npmmirror.lockfiles.shrinkwrap import ShrinkwrapFinder
from npmmirror.outcome import HELD, Failed, Gone, Outcome, Skipped, describe
from npmmirror.packument import Packument
from npmmirror.pipeline.captured import CapturedDocuments
from npmmirror.pipeline.job import ASKED, WANTED
from npmmirror.pipeline.sync import AT_ONCE, Syncer, SyncReport
from npmmirror.policy import POLICY, Want
from npmmirror.policy.closure import ALL, Graph, Lack, LeftOut, Root
from npmmirror.policy.picking import Picking
from npmmirror.policy.requirements import Requirement, requirements

NO_SUCH_VERSION = "no_such_version"
NOT_DONE = "not_done"
MISMATCH = "integrity_mismatch"
_KEYS_EACH = 500


class Asked(msgspec.Struct, frozen=True):
    """What is to be mirrored. `depth` is how many steps from the roots are gone (None: all).

    `developed`: the roots are projects to work on, which need their `devDependencies`. `nodes` are
    versions of Node that the clients run on (`Picking`). `force` is as in `sync`.
    """

    roots: tuple[Root, ...]
    depth: int | None = None
    developed: bool = False
    nodes: tuple[str, ...] = ()
    force: bool = False


class Progress(msgspec.Struct, frozen=True):
    """How far it is: versions found, those whose tarballs are dealt with, and bytes fetched."""

    found: int
    done: int
    bytes: int


class ClosedVersion(msgspec.Struct, frozen=True):
    """A version of the closure; `size` is None where its tarball is not held."""

    version: str
    held: bool
    size: int | None
    fetched: bool
    required_by: tuple[str, ...]


class ClosedPackage(msgspec.Struct, frozen=True):
    """A package of the closure, with the versions that belong to it."""

    package: str
    outcome: str | None
    versions: tuple[ClosedVersion, ...]


class Ended(msgspec.Struct, frozen=True):
    """The end of it: whether everything is there that is needed, and what is not.

    `fetched` counts the tarballs that came, those that only the policy brought along included, of
    so many `bytes`.
    """

    complete: bool
    fetched: int
    bytes: int
    missing: tuple[Lack, ...]
    left_out: tuple[LeftOut, ...]


class _Chosen(msgspec.Struct):
    """What a document says to the specs asked of it."""

    picks: dict[str, tuple[str, ...]]
    required: dict[str, tuple[Requirement, ...]]
    shrinkwrapped: list[str]
    contradicted: dict[str, str]


class Closure:
    """One such undertaking. `run` does it; `packages` and `ended` tell, at any time, what there is.

    Each package's document is asked for once, and the next step begins once all documents of the
    step before are captured; tarballs are fetched meanwhile. Kept in memory: the graph.
    """

    def __init__(
        self,
        asked: Asked,
        *,
        syncer: Syncer,
        documents: CapturedDocuments,
        index: IndexReader,
        store: TarballStore,
        clock: Clock,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._asked = asked
        self._syncer = syncer
        self._documents = documents
        self._index = index
        self._store = store
        self._clock = clock
        self._progress = progress
        self._graph = Graph(asked.roots)
        self._locked: dict[str, list[Root]] = {}
        for root in asked.roots:
            if root.integrity is not None:
                self._locked.setdefault(root.package, []).append(root)
        self._places = anyio.CapacityLimiter(AT_ONCE)
        self._fetching = anyio.CapacityLimiter(AT_ONCE)
        self._unwrapping = anyio.Lock()
        """Lock files in tarballs may be large: one at a time."""
        self._outcomes: dict[str, Outcome | None] = {}
        self._bytes: dict[tuple[str, str], int] = {}
        self._done: set[tuple[str, str]] = set()
        self.names: set[str] = set()
        """The packages that it came to so far."""

    async def run(self) -> None:
        """Return when nothing waits for its turn any more."""
        depth = 0
        async with anyio.create_task_group() as fetching:
            while level := self._graph.level():
                async with anyio.create_task_group() as tasks:
                    for package, specs in level.items():
                        tasks.start_soon(self._expand, package, specs, depth, fetching)
                depth += 1

    async def _expand(
        self, package: str, specs: list[str], depth: int, fetching: TaskGroup
    ) -> None:
        async with self._places:
            self.names.add(package)
            refused = await self._captured(package, specs)
            chosen = None if refused else await self._chosen(package, specs, depth)
            if chosen is None:
                for spec in specs:
                    self._graph.fail(package, spec, refused or "no_document")
                return
            versions = self._take(package, chosen)
            self._tell()
        if chosen.shrinkwrapped and self._goes_on(depth):
            await self._fetch(package, versions)
            for version in chosen.shrinkwrapped:
                wrapped = await self._shrinkwrapped(package, version)
                self._graph.expand(package, version, wrapped)
        else:
            fetching.start_soon(self._fetch, package, versions)

    async def _captured(self, package: str, specs: list[str]) -> str:
        """Have a package's document captured, once; why there is none, or ""."""
        if package not in self._outcomes:
            want = Want(tuple(spec for spec in specs if spec != ALL), ALL in specs)
            report = await self._syncer.sync(package, want, force=self._asked.force)
            self._outcomes[package] = report.outcome
            self._note(report)
        outcome = self._outcomes[package]
        if isinstance(outcome, Failed) and outcome.reason in {NO_SUCH_VERSION, "stale"}:
            return ""
        return describe(outcome) if isinstance(outcome, Failed | Gone | Skipped) else ""

    async def _chosen(self, package: str, specs: list[str], depth: int) -> _Chosen | None:
        known = frozenset(self._graph.versions.get(package, ()))
        choose = partial(
            _choose,
            specs=specs,
            known=known,
            nodes=self._asked.nodes,
            locked=self._locked.get(package, ()),
            goes_on=self._goes_on(depth),
            developed=self._asked.developed and depth == 0,
        )
        try:
            return await self._documents.read(package, choose)
        except (CaptureDamagedError, ErasedError):
            return None

    def _goes_on(self, depth: int) -> bool:
        return self._asked.depth is None or depth < self._asked.depth

    def _take(self, package: str, chosen: _Chosen) -> list[str]:
        """Put into the graph what was chosen; the versions that are new there."""
        self._graph.answer(package, chosen.picks)
        for spec, versions in chosen.picks.items():
            if not versions:
                self._graph.fail(package, spec, NO_SUCH_VERSION)
        for version, detail in chosen.contradicted.items():
            self._graph.fail(package, version, f"{MISMATCH} ({detail})")
        for version, required in chosen.required.items():
            self._graph.expand(package, version, required)
        return list(chosen.required)

    async def _fetch(self, package: str, versions: Sequence[str]) -> None:
        """Have the tarballs of these versions, unless they were tried with the document."""
        tried = (self._bytes, self._graph.reasons)
        wanted = [v for v in versions if not any((package, v) in each for each in tried)]
        if wanted:
            async with self._fetching:
                now = timestamp(self._clock.now())
                force = self._asked.force
                self._note(await self._syncer.fetch(package, wanted, at=now, force=force))
        self._done.update((package, version) for version in versions)
        self._tell()

    def _note(self, report: SyncReport) -> None:
        for version, size in report.held.items():
            self._bytes[report.package, version] = size
        for version, reason in report.missing.items():
            self._graph.reasons.setdefault((report.package, version), reason)

    def _tell(self) -> None:
        found = len(self._graph.needs)
        self._progress(Progress(found, len(self._done), sum(self._bytes.values())))

    async def _shrinkwrapped(self, package: str, version: str) -> list[Requirement]:
        """The versions that npm takes from a lock file in the tarball instead of the ranges."""
        row = (await self._index.stored([(package, version)])).get((package, version))
        if row is None or not row.held or row.path is None:
            return []
        async with self._unwrapping:
            finder = ShrinkwrapFinder(MAX_BYTES)
            await self._store.hash_file(row.path, finder)
            if finder.found is None:
                return []
            return await anyio.to_thread.run_sync(_locked, finder.found)

    async def packages(self) -> list[ClosedPackage]:
        """Every package that it came to, with its versions, in the order of their names."""
        by_whom = self._graph.required_by()
        keys = sorted(by_whom)
        versions: dict[str, list[ClosedVersion]] = {name: [] for name in sorted(self.names)}
        for start in range(0, len(keys), _KEYS_EACH):
            rows = await self._index.stored(keys[start : start + _KEYS_EACH])
            for key in keys[start : start + _KEYS_EACH]:
                row = rows.get(key)
                held = row is not None and row.state in HELD
                size = row.size if row is not None and held else None
                self._hold_against_lock(key, row.sha512 if row is not None and held else None)
                await self._explain(key, held=held)
                told = ClosedVersion(key[1], held, size, key in self._bytes, tuple(by_whom[key]))
                versions[key[0]].append(told)
        return [
            ClosedPackage(name, self._outcome(name), tuple(found))
            for name, found in versions.items()
        ]

    def _outcome(self, name: str) -> str | None:
        outcome = self._outcomes.get(name)
        return None if outcome is None else describe(outcome)

    def _hold_against_lock(self, key: tuple[str, str], sha512: str | None) -> None:
        """Where upstream's claim and the lock file's are of two algorithms, the file decides."""
        if sha512 is None:
            return
        for root in self._locked.get(key[0], ()):
            if root.spec == key[1] and agree(root.integrity or "", sri(sha512), None) is False:
                reason = f"{MISMATCH} (locked {root.integrity}, held {sri(sha512)})"
                self._graph.reasons.setdefault(key, reason)

    async def _explain(self, key: tuple[str, str], *, held: bool) -> None:
        """Why a version's tarball is not there; forget why it was not, where it is now."""
        known = self._graph.reasons.get(key)
        if held and known is not None and not known.startswith(MISMATCH):
            del self._graph.reasons[key]
        if held or known is not None:
            return
        row = next(iter(await self._index.versions(*key)), None)
        reason, detail = (row.missing, row.missing_detail) if row is not None else (None, None)
        if reason in {WANTED, ASKED}:
            reason, detail = NOT_DONE, "it waits on the work list"
        if reason is None:
            reason = POLICY if key in self._done else NOT_DONE
        self._graph.fail(*key, f"{reason} ({detail})" if detail else reason)

    def ended(self) -> Ended:
        """What is missing; to be asked after `packages`."""
        for wish in self._unanswered():
            self._graph.fail(*wish, NOT_DONE)
        missing = tuple(map(_grave, self._graph.lacks()))
        complete = all(lack.optional for lack in missing)
        sizes = self._bytes.values()
        left_out = tuple(self._graph.left_out())
        return Ended(complete, len(sizes), sum(sizes), missing, left_out)

    def _unanswered(self) -> Iterator[tuple[str, str]]:
        """What it did not come to, because it was interrupted."""
        for wish in self._graph.asked:
            if wish not in self._graph.picks and wish not in self._graph.reasons:
                yield wish


def _grave(lack: Lack) -> Lack:
    """A file that is not what it was is never something to do without."""
    if not lack.reason.startswith(MISMATCH):
        return lack
    return msgspec.structs.replace(lack, optional=False)


def _locked(raw: bytes) -> list[Requirement]:
    """What a lock file names; nothing where it is none, and npm, too, goes by the ranges."""
    try:
        locked = read_lockfile(raw)
    except LockfileError:
        return []
    return [
        *(Requirement(one.package, one.version, "", one.optional) for one in locked.packages),
        *(Requirement(one.name, one.spec, one.what) for one in locked.elsewhere),
    ]


def _choose(
    document: Packument,
    *,
    specs: Sequence[str],
    known: frozenset[str],
    nodes: Sequence[str],
    locked: Sequence[Root],
    goes_on: bool,
    developed: bool,
) -> _Chosen:
    """Pick, and look at what the versions that are new require. For a worker thread."""
    picking = Picking(document, nodes)
    picks = {spec: _picks(document, picking, spec) for spec in specs}
    chosen = _Chosen(picks, {}, [], {})
    for version in dict.fromkeys(v for versions in picks.values() for v in versions):
        if version in known:
            continue
        body = document.manifest(version).body
        chosen.required[version] = requirements(body, developed=developed) if goes_on else ()
        if body.get("_hasShrinkwrap") is True:
            chosen.shrinkwrapped.append(version)
    chosen.contradicted = dict(_contradictions(document, locked))
    return chosen


def _contradictions(document: Packument, locked: Sequence[Root]) -> Iterator[tuple[str, str]]:
    """Versions of which a lock file says something else than upstream."""
    for root in locked:
        if root.spec is None or root.spec not in document.versions:
            continue
        dist = document.manifest(root.spec).dist
        if agree(root.integrity or "", dist.integrity, dist.shasum) is False:
            claimed = dist.integrity or dist.shasum
            yield root.spec, f"locked {root.integrity}, upstream says {claimed}"


def _picks(document: Packument, picking: Picking, spec: str) -> tuple[str, ...]:
    return tuple(document.versions) if spec == ALL else picking.picks(spec)
