"""The section `[policy]`: what is wanted, and what is kept."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, Strict

from npmmirror.config.rules import Rule, TarballWord
from npmmirror.config.section import Section
from npmmirror.config.values import PATTERNS, Count, Moment, Patterns, pattern_under

_GIB = 1 << 30


class PolicySection(Section):
    """What is wanted, and what is kept. `docs/policy.md` has worked examples."""

    allow: Patterns = Field(
        (),
        description="The packages that are wanted, as patterns of their names; none: all of them. "
        'A pattern is a name, a glob ("*-loader", where * stands for slashes too), a scope '
        '("@babel"), a regular expression between slashes ("/^react(-|$)/"), or a file that lists '
        'a name a line ("file:names.txt"), which is read at each start.',
        json_schema_extra=PATTERNS,
    )
    deny: Patterns = Field(
        (),
        description="The packages that are not wanted, in the same way; it goes before allow.",
        json_schema_extra=PATTERNS,
    )
    prereleases: bool = Field(
        True,
        description="Whether tarballs of prereleases, such as 2.0.0-rc.1, are wanted.",
    )
    published_since: Moment | None = Field(
        None,
        description="Only tarballs of versions published since then are wanted. A version whose "
        "time nobody tells counts as new.",
        examples=["2024-01-01"],
    )
    keep_versions: Annotated[int, Field(ge=0)] = Field(
        0,
        description="How many tarballs of a package are kept: the newest by their time of "
        "publishing, and that of the tag latest. Older ones are deleted as new ones arrive, and "
        "by `npmmirror prune`; never what is gone upstream, and never a packument. 0 keeps all.",
    )
    tarballs: TarballWord = Field(
        "new",
        description='Which tarballs are fetched. "none": no tarball, packuments only. "latest": '
        'the version that the tag latest names. "new": latest at the first sight of a package, and '
        'every version published since. "all": every version.',
    )
    max_tarball_bytes: Count = Field(
        _GIB, description="Tarballs of more than this many bytes are skipped, and recorded so."
    )
    max_packument_bytes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Packages whose packument has more than this many bytes, decompressed, are "
        "skipped, and recorded so; what is captured of them stays. 0 is no limit. It must not be "
        "greater than fetch.max_packument_bytes, which guards memory and disk.",
    )
    confirm_removal_answers: Count = Field(
        3,
        description='How many answers "not found" it takes to record a package as removed '
        "upstream. Nothing that is held is ever deleted for it.",
    )
    confirm_removal_hours: Annotated[float, Field(ge=0)] = Field(
        24.0,
        description="How long those answers must lie apart, first to last, in hours. Any other "
        "answer in between, and a change that does not call the package deleted, starts over.",
    )
    removal_breaker_packages: Annotated[int, Field(ge=0)] = Field(
        500,
        description="More removals than this within an hour trip the breaker: from then on they "
        "are held, not recorded, until `npmmirror removals confirm` or `discard`. 0 is no limit.",
    )
    removal_breaker_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        5.0,
        description="The same by the share of the packages that are live, in percent; 20 removals "
        "or fewer are no share. 0 is no limit.",
    )
    rule: Annotated[tuple[Rule, ...], Strict(False)] = Field(
        (),
        description="Other settings for some packages, each in a table [[policy.rule]] at the end "
        "of this section: match = a pattern or a list of them, then any of tarballs, keep_versions, "
        "prereleases, published_since. Of each setting the first rule that matches a package and "
        "has the setting decides, else the key of this section.",
    )

    def under(self, base: Path) -> Self:
        """The same, with the paths of lists starting at `base`."""
        lists = {key: _under(getattr(self, key), base) for key in ("allow", "deny")}
        rules = tuple(
            rule.model_copy(update={"match": _under(rule.match, base)}) for rule in self.rule
        )
        return self.model_copy(update={**lists, "rule": rules})


def _under(patterns: tuple[str, ...], base: Path) -> tuple[str, ...]:
    return tuple(pattern_under(pattern, base) for pattern in patterns)
