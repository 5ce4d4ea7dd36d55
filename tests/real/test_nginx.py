"""npm behind the real nginx, configured as docs/serving.md says."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.machine import missing
from tests.real.clients import Workplace, command
from tests.real.conftest import RealMirror, free_port
from tests.real.serving import Serving, serving

pytestmark = pytest.mark.npm

SCOPED = "@babel/code-frame"
ENCODED = "/@babel%2fcode-frame"
DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"
SECONDS = 20
AROUND = """
daemon off;
master_process off;
pid {here}/nginx.pid;
error_log {here}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format asked '$request_uri $status $upstream_addr';
    access_log {here}/access.log asked;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxied;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    {rest}
}}
"""


@dataclass
class Front:
    """nginx before two servers of one mirror."""

    url: str
    trusted: Path
    log: Path
    behind: tuple[Serving, ...]

    def asked(self) -> list[tuple[str, str]]:
        """Addresses as clients wrote them, and who answered."""
        lines = [line.split() for line in self.log.read_text("utf-8").splitlines()]
        return [(uri, server) for uri, _, server in lines]


@pytest.fixture(scope="module")
def nginx() -> str:
    """The executable."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        missing("nginx")
    return found


@pytest.fixture(scope="module")
def scoped(npm: str, tmp_path_factory: pytest.TempPathFactory) -> RealMirror:
    """A mirror of a scoped package with all that it needs."""
    assert npm
    mirror = RealMirror(tmp_path_factory.mktemp("scoped"))
    assert mirror.json("sync", f"{SCOPED}@^7.0.0", "--with-dependencies")["complete"]
    return mirror


def configuration() -> tuple[str, str, str]:
    """What the page has for nginx: the whole, the map, and the location under a path."""
    page = DOCUMENT.read_text("utf-8")
    whole, mapped, location = re.findall(r"(?s)```nginx\n(.*?)```", page)
    return whole, mapped, location


def fitted(here: Path, behind: tuple[Serving, ...], port: int) -> str:
    """The page's configuration with ports and certificates of this test, the path in it too."""
    whole, mapped, location = configuration()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(here / "ca.pem")
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(here / "own.pem")
    for name in ("npm.example.pem", "npm.example.key"):
        whole = whole.replace(f"/etc/nginx/{name}", str(here / "own.pem"))
    for number, served in enumerate(behind, start=4874):
        assert f"127.0.0.1:{number}" in whole
        whole = whole.replace(f"127.0.0.1:{number}", served.url.removeprefix("http://"))
    whole = whole.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    whole = whole.replace("    location / {", f"{location}\n    location / {{")
    return AROUND.format(here=here, rest=mapped + whole)


@contextmanager
def front(nginx: str, mirror: RealMirror, here: Path) -> Iterator[Front]:
    """Nginx at work."""
    here.mkdir()
    with ExitStack() as stack:
        proxies = {"TRUSTED_PROXIES": '["127.0.0.1"]'}
        behind = tuple(stack.enter_context(serving(mirror.data_dir, **proxies)) for _ in range(2))
        port = free_port()
        (here / "nginx.conf").write_text(fitted(here, behind, port), "utf-8")
        words = [nginx, "-p", str(here), "-e", str(here / "error.log")]
        process = stack.enter_context(subprocess.Popen([*words, "-c", str(here / "nginx.conf")]))
        stack.callback(process.terminate)
        one = Front(f"https://127.0.0.1:{port}", here / "ca.pem", here / "access.log", behind)
        wait(process, here)
        yield one


def wait(process: subprocess.Popen[bytes], here: Path) -> None:
    """Return when it has begun."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (here / "nginx.pid").exists() and (here / "nginx.pid").read_text("ascii").strip():
            return
        time.sleep(0.02)
    errors = here / "error.log"
    pytest.fail(f"nginx does not begin: {errors.read_text('utf-8') if errors.exists() else ''}")


@pytest.mark.parametrize("path", ["", "/npm"])
def test_npm_installs_a_scoped_package_through_nginx(
    nginx: str, scoped: RealMirror, tmp_path: Path, path: str
) -> None:
    """Over TLS and `%2f`, from two servers in turn; tarballs have the address of nginx."""
    with front(nginx, scoped, tmp_path / "nginx") as found:
        registry = found.url + path
        here = Workplace(
            tmp_path / "project", registry, {"dependencies": {SCOPED: "^7.0.0"}}, found.trusted
        )
        here.install("npm")
        dist = here.run(*command("npm"), "view", SCOPED, "dist.tarball").strip()
        assert dist.startswith(f"{registry}/{SCOPED}/-/code-frame-")
        asked = found.asked()
        answers = [served.answers for served in found.behind]
    assert any(one.startswith(f"{SCOPED}@") for one in here.installed())
    assert (f"{path}{ENCODED}") in {uri for uri, _ in asked}
    assert all(answers), "one of the two was never asked"
    assert ENCODED in {line["path"] for each in answers for line in each}
    assert {line["status"] for each in answers for line in each} <= {200, 304}
    resolved = (here.directory / "package-lock.json").read_text("utf-8")
    assert f'"resolved": "{registry}/{SCOPED}/-/' in resolved
