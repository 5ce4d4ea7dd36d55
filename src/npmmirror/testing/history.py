"""A registry's life in steps, the same for the same seed: in each, some packages change once."""

from collections.abc import Callable, Collection, Sequence
from random import Random

from npmmirror.testing.manifest import SECURITY_VERSION, package_json
from npmmirror.testing.registry import ScriptedRegistry

Move = Callable[[ScriptedRegistry, str, Random], None]


class History:
    """What happens to a registry, step by step.

    No package changes twice in a step, so that a mirror which is at the head after each step sees
    every revision, and one that was killed in between sees the same.

    Args:
        registry: where it happens.
        seed: of what happens.
        packages: how many there are at first; more come by and by.
        moves: which of `MOVES` may happen; None: all.
        share: which part of the packages changes in a step.
    """

    def __init__(
        self,
        registry: ScriptedRegistry,
        *,
        seed: int = 0,
        packages: int = 20,
        moves: Collection[str] | None = None,
        share: float = 0.3,
    ) -> None:
        self._registry = registry
        self._random = Random(f"history {seed}")
        self._moves = [name for name in MOVES if moves is None or name in moves]
        self._share = share
        self._names: list[str] = []
        for _ in range(packages):
            self._birth()

    @property
    def names(self) -> Sequence[str]:
        """All packages that there ever were."""
        return self._names

    def step(self) -> list[tuple[str, str]]:
        """Let one step happen; who changed, and by which move."""
        count = max(1, int(len(self._names) * self._share))
        chosen = self._random.sample(self._names, min(count, len(self._names)))
        happened = [(name, self._change(name)) for name in chosen]
        if self._random.random() < self._share:
            happened.append((self._birth(), "publish"))
        return happened

    def _birth(self) -> str:
        number = len(self._names)
        name = f"@scope/package-{number}" if number % 4 == 3 else f"package-{number}"
        publish(self._registry, name, self._random)
        self._names.append(name)
        return name

    def _change(self, name: str) -> str:
        state = self._registry.revision(name).state
        if state != "live":
            move = "publish"
        else:
            weights = [MOVES[one][1] for one in self._moves]
            (move,) = self._random.choices(self._moves, weights)
        MOVES[move][0](self._registry, name, self._random)
        return move


def publish(registry: ScriptedRegistry, name: str, random: Random) -> None:
    """A version that was not there before, named by `latest` or now and then by another tag."""
    generation = registry.revision(name).rev.partition("-")[0] if name in registry else "0"
    version = f"1.{generation}.{random.randrange(100)}"
    body = random.randbytes(random.choice((10, 1_000, 60_000)))
    tag = random.choice(("latest", "latest", "latest", "next"))
    files = {"package.json": package_json(name, version), "body": body}
    attested = registry.signing is not None and sum(map(ord, version)) % 3 == 0
    registry.publish(name, version, files=files, tag=tag, attested=attested)


def _deprecate(registry: ScriptedRegistry, name: str, random: Random) -> None:
    message = random.choice(("too old", "use another", None))
    registry.deprecate(name, _version(registry, name, random), message)


def _tag(registry: ScriptedRegistry, name: str, random: Random) -> None:
    registry.tag(name, random.choice(("beta", "lts")), _version(registry, name, random))


def _untag(registry: ScriptedRegistry, name: str, random: Random) -> None:
    tags = [tag for tag in registry.revision(name).tags if tag != "latest"]
    registry.untag(name, random.choice(tags or ["none"]))


def _maintainers(registry: ScriptedRegistry, name: str, random: Random) -> None:
    person = random.choice(("ann", "bob", "cho"))
    there = any(one["name"] == person for one in registry.revision(name).maintainers)
    (registry.remove_maintainer if there else registry.add_maintainer)(name, person)


def _amend(registry: ScriptedRegistry, name: str, random: Random) -> None:
    registry.amend(name, _version(registry, name, random), {"libc": [f"v{random.randrange(9)}"]})


def _unpublish_version(registry: ScriptedRegistry, name: str, random: Random) -> None:
    versions = registry.revision(name).versions
    # A document with nothing but the holder's version is one of a hold.
    if len(versions) == 1 or SECURITY_VERSION in versions:
        publish(registry, name, random)
    else:
        registry.unpublish_version(name, _version(registry, name, random))


def _unpublish(registry: ScriptedRegistry, name: str, random: Random) -> None:
    del random
    registry.unpublish(name)


def _remove(registry: ScriptedRegistry, name: str, random: Random) -> None:
    del random
    registry.remove(name)


def _security_hold(registry: ScriptedRegistry, name: str, random: Random) -> None:
    del random
    registry.security_hold(name)


def _version(registry: ScriptedRegistry, name: str, random: Random) -> str:
    return random.choice(list(registry.revision(name).versions))


MOVES: dict[str, tuple[Move, int]] = {
    "publish": (publish, 40),
    "deprecate": (_deprecate, 8),
    "tag": (_tag, 8),
    "untag": (_untag, 4),
    "maintainers": (_maintainers, 6),
    "amend": (_amend, 4),
    "unpublish_version": (_unpublish_version, 4),
    "unpublish": (_unpublish, 2),
    "remove": (_remove, 2),
    "security_hold": (_security_hold, 1),
}
"""What can happen to a package that is live, and how often."""
