"""How defaults, file and environment make the effective configuration."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from npmmirror.config import (
    ConfigFile,
    ConfigurationError,
    Effective,
    FetchSection,
    effective,
    registry_of_feed,
)
from npmmirror.config.keys import FIRST_NAMES, keys, size, value_of, variable, written

HERE = Path("/here")
OPT = Path("/opt/mirror")


def read(text: str | None = None, **environment: str) -> Effective:
    """The effective configuration of a file in /opt/mirror, looked at from /here."""
    file = None if text is None else ConfigFile("mirror.toml", text, OPT)
    return effective(file, environment, HERE)


def test_nothing_given_is_the_defaults() -> None:
    """Without file and environment every key has its default, and says so."""
    found = read()
    assert found.config.fetch == FetchSection()
    assert set(found.origins.values()) == {"default"}
    assert list(found.origins) == list(keys())


def test_the_environment_goes_before_the_file() -> None:
    """A variable overrides the file, which overrides the default; each tells where it is from."""
    found = read("[fetch]\n\nconcurrency = 8\ndrain_seconds = 3", NPMMIRROR_FETCH__CONCURRENCY="9")
    assert found.config.fetch.concurrency == 9
    assert found.config.fetch.drain_seconds == 3.0
    assert found.origins["fetch.concurrency"] == "NPMMIRROR_FETCH__CONCURRENCY"
    assert found.origins["fetch.drain_seconds"] == "mirror.toml:4"


def test_a_wrong_value_in_the_file_is_no_matter_where_it_is_overridden() -> None:
    """What the environment replaces is not judged."""
    found = read("[fetch]\nconcurrency = 0", NPMMIRROR_FETCH__CONCURRENCY="9")
    assert found.config.fetch.concurrency == 9


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("FOLLOW__SINCE", "12", 12),
        ("FOLLOW__SINCE", "now", "now"),
        ("FOLLOW__SINCE", "12-g1AAA", "12-g1AAA"),
        ("FOLLOW__POLL_SECONDS", "0.5", 0.5),
        ("FOLLOW__POLL_SECONDS", "2", 2.0),
        ("UPSTREAM__CONTACT", "12", "12"),
        ("UPSTREAM__TARBALL_HOSTS", "a.example, b.example:80", ("a.example", "b.example:80")),
        ("UPSTREAM__TARBALL_HOSTS", "", ()),
        ("UPSTREAM__REGISTRY", "", None),
        ("POLICY__MAX_TARBALL_BYTES", "1_000", 1000),
        ("POLICY__TARBALLS", "all", "all"),
        ("STORAGE__STAGING_DIR", "", None),
        ("STORAGE__STAGING_DIR", "/x", Path("/x")),
    ],
)
def test_a_variable_is_read_as_its_keys_type(name: str, text: str, value: object) -> None:
    """Text of the environment becomes what its key holds."""
    path = name.lower().replace("__", ".")
    assert value_of(read(**{f"NPMMIRROR_{name}": text}).config, path) == value


def test_variables_that_are_no_settings_are_left_alone() -> None:
    """The file's name, what tests read and other programs' variables set no key."""
    found = read(
        NPMMIRROR_CONFIG="/x",
        NPMMIRROR_REQUIRE_ALL="1",
        NPMMIRROR_TEST_ANYTHING="1",
        OTHER_FETCH__CONCURRENCY="0",
    )
    assert set(found.origins.values()) == {"default"}


def test_a_files_paths_start_at_its_directory_and_a_variables_at_the_current_one() -> None:
    """So a file means the same wherever the command is called."""
    found = read(
        '[storage]\ndata_dir = "d"\nstaging_dir = "/fast/s"', NPMMIRROR_STORAGE__PACKAGES_DIR="p"
    )
    assert found.config.storage.data_dir == OPT / "d"
    assert found.config.storage.staging_path == Path("/fast/s")
    assert found.config.storage.packages_path == HERE / "p"


@pytest.mark.parametrize(("text", "base"), [(None, HERE), ("", OPT)])
def test_the_default_paths_start_at_the_files_directory(text: str | None, base: Path) -> None:
    """`./data` is beside the file, or in the current directory where there is none."""
    storage = read(text).config.storage
    assert storage.data_dir == base / "data"
    assert storage.staging_path == base / "data" / "staging"
    assert storage.packages_path == base / "data" / "packages"
    assert storage.index_path == base / "data" / "index.db"


def test_urls_lose_their_last_slash() -> None:
    """A path can be put behind them without doubling it."""
    upstream = read(
        '[upstream]\nfeed = "http://[::1]:80/db/"\nregistry = "http://a/"'
    ).config.upstream
    assert (upstream.feed, upstream.registry) == ("http://[::1]:80/db", "http://a")


@pytest.mark.parametrize(
    ("feed", "registry"),
    [
        ("https://replicate.mirror.example/registry", "https://registry.mirror.example"),
        ("http://replicate.mirror.example:81/x/y", "http://registry.mirror.example:81"),
        ("http://127.0.0.1:5984/npm", "http://127.0.0.1:5984/npm"),
        ("http://me:x@replicate.mirror.example/a", "http://me:x@registry.mirror.example"),
        ("http://my.replicate.example/npm", "http://my.replicate.example/npm"),
    ],
)
def test_a_feeds_registry(feed: str, registry: str) -> None:
    """A replication service has a registry beside it; a CouchDB database answers itself."""
    assert registry_of_feed(feed) == registry


def test_sections_are_frozen() -> None:
    """A configuration does not change while the program runs."""
    with pytest.raises(ValidationError):
        setattr(FetchSection(), "concurrency", 3)  # noqa: B010 - the type checker refuses it too


def test_lines_are_found_behind_comments_quotes_and_tables_written_inline() -> None:
    """The line told is the one that holds the key; where it cannot be known only the file is."""
    text = '# concurrency = 1\nfetch = { concurrency = 0 }\n[ log ] # x\n"level" = 1\n'
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    assert [problem.split(" ")[0] for problem in raised.value.problems] == [
        "mirror.toml:",
        "mirror.toml:4:",
    ]


def test_the_first_names_lead_to_keys_that_exist() -> None:
    """No message sends anybody to a key that is not there."""
    assert {now for now in FIRST_NAMES.values() if now} <= keys().keys()


def test_variables_are_told_apart() -> None:
    """No two keys share a variable."""
    assert len({variable(path) for path in keys()}) == len(keys())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1 << 30, "1 GiB"),
        (1 << 70, "1048576 PiB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    """Bytes are told in the unit that fits."""
    assert size(count) == text


def test_long_values_are_cut_in_messages() -> None:
    """A message stays readable whatever stands in the file."""
    assert len(written("x" * 10_000)) == 200


def outcome(text: str, environment: dict[str, str]) -> Effective | ConfigurationError:
    """What became of a configuration."""
    try:
        return effective(ConfigFile("m.toml", text, OPT), environment, HERE)
    except ConfigurationError as error:
        return error


def is_sound(found: Effective | ConfigurationError) -> bool:
    """Whether it is a configuration with every key's origin, or a list of one-line sentences."""
    if isinstance(found, Effective):
        return list(found.origins) == list(keys())
    return bool(found.problems) and not any("\n" in problem for problem in found.problems)


@given(st.dictionaries(st.sampled_from(list(keys())), st.text(max_size=12), max_size=4))
def test_any_text_in_any_variable_is_taken_or_refused_in_sentences(found: dict[str, str]) -> None:
    """No text in a setting's variable raises anything but the one error, a line each."""
    assert is_sound(outcome("", {variable(path): text for path, text in found.items()}))


@given(st.text(alphabet=st.sampled_from("[]=\"'\n\\.#, 1atefchlogsince{}-"), max_size=60))
def test_any_text_as_a_file_is_taken_or_refused_in_sentences(text: str) -> None:
    """Whatever a file holds, it is a configuration or a list of sentences."""
    assert is_sound(outcome(text, {}))


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(list(keys())), _VALUES, max_size=4))
def test_any_value_of_any_key_is_taken_or_refused_in_sentences(given_: dict[str, object]) -> None:
    """Whatever the type of a value, it is taken or told to be wrong."""
    text = "\n".join(f"{path} = {toml(value)}" for path, value in given_.items())
    assert is_sound(outcome(text, {}))


def toml(value: object) -> str:
    """A value as TOML; there is no null there, a date stands in for it."""
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return str(value)
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return "1979-05-27" if value is None else text


PEM = "-----BEGIN CERTIFICATE-----\n"


def test_a_certificate_is_a_path_or_its_contents() -> None:
    """A path starts where the configuration's paths start, the contents are left as they are."""
    text = f'[buffer.kafka]\nssl_ca = """{PEM}"""\nssl_certificate = "c.pem"\nssl_key = "k.pem"\n'
    found = effective(ConfigFile("m", text, Path("/conf")), {}, Path("/here"))
    kafka = found.config.buffer.kafka
    assert (kafka.ssl_ca, kafka.ssl_certificate) == (PEM, "/conf/c.pem")
    assert kafka.ssl_key is not None
    assert kafka.ssl_key.get_secret_value() == "/conf/k.pem"


def test_a_certificate_of_the_environment_starts_at_the_current_directory() -> None:
    """As all paths of variables do."""
    environment = {
        "NPMMIRROR_BUFFER__KAFKA__SSL_CA": "ca.pem",
        "NPMMIRROR_BUFFER__KAFKA__SASL_PASSWORD_FILE": "secret",
    }
    found = effective(ConfigFile("m", "", Path("/conf")), environment, Path("/here"))
    assert found.config.buffer.kafka.ssl_ca == "/here/ca.pem"
    assert found.config.buffer.kafka.sasl_password_file == Path("/here/secret")
