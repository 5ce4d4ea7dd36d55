"""How `--help` looks: commands in groups, what to type first, arguments by the names they have."""

from inspect import cleandoc
from typing import Any

from typer.core import TyperCommand, TyperGroup

FIRST = (
    ("npmmirror demo", "watch a mirror at work, killed once"),
    ("npmmirror sync left-pad", "mirror a package; nothing has to be set up for it"),
    ("npmmirror show left-pad", "see what is held of it, and what is not and why"),
    ("npmmirror config init", "write a mirror.toml that explains every key"),
    ("npmmirror run", "follow all of npm from now on"),
    ("npmmirror status --watch", "see how far that is"),
)
"""The first things to type, on the front page."""


class Command(TyperCommand):
    """A command whose help has arguments without Python's types, and an example to be copied."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Options, then the arguments as they are typed."""
        arguments = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *map(_typed, arguments)]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer calls it so
        """Write what it does; a line of an example is never broken."""
        for paragraph in cleandoc(self.help or "").split("\n\n"):
            formatter.write_paragraph()
            with formatter.indentation():
                if paragraph.startswith("Example:"):
                    formatter.write(f"  {paragraph}\n")
                else:
                    formatter.write_text(paragraph)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then options."""
        arguments, options = [], []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                arguments.append((param.metavar or record[0], record[1]))
            else:
                options.append(record)
        for title, records in (("Arguments", arguments), ("Options", options)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _typed(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = name if argument.required else f"[{name}]"
    return f"{name}..." if argument.nargs == -1 else name


class Group(TyperGroup):
    """A group that lists its commands by their panels; a command without one is in "Commands"."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the panels in the order of their first commands."""
        panels: dict[str, list[Any]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                panels.setdefault(panel or "Commands", []).append((name, command))
        widest = max((len(name) for rows in panels.values() for name, _ in rows), default=0)
        room = formatter.width - widest - 6
        for panel, rows in panels.items():
            with formatter.section(panel):
                told = [(name.ljust(widest), each.get_short_help_str(room)) for name, each in rows]
                formatter.write_dl(told)


class FrontPage(Group):
    """The program's own help, which begins with what to type first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what to type first, the commands, then the options before them."""
        with formatter.section("First"):
            formatter.write_dl(FIRST)
        self.format_commands(ctx, formatter)
        options = [
            record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))
        ]
        with formatter.section("Options before the command"):
            formatter.write_dl(options)
