"""What happens in the registry while the soak lasts: packages live, die, and make place."""

from collections.abc import Callable
from random import Random

from benchmarks.soaking.truth import Journal
from npmmirror.testing import tarball as tarballs
from npmmirror.testing.history import MOVES, publish
from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.release import Release

MOST_VERSIONS = 40
"""A package that has so many is retired, so that a soak of days has small documents, too."""
MOST_LARGE = 3
BIRTH = 0.02
"""How often a step is the birth of another package, as long as there are fewer than at first."""
LARGE_MOVES = ("publish", "deprecate", "tag", "untag", "maintainers")
LONG_AGO = "2019-03-04T05:06:07.890Z"

ODD = {"late": 0.04, "stale": 0.04, "again": 0.04, "design": 0.01}
"""How often a change's row is withheld for a while, its document lags, its row comes twice; and how
often the feed has a row that is no package."""


class Life:
    """Lets packages change, one a step, and journals what they are then.

    The first `packages` are there at once. Once so many versions were published the package is
    removed for good, and another one is born.
    """

    def __init__(
        self, registry: ScriptedRegistry, journal: Journal, *, seed: int, packages: int
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._random = Random(f"life {seed}")
        self._packages = packages
        self._born = 0
        self._living: list[str] = []
        self._large: list[str] = []
        self._late: list[str] = []
        self._odd: set[str] = set()
        self._retired: list[str] = []
        self.happened: dict[str, int] = {}
        for _ in range(packages):
            self._birth()

    def step(self, count: int = 1) -> None:
        """So many changes, each of one package."""
        for _ in range(count):
            if len(self._living) < self._packages or self._random.random() < BIRTH:
                self._birth()
                self._count("born")
            else:
                self._change(self._random.choice(self._living))

    def large(self, versions: int, manifest_bytes: int) -> str:
        """The birth of a package with a large document, or a change of one that is there."""
        if len(self._large) >= MOST_LARGE:
            name = self._random.choice(self._large)
            if self._random.random() < 0.2:
                self._large.remove(name)
                self._retire(name)
            else:
                self._move(name, self._random.choice(LARGE_MOVES))
        else:
            name = f"large-{self._born}"
            self._born += 1
            self._large.append(name)
            self._registry.publish_all(name, _releases(versions, manifest_bytes))
            self._done(name, "large")
        return name

    def reveal(self) -> None:
        """Put the rows that were withheld into the feed, where they belong."""
        for name in self._late:
            if name in self._registry and self._registry.feed.row(name) is None:
                self._registry.reveal(name)
        self._late.clear()

    def settle(self) -> None:
        """End all that is odd: no row is missing, no document lags, nothing stays unannounced.

        A mirror that only follows cannot know of a row that appears behind its cursor: what was odd
        since the last call is announced once more.
        """
        self.reveal()
        for name in sorted(self._odd):
            self._registry.serve_stale(name, 0)
            self._announce(name)
        self._odd.clear()

    def forget(self) -> list[str]:
        """Drop what is held of retired packages, which the mirror has by now; their names."""
        forgotten, self._retired = self._retired, []
        for name in forgotten:
            self._registry.forget(name)
            self._journal.retire(name)
        return forgotten

    def _birth(self) -> None:
        name = f"@scope/p-{self._born}" if self._born % 4 == 3 else f"p-{self._born}"
        self._born += 1
        self._living.append(name)
        publish(self._registry, name, self._random)
        self._journal.note(self._registry, name)

    def _change(self, name: str) -> None:
        if len(self._registry.revision(name).versions) > MOST_VERSIONS:
            self._living.remove(name)
            self._retire(name)
            return
        weights = [MOVES[one][1] for one in MOVES]
        (move,) = self._random.choices(list(MOVES), weights)
        self._move(name, move)
        self._odds(name)

    def _move(self, name: str, move: str) -> None:
        if self._registry.revision(name).state != "live":
            move = "publish"  # restored
        MOVES[move][0](self._registry, name, self._random)
        self._done(name, move)

    def _retire(self, name: str) -> None:
        self._registry.remove(name)
        self._retired.append(name)
        self._done(name, "retired")

    def _done(self, name: str, move: str) -> None:
        self._journal.note(self._registry, name)
        self._count(move)

    def _odds(self, name: str) -> None:
        dice = self._random.random()
        for odd, share in ODD.items():
            dice -= share
            if dice < 0:
                self._count(odd)
                _ODDITIES[odd](self, name)
                return

    def _withhold(self, name: str) -> None:
        self._registry.hide(name)
        self._late.append(name)
        self._odd.add(name)

    def _lag(self, name: str) -> None:
        if self._registry.revision(name).state == "removed":
            return  # what the feed calls deleted and answers again and again counts as being there
        busted = self._random.random() < 0.5
        self._registry.serve_stale(name, self._random.randint(1, 6), busted=busted)
        self._odd.add(name)

    def _announce(self, name: str) -> None:
        row = self._registry.feed.row(name)
        if row is not None:
            self._registry.feed.announce(name, row.rev, deleted=row.deleted)

    def _design(self, name: str) -> None:
        del name
        self._registry.design_document()

    def _count(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1


_ODDITIES: dict[str, Callable[[Life, str], None]] = {
    "late": Life._withhold,  # noqa: SLF001 - the class's own
    "stale": Life._lag,  # noqa: SLF001 - as above
    "again": Life._announce,  # noqa: SLF001 - as above
    "design": Life._design,  # noqa: SLF001 - as above
}


def _releases(versions: int, manifest_bytes: int) -> list[Release]:
    """Versions of long ago, of which a mirror wants the newest tarball alone."""
    filler = {"description": tarballs.filler(manifest_bytes // 2, f"{versions}").hex()}
    return [
        Release(f"0.{number}.0", {"x": b"x"}, filler, at=LONG_AGO) for number in range(versions)
    ]
