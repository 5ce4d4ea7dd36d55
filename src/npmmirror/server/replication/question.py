"""What is asked of the feed, read from the query of a request. Pure; nothing here raises.

What npm's feed answers with 400 is refused here as well, but for `since=now` and `feed=longpoll`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import orjson

from npmmirror.index.replication import Names

T = TypeVar("T")

DEFAULT_ROWS: Final = 1000
MOST_ROWS: Final = 10_000
DEFAULT_WAIT: Final = 60.0
"""Seconds that a longpoll waits where it does not say; it may be told to wait less, never more."""
_MOST_FIELDS: Final = 50
_MOST_DIGITS: Final = 18
"""A number with more is none of ours."""

_DEAD: Final = ("include_docs", "heartbeat", "filter", "view", "attachments", "conflicts")
"""Keys of `_changes` that CouchDB has and npm's feed does not: they would change the answer."""
_DEAD_OF_DOCS: Final = ("include_docs", "skip", "attachments", "conflicts", "update_seq")
_ALL: Final = Names()
_TRUTHS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Changes:
    """A question for `_changes`.

    Attributes:
        since: The cursor; None is where the feed ends now.
        limit: How many rows at most, from 1 to `MOST_ROWS`.
        descending: The newest first.
        names: These packages alone; None: all.
        wait: How many seconds to wait for a row where there is none; 0: not at all.
    """

    since: int | None = 0
    limit: int = DEFAULT_ROWS
    descending: bool = False
    names: tuple[str, ...] | None = None
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Docs:
    """A question for `_all_docs`: a stretch of the names, or these `keys` in their order."""

    stretch: Names = _ALL
    keys: tuple[str, ...] | None = None
    limit: int = DEFAULT_ROWS
    descending: bool = False


@dataclass(frozen=True, slots=True)
class BadQuery:
    """A question that is refused with 400, and why."""

    reason: str


class _Refusal(Exception):  # noqa: N818 - it never leaves this module
    pass


def changes(query: str) -> Changes | BadQuery:
    """What `_changes?<query>` asks."""
    return _read(query, _changes)


def docs(query: str) -> Docs | BadQuery:
    """What `_all_docs?<query>` asks."""
    return _read(query, _docs)


def _read(query: str, read: Callable[[Mapping[str, str]], T]) -> T | BadQuery:
    try:
        return read(_fields(query))
    except _Refusal as refusal:
        return BadQuery(str(refusal))


def _fields(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise _Refusal("too many parameters") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _Refusal("a parameter is given twice")
    return fields


def _changes(fields: Mapping[str, str]) -> Changes:
    _refuse(fields, _DEAD, but={"filter": "_doc_ids"})
    feed = fields.get("feed", "normal")
    if feed not in {"normal", "longpoll"}:
        raise _Refusal(f"feed={feed[:40]} is not supported: normal and longpoll are")
    if feed != "longpoll" and "timeout" in fields:
        raise _Refusal("timeout is for feed=longpoll")
    names = _names(fields, "doc_ids")
    if "filter" in fields and names is None:
        raise _Refusal("filter=_doc_ids needs doc_ids")
    return Changes(
        _since(fields),
        max(_limit(fields), 1),
        _truth(fields, "descending"),
        names,
        _wait(fields) if feed == "longpoll" else 0.0,
    )


def _docs(fields: Mapping[str, str]) -> Docs:
    _refuse(fields, _DEAD_OF_DOCS)
    descending, limit = _truth(fields, "descending"), _limit(fields)
    keys, key = _names(fields, "keys"), _name(fields, "key")
    if keys is not None:
        if key is not None or not fields.keys().isdisjoint({"startkey", "endkey"}):
            raise _Refusal("keys goes without key, startkey and endkey")
        return Docs(keys=tuple(reversed(keys)) if descending else keys, limit=limit)
    first, last = _name(fields, "startkey"), _name(fields, "endkey")
    if key is not None:
        first = last = key
    open_end = not _truth(fields, "inclusive_end", otherwise=True) and last is not None
    if descending:
        return Docs(Names(last, first, without_low=open_end), None, limit, descending)
    return Docs(Names(first, last, without_high=open_end), None, limit)


def _refuse(
    fields: Mapping[str, str], dead: tuple[str, ...], but: Mapping[str, str] | None = None
) -> None:
    for key in dead:
        if key in fields and (but or {}).get(key) != fields[key]:
            raise _Refusal(f"{key} is not supported")


def _since(fields: Mapping[str, str]) -> int | None:
    told = fields.get("since", fields.get("last-event-id", "0"))
    return None if told == "now" else _number(told, "since")


def _limit(fields: Mapping[str, str]) -> int:
    limit = _number(fields.get("limit", str(DEFAULT_ROWS)), "limit")
    if limit > MOST_ROWS:
        raise _Refusal(f"limit is {MOST_ROWS} at most")
    return limit


def _wait(fields: Mapping[str, str]) -> float:
    """CouchDB counts in milliseconds."""
    told = _number(fields.get("timeout", str(int(DEFAULT_WAIT * 1000))), "timeout")
    return min(told / 1000, DEFAULT_WAIT)


def _number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise _Refusal(f"{key} is no number of ours: {text[:40]}")
    return int(text)


def _truth(fields: Mapping[str, str], key: str, *, otherwise: bool = False) -> bool:
    if key not in fields:
        return otherwise
    if fields[key] not in _TRUTHS:
        raise _Refusal(f"{key} is true or false")
    return _TRUTHS[fields[key]]


def _name(fields: Mapping[str, str], key: str) -> str | None:
    found = _json(fields, key)
    if found is not None and not isinstance(found, str):
        raise _Refusal(f'{key} is a name in JSON, such as "left-pad" with its quotation marks')
    return found


def _names(fields: Mapping[str, str], key: str) -> tuple[str, ...] | None:
    found = _json(fields, key)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _Refusal(f'{key} is a list of names in JSON, such as ["left-pad"]')
    return tuple(found)


def _json(fields: Mapping[str, str], key: str) -> Any:
    if key not in fields:
        return None
    try:
        found = orjson.loads(fields[key])
    except orjson.JSONDecodeError as error:
        raise _Refusal(f"{key} is no JSON: {fields[key][:40]}") from error
    if found is None:
        raise _Refusal(f"{key} is null")
    return found
