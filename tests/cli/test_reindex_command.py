"""What `npmmirror reindex` says."""

from pathlib import Path

from npmmirror.archive import SetAside
from npmmirror.cli.reindex import _findings, _sum
from npmmirror.daemon.held_files import HeldFiles
from npmmirror.daemon.rebuilt import Finding, Rebuilt


def test_all_well_is_three_lines() -> None:
    """How much was read, what came over, where the index before lies."""
    rebuilt = Rebuilt(
        records=7, bytes=2_000, seconds=0.5, carried="all", kept=Path("index.db.before-reindex")
    )
    assert list(_sum(rebuilt)) == [
        "7 records read in 0.5 s (2.0 KiB of captures)",
        "work list, checks and progress were taken over from the index before",
        "the index before is kept as index.db.before-reindex",
    ]
    assert list(_findings(rebuilt)) == []


def test_damage_is_named_one_by_one() -> None:
    """Segment, place, ordinal, package and reason; names from outside are made visible."""
    rebuilt = Rebuilt(set_aside=(SetAside(4, 9000, 18, Path("damaged/000004-9000.bin")),))
    rebuilt.add(Finding(3, 81920, 7012, 1, "left\x1bpad", "its checksum is wrong"))
    rebuilt.add(Finding(5, 256, 9000, 3, None, "no record begins here"))
    rebuilt.add(Finding(6, 0, None, 0, None, "no segment header"))
    aside, *damages = _findings(rebuilt)
    assert aside == (
        "captures/000004.log: 18 B behind byte 9000 were no complete records and are now in "
        "damaged/000004-9000.bin"
    )
    assert damages == [
        f"captures/{place} is lost to the index: {reason}"
        for place, reason in (
            ("000003.log, byte 81920: record 7012 (left\\x1bpad)", "its checksum is wrong"),
            ("000005.log, byte 256: each of records 9000 to 9002", "no record begins here"),
            ("000006.log, byte 0: what is there", "no segment header"),
        )
    ]
    assert not rebuilt.whole


def test_files_that_are_missing_are_told() -> None:
    """One by one, and what becomes of them."""
    files = HeldFiles(9, 1, 1, [("a", "1.0.0")], [("b", "2.0.0")])
    assert list(_findings(Rebuilt(files=files))) == [
        "a@1.0.0: the file is missing",
        "b@2.0.0: the file is of another size",
        "1 missing tarball: on the work list now",
        "1 altered tarball: `npmmirror verify --repair` fetches them again",
    ]
