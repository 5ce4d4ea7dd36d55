"""A scripted upstream as a process: it says where it is, then answers commands, line by line."""

import asyncio
import os
import signal
import stat
import sys
from typing import Any

import orjson

from npmmirror.testing.commands import Commands
from npmmirror.testing.server import ScriptedUpstream

_LONGEST_COMMAND = 64 << 20


async def attend(upstream: ScriptedUpstream, commands: Commands) -> None:
    """Take commands until standard input ends, or until SIGTERM or SIGINT."""
    stop = _stop_on_signals()
    _say({"url": upstream.url, "feed": upstream.feed})
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(_take_commands(commands, stop))
        await stop.wait()
        taking.cancel()


async def _take_commands(commands: Commands, stop: asyncio.Event) -> None:
    if not _is_stream(sys.stdin.fileno()):
        return
    reader = asyncio.StreamReader(limit=_LONGEST_COMMAND)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        _say(_answered(commands, line))
    stop.set()


def _answered(commands: Commands, line: bytes) -> dict[str, Any]:
    try:
        command = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {"ok": False, "error": str(error)}
    return commands.carry_out(command)


def _is_stream(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _say(said: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(said) + b"\n")
    sys.stdout.buffer.flush()
