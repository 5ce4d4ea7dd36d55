"""A few lines that change in their place on a terminal; elsewhere they are written again."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from npmmirror.cli.output import is_live, say

if TYPE_CHECKING:
    from rich.live import Live


class Screen:
    """Shows lines in the place of those before. A context manager.

    Lines that do not fit on the terminal's height are cut off. Where nothing can be written over,
    each showing is followed by an empty line.
    """

    def __init__(self) -> None:
        self._live = _live() if is_live(sys.stdout) else None

    def show(self, lines: Sequence[str]) -> None:
        """These, from now on. They may be painted."""
        if self._live is None:
            say("\n".join([*lines, ""]))
            return
        from rich.text import Text  # noqa: PLC0415 - loaded by now

        text = Text.from_ansi("\n".join(lines), no_wrap=True, overflow="crop")
        self._live.update(text, refresh=True)

    def __enter__(self) -> Self:
        """The screen itself, empty."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """What was shown last stays; the cursor is behind it."""
        if self._live is not None:
            self._live.stop()


def _live() -> "Live":
    from rich.console import Console  # noqa: PLC0415 - only where somebody watches
    from rich.live import Live  # noqa: PLC0415 - as above

    console = Console(highlight=False, markup=False)
    return Live(console=console, auto_refresh=False, vertical_overflow="crop")
