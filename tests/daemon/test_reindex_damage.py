"""What is damaged is named exactly, and all else is there."""

import pytest

from npmmirror.archive.segments import segment_path
from npmmirror.capture import Kind
from npmmirror.index import IndexWriter
from npmmirror.testing.release import Release
from tests.daemon.conftest import Open
from tests.daemon.derived import Tables, differences
from tests.daemon.reindexed import LONG, SMALL, ask, packages_but, rebuilt, records, small, tables
from tests.kill import endstate

pytestmark = pytest.mark.anyio


async def test_a_torn_tail_is_set_aside(mirror: Open) -> None:
    """Half a record at the end was promised to nobody."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        last = max((here.config.storage.data_dir / "captures").glob("*.log"))
        with last.open("ab") as file:
            file.write(b"\xf5NMC half a record")
        result = await rebuilt(here.config)
        assert [aside.length for aside in result.set_aside] == [18]
        assert result.whole
        assert differences(before, tables(here.config)) == []


async def test_a_flipped_bit_in_the_last_group_is_no_torn_tail(mirror: Open) -> None:
    """What the index before had committed was there once: it is named, and stays where it is."""
    async with mirror(**SMALL) as here:
        await small(here)
        here.upstream.registry.publish("young", "1.0.0")
        async with here.running():
            await here.at_head()
        hit = next(one for one in reversed(records(here.config)) if one.kind is Kind.PACKUMENT)
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 600] ^= 4
        path.write_bytes(data)
        result = await rebuilt(here.config)
        assert result.set_aside == ()
        assert [(one.ordinal, one.package) for one in result.damaged] == [(hit.ordinal, "young")]
        async with here.running():
            await here.at_head()
        state = here.end_state()
        assert endstate.untruths(state, here.upstream.registry.state()) == []


async def test_records_without_a_mark_are_given_one(mirror: Open) -> None:
    """What was durable when the process died counts."""
    async with mirror(**SMALL) as here:
        await small(here)
        last = records(here.config)[-1]
        before = tables(here.config)
        path = segment_path(here.config.storage.data_dir / "captures", last.place.segment)
        with path.open("r+b") as file:
            file.truncate(last.place.offset)
        await rebuilt(here.config)
        after = tables(here.config)
        timeless: Tables = {"marks": [], "latency_counts": []}
        assert differences(before | timeless, after | timeless) == []
        assert len(after["marks"]) == len(before["marks"])


async def test_a_flipped_bit_is_named_and_all_else_is_there(mirror: Open) -> None:
    """Segment, ordinal, package; the deltas of it too; a later whole frame is used again."""
    async with mirror(**SMALL) as here:
        registry = here.upstream.registry
        registry.publish("b", "1.0.0")
        async with here.running():
            for minor in range(6):
                registry.publish_all("a", [Release(f"1.{minor}.0")], extra=LONG)
                await here.at_head()
        documents = [
            one for one in records(here.config) if one.name == "a" and one.kind is Kind.PACKUMENT
        ]
        assert [one.number for one in documents] == [0, 1, 2, 3, 4, 5]
        others = await packages_but(here, "a")
        hit = documents[2]
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 600] ^= 4
        path.write_bytes(data)
        result = await rebuilt(here.config)
        assert not result.whole
        assert [(one.segment, one.ordinal, one.package) for one in result.damaged] == [
            (hit.place.segment, hit.ordinal, "a"),
            (documents[3].place.segment, documents[3].ordinal, "a"),
        ]
        assert f"record {hit.ordinal}" in result.damaged[1].reason
        assert await packages_but(here, "a") == others
        held = ask(
            here.config,
            "SELECT r.ordinal FROM revisions AS r JOIN packages AS p ON p.id = r.package_id "
            "WHERE p.name = 'a' ORDER BY 1",
        )
        assert held == [(documents[place].ordinal,) for place in (0, 1, 4, 5)]
        assert ask(here.config, "SELECT item, reason FROM work_list") == [("", "damaged_capture")]
        async with here.running():
            await here.at_head()
            registry.publish("a", "2.0.0")
            await here.at_head()
        state = here.end_state()
        assert endstate.untruths(state, registry.state()) == []
        assert len(state.packages["a"].versions) == 7


async def test_damage_is_told_again_after_a_kill(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a call that went on is whole."""
    async with mirror(**SMALL) as here:
        await small(here)
        monkeypatch.setattr("npmmirror.daemon.reindex.BATCH_BYTES", 0)
        hit = next(one for one in records(here.config) if one.kind is Kind.PACKUMENT)
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 600] ^= 4
        path.write_bytes(data)

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "drop_unwanted", killed)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        result = await rebuilt(here.config)
        assert result.resumed_at is not None
        assert (hit.ordinal, hit.name) in [(one.ordinal, one.package) for one in result.damaged]


@pytest.mark.parametrize("turned", range(3))
async def test_a_damaged_mark_does_not_mix_groups_up(mirror: Open, turned: int) -> None:
    """Two documents of a package behind each other are still compared one by one."""
    async with mirror(storage={"commit_count": 1}) as here:
        registry = here.upstream.registry
        registry.publish("b", "1.0.0")
        async with here.running():
            for minor in range(4):
                registry.publish("a", f"1.{minor}.0")
                await here.at_head()
        before = tables(here.config)
        hit = [one for one in records(here.config) if one.kind is Kind.MARK][turned + 2]
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 33] ^= 4
        path.write_bytes(data)
        result = await rebuilt(here.config)
        assert [(one.ordinal, one.package) for one in result.damaged] == [(hit.ordinal, None)]
        after = tables(here.config)
        timeless: Tables = {"marks": [], "latency_counts": []}
        assert differences(before | timeless, after | timeless) == []
        assert len(after["marks"]) == len(before["marks"]) - 1


async def test_missing_files_are_fetched_again_and_altered_ones_told(mirror: Open) -> None:
    """The log says that they are missing; the work list has them."""
    async with mirror() as here:
        for name in ("a", "b", "c"):
            here.upstream.registry.publish(name, "1.0.0")
        async with here.running():
            await here.at_head()
        packages = here.config.storage.packages_path
        paths = dict(
            ask(here.config, "SELECT name, path FROM versions JOIN packages ON id = package_id")
        )
        (packages / paths["a"]).unlink()
        (packages / paths["b"]).write_bytes(b"short")
        result = await rebuilt(here.config)
        assert not result.whole
        assert result.files.missing == [("a", "1.0.0")]
        assert result.files.altered == [("b", "1.0.0")]
        assert ask(here.config, "SELECT result FROM checks ORDER BY 1") == [
            ("altered",),
            ("missing",),
        ]
        again = await rebuilt(here.config)
        assert again.files.missing == []
        async with here.running():
            await here.at_head()
        assert (packages / paths["a"]).exists()


async def test_a_disk_that_is_not_mounted_is_no_loss(mirror: Open) -> None:
    """What is missing from an empty mount point is not dropped, and nothing is written there."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        packages = here.config.storage.packages_path
        packages.rename(packages.with_name("elsewhere"))
        packages.mkdir()
        result = await rebuilt(here.config)
        assert result.files.unreachable is not None
        assert "Is the disk mounted?" in result.files.unreachable
        assert not result.whole
        assert differences(before, tables(here.config)) == []
        assert not list(packages.iterdir())


async def test_a_disk_that_holds_a_small_part_is_no_loss(mirror: Open) -> None:
    """Where most files are missing nothing is dropped."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        registry.publish_all("a", [Release(f"1.0.{patch}") for patch in range(120)])
        async with here.running():
            await here.at_head()
        before = tables(here.config)
        for file in here.config.storage.packages_path.rglob("*.tgz"):
            file.unlink()
        result = await rebuilt(here.config)
        assert result.files.too_many
        assert not result.whole
        assert differences(before, tables(here.config)) == []
