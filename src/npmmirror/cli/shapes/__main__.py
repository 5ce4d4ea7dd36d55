"""Prints the schema, as `docs/json-schema.json` has it."""

from npmmirror.cli.output import say_json
from npmmirror.cli.shapes import schema

if __name__ == "__main__":
    say_json(schema())
