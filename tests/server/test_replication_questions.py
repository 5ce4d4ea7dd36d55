"""Reading the queries of the feed for other mirrors."""

import pytest
from hypothesis import given, strategies as st

from npmmirror.index.replication import Names
from npmmirror.server.replication.question import BadQuery, Changes, Docs, changes, docs


def test_nothing_asked_is_the_beginning() -> None:
    """A thousand rows from the first on, as npm gives."""
    assert changes("") == Changes(since=0, limit=1000)
    assert docs("") == Docs(limit=1000)


def test_everything_that_npm_takes() -> None:
    """Cursor, limit, direction, names; the last event's id is a cursor, too."""
    told = changes('since=12&limit=10000&descending=true&doc_ids=["a","@s/n"]')
    assert told == Changes(12, 10_000, descending=True, names=("a", "@s/n"))
    assert changes("last-event-id=7") == Changes(7)
    assert changes("feed=normal&style=all_docs&_nonce=1") == Changes()


def test_beyond_npm() -> None:
    """A longpoll waits a minute at most, and "now" is where the feed ends."""
    assert changes("feed=longpoll&since=now") == Changes(None, wait=60.0)
    assert changes("feed=longpoll&timeout=2500") == Changes(wait=2.5)
    assert changes("feed=longpoll&timeout=86400000") == Changes(wait=60.0)


@pytest.mark.parametrize(
    "query",
    [
        "include_docs=true",
        "feed=continuous",
        "feed=eventsource",
        "heartbeat=1000",
        "limit=10001",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=\u0661",
        "since=12-g1AAA",
        "since=-1",
        "since=9999999999999999999999",
        "since=1&since=2",
        "descending=1",
        "timeout=1000",
        "filter=app/mine",
        "filter=_doc_ids",
        "doc_ids=left-pad",
        'doc_ids="left-pad"',
        "doc_ids=[1]",
        "doc_ids=null",
        "&".join(f"a{n}=1" for n in range(60)),
    ],
)
def test_changes_refused(query: str) -> None:
    """What npm answers with 400, and what nobody can mean."""
    assert isinstance(changes(query), BadQuery)


def test_a_stretch_of_names() -> None:
    """Keys are JSON; the last one belongs to it unless it is said not to."""
    assert docs('startkey="a"&endkey="b"') == Docs(Names("a", "b"))
    assert docs('startkey="a"&endkey="b"&inclusive_end=false') == Docs(
        Names("a", "b", without_high=True)
    )
    assert docs("inclusive_end=false") == Docs()
    assert docs("startkey=%22%40s%2Fn%22&limit=1") == Docs(Names("@s/n"), limit=1)
    assert docs('key="a"') == Docs(Names("a", "a"))
    assert docs('keys=["b","a"]&limit=10') == Docs(keys=("b", "a"), limit=10)


def test_a_stretch_of_names_backwards() -> None:
    """The first key is the greater one then."""
    assert docs('descending=true&startkey="b"&endkey="a"&inclusive_end=false') == Docs(
        Names("a", "b", without_low=True), descending=True
    )


@pytest.mark.parametrize(
    "query",
    [
        "skip=1",
        "include_docs=true",
        "limit=10001",
        "startkey=left-pad",
        "startkey=1",
        "endkey={}",
        "key=null",
        'keys="a"',
        'keys=["a"]&startkey="a"',
        "inclusive_end=yes",
        'startkey="a',
    ],
)
def test_docs_refused(query: str) -> None:
    """`skip` above all: npm has none."""
    assert isinstance(docs(query), BadQuery)


@given(st.text())
def test_whatever_is_asked_is_answered(query: str) -> None:
    """No query raises."""
    assert isinstance(changes(query), Changes | BadQuery)
    assert isinstance(docs(query), Docs | BadQuery)
