"""The clients that people install with, each in a project with a cache that was empty."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.machine import missing

SECONDS = 110
NOWHERE: Final = "http://127.0.0.1:9"
"""A proxy that is not there: nobody but the mirror can be asked."""
CLIENTS_VARIABLE = "NPMMIRROR_TEST_CLIENTS"
PLACES: Final = {
    "npm10": ("npm10/bin/npm-cli.js",),
    "pnpm": ("pnpm/bin/pnpm.cjs",),
    "yarn": ("yarn/bin/yarn.js",),
    "berry": ("yarn-berry/bin/yarn.js",),
    "bun": ("bun/bin/bun",),
}
"""Where each is in the directory of clients."""
INSTALL: Final[Mapping[str, tuple[str, ...]]] = {
    "npm": ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"),
    "npm10": ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"),
    "pnpm": ("install", "--ignore-scripts"),
    "yarn": ("install", "--ignore-scripts", "--ignore-engines", "--non-interactive"),
    "berry": ("install",),
    "bun": ("install", "--ignore-scripts"),
}


def command(client: str) -> tuple[str, ...]:
    """How a client is started; the test that asks is skipped where it is not there."""
    if client == "npm":
        found = shutil.which("npm")
        if found is None:
            missing("npm")
        return (found,)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = Path(os.environ.get(CLIENTS_VARIABLE) or cache / "npmmirror" / "clients")
    place = kept.joinpath("node_modules", *PLACES[client])
    node = shutil.which("node")
    if not place.exists() or node is None:
        missing(f"{client} (`.ci/run` fetches it; {CLIENTS_VARIABLE} names where it is)")
    return (str(place),) if client == "bun" else (node, str(place))


@dataclass
class Workplace:
    """A project whose clients know of one registry, and can reach nothing else."""

    directory: Path
    registry: str
    manifest: dict[str, Any] = field(default_factory=dict)
    trusted: Path | None = None
    """Certificates that clients trust, where the registry has one of its own."""
    replaced: str = "always"
    """npm's `replace-registry-host`: whose addresses in lock files it takes for the registry's."""

    def run(self, *words: str) -> str:
        """What a command prints, which must succeed; in the project."""
        self._prepare()
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, client: str) -> None:
        """Have a client install all that the manifest names."""
        self.run(*command(client), *INSTALL[client])

    def _prepare(self) -> None:
        if self.directory.exists():
            return
        self.directory.mkdir(parents=True)
        told = {"name": "project", "version": "1.0.0", "private": True, **self.manifest}
        (self.directory / "package.json").write_text(json.dumps(told), "utf-8")
        for name in ("empty", "nothing"):
            (self.directory / name).touch()
        (self.directory / ".npmrc").write_text(f"registry={self.registry}/\n", "utf-8")
        (self.directory / ".yarnrc").write_text(f'registry "{self.registry}/"\n', "utf-8")
        berry = {
            "npmRegistryServer": self.registry,
            "unsafeHttpWhitelist": ["127.0.0.1"],
            "nodeLinker": "node-modules",
            "enableScripts": False,
            "enableTelemetry": False,
            "enableGlobalCache": False,
            "enableImmutableInstalls": False,
        }
        if self.trusted is not None:
            berry["httpsCaFilePath"] = str(self.trusted)
        (self.directory / ".yarnrc.yml").write_text(json.dumps(berry), "utf-8")

    def _environment(self) -> dict[str, str]:
        """That of a machine on which nobody configured anything."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        own = {
            "HOME": str(self.directory / "home"),
            "npm_config_userconfig": str(self.directory / "empty"),
            "npm_config_globalconfig": str(self.directory / "nothing"),
            "npm_config_cache": str(self.directory / "cache"),
            "npm_config_store_dir": str(self.directory / "store"),
            "npm_config_update_notifier": "false",
            "npm_config_replace_registry_host": self.replaced,
            "YARN_CACHE_FOLDER": str(self.directory / "yarn"),
            "YARN_IGNORE_PATH": "1",
            "BUN_INSTALL_CACHE_DIR": str(self.directory / "bun"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **dict.fromkeys(proxies, NOWHERE),
        }
        if self.trusted is not None:
            own["NODE_EXTRA_CA_CERTS"] = str(self.trusted)
            own["npm_config_cafile"] = str(self.trusted)
        return kept | own

    def installed(self) -> set[str]:
        """`NAME@VERSION` of the packages in `node_modules`."""
        files = [
            *self.directory.glob("node_modules/**/node_modules/*/package.json"),
            *self.directory.glob("node_modules/**/node_modules/@*/*/package.json"),
            *self.directory.glob("node_modules/*/package.json"),
            *self.directory.glob("node_modules/@*/*/package.json"),
        ]
        found = (json.loads(file.read_bytes()) for file in files)
        return {f"{one['name']}@{one['version']}" for one in found}
