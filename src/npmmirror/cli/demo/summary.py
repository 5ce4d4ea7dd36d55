"""What the demo says at its end: what arrived, what did not and why, where to look next."""

import shutil
import sys
from pathlib import Path

from npmmirror.cli.demo import act_one, act_two
from npmmirror.cli.demo.place import Place
from npmmirror.cli.demo.stage import Stage
from npmmirror.cli.output import plural, shown_bytes
from npmmirror.config import UpstreamSection


def tell(stage: Stage, one: act_one.Ending, two: act_two.Ending, directory: Path | None) -> None:
    """Tell it. `directory` is where everything is; None where nothing was kept."""
    _tell_arrived(stage, one, two)
    _tell_refused(stage, one)
    _tell_kept(stage, one)
    with stage.unpictured():
        _tell_next(stage, one, two, directory)


def _tell_arrived(stage: Stage, one: act_one.Ending, two: act_two.Ending) -> None:
    totals, proof = one.report["totals"], one.proof
    stage.title("What arrived")
    stage.say(
        f"{plural(sum(totals['packages'].values()), 'package')} with "
        f"{plural(totals['tarballs'], 'tarball')}, {shown_bytes(totals['tarball_bytes'])}; "
        f"{plural(totals['revisions'], 'revision')} of their documents; "
        f"{plural(totals['events'], 'event')}."
    )
    if two.held:
        with stage.unpictured():
            stage.say(f"And {', '.join(two.held)}.")
    if proof.wrong:
        stage.say("The mirror is not what it must be:", "red")
        for sentence in proof.wrong:
            stage.say(f"- {sentence}", "red")
        return
    stage.say(
        f"The SIGKILL cost nothing. Of upstream's {proof.tarballs + 1:,} live versions, the tarballs "
        f"of {proof.tarballs:,} were hashed again just now: each has the SHA-512 that upstream "
        f"promised; the other one was refused. All {proof.packages:,} packages are at upstream's "
        "newest revision, no event is there twice, and no file that nobody promised.",
        "green",
    )
    for sentence in two.lacking:
        stage.say(sentence, "yellow")


def _tell_refused(stage: Stage, one: act_one.Ending) -> None:
    stage.title("What was refused")
    tampered = one.tampered
    stage.say(
        f"{tampered['package']}@{tampered['version']}: what came is not what was promised, at the "
        "second request either. It is on the work list, to be tried again."
    )
    stage.item("promised", tampered["promised"])
    stage.item("came", tampered["served"])


def _tell_kept(stage: Stage, one: act_one.Ending) -> None:
    stage.title("What upstream took back, and the mirror keeps")
    gone = one.unpublished
    stage.say(
        f"{gone['package']} ({plural(len(gone['versions']), 'version')}) and "
        f"{gone['other']}@{gone['version']}: recorded as unpublished; their "
        f"{plural(one.proof.kept, 'tarball')} are still here, and right."
    )


def _tell_next(
    stage: Stage, one: act_one.Ending, two: act_two.Ending, directory: Path | None
) -> None:
    stage.title("Where to look next")
    for command in _commands(one, two, directory):
        stage.verbatim(command)
    stage.say("The line of mirror.toml that follows npm itself; it is the default:")
    stage.verbatim(f'feed = "{UpstreamSection().feed}"')
    stage.say(f"{spelled_program()} run then mirrors every change, some 60,000 a day.")
    if directory is not None:
        stage.say(f"All of the demo is in {directory}, which may be deleted.")


def _commands(one: act_one.Ending, two: act_two.Ending, directory: Path | None) -> list[str]:
    """Three commands that work as they are written."""
    program = spelled_program()
    if directory is None:
        return [f"{program} {words}" for words in ("--help", "sync chalk", "show chalk")]
    place = Place(directory)
    first, second = (f"{program} --config {config}" for config in (place.one, place.two))
    third = f"{second} show {act_two.PACKAGES[1]}" if two.held else f"{first} verify"
    return [f"{first} status", f"{first} show {one.tampered['package']}", third]


def spelled_program() -> str:
    """How this program was called, so that it can be called so again."""
    called = sys.argv[0]
    found = shutil.which("npmmirror")
    if Path(called).name != "npmmirror":
        return "python3 -m npmmirror"
    return "npmmirror" if found is not None and Path(found) == Path(called) else called
