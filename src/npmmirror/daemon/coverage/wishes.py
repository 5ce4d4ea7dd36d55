"""Why a file is not here of which no table says so: the one place where the policy is asked. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from npmmirror.index.coverage import LATEST, UNDECIDED, MissingVersion, PackageStanding
from npmmirror.outcome import NOT_HELD
from npmmirror.policy import OUTSIZED, POLICY, TARBALL_LIMIT
from npmmirror.policy.selection import Candidate, Drop, Policy, judged

Reason = Literal["policy", "size", "failed", "gone", "not_yet", "erased"]
"""`policy`: not wanted. `size`: larger than the policy allows. `failed`: tried in vain, and tried
again or given up. `gone`: upstream has no file of it (any more). `not_yet`: its turn has not
come. `erased`: `npmmirror erase` took it out."""
REASONS: Final[tuple[Reason, ...]] = ("policy", "size", "failed", "gone", "not_yet", "erased")
WANTED_REASONS: Final[frozenset[Reason]] = frozenset({"failed", "not_yet"})
"""Of what is to come still."""
HELD: Final = "held"
_SKIPS: Final[dict[str, Reason]] = {
    "too_large": "size",
    OUTSIZED: "size",
    "no_dist": "gone",
    NOT_HELD: "gone",
}
"""Those that count elsewhere than under `policy`; `no_dist`: upstream names no file."""
_GIVEN: Final[dict[str, Reason]] = {
    "failed": "failed",
    "not_yet": "not_yet",
    "gone": "gone",
    "erased": "erased",
    "dropped": "policy",
}


def reason_of(standing: str, word: str) -> Reason | None:
    """The reason of what is missing; None where the policy has to be asked."""
    if standing == UNDECIDED:
        return None
    if standing == "skipped":
        return _SKIPS.get(word, "policy")
    return _GIVEN[standing]


@dataclass(frozen=True, slots=True)
class Why:
    """A reason, the word that says more, and what else there is to say."""

    reason: Reason
    word: str
    detail: str = ""


def recorded(standing: str, word: str) -> Why | None:
    """Why something is missing that a table tells of; None where the policy has to be asked.

    Of what was dropped the table has a sentence: its rule is the word, as of what the policy says
    now, for numbers and sizes in it would make as many words as there are versions.
    """
    reason = reason_of(standing, word)
    if reason is None:
        return None
    if standing != "dropped":
        return Why(reason, word)
    rule, _, detail = word.removeprefix(f"{POLICY}: ").partition(": ")
    return Why(_by(rule), rule, detail)


def _by(rule: str) -> Reason:
    """The reason of what a rule of the policy leaves out."""
    return "size" if rule == TARBALL_LIMIT else "policy"


class Wishes:
    """What the policy wants of the versions of which nothing else is known."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def all_alike(self, package: PackageStanding, word: str = "") -> Why | None:
        """Why none of them is here; None where each version has to be asked about.

        `word` is `LATEST` for the version that the tag names.
        """
        verdict = self._policy.package(package.name)
        if isinstance(verdict, Drop):
            return Why("policy", verdict.rule)
        settings = self._policy.settings(package.name)
        # What `new` wants beside latest was put on the work list when it was seen.
        if settings.tarballs == "none" or (settings.tarballs == "new" and word != LATEST):
            return Why("policy", settings.rule("tarballs"))
        # Latest is not here where the documents alone were brought.
        if settings.tarballs == "new" and not settings.filters:
            return Why("not_yet", "")
        return None

    def whys(
        self, package: PackageStanding, candidates: Sequence[Candidate]
    ) -> Callable[[str], Why]:
        """Why each of them is not here; `candidates` are all versions that upstream lists."""
        alike = self.all_alike(package), self.all_alike(package, LATEST)
        if None not in alike:
            return lambda version: alike[version == package.latest]  # type: ignore[return-value]  # just looked at
        settings = self._policy.settings(package.name)
        verdicts = judged(settings, candidates, package.latest)

        def why(version: str) -> Why:
            verdict = verdicts.get(version)
            if isinstance(verdict, Drop):
                return Why(_by(verdict.rule), verdict.rule)
            if settings.tarballs in {"latest", "new"} and version != package.latest:
                return Why("policy", settings.rule("tarballs"))
            return Why("not_yet", "")

        return why


def explained(
    wishes: Wishes,
    package: PackageStanding,
    rows: Iterable[MissingVersion],
    candidates: Sequence[Candidate],
) -> Iterator[tuple[MissingVersion, Why]]:
    """Each missing version of a package with its reason."""
    undecided = wishes.whys(package, candidates)
    for row in rows:
        yield row, recorded(row.standing, row.word) or undecided(row.version)
