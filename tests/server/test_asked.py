"""Addresses of requests read into values, hostile ones among them."""

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.server.asked import Asked, Refused, Route, ViewKind, parse

BASE = "http://mirror.example"


def asked(raw: str) -> Asked:
    """What an address asks for, which is something."""
    found = parse(raw, BASE)
    assert isinstance(found, Asked), found
    return found


@pytest.mark.parametrize(
    ("raw", "route", "name", "rest"),
    [
        ("/react", Route.PACKUMENT, "react", ""),
        ("/react/", Route.PACKUMENT, "react", ""),
        ("/react?write=true", Route.PACKUMENT, "react", ""),
        ("http://mirror.example/react", Route.PACKUMENT, "react", ""),
        ("/@s/n", Route.PACKUMENT, "@s/n", ""),
        ("/@s%2fn", Route.PACKUMENT, "@s/n", ""),
        ("/@s%2Fn", Route.PACKUMENT, "@s/n", ""),
        ("/%40s%2Fn", Route.PACKUMENT, "@s/n", ""),
        ("/JSONStream", Route.PACKUMENT, "JSONStream", ""),
        ("/constructor", Route.PACKUMENT, "constructor", ""),
        ("/-", Route.PACKUMENT, "-", ""),
        ("/-----hsad-----", Route.PACKUMENT, "-----hsad-----", ""),
        ("/react/1.0.0", Route.MANIFEST, "react", "1.0.0"),
        ("/react/%5E18", Route.MANIFEST, "react", "^18"),
        ("/react/__proto__", Route.MANIFEST, "react", "__proto__"),
        ("/react/%3E%3D1%20%3C2", Route.MANIFEST, "react", ">=1 <2"),
        ("/@s/n/latest", Route.MANIFEST, "@s/n", "latest"),
        ("/@s%2fn/latest", Route.MANIFEST, "@s/n", "latest"),
        ("/-/1.0.0", Route.MANIFEST, "-", "1.0.0"),
        ("/react/-/react-1.0.0.tgz", Route.TARBALL, "react", "react-1.0.0.tgz"),
        ("/@s/n/-/n-1.0.0.tgz", Route.TARBALL, "@s/n", "n-1.0.0.tgz"),
        ("/@s%2fn/-/n-1.0.0.tgz", Route.TARBALL, "@s/n", "n-1.0.0.tgz"),
        ("/@s/n/-/@s/n-1.0.0.tgz", Route.TARBALL, "@s/n", "n-1.0.0.tgz"),
        ("/-/-/--1.0.0.tgz", Route.TARBALL, "-", "--1.0.0.tgz"),
        ("/-/package/react/dist-tags", Route.DIST_TAGS, "react", ""),
        ("/-/package/@s/n/dist-tags", Route.DIST_TAGS, "@s/n", ""),
        ("/-/package/@s%2fn/dist-tags", Route.DIST_TAGS, "@s/n", ""),
        ("/-/ping", Route.PING, "", ""),
        ("/-/ping?write=true", Route.PING, "", ""),
        ("/-/whoami", Route.WHOAMI, "", ""),
        ("/-/v1/search?text=x", Route.SEARCH, "", ""),
        ("/-/npm/v1/security/advisories/bulk", Route.ADVISORIES, "", ""),
        ("/-/npm/v1/security/audits/quick", Route.AUDIT, "", ""),
        ("/-/npm/v1/security/audits", Route.AUDIT, "", ""),
        ("/-/npm/v1/keys", Route.KEYS, "", ""),
        ("/-/npm/v1/attestations/react@1.0.0", Route.ATTESTATIONS, "react", "1.0.0"),
        ("/-/npm/v1/attestations/@s%2fn@1.0.0", Route.ATTESTATIONS, "@s/n", "1.0.0"),
        ("/-/npm/v1/attestations/@s/n@1.0.0", Route.ATTESTATIONS, "@s/n", "1.0.0"),
        ("/-/replicate/registry/_changes", Route.REPLICATE, "", "registry/_changes"),
    ],
)
def test_what_is_asked(raw: str, route: Route, name: str, rest: str) -> None:
    """Route, package and the rest, whatever the spelling."""
    found = asked(raw)
    assert (found.route, found.name, found.rest) == (route, name, rest)


def test_views_have_a_base_of_their_own() -> None:
    """What tarball URLs begin with, the moment as the client wrote it."""
    live, raw, past = (
        asked(f"{prefix}/@s%2fn/latest").view
        for prefix in ("", "/-/raw", "/-/at/2026-11-20T10%3A00%3A00Z")
    )
    assert (live.kind, live.base) == (ViewKind.LIVE, BASE)
    assert (raw.kind, raw.base) == (ViewKind.RAW, f"{BASE}/-/raw")
    assert (past.kind, past.bound) == (ViewKind.PAST, "2026-11-20T10:00:00Z")
    assert past.base == f"{BASE}/-/at/2026-11-20T10%3A00%3A00Z"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("/", 404),
        ("//react", 404),
        ("/..", 404),
        ("/../../etc/passwd", 404),
        ("/..%2f..%2fetc%2fpasswd/-/x", 404),
        ("/%2e%2e/%2e%2e/etc", 404),
        ("/react/-/..%2f..%2f..%2fetc%2fpasswd/x", 404),
        ("/react%00", 400),
        ("/react%0d%0aSet-Cookie:x", 400),
        ("/re%7fact", 400),
        ("/react%", 400),
        ("/react%zz", 400),
        ("/%ff%fe", 400),
        ("/%ed%a0%80", 400),
        ("react", 400),
        ("*", 400),
        ("", 400),
        (f"/{'a' * 600}", 404),
        (f"/{'a' * 5000}", 414),
        ("/-/all", 404),
        ("/-/raw", 404),
        ("/-/at", 404),
        ("/a%2fb", 404),
        ("/@s%2f..", 404),
        ("/@s%2f", 404),
        ("/@s%2fa%2fb", 404),
        ("/-/package/a%2fb/dist-tags", 404),
        ("/-/npm/v1/attestations/react", 404),
        ("/react/-/a/b/c.tgz", 404),
        ("/react/1/2/3", 404),
    ],
)
def test_what_is_refused(raw: str, status: int) -> None:
    """What is no address is 400, what cannot be there 404."""
    found = parse(raw, BASE)
    assert isinstance(found, Refused), found
    assert found.status == status


def test_a_long_name_that_npm_once_took_is_a_name() -> None:
    """There are names of more than 214 characters."""
    assert asked(f"/{'a' * 300}").name == "a" * 300


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from("/@-.%0aef2Z\\ ~\x00é?#:"), max_size=40))
def test_no_text_is_too_strange(text: str) -> None:
    """Whatever is sent, there is a value for it, and no name has what no name may have."""
    found = parse(f"/{text}", BASE)
    if isinstance(found, Asked) and found.route is not Route.REPLICATE:
        for part in (found.name, found.rest):
            assert not {"\x00", "\n", "\r"} & set(part)
            assert part not in {"..", "."}
        assert ".." not in found.name.split("/")
