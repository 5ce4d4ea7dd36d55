"""The graph of a closure: what is asked next, who requires what, and what nobody can do without."""

from npmmirror.policy.closure import ALL, Graph, Lack, LeftOut, Root
from npmmirror.policy.requirements import Requirement


def wants(package: str, spec: str = "^1", **flags: bool) -> Requirement:
    """That something requires a package."""
    return Requirement(package, spec, "", flags.get("optional", False), flags.get("dormant", False))


def answered(graph: Graph, package: str, *required: Requirement, spec: str = "^1") -> None:
    """Version 1.0.0 answers, and requires these."""
    graph.answer(package, {spec: ["1.0.0"]})
    graph.expand(package, "1.0.0", required)


def graph(*roots: Root) -> Graph:
    """One of these, `a` where none is named; its first level is taken."""
    made = Graph(roots or (Root("a", "^1", "me"),))
    made.level()
    return made


def test_each_wish_is_asked_once() -> None:
    """A cycle ends, and specs of one package come together."""
    made = Graph([Root("a", "^1", "me"), Root("a", None, "me")])
    assert made.level() == {"a": ["^1", ALL]}
    answered(made, "a", wants("b"), wants("b", "^2"), wants("a"))
    assert made.level() == {"b": ["^1", "^2"]}
    answered(made, "b", wants("a"), wants("b"))
    assert made.level() == {}


def test_an_optional_peer_sleeps_until_something_else_requires_the_package() -> None:
    """In either order."""
    made = graph()
    answered(made, "a", wants("p", "^3", optional=True, dormant=True), wants("b"))
    assert made.level() == {"b": ["^1"]}
    answered(made, "b", wants("p", "^4"))
    assert made.level() == {"p": ["^4", "^3"]}
    answered(made, "p", wants("b", "^9", optional=True, dormant=True), spec="^4")
    assert made.level() == {"b": ["^9"]}


def test_who_requires_what() -> None:
    """Those who asked, and versions; each once."""
    made = graph()
    answered(made, "a", wants("b"), wants("b", "^1.0"))
    made.level()
    made.answer("b", {"^1": ["1.0.0"], "^1.0": ["1.0.0"]})
    assert made.required_by() == {("a", "1.0.0"): ["me"], ("b", "1.0.0"): ["a@1.0.0"]}


def test_what_is_missing_behind_something_optional_is_optional() -> None:
    """npm goes on without all of it; required elsewhere, it is missed."""  # noqa: D403 - its name
    made = graph()
    answered(made, "a", wants("o", optional=True), wants("b"))
    answered(made, "o", wants("deep"))
    made.fail("deep", "^1", "not_found")
    assert list(made.lacks()) == [Lack("deep", "^1", "not_found", ("o@1.0.0",), optional=True)]
    answered(made, "b", wants("deep"))
    [lack] = made.lacks()
    assert not lack.optional
    assert set(lack.required_by) == {"o@1.0.0", "b@1.0.0"}


def test_a_tarball_that_is_missing_is_missed_like_a_version() -> None:
    """By those who require the version."""
    made = graph()
    answered(made, "a", wants("b"))
    answered(made, "b")
    made.fail("b", "1.0.0", "http_404")
    assert list(made.lacks()) == [Lack("b", "1.0.0", "http_404", ("a@1.0.0",), optional=False)]


def test_what_nobody_required_is_not_missed() -> None:
    """The policy may bring versions along whose tarballs cannot be had."""
    made = graph()
    answered(made, "a")
    made.fail("a", "9.0.0", "http_404")
    assert list(made.lacks()) == []


def test_an_optional_root_may_be_missing() -> None:
    """As a lock file marks it."""
    made = graph(Root("a", "1.0.0", "lock", None, optional=True))
    made.fail("a", "1.0.0", "not_found")
    [lack] = made.lacks()
    assert lack.optional
    assert lack.required_by == ("lock",)


def test_what_is_elsewhere_is_told_and_not_asked_for() -> None:
    """Once, with all who require it."""
    made = graph()
    fork = Requirement("fork", "a/fork", "git")
    answered(made, "a", fork, wants("b"))
    answered(made, "b", fork)
    assert made.level() == {"b": ["^1"]}
    assert list(made.left_out()) == [LeftOut("fork", "a/fork", "git", ("a@1.0.0", "b@1.0.0"))]


def test_what_is_required_twice_over_holds_both_times() -> None:
    """By ranges, and by the lock file in a tarball."""
    made = graph()
    answered(made, "a", wants("b"))
    made.level()
    made.expand("a", "1.0.0", [wants("b", "1.2.3")])
    assert made.level() == {"b": ["1.2.3"]}
    assert made.needs["a", "1.0.0"] == (wants("b"), wants("b", "1.2.3"))
