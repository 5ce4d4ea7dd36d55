"""What clients take, and which bytes of a file."""

import pytest

from npmmirror.server.answers import encoded, matches, weak_etag
from npmmirror.server.negotiation import encoding_of, form_of
from npmmirror.server.packuments import Form
from npmmirror.server.ranges import span_of

SHORT = "application/vnd.npm.install-v1+json"


@pytest.mark.parametrize(
    "accept",
    [
        SHORT,
        f"{SHORT}; q=1.0, application/json; q=0.8, */*",
        f"{SHORT.upper()},*/*",
        f"{SHORT}, application/json",
    ],
)
def test_the_abbreviated_form_is_asked_for(accept: str) -> None:
    """By its name, no less wanted than the full one."""
    assert form_of(accept) is Form.ABBREVIATED


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/json", f"{SHORT};q=0", f"{SHORT};q=0.5,application/json", "text/html"],
)
def test_everything_else_is_full(accept: str) -> None:
    """Nobody is refused."""
    assert form_of(accept) is Form.FULL


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("", ""),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0, *", ""),
        ("gzip;q=nonsense", ""),
        ("identity", ""),
    ],
)
def test_encodings(header: str, encoding: str) -> None:
    """Zstd where the client takes it, else gzip, else none."""
    assert encoding_of(header) == encoding


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, (0, 100)),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=0-1000", (0, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("bytes=9-1", (0, 100)),
        ("bytes=-", (0, 100)),
        ("lines=1-2", (0, 100)),
        ("bytes=100-", None),
        ("bytes=-0", None),
    ],
)
def test_ranges(header: str | None, span: tuple[int, int] | None) -> None:
    """One range; several, and nonsense, are the whole; behind the end is none."""
    assert span_of(header, 100) == span


def test_ranges_of_nothing() -> None:
    """An empty file is whole without a range, and has none."""
    assert span_of(None, 0) == (0, 0)
    assert span_of("bytes=0-", 0) is None


def test_etags_are_short_and_tell_parts_apart() -> None:
    """Fewer than 64 bytes, which bun asks for; parts do not run into one another."""
    assert len(weak_etag(b"a" * 1000)) < 64
    assert weak_etag(b"ab", b"c") != weak_etag(b"a", b"bc")


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ('W/"a"', True),
        ('"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
    ],
)
def test_if_none_match(header: str, same: bool) -> None:
    """Compared weakly, one of several."""
    assert matches(header, 'W/"a"') is same


def test_what_is_small_is_not_compressed() -> None:
    """It would become larger."""
    assert encoded(b"{}", "gzip") == (b"{}", "")
