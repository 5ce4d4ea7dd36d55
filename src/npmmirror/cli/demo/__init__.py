"""`npmmirror demo`: a registry of its own, the real daemon, a SIGKILL, and a proof that it held.

`upstream` and `catalogue` are the registry, `process` the programs that are run, `gauge` and
`stage` what the reader sees, `place` the directory, `act_one`, `act_two` and `summary` the story,
and `proof` what holds it to the truth.
"""

from npmmirror.cli.demo.command import demo

__all__ = ["demo"]
