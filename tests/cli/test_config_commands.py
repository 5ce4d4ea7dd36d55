"""`npmmirror config check | show | init | reference`."""

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from npmmirror.config.keys import keys
from npmmirror.config.reference import mirror_toml

Program = Callable[..., subprocess.CompletedProcess[str]]
FEED = {"NPMMIRROR_UPSTREAM__FEED": "https://replicate.mirror.example/registry"}


def test_check_tells_what_the_mirror_will_do(program: Program, tmp_path: Path) -> None:
    """A right configuration is OK, and told in words."""
    (tmp_path / "mirror.toml").write_text('[policy]\ntarballs = "all"\n')
    told = program("config", "check", environment=FEED)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        f"OK: {tmp_path}/mirror.toml",
        "  follows      https://replicate.mirror.example/registry, at first from now on",
        "  run asks     https://registry.mirror.example (derived from upstream.feed)",
        "  sync asks    https://registry.mirror.example (derived from upstream.feed)",
        "  keeps        every packument, and the tarballs of all versions",
        "  skips        tarballs of more than 1 GiB",
        f"  in           {tmp_path}/data",
        f"  tarballs in  {tmp_path}/data/packages",
    ]


def test_check_tells_everything_that_is_wrong(program: Program, tmp_path: Path) -> None:
    """A wrong file is exit status 2, with all of its mistakes on the standard error output."""
    (tmp_path / "other.toml").write_text("[fetch]\nconcurency = 8\ndrain_seconds = -1\n")
    told = program("config", "check", "other.toml")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        "npmmirror: the configuration cannot be used:\n"
        "  other.toml:2: fetch.concurency = 8: unknown key; did you mean fetch.concurrency?\n"
        "  other.toml:3: fetch.drain_seconds = -1: must be at least 0\n"
    )


def test_check_without_a_file_checks_the_defaults(program: Program) -> None:
    """No file is a configuration, too."""
    told = program("config", "check", environment=FEED)
    assert told.stdout.startswith("OK: the defaults, for there is no file\n")


def test_a_file_that_is_no_text(program: Program, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are told with their place."""
    (tmp_path / "mirror.toml").write_bytes(b"[fetch]\n\xff\n")
    told = program("config", "check")
    assert told.returncode == 2
    assert "mirror.toml: is not UTF-8 text (byte 8)" in told.stderr


def test_a_directory_is_no_file(program: Program, tmp_path: Path) -> None:
    """A directory's name in place of a file's is told plainly."""
    told = program("--config", str(tmp_path), "config", "check")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        f"npmmirror: cannot read the configuration file {tmp_path}: Is a directory\n"
    )


def test_show_prints_a_file_that_gives_the_same_values(program: Program, tmp_path: Path) -> None:
    """The table is TOML with the origins as comments: what it gives is what holds."""
    (tmp_path / "mirror.toml").write_text("[fetch]\nconcurrency = 8\n")
    variables = {**FEED, "NPMMIRROR_UPSTREAM__CONTACT": "x@example.org"}
    shown = program("config", "show", environment=variables).stdout
    (tmp_path / "copy.toml").write_text(shown)
    again = program("--config", "copy.toml", "config", "show").stdout
    assert tomllib.loads(shown) == tomllib.loads(again)
    assert tomllib.loads(shown)["fetch"]["concurrency"] == 8


def test_show_tells_where_values_come_from(program: Program, tmp_path: Path) -> None:
    """File and line, the variable's name, or default; no line is wider than 80."""
    (tmp_path / "mirror.toml").write_text("[fetch]\nconcurrency = 8\n")
    registry = "https://a-registry-of-a-long-name.mirror.example/npm"
    variables = {**FEED, "NPMMIRROR_UPSTREAM__REGISTRY": registry}
    shown = program("config", "show", environment=variables).stdout.splitlines()
    assert shown[0] == f"# {tmp_path}/mirror.toml"
    assert f"concurrency = 8{'# mirror.toml:2':>65}" in shown
    assert f"work_share = 0.25{'# default':>63}" in shown
    assert f"# staging_dir is not set{'# default':>56}" in shown
    assert shown[shown.index("# NPMMIRROR_UPSTREAM__REGISTRY:") + 1] == f'registry = "{registry}"'
    assert max(map(len, shown[1:])) <= 80 + len(str(tmp_path))


def test_show_as_json(program: Program, tmp_path: Path) -> None:
    """Scripts get every key with its value and origin."""
    shown = json.loads(program("config", "show", "--json", environment=FEED).stdout)
    assert shown["file"] is None
    assert list(shown["keys"]) == list(keys())
    assert shown["keys"]["upstream.feed"] == {
        "value": FEED["NPMMIRROR_UPSTREAM__FEED"],
        "origin": "NPMMIRROR_UPSTREAM__FEED",
    }
    assert shown["keys"]["storage.data_dir"] == {"value": f"{tmp_path}/data", "origin": "default"}


@pytest.mark.parametrize("words", [("show",), ("show", "--json"), ("check",)])
def test_passwords_are_not_shown(program: Program, words: tuple[str, ...]) -> None:
    """What is shown can be shown to others."""
    variables = {"NPMMIRROR_UPSTREAM__FEED": "https://me:secret@replicate.mirror.example"}
    shown = program("config", *words, environment=variables).stdout
    assert "mirror.example" in shown
    assert "secret" not in shown


def test_init_writes_the_shipped_file(program: Program, tmp_path: Path) -> None:
    """`config init` gives every key, its default and what it does."""
    told = program("config", "init")
    assert told.returncode == 0
    assert (tmp_path / "mirror.toml").read_text() == mirror_toml()
    assert program("config", "check", environment=FEED).returncode == 0


def test_init_keeps_a_file_that_is_there(program: Program, tmp_path: Path) -> None:
    """Nothing that a person wrote is lost without --force."""
    (tmp_path / "my.toml").write_text("mine")
    told = program("config", "init", "my.toml")
    assert told.returncode == 2
    assert told.stderr == "npmmirror: my.toml is there already; --force writes over it\n"
    assert (tmp_path / "my.toml").read_text() == "mine"
    assert program("config", "init", "--force", "my.toml").returncode == 0
    assert (tmp_path / "my.toml").read_text() == mirror_toml()


def test_init_where_nothing_can_be_written(program: Program) -> None:
    """A place that cannot be written is told plainly."""
    told = program("config", "init", "no/such/dir.toml")
    assert told.returncode == 2
    assert told.stderr == "npmmirror: cannot write no/such/dir.toml: No such file or directory\n"


def test_reference_prints_the_documentations_page(program: Program) -> None:
    """The page in the documentation is made with it."""
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert program("config", "reference").stdout == page.read_text(encoding="utf-8")


def test_show_hides_secrets(tmp_path: Path, program: Program) -> None:
    """Of a file and of a variable, as TOML and as JSON."""
    (tmp_path / "mirror.toml").write_text(
        '[buffer.kafka]\nssl_certificate = "c.pem"\nssl_key = "-----BEGIN hunter2"\n'
    )
    secret = FEED | {"NPMMIRROR_BUFFER__KAFKA__SASL_PASSWORD": "hunter2"}
    for words in (("config", "show"), ("config", "show", "--json")):
        told = program(*words, environment=secret)
        assert told.returncode == 0, told.stderr
        assert "sasl_password" in told.stdout
        assert "hunter2" not in told.stdout
