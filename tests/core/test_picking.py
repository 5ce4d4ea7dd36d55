"""Which versions clients would pick for a spec, whatever they run on."""

from collections.abc import Sequence
from typing import Any

import pytest

from npmmirror.packument import Packument
from npmmirror.policy.picking import Picking
from npmmirror.policy.specs import resolve
from tests.core.documents import document, manifest


def of(versions: dict[str, dict[str, Any]], latest: str | None = None) -> Packument:
    """A document whose manifests have these keys."""
    made = [manifest(version, **keys) for version, keys in versions.items()]
    return document(*made, tags={"latest": latest} if latest else {})


def picks(
    versions: dict[str, dict[str, Any]],
    spec: str,
    latest: str | None = None,
    nodes: Sequence[str] = (),
) -> tuple[str, ...]:
    """What is picked."""
    return Picking(of(versions, latest), nodes).picks(spec)


def node(allowed: Any) -> dict[str, Any]:
    """A manifest's keys that ask for a Node."""
    return {"engines": {"node": allowed}}


PLAIN: dict[str, dict[str, Any]] = {"1.0.0": {}, "1.2.0": {}, "2.0.0": {}, "3.0.0-rc.1": {}}


@pytest.mark.parametrize(
    "spec", ["*", "", "^1", "1.0.0", "v1.0.0", "latest", "^9", ">=1", "3.x", "next"]
)
def test_where_nothing_else_matters_there_is_one(spec: str) -> None:
    """That which npm installs on any Node."""
    found = of(PLAIN, "1.2.0")
    assert Picking(found).picks(spec) == resolve(spec, found)


def test_the_engine_of_the_newest_keeps_older_nodes_at_the_one_before() -> None:
    """On Node 20 npm passes over what needs 22."""
    versions = {"1.0.0": node(">=18"), "1.1.0": node(">=22"), "1.2.0": node("^20.19 || >=24.1")}
    assert picks(versions, "^1") == ("1.2.0", "1.0.0", "1.1.0")
    assert picks(versions, "^1", nodes=["20.20.0"]) == ("1.2.0",)
    assert picks(versions, "^1", nodes=["22.0.0"]) == ("1.2.0", "1.1.0")
    assert picks(versions, "^1", nodes=["18.1.0"]) == ("1.2.0", "1.0.0")


def test_an_engine_that_ends_lets_newer_nodes_have_another() -> None:
    """The upper end of a range counts as well as the lower."""
    versions = {"1.0.0": {}, "1.1.0": node("<23")}
    assert picks(versions, "^1") == ("1.1.0", "1.0.0")


def test_old_engines_do_not_matter() -> None:
    """What every Node allows that is asked about."""
    assert picks({"1.0.0": {}, "1.1.0": node(">= 0.10")}, "^1") == ("1.1.0",)


def test_the_engine_npm_counts_too() -> None:
    """As npm looks at both."""
    versions = {"1.0.0": {}, "1.1.0": {"engines": {"npm": ">=11"}}}
    assert picks(versions, "^1") == ("1.1.0", "1.0.0")


def test_latest_goes_before_what_is_higher() -> None:
    """But where its engine does not allow it, the highest counts again."""
    versions = {"1.0.0": {}, "1.1.0": node(">=22"), "1.2.0": {}}
    assert picks(versions, "^1", latest="1.1.0") == ("1.1.0", "1.2.0")


def test_deprecated_ones_are_what_yarn_1_picks() -> None:
    """Other clients pass over them."""
    versions = {"1.0.0": {}, "1.1.0": {"deprecated": "no"}}
    assert picks(versions, "^1") == ("1.0.0", "1.1.0")


def test_engines_that_are_no_range_allow_nothing() -> None:
    """As node-semver has it."""
    versions = {"1.0.0": {}, "1.1.0": node("gibberish"), "1.2.0": node(7)}
    assert set(picks(versions, "^1")) == {"1.2.0", "1.0.0"}


@pytest.mark.parametrize("engines", [None, [], "node", ["node >= 8"], {"node": ""}, {"node": "*"}])
def test_engines_that_say_nothing(engines: object) -> None:
    """Of old documents."""
    assert picks({"1.0.0": {}, "1.1.0": {"engines": engines}}, "^1") == ("1.1.0",)


def test_a_star_takes_a_latest_that_is_a_prerelease() -> None:
    """And only that."""
    versions: dict[str, dict[str, Any]] = {"1.0.0-rc.1": {}, "1.0.0-rc.2": {}}
    assert picks(versions, "*", latest="1.0.0-rc.1") == ("1.0.0-rc.1",)
    assert picks(versions, "*") == ()
