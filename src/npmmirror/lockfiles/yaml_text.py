"""YAML as lock files have it: mappings, sequences and strings. Anything cleverer is refused.

The library tells the events; they are put together here, on a stack of our own, so that no depth
exhausts the interpreter's, no alias multiplies what is there, and no tag makes an object. All
scalars are strings, for a version such as 1.10 is no number.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from npmmirror.lockfiles.locked import LockfileError

_MAX_DEPTH = 32
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The library's parser in C where it was built with one: ten times as fast."""

Value = dict[str, Any] | list[Any] | str


def documents(raw: bytes) -> Iterator[Value]:
    """The documents of a text.

    Raises:
        LockfileError: it is no such YAML, with the line.
    """
    building = _Building()
    try:
        for event in yaml.parse(raw, Loader=_LOADER):
            if building.take(event):
                yield building.root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise LockfileError(f"line {line}: not YAML ({error.problem or error.context})") from error
    except yaml.YAMLError as error:
        raise LockfileError(f"not YAML ({' '.join(str(error).split())[:120]})") from error


class _Building:
    """The document at hand: the collections that are open, and the key that waits for a value."""

    def __init__(self) -> None:
        self.root: Value = ""
        self._open: list[tuple[dict[str, Any] | list[Any], str | None]] = []

    def take(self, event: Any) -> bool:
        """Whether the event ends a document, which is `root` then."""
        match event:
            case yaml.DocumentStartEvent():
                self.root = ""
            case yaml.AliasEvent():
                raise _refused(event, "an alias")
            case yaml.ScalarEvent():
                _check(event)
                self._put(event.value, event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                _check(event)
                self._enter(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._open.pop()
            case yaml.DocumentEndEvent():
                return True
        return False

    def _enter(self, event: Any) -> None:
        if len(self._open) == _MAX_DEPTH:
            raise _refused(event, f"something nested deeper than {_MAX_DEPTH} levels")
        made: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._put(made, event)
        self._open.append((made, None))

    def _put(self, value: Value, event: Any) -> None:
        if not self._open:
            self.root = value
            return
        there, key = self._open[-1]
        if isinstance(there, list):
            there.append(value)
        elif key is None:
            self._open[-1] = (there, _key(there, value, event))
        else:
            there[key] = value
            self._open[-1] = (there, None)


def _key(there: dict[str, Any], value: Value, event: Any) -> str:
    if not isinstance(value, str):
        raise _refused(event, "a key that is no string")
    if value in there:
        raise _refused(event, f"the key {value[:80]!r} twice")
    return value


def _check(event: Any) -> None:
    if event.anchor is not None:
        raise _refused(event, "an anchor")
    if event.tag is not None:
        raise _refused(event, "a tag")


def _refused(event: Any, what: str) -> LockfileError:
    return LockfileError(f"line {event.start_mark.line + 1}: no lock file has {what}")
