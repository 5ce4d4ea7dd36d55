"""What a changes feed says, read tolerantly: npm's replication service, CouchDB, PouchDB Server."""

import json
from typing import Any, NamedTuple

import orjson

from npmmirror.change import Change, Head, Page, Seq
from npmmirror.upstream.errors import BadAnswer


class Listed(NamedTuple):
    """A row of `_all_docs`: a package and its revision, None where the feed tells none."""

    name: str
    rev: str | None


class Listing(NamedTuple):
    """A page of `_all_docs`.

    `total` is how many rows there are in all, None where the feed does not tell; `odd` tells of
    rows that name no package.
    """

    rows: tuple[Listed, ...]
    total: int | None
    odd: tuple[str, ...] = ()


def read_page(raw: bytes) -> Page:
    """A page of `_changes`.

    A row that names no package is told in `Page.odd`: refusing the page for it would hold up all
    others for ever. One that names a package and no usable seq gets the page's `last_seq`.

    Raises:
        BadAnswer: `html`, `not_json` or `bad_feed`.
    """
    document = _document(raw)
    rows = _rows(document, "results")
    last_seq = _seq(document.get("last_seq"), "bad_feed", "last_seq")
    changes: list[Change] = []
    odd: list[str] = []
    for row in rows:
        change = _change(row, last_seq)
        if change is None:
            odd.append(f"{row!r:.200}")
        else:
            changes.append(change)
    return Page(tuple(changes), last_seq, tuple(odd))


def read_listing(raw: bytes) -> Listing:
    """A page of `_all_docs`. A row that names no package holds up the others as little as a change.

    Raises:
        BadAnswer: as `read_page`.
    """
    document = _document(raw)
    listed: list[Listed] = []
    odd: list[str] = []
    for row in _rows(document, "rows"):
        name = row.get("id", row.get("key")) if isinstance(row, dict) else None
        if isinstance(name, str) and name and "error" not in row:
            listed.append(Listed(name, _rev(row.get("value"))))
        else:
            odd.append(f"{row!r:.200}")
    return Listing(tuple(listed), _count(document.get("total_rows")), tuple(odd))


def read_root(raw: bytes) -> Head | None:
    """The feed's root document; None where it does not tell the feed's end.

    Raises:
        BadAnswer: `html` or `not_json`, or `bad_feed` for an error object.
    """
    document = _document(raw)
    if document.get("update_seq") is None:
        return None
    return Head(
        _seq(document["update_seq"], "bad_feed", "update_seq"), _count(document.get("doc_count"))
    )


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = _parsed(raw)
    except (ValueError, RecursionError) as error:
        reason = "html" if raw.lstrip().startswith(b"<") else "not_json"
        raise BadAnswer(reason, f"the feed says {raw[:80]!r}") from error
    if not isinstance(document, dict) or "error" in document:
        raise BadAnswer("bad_feed", f"the feed says {raw[:200]!r}")
    return document


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # An id may hold a lone surrogate, which only the standard library's parser takes.
        return json.loads(raw)


def _rows(document: dict[str, Any], key: str) -> list[Any]:
    rows = document.get(key)
    if not isinstance(rows, list):
        raise BadAnswer("bad_feed", f"no list of {key}, but {sorted(document)[:10]}")
    return rows


def _change(row: Any, last_seq: Seq) -> Change | None:
    name = row.get("id") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name:
        return None
    seq = row.get("seq")
    if type(seq) is not int:
        seq = _cursor(seq) or last_seq
    changes = row.get("changes")
    rev = _rev(changes[0]) if isinstance(changes, list) and changes else None
    return Change(seq, name, rev, row.get("deleted") is True)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _rev(holder: Any) -> str | None:
    rev = holder.get("rev") if isinstance(holder, dict) else None
    return rev if isinstance(rev, str) else None


def _seq(value: Any, reason: str, what: str) -> Seq:
    if type(value) is int:
        return value
    seq = _cursor(value)
    if seq is None:
        raise BadAnswer(reason, f"{what} is {value!r:.100}")
    return seq


def _cursor(value: Any) -> str | None:
    """An opaque seq; None where it is none."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, list):
        # Some CouchDB clusters give [number, opaque]: as text, it is a cursor that they take back.
        return json.dumps(value, separators=(",", ":"))
    return None
