"""Faults that the scripted upstream plays on command: what they are, not how they are sent."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

Scope = Literal[
    "packument", "tarball", "feed", "all_docs", "root", "keys", "attestations", "other", "*"
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What would be answered: status, headers and the body as it goes over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def with_body(self, body: bytes, **headers: str) -> "Answer":
        """The same with another body; `_` in a header's name stands for `-`."""
        new = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(self.status, {**self.headers, **new}, body)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer goes out. The defaults are: whole, at once, with an honest length.

    `length` is what `Content-Length` says. After `sent` bytes the connection is closed, or reset
    where `reset` is set. `rate` is in bytes a second. `stalled`: nothing more comes after `sent`
    bytes (None: not even the head) until the upstream releases its stalled answers. `endless`:
    the body is gzip that never ends. `zeros`: the body is so many zeros, made as they are sent.
    """

    answer: Answer
    length: int | None = None
    sent: int | None = None
    reset: bool = False
    rate: float | None = None
    stalled: bool = False
    endless: bool = False
    zeros: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with an answer. `kind` names it in commands."""

    kind: ClassVar[str] = ""

    def play(self, answer: Answer) -> Delivery:
        """What goes out in the place of `answer`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """Another status. `retry_after` is the header's value: seconds or a date."""

    kind: ClassVar[str] = "status"
    code: int = 503
    retry_after: str | None = None
    body: str = '{"error":"scripted"}'

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        del answer
        headers = {"Content-Type": "application/json"}
        if self.retry_after is not None:
            headers["Retry-After"] = self.retry_after
        return Delivery(Answer(self.code, headers, self.body.encode()))


@dataclass(frozen=True, slots=True)
class Truncated(Fault):
    """The connection closes when this part of the promised body was sent."""

    kind: ClassVar[str] = "truncated"
    part: float = 0.5

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        length = len(answer.body)
        return Delivery(answer, length=length, sent=int(length * self.part))


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """The connection is reset after so many bytes of the body; None: before the head."""

    kind: ClassVar[str] = "reset"
    after: int | None = 100

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        sent = self.after if self.after is None else min(self.after, len(answer.body))
        return Delivery(answer, length=len(answer.body), sent=sent, reset=True)


@dataclass(frozen=True, slots=True)
class Altered(Fault):
    """A body of the same length with one byte changed, in the middle."""

    kind: ClassVar[str] = "altered"

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        body = bytearray(answer.body)
        if body:
            body[len(body) // 2] ^= 0xFF
        return Delivery(answer.with_body(bytes(body)))


@dataclass(frozen=True, slots=True)
class WrongLength(Fault):
    """A whole answer whose body is longer (or shorter) than it should be."""

    kind: ClassVar[str] = "wrong_length"
    by: int = 17

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        body = answer.body + b"\0" * self.by if self.by > 0 else answer.body[: self.by]
        return Delivery(answer.with_body(body))


@dataclass(frozen=True, slots=True)
class Empty(Fault):
    """Status 200 and no body."""

    kind: ClassVar[str] = "empty"

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        return Delivery(Answer(200, _without(answer, "Content-Encoding")))


@dataclass(frozen=True, slots=True)
class HtmlPage(Fault):
    """An HTML page with status 200, as from a captive portal or a CDN in trouble."""

    kind: ClassVar[str] = "html_page"
    body: str = "<!DOCTYPE html><html><title>Just a moment...</title></html>"

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        del answer
        return Delivery(Answer(200, {"Content-Type": "text/html"}, self.body.encode()))


@dataclass(frozen=True, slots=True)
class Drip(Fault):
    """The body comes slowly. `rate` is in bytes a second."""

    kind: ClassVar[str] = "drip"
    rate: float = 1_000.0

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        return Delivery(answer, rate=self.rate)


@dataclass(frozen=True, slots=True)
class WrongEncoding(Fault):
    """`Content-Encoding` names an encoding that the body does not have."""

    kind: ClassVar[str] = "wrong_encoding"
    encoding: str = "gzip"

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        headers = {**answer.headers, "Content-Encoding": self.encoding}
        return Delivery(Answer(answer.status, headers, b'{"name":"not encoded at all"}'))


@dataclass(frozen=True, slots=True)
class EndlessGzip(Fault):
    """A gzip body of zeros that never ends."""

    kind: ClassVar[str] = "endless_gzip"

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        headers = {**answer.headers, "Content-Encoding": "gzip"}
        return Delivery(Answer(200, headers), endless=True)


@dataclass(frozen=True, slots=True)
class Zeros(Fault):
    """So many zeros instead of the body. `announced`: their number is told in advance."""

    kind: ClassVar[str] = "zeros"
    number: int = 10_000_000_000
    announced: bool = False

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        plain = Answer(200, _without(answer, "Content-Encoding"))
        return Delivery(plain, length=self.number if self.announced else None, zeros=self.number)


@dataclass(frozen=True, slots=True)
class Stall(Fault):
    """Nothing comes (after so many bytes of the body) until the stalled are released."""

    kind: ClassVar[str] = "stall"
    after: int | None = None

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        return Delivery(answer, length=len(answer.body), sent=self.after, stalled=True)


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """A redirect; `to` is a base URL that the path is appended to, or a whole URL."""

    kind: ClassVar[str] = "redirect"
    to: str = "http://elsewhere.example/"
    code: int = 302

    def play(self, answer: Answer) -> Delivery:
        """See `Fault.play`."""
        del answer
        return Delivery(Answer(self.code, {"Location": self.to}))


KINDS: dict[str, type[Fault]] = {
    kind.kind: kind
    for kind in (
        Status,
        Truncated,
        Reset,
        Altered,
        WrongLength,
        Empty,
        HtmlPage,
        Drip,
        WrongEncoding,
        EndlessGzip,
        Zeros,
        Stall,
        Redirect,
    )
}


def fault_from(said: dict[str, Any]) -> Fault:
    """The fault that a command names: `{"kind": "status", "code": 429}`.

    Raises:
        ValueError: there is no such kind, or it has no such key.
    """
    kind = KINDS.get(said.get("kind", ""))
    if kind is None:
        raise ValueError(f"no such fault: {said.get('kind')!r}")
    keys = {key: value for key, value in said.items() if key != "kind"}
    unknown = keys.keys() - {one.name for one in fields(kind)}
    if unknown:
        raise ValueError(f"{kind.kind} has no {', '.join(sorted(unknown))}")
    return kind(**keys)


@dataclass(slots=True)
class Armed:
    """A fault that waits for requests: `times` of them (None: all), each with `chance`."""

    fault: Fault
    scope: Scope = "*"
    name: str = "*"
    times: int | None = 1
    chance: float = 1.0
    played: int = field(default=0)

    def meets(self, scope: str, name: str | None) -> bool:
        """Whether a request of this scope and package is meant, and the fault not used up."""
        left = self.times is None or self.played < self.times
        return left and self.scope in {"*", scope} and self.name in {"*", name}


def _without(answer: Answer, header: str) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != header}
