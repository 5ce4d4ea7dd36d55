"""A large document makes room, and is the same afterwards."""

from pathlib import Path

import pytest

from npmmirror.archive import DiskFaultError
from npmmirror.jsontext import members
from npmmirror.packument import Packument
from npmmirror.pipeline.large import LargeDocument

MANIFEST = b'{"name":"big","x":"%s"}' % (b"y" * 5000)
RAW = b'{"name":"big","versions":{%s}}' % b",".join(
    b'"1.0.%d":%s' % (n, MANIFEST) for n in range(900)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "document"
    path.write_bytes(RAW)
    return path


def resident_kib() -> int:
    """The memory of this process that is in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_the_file_is_gone_once_it_is_taken(path: Path) -> None:
    """No kill leaves it behind."""
    document = LargeDocument.take(path)
    assert document.content == RAW
    assert not path.exists()
    document.close()


def test_what_was_parsed_holds_after_an_absence(path: Path) -> None:
    """The bytes come back to where they were."""
    document = LargeDocument.take(path)
    packument = Packument.parse(document.content, name="big")
    with document.absent():
        pass
    document.close()
    assert bytes(packument.versions["1.0.899"]) == MANIFEST
    assert members(document.content).keys() == {"name", "versions"}


def test_an_absence_makes_room(path: Path) -> None:
    """As much as the document takes."""
    document = LargeDocument.take(path)
    before = resident_kib()
    with document.absent():
        absent = resident_kib()
    document.close()
    assert before - absent > len(RAW) // 1024 * 0.9


def test_a_file_that_does_not_read_back_is_a_fault_of_the_disk(path: Path) -> None:
    """Told as one, and the process lives: a mapping would have killed it."""
    with path.open("r+b") as file:
        document = LargeDocument.take(path)
        file.truncate(1000)
        with pytest.raises(DiskFaultError), document.absent():
            pass
    document.close()
