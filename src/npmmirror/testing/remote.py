"""A scripted upstream in another process, steered from a test that has no event loop."""

import json
import subprocess
import sys
from typing import IO, Any, Self


class RemoteUpstream:
    """Starts `python -m npmmirror.testing` and speaks with it. A context manager.

    Args:
        arguments: of that command, such as `"--seed", "1"`.
        module: another module that is run instead and speaks alike (`npmmirror.testing.process`).
        complaints: the file for its standard error output; None: that of this process.
        process_group: 0 puts it into a group of its own, which a terminal's Ctrl-C does not reach.
    """

    def __init__(
        self,
        *arguments: str,
        module: str = "npmmirror.testing",
        complaints: IO[bytes] | None = None,
        process_group: int | None = None,
    ) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            process_group=process_group,
        )
        urls = self._read()
        self.url: str = urls["url"]
        self.feed: str = urls["feed"]

    def do(self, what: str, **words: Any) -> Any:
        """Carry out a command (see `npmmirror.testing.commands`); its result.

        Raises:
            ValueError: the upstream refused it, and says why.
        """
        self._write({"do": what, **words})
        answer = self._read()
        if not answer["ok"]:
            raise ValueError(answer["error"])
        return answer["result"]

    def close(self) -> int:
        """End it by ending its input; its exit status."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        status = self.process.wait(30)
        if self.process.stdout:
            self.process.stdout.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, command: dict[str, Any]) -> None:
        if self.process.stdin is None:
            raise RuntimeError("started without a pipe")
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        if self.process.stdout is None:
            raise RuntimeError("started without a pipe")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the upstream ended with status {self.process.wait(30)}")
        answer: dict[str, Any] = json.loads(line)
        return answer
