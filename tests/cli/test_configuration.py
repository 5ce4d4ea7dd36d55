"""Which configuration file is read."""

from pathlib import Path

import pytest

from npmmirror.cli import configuration
from npmmirror.cli.configuration import find, load
from npmmirror.errors import UsageError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current directory, and a system's file that can be made."""
    (tmp_path / "here").mkdir()
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(configuration, "SYSTEM_FILE", tmp_path / "etc" / "mirror.toml")


def test_the_chosen_file_goes_before_all(tmp_path: Path) -> None:
    """--config is read whatever else is there."""
    Path("mirror.toml").touch()
    assert find(tmp_path / "x.toml", {"NPMMIRROR_CONFIG": "y.toml"}) == tmp_path / "x.toml"


def test_the_environments_file_goes_before_the_usual_places() -> None:
    """NPMMIRROR_CONFIG is read even where ./mirror.toml is there."""
    Path("mirror.toml").touch()
    assert find(None, {"NPMMIRROR_CONFIG": "y.toml"}) == Path("y.toml")


def test_the_current_directory_goes_before_the_systems(tmp_path: Path) -> None:
    """./mirror.toml, else the service's, else none."""
    assert find(None, {}) is None
    (tmp_path / "etc" / "mirror.toml").touch()
    assert find(None, {}) == tmp_path / "etc" / "mirror.toml"
    Path("mirror.toml").touch()
    assert find(None, {}) == Path("mirror.toml")


def test_an_empty_variable_names_no_file() -> None:
    """NPMMIRROR_CONFIG= is as if it were not set."""
    assert find(None, {"NPMMIRROR_CONFIG": ""}) is None


def test_a_named_file_must_be_there() -> None:
    """A file that somebody named is never silently replaced by another."""
    Path("mirror.toml").touch()
    with pytest.raises(UsageError, match=r"cannot read the configuration file y\.toml: No such"):
        load(None, {"NPMMIRROR_CONFIG": "y.toml"})


def test_the_files_directory_is_where_its_paths_start(tmp_path: Path) -> None:
    """The data lies beside the file that is read, wherever the command is called."""
    (tmp_path / "etc" / "mirror.toml").write_text("")
    loaded = load(None, {})
    assert loaded.config.storage.data_dir == tmp_path / "etc" / "data"
    assert loaded.file == tmp_path / "etc" / "mirror.toml"


def test_without_a_file_the_data_is_in_the_current_directory(tmp_path: Path) -> None:
    """Run by hand, the mirror is in ./data."""
    loaded = load(None, {})
    assert loaded.config.storage.data_dir == tmp_path / "here" / "data"
    assert loaded.file is None


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Some editors write one."""
    Path("mirror.toml").write_bytes(b"\xef\xbb\xbf[fetch]\nconcurrency = 3\n")
    assert load(None, {}).config.fetch.concurrency == 3
