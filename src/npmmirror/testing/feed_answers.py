"""The feed's answers over HTTP: which queries it takes, and what it says to them."""

from collections.abc import Mapping
from typing import Any

import orjson

from npmmirror.testing.feed import DEFAULT_LIMIT, MAX_LIMIT, BadQueryError
from npmmirror.testing.registry import ScriptedRegistry


def changes(registry: ScriptedRegistry, query: Mapping[str, str]) -> dict[str, Any]:
    """Answer `_changes`.

    Raises:
        BadQueryError: the query is one that npm's feed refuses.
    """
    for dead in ("include_docs", "heartbeat"):
        if dead in query:
            raise BadQueryError(f"{dead} is not supported")
    if query.get("feed", "normal") != "normal":
        raise BadQueryError(f"feed={query['feed']} is not supported")
    since = query.get("since", query.get("last-event-id", "0"))
    names = _json(query["doc_ids"]) if "doc_ids" in query else None
    return registry.feed.changes(
        registry.feed.number(since),
        _limit(query),
        descending=query.get("descending") == "true",
        names=names,
    )


def root(registry: ScriptedRegistry) -> dict[str, Any]:
    """Answer the feed's root."""
    return registry.feed.root(registry.count())


def all_docs(registry: ScriptedRegistry, query: Mapping[str, str]) -> dict[str, Any]:
    """Answer `_all_docs`. Keys are JSON, `startkey` and `endkey` are included.

    Raises:
        BadQueryError: the query is one that npm's feed refuses.
    """
    if "skip" in query:
        raise BadQueryError("skip is not supported")
    limit = _limit(query)
    revs = registry.revs()
    if "keys" in query:
        rows = [_row(name, revs.get(name)) for name in _json(query["keys"])]
    else:
        names = sorted(revs, reverse=query.get("descending") == "true")
        rows = [_row(name, revs[name]) for name in names if _within(name, query)]
    return {"total_rows": len(revs), "offset": 0, "rows": rows[:limit]}


def _within(name: str, query: Mapping[str, str]) -> bool:
    low, high = query.get("startkey"), query.get("endkey")
    if query.get("descending") == "true":
        low, high = high, low
    only = query.get("key")
    at_end = query.get("inclusive_end") == "false" and name == _json(query.get("endkey", "null"))
    return not at_end and (
        (only is None or name == _json(only))
        and (low is None or name >= _json(low))
        and (high is None or name <= _json(high))
    )


def _row(name: str, rev: str | None) -> dict[str, Any]:
    if rev is None:
        return {"key": name, "error": "not_found"}
    return {"id": name, "key": name, "value": {"rev": rev}}


def _limit(query: Mapping[str, str]) -> int:
    said = query.get("limit", str(DEFAULT_LIMIT))
    if not said.isascii() or not said.isdigit() or int(said) > MAX_LIMIT:
        raise BadQueryError(f"invalid limit: {said}")
    return int(said)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadQueryError(f"not JSON: {text}") from error
