"""The keys of [policy] that are more than a number or a word: patterns, dates, and rules."""

from pathlib import Path

import pytest

from npmmirror.config import Config, ConfigFile, ConfigurationError, PolicySection, effective
from npmmirror.config.keys import written

HERE = Path("/here")
"""The directory of the variables; the file's is /etc."""


def read(text: str = "", **variables: str) -> PolicySection:
    """The policy of a file, with variables over it."""
    return whole(text, **variables).policy


def whole(text: str = "", **variables: str) -> Config:
    """The configuration of a file, with variables over it."""
    file = ConfigFile("mirror.toml", text, Path("/etc"))
    environment = {f"NPMMIRROR_POLICY__{key}": value for key, value in variables.items()}
    return effective(file, environment, HERE).config


def problems(text: str = "", **variables: str) -> list[str]:
    """What is wrong with a file and variables."""
    with pytest.raises(ConfigurationError) as wrong:
        read(text, **variables)
    return list(wrong.value.problems)


def test_lists_of_names_start_at_the_directory_of_whoever_names_them() -> None:
    """Those of a file at the file's, those of a variable at the current one."""
    policy = read('[policy]\nallow = ["@babel", "file:names.txt"]', DENY="file:bad.txt, a")
    assert policy.allow == ("@babel", "file:/etc/names.txt")
    assert policy.deny == ("file:/here/bad.txt", "a")


def test_lists_of_names_of_a_rule_start_at_the_file() -> None:
    """As those of the section itself."""
    policy = read('[[policy.rule]]\nmatch = "file:few.txt"\ntarballs = "all"')
    assert policy.rule[0].match == ("file:/etc/few.txt",)


def test_a_rule_in_a_variable_is_written_as_in_a_file() -> None:
    """A list of tables in brackets."""
    policy = read(RULE='[{match = ["@babel", "/^a{1,2}$/"], keep_versions = 3}]')
    assert policy.rule[0].match == ("@babel", "/^a{1,2}$/")
    assert policy.rule[0].settings == {"keep_versions": 3}


def test_a_pattern_with_a_comma_is_written_in_brackets() -> None:
    """Commas alone would cut it in two."""
    assert read(ALLOW='["/^a{1,2}$/"]').allow == ("/^a{1,2}$/",)


@pytest.mark.parametrize("value", ["2024-01-01", '"2024-01-01"'])
def test_a_date_may_stand_in_quotes_or_not(value: str) -> None:
    """TOML has dates of its own."""
    assert read(f"[policy]\npublished_since = {value}").published_since == "2024-01-01"


def test_rules_are_shown_as_they_are_written() -> None:
    """What `config show` prints can be written to a file again."""
    policy = read('[[policy.rule]]\nmatch = "react"\ntarballs = "all"')
    assert written(policy.rule) == '[{match = ["react"], tarballs = "all"}]'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'allow = ["/(/"]',
            (
                'mirror.toml:2: policy.allow = ["/(/"]: must be a regular expression between its '
                "slashes (missing ), unterminated subpattern at position 0)"
            ),
        ),
        (
            'deny = ["/a"]',
            (
                'mirror.toml:2: policy.deny = ["/a"]: must end with a slash as it begins with one: '
                "it is a regular expression"
            ),
        ),
        (
            'published_since = "soon"',
            (
                'mirror.toml:2: policy.published_since = "soon": must be a date, such as "2024-01-31" '
                'or "2024-01-31T12:00:00Z"'
            ),
        ),
        ("rule = 3", "mirror.toml:2: policy.rule = 3: must be a list in brackets"),
        (
            "rule = [3]",
            "mirror.toml:2: policy.rule, table 1: must be a table, with match and what it sets",
        ),
        (
            '[[policy.rule]]\nmatch = "a"\ntarbals = "all"',
            (
                'mirror.toml:2: policy.rule, table 1, tarbals = "all": unknown key; '
                "did you mean tarballs?"
            ),
        ),
        (
            '[[policy.rule]]\nmatch = "a"\ntarballs = "al"',
            (
                'mirror.toml:2: policy.rule, table 1, tarballs = "al": must be "none" or "latest" or '
                '"new" or "all"; did you mean "all"?'
            ),
        ),
        (
            '[[policy.rule]]\ntarballs = "all"',
            "mirror.toml:2: policy.rule, table 1, match: is missing",
        ),
        (
            '[[policy.rule]]\nmatch = []\ntarballs = "all"',
            "mirror.toml:2: policy.rule, table 1, match = []: must not be empty",
        ),
        (
            '[[policy.rule]]\nmatch = "a"\nkeep_versions = -1',
            "mirror.toml:2: policy.rule, table 1, keep_versions = -1: must be at least 0",
        ),
        (
            '[[policy.rule]]\nmatch = "a"',
            "mirror.toml:2: policy.rule, table 1: must set something: tarballs, keep_versions, …",
        ),
        (
            '[[policy.rules]]\nmatch = "a"',
            "mirror.toml:2: [policy.rules]: unknown section; did you mean [policy.rule]?",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(text: str, problem: str) -> None:
    """The place, the value, and the nearest right name."""
    assert problems(f"[policy]\n{text}") == [problem]


def test_each_rule_is_told_on_its_own_line() -> None:
    """The second one is not where the first one is."""
    text = (
        '[policy]\n[[policy.rule]]\nmatch = "a"\ntarballs = "all"\n\n[[policy.rule]]\nmatch = "b"'
    )
    assert problems(text) == [
        "mirror.toml:6: policy.rule, table 2: must set something: tarballs, keep_versions, …"
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Two rules, a key and a variable in one message."""
    text = """
[policy]
prereleases = "no"
[[policy.rule]]
match = "a"
[[policy.rule]]
match = "/b"
tarballs = "all"
"""
    assert len(problems(text, DENY="/x")) == 4
