"""A soak: a real daemon under a scripted upstream, with everything going wrong by the dice.

    python benchmarks/soak.py --minutes 30
    python benchmarks/soak.py --minutes 2 --seed 7 --keep

Hazards come and go in rounds (`soaking.hazards` lists them). At the end of each round they end, and
the mirror has to come to the head with an empty work list, hold what upstream has (every tarball
hashed, every event found as upstream's revisions give it), and verify; memory, file descriptors,
WALs and staging have to be back where they began. In the later half of the rounds the process is
left alive, so that a leak would show. Those hazards that need root (disks) are left out for others.

Exit status 0: no deviation. 1: there are some; they are printed, with what to type to have the dice
fall in the same way (moments depend on the machine), and the directory is kept.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.soaking.course import Soak
from benchmarks.soaking.disks import Disks, are_possible
from benchmarks.soaking.report import report

ROUND_MINUTES = 10.0


def main() -> None:
    """Run it, print, clean up."""
    options = arguments()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    again = f"python benchmarks/soak.py --minutes {options.minutes:g} --seed {seed}"
    directory = Path(tempfile.mkdtemp(prefix="npmmirror-soak-", dir=options.directory))
    print(f"{again}\nin {directory}", flush=True)
    rounds = max(1, round(options.minutes / options.round_minutes))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # disks must not stay mounted
    with ExitStack() as stack:
        disks = None
        if options.disks != "no" and (are_possible() or options.disks == "yes"):
            disks = stack.enter_context(Disks(directory, options.disk_gib))
        soak = Soak(directory, stack, seed=seed, seconds=options.minutes * 60, disks=disks)
        soak.run(rounds)
        print("", *report(soak), "", sep="\n")
    for deviation in soak.deviations:
        print(f"DEVIATION {deviation}")
    if not soak.deviations:
        print(f"no deviation; {'disks were spared' if disks is None else 'disks too'}")
    if not soak.deviations and not options.keep:
        shutil.rmtree(directory)
    elif soak.deviations:
        print(f"{len(soak.deviations)} deviations; again: {again}\nkept: {directory}")
    sys.exit(bool(soak.deviations))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="soak.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--minutes", type=float, default=30.0, help="how long it storms (30)")
    add("--round-minutes", type=float, default=ROUND_MINUTES, help="how long a round is (10)")
    add("--seed", type=int, help="of the dice; a new one where it is not given")
    add("--directory", type=Path, help="where its own directory is made")
    add("--disks", choices=("yes", "no", "auto"), default="auto", help="mount disks (as root)")
    add("--disk-gib", type=int, default=16, help="how large they seem; they are sparse (16)")
    add("--keep", action="store_true", help="leave the directory there, whatever came of it")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing can be said of it; its directory is kept")
