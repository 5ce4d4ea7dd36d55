"""Everything odd that the scripted upstream can serve is parsed and compared."""

import json

import pytest

from npmmirror.diff import changed_versions, diff
from npmmirror.layout import tarball_path
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.staleness import is_stale
from npmmirror.testing.oddities import Oddity, oddities
from tests.core.documents import applied, told

REFUSED = {
    "deep": "too_deep",
    "control_character_raw": "not_json",
    "empty_object": "wrong_name",
    "error_with_200": "wrong_name",
    "array": "not_an_object",
    "null": "not_an_object",
    "number": "not_an_object",
    "no_bytes": "not_json",
    "half": "not_json",
    "html": "html",
}
LATER = {
    "deprecated_later": [("deprecated", "1.1.0")],
    "npm_user_later": [("manifest_changed", "1.1.0")],
    "libc_later": [("manifest_changed", "1.1.0")],
    "signatures_later": [("manifest_changed", "1.1.0")],
    "unpublished_later": [("package_unpublished", None)],
}
UNDERSTOOD = [pytest.param(each, id=each.id) for each in oddities() if each.id not in REFUSED]


@pytest.mark.parametrize("oddity", [each for each in oddities() if each.id in REFUSED])
def test_what_npm_could_not_send_is_refused(oddity: Oddity) -> None:
    """With the reason."""
    with pytest.raises(NotAPackumentError) as caught:
        Packument.parse(oddity.raw, name=oddity.name)
    assert caught.value.reason == REFUSED[oddity.id]


@pytest.mark.parametrize("oddity", UNDERSTOOD)
def test_an_oddity_is_understood(oddity: Oddity) -> None:
    """A document that npm has is parsed, and what comes out can be stored."""
    found = Packument.parse(oddity.raw, name=oddity.name)
    for version in found.versions:
        repr(found.manifest(version)).encode()
        assert tarball_path(oddity.name, version, 2).count("/") == 2
    effects = diff(found, None, None, following_since=None)
    assert [event.kind.value for event in effects.events] == ["package_observed"]
    json.dumps(effects.events[0].detail)


@pytest.mark.parametrize("oddity", UNDERSTOOD)
def test_an_oddity_seen_again_is_no_news(oddity: Oddity) -> None:
    """The document against the state that it left: nothing is stale, changed or told."""
    found = Packument.parse(oddity.raw, name=oddity.name)
    known = applied(diff(found, None, None, following_since=None), None)
    again = diff(found, known, None, following_since=None)
    assert not is_stale(found, known, found.rev)
    assert changed_versions(found, known) == ()
    assert (again.events, again.versions, again.vanished, again.tags) == ((), (), (), None)


@pytest.mark.parametrize("oddity", [each for each in oddities() if each.then])
def test_what_happens_to_an_oddity_later(oddity: Oddity) -> None:
    """The second document makes exactly the event that it was made for."""
    before = Packument.parse(oddity.raw, name=oddity.name)
    after = Packument.parse(oddity.then or b"", name=oddity.name)
    known = applied(diff(before, None, None, following_since=None), None)
    assert told(diff(after, known, before, following_since=None)) == LATER[oddity.id]
