"""Made-up packages have npm's sizes; the oddities are odd in what they say."""

import gzip
import json
from pathlib import Path
from statistics import mean

import pytest

from npmmirror.testing import ScriptedRegistry, static
from npmmirror.testing.oddities import Oddity, oddities, plain
from npmmirror.testing.packages import catalogue, fill, revisions

CORPUS = list(oddities())
NOT_JSON = {"deep", "invalid_utf8", "control_character_raw", "no_bytes", "html", "half"}


def test_catalogue_has_npms_sizes() -> None:
    """54 KB a document and 150 KB a newest tarball, within a fifth, over 400 packages."""
    registry = ScriptedRegistry()
    names = fill(registry, 400, seed=1)
    newest = [registry.tarball(name, registry.revision(name).tags["latest"]) for name in names]
    assert mean(len(registry.document(name)) for name in names) == pytest.approx(54_000, rel=0.2)
    assert mean(map(len, newest)) == pytest.approx(150_000, rel=0.2)


def test_catalogue_is_the_same_for_a_seed() -> None:
    """One seed gives one catalogue, of unique names."""
    drafts = list(catalogue(20, seed=4))
    assert drafts == list(catalogue(20, seed=4))
    assert len({draft.name for draft in drafts}) == 20


def test_revisions_add_one_version_each() -> None:
    """Each document has one version more, and the size asked for."""
    documents = list(revisions(300, 3))
    counts = [len(json.loads(document)["versions"]) for document in documents]
    assert counts == [300, 301, 302, 303]
    assert len(documents[0]) == pytest.approx(550_000, rel=0.15)


def test_registry_written_for_a_static_server(tmp_path: Path) -> None:
    """Documents, plain and in gzip, and tarballs lie where their paths lead."""
    registry = ScriptedRegistry()
    registry.publish("@s/a", "1.0.0")
    registry.remove("gone")
    written = static.write(registry, tmp_path)
    document, body = registry.document("@s/a"), registry.tarball("@s/a", "1.0.0")
    assert (tmp_path / "@s/a/index.json").read_bytes() == document
    assert gzip.decompress((tmp_path / "@s/a/index.json.gz").read_bytes()) == document
    assert (tmp_path / "@s/a/-/a-1.0.0.tgz").read_bytes() == body
    assert written == len(document) + len(body)


@pytest.mark.parametrize("oddity", CORPUS, ids=lambda oddity: oddity.id)
def test_oddity_is_odd(oddity: Oddity) -> None:
    """Each differs from the plain document of its name, in its bytes or in its name."""
    assert oddity.name not in {"", "odd"}
    if oddity.id.startswith("name:") or oddity.then:
        return
    usual = json.dumps(plain(oddity.name)[0], ensure_ascii=False, separators=(",", ":"))
    assert usual.encode() != oddity.raw


@pytest.mark.parametrize("oddity", CORPUS, ids=lambda oddity: oddity.id)
def test_oddity_is_json_where_npm_would_send_json(oddity: Oddity) -> None:
    """Only those that are meant to be no JSON are none."""
    try:
        json.loads(oddity.raw)
    except (ValueError, RecursionError):
        assert oddity.id in NOT_JSON
    else:
        assert oddity.id not in NOT_JSON


def test_oddities_have_names_of_their_own() -> None:
    """All can be served by one registry at once."""
    registry = ScriptedRegistry()
    for oddity in CORPUS:
        oddity.put(registry)
        oddity.put_then(registry)
    assert len(registry.names()) == len(CORPUS) == len({oddity.id for oddity in CORPUS})
