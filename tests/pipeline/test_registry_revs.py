"""What several documents tell of a registry, and a single one does not."""

import pytest

from npmmirror.pipeline.registry_revs import ENOUGH, ENOUGH_TO_CHANGE, Witness


def names(count: int) -> list[str]:
    return [f"package-{number}" for number in range(count)]


@pytest.mark.parametrize("given", [True, False])
def test_several_packages_tell_once(*, given: bool) -> None:
    """The last of them does; those behind it say nothing new."""
    witness = Witness()
    told = [witness.note(name, given=given) for name in names(ENOUGH + 5)]
    assert told == [False] * (ENOUGH - 1) + [True] + [False] * 5
    assert witness.given is given


def test_a_single_package_tells_nothing() -> None:
    """However often its document comes, as a stale one does."""
    witness = Witness()
    assert not any(witness.note("odd", given=False) for _ in range(100))
    assert witness.given is None


def test_an_odd_document_at_the_beginning_decides_nothing() -> None:
    """Counting starts over with the first that is otherwise."""
    witness = Witness()
    for name, given in [("odd", False), ("a", True), ("strange", False), ("b", True)]:
        witness.note(name, given=given)
    assert witness.given is None


def test_many_odd_documents_change_nothing_while_others_come() -> None:
    """Only a row without a single one of the known kind is taken for a change."""
    witness = Witness(given=True)
    for name in names(10 * ENOUGH_TO_CHANGE):
        witness.note(name, given=False)
        if name.endswith("9"):
            witness.note("usual", given=True)
    assert witness.given is True


def test_a_long_row_is_a_change() -> None:
    """Not one package sooner."""
    witness = Witness(given=True)
    told = [witness.note(name, given=False) for name in names(ENOUGH_TO_CHANGE)]
    assert told == [False] * (ENOUGH_TO_CHANGE - 1) + [True]
    assert witness.given is False
