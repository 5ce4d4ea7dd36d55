"""Lock files of npm, pnpm and Yarn: which versions a project wants, and their digests.

Pure: text in, `Lockfile` out, or `LockfileError` with a sentence for whoever named the file.
"""

from npmmirror.lockfiles.locked import Locked, Lockfile, LockfileError, Unlocked
from npmmirror.lockfiles.reading import MAX_BYTES, read

__all__ = ["MAX_BYTES", "Locked", "Lockfile", "LockfileError", "Unlocked", "read"]
