"""What once reached a line of a reader of foreign bytes still does no harm there."""

import random
from pathlib import Path

import pytest

from tests.corpus.targets import TARGETS

CORPUS = Path(__file__).parent
MOST_BYTES = 300_000


def files(target: str) -> list[Path]:
    """The corpus of a target."""
    return sorted(path for path in (CORPUS / target).iterdir() if path.is_file())


@pytest.mark.parametrize("target", TARGETS)
def test_no_file_of_the_corpus_trips_a_bug(target: str) -> None:
    """Each is read, or refused as the reader says that it refuses."""
    assert files(target)
    for path in files(target):
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"the file is {path.relative_to(CORPUS)}")
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_no_damaged_file_of_the_corpus_trips_a_bug(target: str) -> None:
    """Each file with a few bytes altered, cut out or doubled, in ways that chance chose once."""
    dice = random.Random(f"corpus {target}")
    for path in dice.sample(files(target), min(len(files(target)), 60)):
        data = bytearray(path.read_bytes())
        for _ in range(dice.randrange(1, 5)):
            start = dice.randrange(len(data) + 1)
            piece = data[start : start + dice.randrange(1, 9)]
            data[start : start + len(piece)] = dice.choice(
                [b"", bytes(piece) * 2, dice.randbytes(len(piece))]
            )
        try:
            TARGETS[target](bytes(data))
        except Exception as error:
            error.add_note(f"the bytes are {bytes(data)!r}, made of {path.relative_to(CORPUS)}")
            raise


def test_the_corpus_is_small() -> None:
    """It is copied with the source."""
    every = [path for target in TARGETS for path in files(target)]
    assert sum(path.stat().st_size for path in every) < MOST_BYTES
