"""Rows of the registry's changes feed."""

from dataclasses import dataclass

Seq = int | str
"""A place in the feed. npm's are integers; CouchDB's are opaque strings: a cursor, never a sum."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `_changes`: package `id` got the revision `rev` at `seq`.

    `rev` is None where the feed gave none. Ids that start with `_` are design documents, which
    the follower keeps and the feed stage skips.
    """

    seq: Seq
    id: str
    rev: str | None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of `_changes`. `last_seq` is the next cursor and may exceed the last row's seq.

    `odd` tells of rows that name no package: nothing can be done for them but to say so.
    """

    changes: tuple[Change, ...]
    last_seq: Seq
    odd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """The feed's root: where its end is, and how many packages it counts (None: not told)."""

    update_seq: Seq
    doc_count: int | None


def generation(rev: str | None) -> int | None:
    """The number in front of a revision (`"12-ab34"` is 12); None where there is none."""
    number, dash, _ = (rev or "").partition("-")
    return int(number) if dash and number.isascii() and number.isdigit() else None


def is_later(rev: str | None, other: str | None) -> bool:
    """Whether a revision comes behind another one, by their numbers; not where one has none."""
    one, two = generation(rev), generation(other)
    return one is not None and two is not None and one > two


def names_document(rev: str | None, sha256: str | None) -> bool:
    """Whether a revision was made of this very document, by its SHA-256 (hex).

    A mirror announces a document that has no `_rev` so: `<ordinal>-<SHA-256>`.
    """
    return rev is not None and sha256 is not None and rev.partition("-")[2] == sha256


def distance(later: Seq, earlier: Seq) -> int | None:
    """How many seqs lie between two places; None where either is opaque."""
    if isinstance(later, int) and isinstance(earlier, int):
        return later - earlier
    return None
