"""The types of the configuration's values that are more than a number, a word or a text."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, Strict

from npmmirror.patterns import FILE, check_pattern

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):[0-9]{1,5}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
PATH_OR_PEM: dict[str, JsonValue] = {"path_or_pem": True}
"""Marks a key whose value is a path, or what the file there would hold."""
PATTERNS: dict[str, JsonValue] = {"patterns": True}
"""Marks a key whose values are patterns of names, some of which may be paths."""
_OWN_FILES = frozenset(
    {
        *("lock", "control.sock", "in_work", "in_work.new", "reset.json", "reset.new"),
        *("buffer.db", "buffer.db-wal", "buffer.db-shm", "research.db"),
        *("captures", "damaged", "staging", "packages", "set_aside"),
    }
)


def base_url(text: str) -> str:
    """A URL that paths can be put behind: http or https, without its last slash.

    Raises:
        ValueError: it is no such URL; the message says what it must be.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a URL without spaces and control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError("must be a URL with a valid host and port") from error
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise ValueError("must be a URL with a valid host and port")
    if "?" in text or "#" in text:
        raise ValueError("must have no query (?) and no fragment (#)")
    return text.rstrip("/")


def registry_of_feed(feed: str) -> str:
    """The registry that belongs to a feed: its host with `replicate.` replaced by `registry.`.

    That of a mirror has its registry beside it, at `/-/raw`. A feed on any other host is a CouchDB
    database, which answers with the documents itself.
    """
    mirror, ours, _ = feed.partition("/-/replicate")
    if ours:
        return f"{mirror}/-/raw"
    parts = urlsplit(feed)
    user, at, host = parts.netloc.rpartition("@")
    if not host.startswith("replicate."):
        return feed
    return f"{parts.scheme}://{user}{at}registry.{host.removeprefix('replicate.')}"


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError('must be hosts in small letters, such as "files.example" or "host:8080"')
    return text


def _header_text(text: str) -> str:
    if not text.isascii() or not (text.isprintable() or text == ""):
        raise ValueError("must be one line of ASCII text, for it is sent in a header")
    return text


def _directory(value: object) -> object:
    """Paths are written as text; everything else is left to the type's own check."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("must be a directory's path")
    if value.startswith("~"):
        raise ValueError('must not begin with "~": write the whole path')
    return Path(value)


def _file_name(text: str) -> str:
    if not text or text in {".", ".."} or "/" in text or not text.isprintable():
        raise ValueError("must be a file name without a directory: the file lies in data_dir")
    if text in _OWN_FILES:
        raise ValueError("must be another name: this one is taken by another file of data_dir")
    return text


def _file(value: object) -> object:
    """As `_directory`, for a file."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError("must be a file's path")
    if value.startswith("~"):
        raise ValueError('must not begin with "~": write the whole path')
    return Path(value)


def _broker(text: str) -> str:
    if not _BROKER.fullmatch(text):
        raise ValueError('must be brokers as host:port, such as "localhost:9092"')
    return text


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError("must be a topic's name: letters, digits, and . _ -, at most 249 of them")
    return text


def _one_line(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("must be one line of text that is not empty")
    return text


def path_or_pem(text: str, base: Path) -> str:
    """A PEM document as it is; anything else as a path, which starts at `base`."""
    return text if text.lstrip().startswith("-----BEGIN") else str(base / text)


def pattern_under(text: str, base: Path) -> str:
    """A pattern; the path of one that stands for a file starts at `base`."""
    if not text.startswith(FILE) or len(text) == len(FILE):
        return text
    return f"{FILE}{base / text.removeprefix(FILE)}"


def _one_or_more(value: object) -> object:
    if value in ([], ()):
        raise ValueError("must not be empty")
    return (value,) if isinstance(value, str) else value


def _moment(value: object) -> object:
    """A date, or a date and time, as TOML has them or as text; kept as text."""
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise ValueError(_NO_MOMENT)  # noqa: TRY004 - pydantic takes no other error
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(_NO_MOMENT) from error
    return value


_NO_MOMENT = 'must be a date, such as "2024-01-31" or "2024-01-31T12:00:00Z"'


def _since(value: object) -> object:
    """`"now"`, a number, or an opaque text; bool is an int only to Python."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise ValueError('must be "now", or a seq of the feed: a number, or its text in quotes')
    if isinstance(value, int) and value < 0:
        raise ValueError("must be at least 0")
    if isinstance(value, str) and value.isdecimal():
        raise ValueError("must be a number without quotes")
    return value


BaseUrl = Annotated[str, AfterValidator(base_url)]
HeaderText = Annotated[str, AfterValidator(_header_text)]
OneLine = Annotated[str, AfterValidator(_one_line)]
Since = Annotated[int | str, BeforeValidator(_since)]
Directory = Annotated[Path, BeforeValidator(_directory)]
File = Annotated[Path, BeforeValidator(_file)]
FileName = Annotated[str, AfterValidator(_file_name)]
Topic = Annotated[str, AfterValidator(_topic)]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Strict(False)]
Brokers = Annotated[
    tuple[Annotated[str, AfterValidator(_broker)], ...], Strict(False), Field(min_length=1)
]
Patterns = Annotated[tuple[Annotated[str, AfterValidator(check_pattern)], ...], Strict(False)]
OneOrMorePatterns = Annotated[Patterns, BeforeValidator(_one_or_more)]
Moment = Annotated[str, BeforeValidator(_moment)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
