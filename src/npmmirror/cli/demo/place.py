"""The directory that the demo works in and leaves behind."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from npmmirror.errors import UsageError

MADE = "made-by-npmmirror-demo.json"
"""Says that a directory is a demo's, and how large its capture logs were: what was worked with
since then is not thrown away for the next demo."""

_ONE = """\
# Written by `npmmirror demo` for its first act: a registry on loopback, which is not there any more.

[upstream]
feed = "{feed}"
registry = "{registry}"

[follow]
since = 0  # from the beginning
poll_seconds = 0.2

[fetch]
concurrency = 8

[policy]
tarballs = "all"

[server]
listen = ""

[storage]
data_dir = "one"
commit_seconds = 0.2
min_free_bytes = 0

[log]
level = "info"
format = "json"
"""
_TWO = """\
# Written by `npmmirror demo` for its second act: three packages of a real registry.

[storage]
data_dir = "two"
min_free_bytes = 0
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A demo's directory: for each act a configuration, and the data beside it."""

    directory: Path

    @property
    def one(self) -> Path:
        """The configuration of the invented packages' mirror."""
        return self.directory / "one.toml"

    @property
    def two(self) -> Path:
        """The configuration of the real packages' mirror."""
        return self.directory / "two.toml"

    def write_one(self, *, feed: str, registry: str) -> None:
        """Write the first."""
        self.one.write_text(_ONE.format(feed=feed, registry=registry), encoding="utf-8")

    def write_two(self) -> None:
        """Write the second."""
        self.two.write_text(_TWO, encoding="utf-8")


def check(directory: Path) -> None:
    """Refuse a directory that must not be replaced.

    Raises:
        UsageError: it is not a demo's, or somebody worked with it since.
    """
    if not directory.exists() and not directory.is_symlink():
        return
    other = "move it away, or name another place with --directory"
    try:
        made = json.loads((directory / MADE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{directory} is there and was not made by a demo; {other}") from None
    if made != _captured(directory):
        raise UsageError(f"{directory} was worked with since a demo made it; {other}")


@contextmanager
def workplace(directory: Path, *, keep: bool) -> Iterator[Place]:
    """A place beside `directory`, which takes its name at the end where it is to be kept.

    An interrupt leaves nothing of it; whatever else goes wrong leaves it, to be looked at.

    Raises:
        UsageError: it cannot be made there.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise UsageError(
            f"cannot make a directory in {directory.parent}: {error.strerror}; "
            "name another place with --directory"
        ) from error
    try:
        yield Place(work)
        if keep:
            _settle(work, directory)
    except BrokenPipeError:  # whoever read has gone: that is an interrupt, too
        raise
    except Exception:
        _settle(work, directory)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _settle(work: Path, directory: Path) -> None:
    """Let the work take the place of what an earlier demo left."""
    (work / MADE).write_text(json.dumps(_captured(work), indent=2) + "\n", encoding="utf-8")
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
    work.rename(directory)


def _captured(directory: Path) -> dict[str, int]:
    """The segments of the capture logs, and their sizes in bytes."""
    segments = sorted(directory.glob("*/captures/*.log"))
    return {str(path.relative_to(directory)): path.stat().st_size for path in segments}
