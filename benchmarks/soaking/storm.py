"""When which hazard comes and goes, by the dice."""

import time
from collections import Counter
from collections.abc import Iterable
from random import Random

from benchmarks.soaking.hazards import Hazard

GAP_SECONDS = 2.0
"""Between two beginnings, in the mean; less where the whole is short."""
AT_ONCE = {"network": 3}


class Storm:
    """Has hazards begin and end, for so many seconds. `forbidden` groups and names do not begin."""

    def __init__(self, hazards: Iterable[Hazard], dice: Random, *, seconds: float) -> None:
        self._hazards = list(hazards)
        self._dice = dice
        self._longest = max(2.0, seconds / 8)
        self._gap = min(GAP_SECONDS, seconds / 30)
        self._active: dict[str, tuple[Hazard, float]] = {}
        self._not_before: dict[str, float] = {}
        self._next = time.monotonic()
        self.forbidden: set[str] = set()
        self.counts: Counter[str] = Counter({hazard.name: 0 for hazard in self._hazards})
        self.seconds: Counter[str] = Counter()

    @property
    def active(self) -> list[str]:
        """What goes wrong now."""
        return sorted(self._active)

    def is_in(self, group: str) -> bool:
        """Whether a hazard of a group is there now."""
        return any(hazard.group == group for hazard, _ in self._active.values())

    def tick(self) -> None:
        """End what is over, and begin something now and then."""
        now = time.monotonic()
        for hazard, until in list(self._active.values()):
            if now >= until:
                self._end(hazard)
        if now >= self._next:
            self._next = now + self._dice.expovariate(1 / self._gap)
            self._begin(now)

    def calm(self) -> None:
        """End everything."""
        for hazard, _ in list(self._active.values()):
            self._end(hazard)

    def _begin(self, now: float) -> None:
        possible = [hazard for hazard in self._hazards if self._may(hazard, now)]
        if not possible:
            return
        (hazard,) = self._dice.choices(possible, [one.weight for one in possible])
        seconds = min(self._dice.uniform(hazard.shortest, hazard.longest), self._longest)
        if not hazard.begin():
            return
        self.counts[hazard.name] += 1
        self._not_before[hazard.name] = now + seconds + hazard.apart
        if hazard.end is not None:
            self._active[hazard.name] = hazard, now + seconds

    def _may(self, hazard: Hazard, now: float) -> bool:
        at_once = sum(other.group == hazard.group for other, _ in self._active.values())
        return (
            at_once < AT_ONCE.get(hazard.group, 1)
            and hazard.name not in self._active
            and not {hazard.group, hazard.name} & self.forbidden
            and now >= self._not_before.get(hazard.name, 0.0)
        )

    def _end(self, hazard: Hazard) -> None:
        del self._active[hazard.name]
        if hazard.end is not None:
            hazard.end()
