"""Which rule of the policy leaves a tarball out of which no table of the index says why."""

from collections.abc import Iterable

from npmmirror.config import ConfigurationError, PolicySection
from npmmirror.daemon.selecting import read_policy
from npmmirror.index import VersionRow
from npmmirror.policy import Candidate, Drop, Policy, judged


class Unwanted:
    """Answers by the policy that the configuration has now; by nothing where that cannot be read."""

    def __init__(self, section: PolicySection) -> None:
        try:
            self._policy: Policy | None = read_policy(section)
        except ConfigurationError:
            self._policy = None  # a list of names is away: what is held can be shown all the same

    def rules(
        self, package: str, latest: str | None, rows: Iterable[VersionRow]
    ) -> dict[str, tuple[str, str | None]]:
        """The rule, and why, for each version that upstream has, as if it were left out."""
        if self._policy is None:
            return {}
        present = [Candidate(row.version, row.published_at) for row in rows if row.present]
        verdict, settings = self._policy.package(package), self._policy.settings(package)
        if isinstance(verdict, Drop):
            return {one.version: (verdict.rule, verdict.why) for one in present}
        return {
            version: (one.rule, one.why)
            if isinstance(one, Drop)
            else (settings.rule("tarballs"), None)
            for version, one in judged(settings, present, latest).items()
        }
