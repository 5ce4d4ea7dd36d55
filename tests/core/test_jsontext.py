"""JSON is read as npm sends it, whatever Python's parsers think of it."""

import json

import pytest
from hypothesis import given, strategies as st

from npmmirror.jsontext import UnreadableError, differing, members, mend, value
from tests.core.documents import TREES


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (rb'"\ud800"', "\\ud800"),
        (rb'"a\udc00\ud800z"', "a\\udc00\\ud800z"),
        (rb'"\ud83d\ude80"', "🚀"),
        (rb'"\\ud800"', "\\ud800"),
        (rb'["\ud800", "\ud83d\ude80"]', ["\\ud800", "🚀"]),
        (b'"a\xffb"', "a\ufffdb"),
        (b'\xef\xbb\xbf"a"', "a"),
        (b"1e999", float("inf")),
        (b"-1e999", float("-inf")),
        (b"9" * 5000, float("inf")),
        (rb'"\u0000"', "\0"),
    ],
)
def test_what_python_refuses_is_mended(text: bytes, meaning: object) -> None:
    """A value that no fast parser takes is read, its strings storable."""
    assert value(text) == meaning


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"[1,]", b"'a'", b"\x00", b'"\n"', b"01"])
def test_what_is_no_json_is_told(text: bytes) -> None:
    """What JavaScript would refuse is refused."""
    with pytest.raises(UnreadableError, match="not_json"):
        value(text)


def test_depth_does_not_overflow_the_stack() -> None:
    """Ten thousand levels end in a reason."""
    deep = b"[" * 10_000 + b"]" * 10_000
    with pytest.raises(UnreadableError, match="too_deep"):
        value(deep)
    with pytest.raises(UnreadableError, match="too_deep"):
        members(b'{"a":' + deep + b"}")


def test_the_limit_of_depth_does_not_depend_on_the_caller() -> None:
    """What is read at the top of the stack is read near its end, too."""
    text = b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"

    def deeper(levels: int) -> int:
        return deeper(levels - 1) if levels else len(members(text))

    assert deeper(0) == deeper(300) == 1


def test_members_stay_undecoded() -> None:
    """A value is the very bytes of the document; of a key given twice the last counts."""
    found = members(b'{"a": {"b" : 1}, "c":1, "c":[2 ]}')
    assert {key: bytes(raw) for key, raw in found.items()} == {"a": b'{"b" : 1}', "c": b"[2 ]"}


@pytest.mark.parametrize("text", [b"[]", b"null", b'"a"', b"1"])
def test_only_objects_have_members(text: bytes) -> None:
    """Anything else is told apart from what is no JSON."""
    with pytest.raises(UnreadableError, match="not_an_object"):
        members(text)


def test_a_broken_key_is_mended() -> None:
    """Keys are mended as values are."""
    assert list(members(b'{"\\ud800":1,"\xff":2}')) == ["\\ud800", "\ufffd"]


@given(TREES)
def test_json_is_read_as_it_is(tree: object) -> None:
    """What the standard library writes comes back, lone surrogates as their escapes."""
    text = json.dumps(tree)
    read = value(text.encode())
    json.dumps(read, ensure_ascii=False).encode()
    if "\\ud" not in text:
        assert read == json.loads(text, parse_int=as_javascript)


def as_javascript(digits: str) -> int | float:
    """An integer that fits no machine word is a double."""
    return int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits)


@given(st.binary())
def test_mending_is_done_once(text: bytes) -> None:
    """What was mended needs no mending."""
    mended = mend(text).decode().lstrip("\ufeff").encode()
    assert mend(mended) == mended


def test_meaning_is_compared_and_not_spelling() -> None:
    """White space, escapes and the order of keys make no difference; types do."""
    one = members(rb'{"a":{"x":1,"y":2},"b":1,"c":"/","d":[1,2],"e":null}')
    other = members(rb'{"c":"\/","b":true,"a":{ "y":2, "x":1 },"d":[2,1],"f":null}')
    assert differing(one, other) == ("b", "d", "e", "f")
