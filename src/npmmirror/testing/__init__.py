"""A scripted upstream: a whole npm registry in one process, with faults on command.

Used by the tests, the demo and the benchmarks. It shares no code with the mirror (but the zstd
module), so that a mistake there is not repeated here.
"""

from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.server import ScriptedUpstream

__all__ = ["ScriptedRegistry", "ScriptedUpstream"]
