"""`npmmirror config check | show | init | reference`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from npmmirror.cli.help import Command
from npmmirror.cli.output import facts, paint, plural, say, say_json, visible
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from npmmirror.cli.configuration import Loaded
    from npmmirror.config import PolicySection

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check, show or write the configuration.\n\nExample: npmmirror config init",
)

_WIDTH = 80
_KEPT = {
    "none": "no tarballs",
    "latest": "the tarball of the latest version",
    "new": "the tarballs of the latest version and of all that follow",
    "all": "the tarballs of all versions",
}


@group.command(cls=Command)
def check(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The file to check, instead of the one that is found."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say whether the configuration is right, and what it means.

    Example: npmmirror config check mirror.toml
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast
    from npmmirror.daemon.selecting import read_policy  # noqa: PLC0415 - as above
    from npmmirror.server.lists import read_withheld  # noqa: PLC0415 - as above

    try:
        loaded = load(file or context.obj.config_file)
        read_policy(loaded.config.policy)
        read_withheld(loaded.config.server)
    except UsageError as error:
        if as_json:
            say_json(_refused(error))
            raise typer.Exit(error.exit_status) from error
        raise
    if as_json:
        say_json(_checked(loaded))
        return
    say(f"{paint('OK', 'green')}: {loaded.file or 'the defaults, for there is no file'}")
    for line in facts([(f"  {label}", visible(text)) for label, text in _meaning(loaded)]):
        say(line)
    if loaded.file is None:
        say("`npmmirror config init` writes a file that explains every key")


@group.command(cls=Command)
def show(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show every value that holds, and where it comes from.

    Example: npmmirror config show
    """
    from npmmirror.cli.configuration import load  # noqa: PLC0415 - keeps --help fast

    loaded = load(context.obj.config_file)
    if as_json:
        say_json(_as_json(loaded))
    else:
        say("\n".join(_as_toml(loaded)))


@group.command(cls=Command)
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")] = Path(
        "mirror.toml"
    ),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
) -> None:
    """Write a mirror.toml that explains every key.

    Example: npmmirror config init /etc/npmmirror/mirror.toml
    """
    from npmmirror.config.reference import mirror_toml  # noqa: PLC0415 - keeps --help fast

    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(mirror_toml())
    except FileExistsError as error:
        raise UsageError(f"{path} is there already; --force writes over it") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    say(f"{path} is written; every key is a comment until its # is taken away")


@group.command(cls=Command)
def reference() -> None:
    """Print the reference of all keys, as Markdown.

    Example: npmmirror config reference
    """
    from npmmirror.config.keys import FIRST_NAMES  # noqa: PLC0415 - keeps --help fast
    from npmmirror.config.reference import page  # noqa: PLC0415 - keeps --help fast

    typer.echo(page(FIRST_NAMES), nl=False)


def _checked(loaded: "Loaded") -> dict[str, object]:
    meaning = {label.replace(" ", "_"): text for label, text in _meaning(loaded)}
    file = None if loaded.file is None else str(loaded.file)
    return {"ok": True, "file": file, "problems": [], "meaning": meaning}


def _refused(error: UsageError) -> dict[str, object]:
    problems = list(getattr(error, "problems", [str(error)]))
    return {"ok": False, "file": None, "problems": problems, "meaning": None}


def _meaning(loaded: "Loaded") -> list[tuple[str, str]]:
    """What the mirror will do, a line a subject."""
    from npmmirror.cli.registry import registry_of_run, registry_without_feed  # noqa: PLC0415 - as above
    from npmmirror.config.keys import size, without_password  # noqa: PLC0415 - as above

    upstream, policy = loaded.config.upstream, loaded.config.policy
    storage = loaded.config.storage
    run, sync = registry_of_run(upstream), registry_without_feed(upstream)
    since = loaded.config.follow.since
    return [
        ("follows", without_password(f"{upstream.feed}, at first from {since} on")),
        ("run asks", without_password(f"{run.url} ({run.origin})")),
        ("sync asks", without_password(f"{sync.url} ({sync.origin})")),
        ("keeps", _keeps(policy)),
        ("skips", ", ".join(_skips(policy, size))),
        ("in", str(storage.data_dir)),
        ("tarballs in", str(storage.packages_path)),
    ]


def _keeps(policy: "PolicySection") -> str:
    """Of whom the packuments, which tarballs, and how many of them."""
    chosen = " of the packages that allow and deny leave" if policy.allow or policy.deny else ""
    text = f"every packument{chosen}, and {_KEPT[policy.tarballs]}"
    if policy.keep_versions:
        text += f", the newest {policy.keep_versions} of each package"
    if policy.rule:
        text += f"; {plural(len(policy.rule), 'rule')} for some packages"
    return text


def _skips(policy: "PolicySection", size: "Callable[[int], str]") -> Iterator[str]:
    """Which packages and tarballs are left out for what they are."""
    if policy.max_packument_bytes:
        yield f"packages whose packument has more than {size(policy.max_packument_bytes)}"
    yield f"tarballs of more than {size(policy.max_tarball_bytes)}"
    if not policy.prereleases:
        yield "prereleases"
    if policy.published_since is not None:
        yield f"versions published before {policy.published_since}"


def _as_json(loaded: "Loaded") -> dict[str, object]:
    from npmmirror.config.keys import value_of, without_password  # noqa: PLC0415 - keeps --help fast

    values = {path: value_of(loaded.config, path) for path in loaded.origins}
    return {
        "file": None if loaded.file is None else str(loaded.file),
        "keys": {
            path: {
                "value": without_password(value) if isinstance(value, str) else value,
                "origin": loaded.origins[path],
            }
            for path, value in values.items()
        },
    }


def _as_toml(loaded: "Loaded") -> list[str]:
    """The values as a file that would give them, each with its origin as a comment."""
    from npmmirror.config.keys import value_of, written  # noqa: PLC0415 - keeps --help fast

    lines: list[str] = [f"# {loaded.file or 'no file: the defaults and the environment'}"]
    section = ""
    for path, origin in loaded.origins.items():
        home, _, key = path.rpartition(".")
        if home != section:
            lines += ["", f"[{home}]"]
            section = home
        value = value_of(loaded.config, path)
        line = f"# {key} is not set" if value is None else f"{key} = {written(value)}"
        lines += _with_origin(line, origin)
    return lines


def _with_origin(line: str, origin: str) -> list[str]:
    """The origin at the right end of the line, or above it where there is no room."""
    if len(line) + len(origin) + 4 > _WIDTH:
        return [f"# {origin}:", line]
    return [f"{line}{f'# {origin}':>{_WIDTH - len(line)}}"]
