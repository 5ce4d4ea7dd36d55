"""`python -m npmmirror.testing`: a scripted upstream as a process of its own.

It prints one line of JSON with its URLs, then answers each line of JSON on standard input (see
`npmmirror.testing.commands`) with one on standard output. It ends with its standard input, or on
SIGTERM; where that is no pipe or terminal, on SIGTERM alone.
"""

import argparse
import asyncio
from pathlib import Path

import uvloop

from npmmirror.testing import static
from npmmirror.testing.commands import Commands
from npmmirror.testing.history import History
from npmmirror.testing.packages import fill
from npmmirror.testing.process import attend
from npmmirror.testing.registry import ScriptedRegistry
from npmmirror.testing.server import ScriptedUpstream


def main() -> None:
    """Run until told to stop."""
    uvloop.run(serve(_arguments()))


async def serve(options: argparse.Namespace) -> None:
    """Serve, take commands, and let steps happen by themselves where asked to."""
    registry = ScriptedRegistry(
        seed=options.seed,
        opaque_seqs=options.opaque_seqs,
        without_revs=options.without_revs,
        signs=options.signs,
    )
    fill(registry, options.packages, options.seed)
    if options.write:
        static.write(registry, options.write)
    history = History(
        registry,
        seed=options.seed,
        packages=options.living,
        moves=options.moves or None,
        share=options.share,
    )
    async with (
        ScriptedUpstream(registry, port=options.port, seed=options.seed) as upstream,
        asyncio.TaskGroup() as tasks,
    ):
        commands = Commands(upstream, history)
        helpers = []
        if options.publish_every:
            helpers.append(tasks.create_task(_go_on(commands, options.publish_every)))
        await attend(upstream, commands)
        for task in helpers:
            task.cancel()


async def _go_on(commands: Commands, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        commands.step()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m npmmirror.testing", description=__doc__)
    add = parser.add_argument
    add("--packages", type=int, default=0, help="packages of npm's sizes, which stay as they are")
    add("--write", type=Path, metavar="DIR", help="write those for a static web server, too")
    add("--living", type=int, default=20, help="small packages, which change in steps")
    add("--share", type=float, default=0.3, help="which part of those changes in a step")
    add("--moves", nargs="*", help="what may happen in steps (default: everything)")
    add("--seed", type=int, default=0)
    add("--port", type=int, default=0, help="0 takes any that is free")
    add("--publish-every", type=float, metavar="SECONDS", help="let a step happen again and again")
    add("--opaque-seqs", action="store_true", help="seqs are strings, as CouchDB's")
    add("--without-revs", action="store_true", help="documents hold no _rev")
    add("--signs", action="store_true", help="releases are signed, some are attested")
    return parser.parse_args()


if __name__ == "__main__":
    main()
