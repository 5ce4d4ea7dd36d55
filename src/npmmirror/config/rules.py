"""The tables `[[policy.rule]]`: other settings for some packages."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from npmmirror.config.section import Section
from npmmirror.config.values import Moment, OneOrMorePatterns

TarballWord = Literal["none", "latest", "new", "all"]


class Rule(Section):
    """Settings for the packages that a pattern matches; what is None the rule leaves alone."""

    match: OneOrMorePatterns
    tarballs: TarballWord | None = None
    keep_versions: Annotated[int, Field(ge=0)] | None = None
    prereleases: bool | None = None
    published_since: Moment | None = None

    @property
    def settings(self) -> dict[str, str | int | bool]:
        """What it sets."""
        return {key: value for key, value in self if key != "match" and value is not None}

    @model_validator(mode="after")
    def _sets_something(self) -> Self:
        if not self.settings:
            raise ValueError("must set something: tarballs, keep_versions, …")
        return self
