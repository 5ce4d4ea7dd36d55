"""Every sentence that a wrong configuration is answered with."""

from pathlib import Path

import pytest

from npmmirror.config import ConfigFile, ConfigurationError, effective
from npmmirror.errors import UsageError

HERE = Path("/here")
OPT = Path("/opt/mirror")


def problems(text: str = "", **environment: str) -> list[str]:
    """The sentences that this file and these variables are refused with."""
    with pytest.raises(ConfigurationError) as raised:
        effective(ConfigFile("mirror.toml", text, OPT), environment, HERE)
    return list(raised.value.problems)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        # unknown names
        (
            "[fetch]\nconcurency = 8",
            "mirror.toml:2: fetch.concurency = 8: unknown key; did you mean fetch.concurrency?",
        ),
        (
            "[fetch]\nmax_tarball_bytes = 5",
            (
                "mirror.toml:2: fetch.max_tarball_bytes = 5: unknown key; "
                "max_tarball_bytes belongs in [policy]"
            ),
        ),
        (
            "[policy]\nmax_attempts = 5",
            (
                "mirror.toml:2: policy.max_attempts = 5: unknown key; "
                "max_attempts belongs in [upstream] or [fetch]"
            ),
        ),
        (
            "[log]\nmax_tarbal_bytes = 5",
            (
                "mirror.toml:2: log.max_tarbal_bytes = 5: unknown key; "
                "did you mean policy.max_tarball_bytes?"
            ),
        ),
        (
            "\nconcurrency = 8",
            "mirror.toml:2: concurrency = 8: unknown key; concurrency belongs in [fetch]",
        ),
        ("[log]\nqwertz = 'x'", 'mirror.toml:2: log.qwertz = "x": unknown key'),
        (
            "[fecth]\nconcurrency = 8",
            "mirror.toml:1: [fecth]: unknown section; did you mean [fetch]?",
        ),
        (
            "[[fetchs]]\nconcurrency = 8",
            "mirror.toml:1: [fetchs]: unknown section; did you mean [fetch]?",
        ),
        ("[qwertz]", "mirror.toml:1: [qwertz]: unknown section"),
        (
            "fetch = 5",
            "mirror.toml:1: fetch = 5: must be a section, written [fetch]",
        ),
        # names of the first NPM-Mirror
        (
            'LOCAL_PACKAGE_DIR = "/x"',
            (
                'mirror.toml:1: LOCAL_PACKAGE_DIR = "/x": '
                "a name of the first NPM-Mirror; it is storage.staging_dir now"
            ),
        ),
        (
            '[storage]\nREMOTE_PACKAGE_DIR = "/x"',
            (
                'mirror.toml:2: storage.REMOTE_PACKAGE_DIR = "/x": '
                "a name of the first NPM-Mirror; it is storage.packages_dir now"
            ),
        ),
        (
            "MAX_SIZE = 1",
            (
                "mirror.toml:1: MAX_SIZE = 1: "
                "a name of the first NPM-Mirror; it is policy.max_tarball_bytes now"
            ),
        ),
        (
            "OLD_PACKAGE_VERSIONS_LIMIT = 3",
            (
                "mirror.toml:1: OLD_PACKAGE_VERSIONS_LIMIT = 3: "
                "a name of the first NPM-Mirror; it is policy.keep_versions now"
            ),
        ),
        # wrong types
        (
            '[fetch]\nconcurrency = "8"',
            'mirror.toml:2: fetch.concurrency = "8": must be a whole number',
        ),
        (
            "[fetch]\nconcurrency = 8.0",
            "mirror.toml:2: fetch.concurrency = 8.0: must be a whole number",
        ),
        (
            "[fetch]\nconcurrency = true",
            "mirror.toml:2: fetch.concurrency = true: must be a whole number",
        ),
        (
            '[follow]\npoll_seconds = "5"',
            'mirror.toml:2: follow.poll_seconds = "5": must be a number',
        ),
        (
            "[follow]\npoll_seconds = inf",
            "mirror.toml:2: follow.poll_seconds = inf: must be a finite number",
        ),
        ("[upstream]\nfeed = 5", "mirror.toml:2: upstream.feed = 5: must be text in quotes"),
        (
            "[storage]\ndata_dir = 5",
            "mirror.toml:2: storage.data_dir = 5: must be text in quotes",
        ),
        (
            '[upstream]\ntarball_hosts = "a.example"',
            'mirror.toml:2: upstream.tarball_hosts = "a.example": must be a list in brackets',
        ),
        (
            "[upstream]\ntarball_hosts = [1]",
            "mirror.toml:2: upstream.tarball_hosts = [1]: must be text in quotes",
        ),
        # impossible values
        ("[fetch]\nconcurrency = 0", "mirror.toml:2: fetch.concurrency = 0: must be at least 1"),
        (
            "[fetch]\nconcurrency = 2000",
            "mirror.toml:2: fetch.concurrency = 2000: must be at most 1024",
        ),
        (
            "[follow]\npoll_seconds = 0",
            "mirror.toml:2: follow.poll_seconds = 0: must be more than 0",
        ),
        (
            "[follow]\npage_rows = 10001",
            "mirror.toml:2: follow.page_rows = 10001: must be at most 10000",
        ),
        (
            "[storage]\nsubdirectory_hash_length = 9",
            "mirror.toml:2: storage.subdirectory_hash_length = 9: must be at most 8",
        ),
        (
            "[fetch]\nwork_share = -0.5",
            "mirror.toml:2: fetch.work_share = -0.5: must be at least 0",
        ),
        (
            '[policy]\ntarballs = "lates"',
            (
                'mirror.toml:2: policy.tarballs = "lates": '
                'must be "none" or "latest" or "new" or "all"; did you mean "latest"?'
            ),
        ),
        (
            '[buffer]\nbackend = "redis"',
            'mirror.toml:2: buffer.backend = "redis": must be "sqlite" or "kafka"',
        ),
        (
            "[log]\nlevel = 3",
            'mirror.toml:2: log.level = 3: must be "debug" or "info" or "warning" or "error"',
        ),
        # the feed's places
        (
            "[follow]\nsince = -1",
            "mirror.toml:2: follow.since = -1: must be at least 0",
        ),
        (
            "[follow]\nsince = '12'",
            'mirror.toml:2: follow.since = "12": must be a number without quotes',
        ),
        (
            "[follow]\nsince = true",
            (
                "mirror.toml:2: follow.since = true: "
                'must be "now", or a seq of the feed: a number, or its text in quotes'
            ),
        ),
        (
            "[follow]\nsince = ''",
            (
                'mirror.toml:2: follow.since = "": '
                'must be "now", or a seq of the feed: a number, or its text in quotes'
            ),
        ),
        # URLs
        (
            '[upstream]\nfeed = "ftp://a.example"',
            'mirror.toml:2: upstream.feed = "ftp://a.example": must begin with http:// or https://',
        ),
        (
            '[upstream]\nfeed = "https://"',
            'mirror.toml:2: upstream.feed = "https://": must be a URL with a valid host and port',
        ),
        (
            '[upstream]\nfeed = "https://a.example:x/"',
            (
                'mirror.toml:2: upstream.feed = "https://a.example:x/": '
                "must be a URL with a valid host and port"
            ),
        ),
        (
            '[upstream]\nfeed = "https://a.example/?since=1"',
            (
                'mirror.toml:2: upstream.feed = "https://a.example/?since=1": '
                "must have no query (?) and no fragment (#)"
            ),
        ),
        (
            '[upstream]\nregistry = "https://me:secret@a.example?x"',
            (
                'mirror.toml:2: upstream.registry = "https://…@a.example?x": '
                "must have no query (?) and no fragment (#)"
            ),
        ),
        (
            '[upstream]\nregistry = "https://a.example/a b"',
            (
                'mirror.toml:2: upstream.registry = "https://a.example/a b": '
                "must be a URL without spaces and control characters"
            ),
        ),
        (
            '[upstream]\ntarball_hosts = ["https://a.example"]',
            (
                'mirror.toml:2: upstream.tarball_hosts = ["https://a.example"]: '
                'must be hosts in small letters, such as "files.example" or "host:8080"'
            ),
        ),
        (
            '[upstream]\ncontact = "a\\r\\nX: b"',
            (
                'mirror.toml:2: upstream.contact = "a\\r\\nX: b": '
                "must be one line of ASCII text, for it is sent in a header"
            ),
        ),
        # places on disk
        (
            '[storage]\ndata_dir = ""',
            'mirror.toml:2: storage.data_dir = "": must be a directory\'s path',
        ),
        (
            '[storage]\nstaging_dir = "~/x"',
            (
                'mirror.toml:2: storage.staging_dir = "~/x": '
                'must not begin with "~": write the whole path'
            ),
        ),
        (
            '[storage]\nindex = "a/b.db"',
            (
                'mirror.toml:2: storage.index = "a/b.db": '
                "must be a file name without a directory: the file lies in data_dir"
            ),
        ),
        (
            '[storage]\nindex = "buffer.db"',
            (
                'mirror.toml:2: storage.index = "buffer.db": '
                "must be another name: this one is taken by another file of data_dir"
            ),
        ),
        (
            '[storage]\nindex = "in_work"',
            (
                'mirror.toml:2: storage.index = "in_work": '
                "must be another name: this one is taken by another file of data_dir"
            ),
        ),
        (
            '[storage]\nstaging_dir = "."',
            (
                'mirror.toml:2: storage.staging_dir = ".": '
                "staging_dir must not hold data_dir or packages_dir"
            ),
        ),
        (
            '[storage]\npackages_dir = "data"',
            (
                'mirror.toml:2: storage.packages_dir = "data": '
                "packages_dir must not hold data_dir or staging_dir"
            ),
        ),
        # values that contradict each other
        (
            "[fetch]\nretry_seconds = 30000",
            (
                "mirror.toml:2: fetch.retry_seconds = 30000: "
                "retry_max_seconds (21_600.0) must not be less than retry_seconds (30_000.0)"
            ),
        ),
        (
            "[policy]\nmax_packument_bytes = 300_000_000",
            (
                "mirror.toml:2: policy.max_packument_bytes = 300_000_000: "
                "policy.max_packument_bytes (300_000_000) must not be greater than "
                "fetch.max_packument_bytes (268_435_456)"
            ),
        ),
        (
            "[fetch]\nmax_packument_bytes = 1000",
            (
                "mirror.toml:2: fetch.max_packument_bytes = 1000: "
                "max_packument_bytes (1_000) must not be less than large_packument_bytes (2_097_152)"
            ),
        ),
        (
            "[upstream]\ntotal_seconds = 5",
            (
                "mirror.toml:2: upstream.total_seconds = 5: "
                "total_seconds (5.0) must not be less than connect_seconds (10.0)"
            ),
        ),
        # no TOML at all
        (
            "[fetch]\nconcurrency 8\n",
            "mirror.toml:2:13: is no TOML: Expected '=' after a key in a key/value pair",
        ),
        (
            "[fetch]\nconcurrency =",
            "mirror.toml:2: is no TOML: Invalid value (at its end)",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(text: str, sentence: str) -> None:
    """Each mistake in a file gets its place, key, value, what is wrong, and the right name."""
    assert problems(text) == [sentence]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "NPMMIRROR_FETCH__CONCURRENCY",
            "many",
            'NPMMIRROR_FETCH__CONCURRENCY: fetch.concurrency = "many": must be a whole number',
        ),
        (
            "NPMMIRROR_FETCH__CONCURRENCY",
            "0",
            "NPMMIRROR_FETCH__CONCURRENCY: fetch.concurrency = 0: must be at least 1",
        ),
        (
            "NPMMIRROR_FETCH__CONCURENCY",
            "8",
            (
                'NPMMIRROR_FETCH__CONCURENCY = "8": unknown variable; '
                "did you mean NPMMIRROR_FETCH__CONCURRENCY?"
            ),
        ),
        (
            "NPMMIRROR_FETCH_CONCURRENCY",
            "8",
            (
                'NPMMIRROR_FETCH_CONCURRENCY = "8": unknown variable; '
                "did you mean NPMMIRROR_FETCH__CONCURRENCY?"
            ),
        ),
        (
            "NPMMIRROR_fetch__concurrency",
            "8",
            (
                'NPMMIRROR_fetch__concurrency = "8": unknown variable; '
                "did you mean NPMMIRROR_FETCH__CONCURRENCY?"
            ),
        ),
        (
            "NPMMIRROR_CONFG",
            "x",
            'NPMMIRROR_CONFG = "x": unknown variable; did you mean NPMMIRROR_CONFIG?',
        ),
        (
            "NPMMIRROR_MAX_SIZE",
            "5",
            (
                'NPMMIRROR_MAX_SIZE = "5": '
                "a name of the first NPM-Mirror; it is policy.max_tarball_bytes now"
            ),
        ),
        ("NPMMIRROR_", "5", 'NPMMIRROR_ = "5": unknown variable'),
        (
            "NPMMIRROR_STORAGE__DATA_DIR",
            "~/x",
            (
                'NPMMIRROR_STORAGE__DATA_DIR: storage.data_dir = "~/x": '
                'must not begin with "~": write the whole path'
            ),
        ),
    ],
)
def test_a_wrong_variable_is_told_in_one_sentence(name: str, value: str, sentence: str) -> None:
    """Each mistake in the environment is told with the variable's name."""
    assert problems(**{name: value}) == [sentence]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """One message holds the mistakes of all sections and of the environment, a line each."""
    with pytest.raises(ConfigurationError) as raised:
        effective(
            ConfigFile("m.toml", "[fetch]\nconcurrency = 0\nx = 1\n[log]\nlevel = 1\n", OPT),
            {"NPMMIRROR_STORAGE__COMMIT_COUNT": "-1", "NPMMIRROR_NOTHING": "1"},
            HERE,
        )
    first, *lines = str(raised.value).splitlines()
    assert first == "the configuration cannot be used:"
    assert [line.split(" = ")[0].strip() for line in lines] == [
        "m.toml:3: fetch.x",
        "NPMMIRROR_NOTHING",
        "m.toml:2: fetch.concurrency",
        "NPMMIRROR_STORAGE__COMMIT_COUNT: storage.commit_count",
        "m.toml:5: log.level",
    ]


def test_a_syntax_error_does_not_hide_the_environments() -> None:
    """A file that is no TOML is told together with a wrong variable."""
    told = problems("[fetch", NPMMIRROR_LOG__LEVEL="loud")
    assert [sentence.split(":")[0] for sentence in told] == ["mirror.toml", "NPMMIRROR_LOG__LEVEL"]


def test_a_wrong_configuration_is_a_usage_error() -> None:
    """It ends a command with exit status 2."""
    assert issubclass(ConfigurationError, UsageError)
    assert ConfigurationError.exit_status == 2


SECRETS = '[buffer.kafka]\nsasl_pasword = "hunter2"\nssl_key = ["hunter2"]\n'


def test_no_secret_is_told_with_what_is_wrong_with_it() -> None:
    """Neither a key's, nor a misspelt key's, nor a misspelt variable's."""
    told = problems(SECRETS, NPMMIRROR_BUFFER__KAFKA__SASL_PASWORD="hunter2")
    assert len(told) == 3
    assert "hunter2" not in "".join(told)


def test_a_protocol_with_sasl_needs_a_name_and_a_password() -> None:
    """Wherever they come from; the rest of TLS and SASL is told in the same way."""
    sasl = '[buffer.kafka]\nsecurity_protocol = "SASL_SSL"'
    assert "SASL needs sasl_username" in problems(sasl)[0]
    assert "SASL needs sasl_password" in problems(f'{sasl}\nsasl_username = "u"')[0]
    assert "belong together" in problems('[buffer.kafka]\nssl_certificate = "c.pem"')[0]
