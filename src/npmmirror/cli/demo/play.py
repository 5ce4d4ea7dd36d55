"""The demo as a whole: both acts and the summary, in a place that is put away or left."""

from pathlib import Path

from npmmirror.cli.demo import act_one, act_two, summary
from npmmirror.cli.demo.place import workplace
from npmmirror.cli.demo.stage import Stage
from npmmirror.cli.output import complain
from npmmirror.config import UpstreamSection


def demo(
    upstream: UpstreamSection, directory: Path, *, keep: bool, seed: int, picture: Path | None
) -> bool:
    """Play it; whether something is wrong.

    Raises:
        NpmmirrorError: it could not be played to its end.
    """
    stage = Stage(pictured=picture is not None)
    try:
        with workplace(directory, keep=keep) as place:
            stage.title("npmmirror demo: a mirror at work, killed once")
            one = act_one.play(stage, place, seed)
            with stage.unpictured():
                two = act_two.play(stage, place, upstream)
        summary.tell(stage, one, two, directory if keep else None)
        if picture is not None:
            stage.draw(picture)
        return bool(one.proof.wrong or two.lacking)
    except BaseException as error:
        stage.close()
        if isinstance(error, KeyboardInterrupt | SystemExit):
            complain("stopped; nothing of the demo is left running, nor on the disk")
        raise
