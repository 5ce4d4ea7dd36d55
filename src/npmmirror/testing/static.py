"""A registry written to a directory, for a static web server to serve its documents and tarballs.

The feed cannot be static. With nginx: `try_files $uri $uri/index.json =404; gzip_static on;`.
"""

from pathlib import Path

from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.tarball import path_of


def write(registry: ScriptedRegistry, directory: Path) -> int:
    """Write `<name>/index.json`, `<name>/index.json.gz` and `<name>/-/<file>`; the bytes of all.

    Tarballs are those of the versions that the newest documents name.
    """
    return sum(_write_package(registry, name, directory) for name in registry.names())


def _write_package(registry: ScriptedRegistry, name: str, directory: Path) -> int:
    revision = registry.revision(name)
    if revision.full is None:
        return 0
    package = directory / name
    (package / "-").mkdir(parents=True)
    (package / "index.json").write_bytes(revision.full.raw)
    (package / "index.json.gz").write_bytes(revision.full.encoded("gzip"))
    written = len(revision.full.raw)
    for version in revision.versions:
        file = registry.file(path_of(name, version))
        if file is not None:
            written += (directory / path_of(name, version)[1:]).write_bytes(file.raw)
    return written
