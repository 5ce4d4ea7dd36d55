"""Which registry is asked where the configuration names none."""

from pathlib import Path

import pytest

from npmmirror.cli import registry
from npmmirror.cli.registry import Registry, registry_of_run, registry_without_feed
from npmmirror.config import UpstreamSection
from npmmirror.errors import UsageError

UPSTREAM = UpstreamSection(feed="https://replicate.mirror.example/registry")
DERIVED = Registry("https://registry.mirror.example", "derived from upstream.feed")


class Machine:
    """A machine with a user's npmrc, a global one beside node, and an npm that answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"HOME": str(root / "home"), "PATH": str(root / "usr" / "bin")}
        self.user = root / "home" / ".npmrc"
        self.beside_node = root / "usr" / "etc" / "npmrc"
        for path in (self.user, self.beside_node, self.program("node")):
            path.parent.mkdir(parents=True, exist_ok=True)

    def program(self, name: str) -> Path:
        """Where a program is found."""
        return self.root / "usr" / "bin" / name

    def install(self, name: str, script: str) -> None:
        """Put a program in the path."""
        self.program(name).write_text(f"#!/bin/sh\n{script}\n")
        self.program(name).chmod(0o755)

    def ask(self, **variables: str) -> Registry:
        """The registry that a command without feed asks here."""
        return registry_without_feed(UPSTREAM, {**self.environment, **variables})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that knows of no registry."""
    return Machine(tmp_path)


def test_a_configured_registry_goes_before_npms(machine: Machine) -> None:
    """What mirror.toml says holds, for all commands."""
    upstream = UpstreamSection(registry="https://a.example/")
    told = Registry("https://a.example", "upstream.registry")
    assert registry_of_run(upstream) == told
    variables = {"NPM_CONFIG_REGISTRY": "https://b.example"}
    assert registry_without_feed(upstream, {**machine.environment, **variables}) == told


def test_run_asks_the_feeds_registry_whatever_npm_says() -> None:
    """A follower never mixes one registry's feed with another's documents."""
    assert registry_of_run(UPSTREAM) == DERIVED


def test_without_any_word_of_npm_the_feeds_registry_is_asked(machine: Machine) -> None:
    """A machine without npm needs no configuration."""
    assert machine.ask() == DERIVED


@pytest.mark.parametrize("name", ["NPM_CONFIG_REGISTRY", "npm_config_registry"])
def test_the_variable_goes_before_the_files(machine: Machine, name: str) -> None:
    """As npm reads it: in any mixture of capitals and small letters."""
    machine.user.write_text("registry=https://user.example/\n")
    found = machine.ask(**{name: "https://variable.example/npm/"})
    assert found == Registry("https://variable.example/npm", "NPM_CONFIG_REGISTRY")


def test_the_users_file_goes_before_the_global_one(machine: Machine) -> None:
    """~/.npmrc, else the npmrc beside node."""
    machine.install("node", "")
    machine.beside_node.write_text("registry=https://global.example/\n")
    assert machine.ask() == Registry("https://global.example", str(machine.beside_node))
    machine.user.write_text("registry=https://user.example/\n")
    assert machine.ask() == Registry("https://user.example", str(machine.user))


def test_variables_move_the_files(machine: Machine) -> None:
    """NPM_CONFIG_USERCONFIG, NPM_CONFIG_GLOBALCONFIG and NPM_CONFIG_PREFIX, as npm reads them."""
    machine.user.write_text("registry=https://user.example/\n")
    (machine.root / "u").write_text("registry=https://u.example/\n")
    (machine.root / "g").write_text("registry=https://g.example/\n")
    user, nowhere = str(machine.root / "u"), str(machine.root / "nowhere")
    assert machine.ask(NPM_CONFIG_USERCONFIG=user).url == "https://u.example"
    variables = {"NPM_CONFIG_GLOBALCONFIG": str(machine.root / "g")}
    assert machine.ask(NPM_CONFIG_USERCONFIG=nowhere, **variables).url == "https://g.example"
    machine.beside_node.write_text("registry=https://p.example/\n")
    variables = {"NPM_CONFIG_PREFIX": str(machine.root / "usr")}
    assert machine.ask(NPM_CONFIG_USERCONFIG=nowhere, **variables).url == "https://p.example"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("; a comment\n# registry=https://no.example\nregistry = https://a.example\n", "a"),
        ('registry="https://a.example/"', "a"),
        ("registry=https://b.example\nregistry=https://a.example\n", "a"),
        ("@scope:registry=https://b.example\nregistry=https://a.example", "a"),
        ("registry=https://${HOSTNAME_OF_NPM}", "variable"),
        ("//b.example/:_authToken=x\n\xff\nregistry=https://a.example\r\n", "a"),
    ],
)
def test_npmrc_is_read_as_npm_reads_it(machine: Machine, text: str, url: str) -> None:
    """Comments, spaces, quotes, scopes, variables, and the last line holds."""
    machine.user.write_bytes(text.encode("latin-1"))
    assert machine.ask(HOSTNAME_OF_NPM="variable.example").url == f"https://{url}.example"


def test_npm_itself_is_asked_at_last(machine: Machine) -> None:
    """Npm's built-in configuration is npm's own, too."""
    machine.install("npm", 'test "$*" = "config get registry" && echo https://built.example/')
    assert machine.ask() == Registry("https://built.example", "`npm config get registry`")


@pytest.mark.parametrize(
    "script", ["exit 1", "echo undefined", "true", "exec /bin/sleep 60", "kill -9 $$"]
)
def test_an_npm_that_has_no_answer_is_passed_over(
    machine: Machine, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken, silent or endless npm does not stop the mirror."""
    monkeypatch.setattr(registry, "NPM_SECONDS", 0.2)
    machine.install("npm", script)
    assert machine.ask() == DERIVED


def test_an_npmrc_that_cannot_be_read_is_passed_over(machine: Machine) -> None:
    """As npm does it."""
    machine.user.mkdir()
    assert machine.ask() == DERIVED


def test_a_registry_that_is_no_url_is_told(machine: Machine) -> None:
    """Npm's configuration can be wrong, too; the message says where."""
    machine.user.write_text("registry=a.example\n")
    with pytest.raises(UsageError) as raised:
        machine.ask()
    assert str(raised.value) == (
        f"the registry of {machine.user} must begin with http:// or https://, not 'a.example'"
    )
