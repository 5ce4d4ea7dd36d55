import tracemalloc
from pathlib import Path

import pytest

from npmmirror.archive import MAX_FRAMES, base_of, needed_numbers
from npmmirror.archive.deltas import decode, prefix_of
from npmmirror.capture import Chain, Location
from tests.archive.history import ENCODER, History, document


def _depth(number: int) -> int:
    base = base_of(number)
    return 1 if base is None else 1 + _depth(base)


def test_no_revision_takes_more_than_eight_frames() -> None:
    """However long a chain grows, eight frames at most lead to the whole one."""
    assert max(_depth(number) for number in range(255)) == MAX_FRAMES


def test_the_position_with_eight_bits_starts_a_new_chain() -> None:
    """255 would be nine frames deep: it is a whole frame."""
    assert base_of(254) == 252
    assert base_of(255) is None


def test_a_chain_holds_the_base_of_the_next_revision() -> None:
    """What `needed_numbers` asks for is enough to go on, and has the newest."""
    for newest in range(254):
        assert {base_of(newest + 1), newest} == needed_numbers(newest)
    assert needed_numbers(254) == {254}


class _Shelf:
    """Documents by place, for encoding without a log."""

    def __init__(self, *documents: bytes) -> None:
        self._documents = documents

    def document(self, place: Location) -> bytes:
        return self._documents[place.offset]


def test_a_document_unlike_its_base_is_stored_whole() -> None:
    """A delta that saves nothing would only make reading slower."""
    shelf = _Shelf(document(30, seed=1))
    payload = ENCODER.encode(document(30, seed=2), Chain(0, {0: Location(1, 0)}), shelf)
    assert payload.base is None
    assert payload.number == 0


def test_a_document_like_its_base_is_a_small_delta() -> None:
    """One version more costs little more than its digests."""
    shelf = _Shelf(document(30))
    payload = ENCODER.encode(document(31), Chain(0, {0: Location(1, 0)}), shelf)
    assert payload.base == Location(1, 0)
    assert payload.number == 1
    assert len(payload.stored) < 600


def test_a_delta_and_its_base_give_the_document() -> None:
    """Decoding with the base as prefix returns the bytes."""
    shelf = _Shelf(document(30))
    payload = ENCODER.encode(document(31), Chain(0, {0: Location(1, 0)}), shelf)
    assert decode(payload.stored, payload.length, prefix_of(document(30))) == document(31)


def test_a_missing_place_starts_a_new_chain() -> None:
    """An index that does not know the base costs a whole frame, nothing else."""
    payload = ENCODER.encode(document(31), Chain(5, {}), _Shelf())
    assert (payload.number, payload.base) == (0, None)


def test_a_frame_is_not_decoded_beyond_the_length_its_header_tells() -> None:
    """What swells in decoding is stopped."""
    bomb = ENCODER.encode(b"\0" * 50_000_000, None, _Shelf())
    tracemalloc.start()
    with pytest.raises(ValueError, match="length"):
        decode(bomb.stored, 1_000_000, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_cut_frame_is_refused() -> None:
    """The beginning of a frame is not taken for the whole."""
    payload = ENCODER.encode(document(30), None, _Shelf())
    with pytest.raises(ValueError, match="length"):
        decode(payload.stored[:-5], payload.length, None)


def test_a_stale_document_is_laid_beside_the_newest(tmp_path: Path) -> None:
    """It is a delta of the newest, and the next revision does not build on it."""
    history = History.at(tmp_path)
    history.capture("a", document(20))
    newest = history.capture("a", document(21))
    stale = history.capture("a", document(19), stale=True)
    following = history.capture("a", document(22))
    read = history.reader.record
    assert read(stale.place).base == newest.place
    assert read(stale.place).number == read(newest.place).number
    assert read(following.place).number == 2
    history.close()


def test_a_stale_document_beside_a_deep_one_stays_within_eight_frames() -> None:
    """Where the newest is eight frames deep, the stale one goes to a shallower base or is whole."""
    places = {127: Location(1, 0)}
    payload = ENCODER.encode(document(19), Chain(127, places), _Shelf(document(20)), aside=True)
    assert payload.base is None
    places[126] = Location(1, 0)
    payload = ENCODER.encode(document(19), Chain(127, places), _Shelf(document(20)), aside=True)
    assert payload.number == 126


@pytest.mark.parametrize(
    ("versions", "count", "manifest_bytes", "limit"),
    [(101, 200, 1_900, 1_536), (2_951, 50, 3_400, 16 * 1024)],
    ids=["300 versions", "3000 versions"],
)
def test_the_size_of_a_revision_in_the_mean(
    tmp_path: Path, versions: int, count: int, manifest_bytes: int, limit: int
) -> None:
    """Whole frames and headers included, a revision of one version takes so many bytes."""
    history = History.at(tmp_path)
    for number in range(count):
        history.capture("made-up", document(versions + number, manifest_bytes=manifest_bytes))
    for appended, raw in history.documents:
        before = history.reader.frames_read
        assert history.reader.document(appended.place) == raw
        assert history.reader.frames_read - before <= MAX_FRAMES
    mean = history.log.tip.end.offset / count
    assert mean <= limit
    history.close()
