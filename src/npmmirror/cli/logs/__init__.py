"""The log: a stable event name and fields, a line each, on the standard error output.

Lines of this program and of its libraries take the same way: what was met a moment ago is summed
up (`repeats`), the rest becomes a line (`lines`) and is written (`sink`).
"""

from npmmirror.cli.logs.configuring import configure, finish

__all__ = ["configure", "finish"]
