"""A `reindex` that is killed goes on, or begins anew, and ends as one that never was."""

from pathlib import Path

import pytest

from npmmirror.capture import Kind
from npmmirror.index import Group, IndexWriter
from npmmirror.testing import faults
from tests.daemon.conftest import Open
from tests.daemon.derived import differences
from tests.daemon.reindexed import SMALL, rebuilt, records, small, tables
from tests.kill import endstate

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.mark.parametrize("after", [1, 3, 5])
async def test_a_kill_is_made_good_by_the_next_call(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Whichever group was the last: it goes on there, and ends with the same tables."""
    async with mirror(**SMALL) as here:
        await small(here)
        before, commit, groups = tables(here.config), IndexWriter.commit, 0
        monkeypatch.setattr("npmmirror.daemon.reindex.BATCH_BYTES", 0)

        async def dying(index: IndexWriter, group: Group) -> None:
            nonlocal groups
            groups += 1
            if groups > after:
                raise KeyboardInterrupt
            await commit(index, group)

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "commit", dying)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        assert differences(before, tables(here.config)) == []
        marks = [one.ordinal for one in records(here.config) if one.kind is Kind.MARK]
        result = await rebuilt(here.config)
        assert result.resumed_at == marks[after - 1]
        assert result.records == marks[-1] - marks[after - 1]
        assert differences(before, tables(here.config)) == []
        assert not list(here.config.storage.data_dir.glob("index.db.new*"))


@pytest.mark.parametrize("step", ["carry", "take_bearings", "forget_resumption"])
async def test_a_kill_behind_the_last_group(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What is not yet in its place does no harm, whatever the daemon did meanwhile."""
    async with mirror(**SMALL) as here:
        await small(here)

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, step, killed)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        async with here.running():
            here.upstream.registry.publish("young", "1.0.0")
            await here.at_head()
        before, state = tables(here.config), here.end_state()
        await rebuilt(here.config)
        assert differences(before, tables(here.config)) == []
        assert endstate.differences(state, here.end_state()) == []


@pytest.mark.parametrize("step", ["hardlink_to", "rename"])
async def test_a_kill_while_the_new_index_takes_its_place(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """There is a whole index at any moment; work that was put meanwhile is not forgotten."""
    async with mirror(**SMALL) as here:
        await small(here)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Path, step, killed)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        async with here.running():
            here.upstream.fault("tarball", faults.Status(404), times=None)
            here.upstream.registry.publish("young", "1.0.0")
            await here.until(lambda status: bool(status["last_errors"]))
        before, state = tables(here.config), here.end_state()
        result = await rebuilt(here.config)
        assert result.resumed_at is None
        assert differences(before, tables(here.config)) == []
        assert endstate.differences(state, here.end_state()) == []


async def test_what_another_program_began_is_begun_anew(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an index made by other rules, or of another log, or damaged, is of no use."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        new = here.config.storage.data_dir / "index.db.new"

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "carry", killed)
            patched.setattr("npmmirror.daemon.reindex.__version__", "0.0.0")
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        assert (await rebuilt(here.config)).resumed_at is None
        new.write_bytes(b"no database" * 1000)
        assert (await rebuilt(here.config)).resumed_at is None
        assert differences(before, tables(here.config)) == []
