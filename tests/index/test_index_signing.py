"""What the index holds of keys, signatures and attestation bundles."""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from npmmirror.index import Group, IndexWriter, StoredBundle, StoredErasure, StoredKeys, signing
from npmmirror.index.signing import Judgement
from tests.index.building import AT, LATER, document, effects, place, tarball, version

pytestmark = pytest.mark.anyio


def totals(path: Path) -> dict[str, int]:
    """The sums of signatures and bundles that are not zero."""
    with closing(sqlite3.connect(path)) as index:
        rows = index.execute(
            "SELECT what, number FROM totals WHERE number <> 0 "
            "AND (what LIKE 'signatures_%' OR what = 'attestations')"
        )
        return dict(rows.fetchall())


def counted(path: Path) -> dict[str, int]:
    """The same, counted."""
    with closing(sqlite3.connect(path)) as index:
        rows = index.execute("SELECT 'signatures_' || signature, count(*) FROM versions GROUP BY 1")
        [(bundles,)] = index.execute("SELECT count(*) FROM attestations WHERE sha256 IS NOT x''")
        found = {what: number for what, number in rows if what != "signatures_"}
        return found | ({"attestations": bundles} if bundles else {})


def group(ordinal: int, *states: str, keys: int = 0, name: str = "a") -> Group:
    """A document whose versions 1.0.0, 2.0.0, ... are in these states."""
    versions = tuple(
        version(f"{number}.0.0", f"{ordinal}", signature=state)
        for number, state in enumerate(states, start=1)
    )
    return Group(documents=(document(name, ordinal, effects(versions=versions, keys=keys)),))


def bundle(held: str, ordinal: int, sha256: str | None = "ab" * 32) -> StoredBundle:
    return StoredBundle("a", held, ordinal, AT, place(ordinal), sha256, 5 if sha256 else None)


async def test_states_are_counted_as_they_come_and_change(path: Path) -> None:
    """First sights, changed manifests, and packages that are erased."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(group(1, "valid", "unsigned", "valid"))
        assert totals(path) == counted(path) == {"signatures_valid": 2, "signatures_unsigned": 1}
        await writer.commit(group(2, "invalid", "unsigned"))
        assert totals(path) == counted(path)
        assert totals(path)["signatures_invalid"] == totals(path)["signatures_valid"] == 1
        await writer.commit(Group(bundles=(bundle("1.0.0", 3),)))
        assert totals(path) == counted(path)
        await writer.commit(Group(erasures=(StoredErasure("a", 4, LATER),)))
        assert totals(path) == counted(path) == {}


async def test_a_version_that_is_asked_again_counts_once(path: Path) -> None:
    """The newer answer takes the place of the older one."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(group(1, "valid"))
        await writer.commit(Group(bundles=(bundle("1.0.0", 2, None),)))
        await writer.commit(Group(bundles=(bundle("1.0.0", 3),)))
        assert totals(path)["attestations"] == 1
        found = await writer.do(partial(signing.bundle, name="a", version="1.0.0"))
        assert found == bundle("1.0.0", 3)


async def test_documents_with_unknown_keys_are_found_until_they_are_settled(path: Path) -> None:
    """Each is held against each newer record of keys once."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(group(1, "unknown_key", "valid", "unknown_key"))
        await writer.commit(group(2, "valid", name="b"))
        await writer.commit(Group(keys=(StoredKeys(3, AT, b"{}"),)))
        [found] = await writer.do(partial(signing.unjudged, before=3, after=0, limit=9))
        assert (found.ordinal, found.name, found.keys, found.place) == (1, "a", 0, place(1))
        digest = version("1.0.0", "1").digest
        await writer.do(
            partial(
                signing.settle,
                judgements=[Judgement(1, 3, (("1.0.0", digest, "expired_key"),), is_done=False)],
            )
        )
        assert not await writer.do(partial(signing.unjudged, before=3, after=0, limit=9))
        assert len(await writer.do(partial(signing.unjudged, before=4, after=0, limit=9))) == 1
        assert totals(path) == counted(path)
        assert totals(path)["signatures_expired_key"] == 1
        await writer.do(partial(signing.settle, judgements=[Judgement(1, 4, (), is_done=True)]))
        assert not await writer.do(partial(signing.unjudged, before=9, after=0, limit=9))


async def test_a_manifest_that_changed_since_is_not_judged_by_its_former_document(
    path: Path,
) -> None:
    """The newer document has brought its own state."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(group(1, "unknown_key"))
        await writer.commit(group(2, "unknown_key"))
        states = (("1.0.0", version("1.0.0", "1").digest, "valid"),)
        await writer.do(partial(signing.settle, judgements=[Judgement(1, 3, states, is_done=True)]))
        assert totals(path) == counted(path) == {"signatures_unknown_key": 1}


async def test_the_newest_keys_up_to_an_ordinal(path: Path) -> None:
    """As they stood then."""
    async with await IndexWriter.open(path) as writer:
        records = (StoredKeys(3, AT, b"{}"), StoredKeys(5, LATER, None))
        await writer.commit(Group(keys=records))
        assert await writer.do(signing.keys) == list(records)
        assert await writer.do(signing.keys_at) == records[1]
        assert await writer.do(partial(signing.keys_at, ordinal=4)) == records[0]
        assert await writer.do(partial(signing.keys_at, ordinal=2)) is None


async def test_held_versions_whose_attestations_were_never_asked_for(path: Path) -> None:
    """They are put on the work list; a row that is there stays as it is."""
    versions = tuple(version(f"{n}.0.0", attested=n < 4) for n in range(1, 6))
    async with await IndexWriter.open(path) as writer:
        await writer.commit(Group(documents=(document("a", 1, effects(versions=versions)),)))
        await writer.commit(
            Group(
                tarballs=tuple(tarball("a", f"{n}.0.0", 1 + n) for n in (1, 2, 4)),
                bundles=(bundle("2.0.0", 8, None),),
            )
        )
        asked = partial(signing.attested, name="a", versions=["1.0.0", "2.0.0", "3.0.0", "4.0.0"])
        found = await writer.do(asked)
        assert [(one.is_attested, one.is_held, one.is_asked) for one in found.values()] == [
            (True, True, False),
            (True, True, True),
            (True, False, False),
            (False, True, False),
        ]
        assert await writer.do(partial(signing.put_missing, reason="x", at=AT, names=["b"])) == 0
        assert await writer.do(partial(signing.put_missing, reason="x", at=AT, names=["a"])) == 1
        assert await writer.do(partial(signing.put_missing, reason="x", at=AT)) == 0
    with closing(sqlite3.connect(path)) as index:
        rows = index.execute("SELECT item, reason, not_before, attempts FROM work_list").fetchall()
    assert rows == [("1.0.0", "x", AT, 0)]


async def test_wrong_signatures_are_found_at_once(path: Path) -> None:
    """By name and version, along an index of their own."""
    async with await IndexWriter.open(path) as writer:
        await writer.commit(group(1, "invalid", "valid", "invalid", name="b"))
        await writer.commit(group(2, "invalid", name="a"))
        found = await writer.do(partial(signing.invalid, limit=2))
    assert found == [("a", "1.0.0"), ("b", "1.0.0")]
