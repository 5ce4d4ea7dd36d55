"""The demo's second act, with a registry that answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.cli.demo import act_two
from npmmirror.cli.demo.place import Place
from npmmirror.cli.demo.stage import Stage
from npmmirror.config import UpstreamSection
from npmmirror.testing.remote import RemoteUpstream


@pytest.fixture
def remote() -> Iterator[RemoteUpstream]:
    with RemoteUpstream("--living", "0") as upstream:
        for name in act_two.PACKAGES:
            upstream.do("publish", name=name, version="1.0.0")
        yield upstream


def test_what_a_real_registry_has_is_mirrored_and_verified(
    tmp_path: Path, remote: RemoteUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its version; what is not as promised is told, and is no success."""
    remote.do("fault", fault={"kind": "altered"}, scope="tarball", name="chalk", times=None)
    ending = act_two.play(Stage(), Place(tmp_path), UpstreamSection(registry=remote.url))
    assert ending.held == ("left-pad@1.0.0", "@babel/core@1.0.0")
    (lacking,) = ending.lacking
    assert lacking.startswith("chalk@1.0.0: digest_mismatch")
    told = capsys.readouterr().out
    assert "left-pad    1.0.0" in told
    assert "2 tarballs and 3 documents hashed again: nothing is wrong." in told
