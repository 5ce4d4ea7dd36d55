"""Which packages are asked about: all, or those that names and globs mean. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Final

from npmmirror.index.names import BEHIND

_GLOB: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Selection:
    """Names and globs (`*`, `?`, `[abc]`; `*` also passes over `/`); none at all mean everything.

    What has none of a glob's characters is a name.
    """

    patterns: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing was said."""
        return not self.patterns

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are no globs."""
        return tuple(each for each in self.patterns if not _GLOB.search(each))

    @property
    def bounds(self) -> tuple[str, str]:
        """Between which names all that are meant lie; the second one is not among them."""
        begins = [_beginning(each) for each in self.patterns]
        return min(begins, default=""), max(begins, default="") + BEHIND

    def matcher(self) -> re.Pattern[str]:
        """What a name that is meant matches wholly."""
        return re.compile("|".join(map(translate, self.patterns)) or r"(?s:.*)\Z")


def selected(patterns: Sequence[str]) -> Selection:
    """The selection of some words, each once."""
    return Selection(tuple(dict.fromkeys(patterns)))


def _beginning(pattern: str) -> str:
    return _GLOB.split(pattern, maxsplit=1)[0]
