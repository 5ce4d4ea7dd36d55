"""Where things are asked for, and where requests may go."""

from urllib.parse import unquote

import pytest
from hypothesis import example, given, strategies as st
from yarl import URL

from npmmirror.upstream.address import Addresses
from npmmirror.upstream.errors import BadAnswer

REGISTRY = "https://registry.example"


def addresses(registry: str = REGISTRY, feed: str | None = None, *hosts: str) -> Addresses:
    return Addresses(feed=feed, registry=registry, tarball_hosts=hosts)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("left-pad", "/left-pad"),
        ("@babel/core", "/@babel%2fcore"),
        ("JSONStream", "/JSONStream"),
        ("-", "/-"),
        ("a?b#c d", "/a%3Fb%23c%20d"),
        ("%00", "/%2500"),
        ("\x00\r\n", "/%00%0D%0A"),
        ("ünï", "/%C3%BCn%C3%AF"),
        ("a/b", "/a%2Fb"),
        ("@a/b/c", "/%40a%2Fb%2Fc"),
        ("...", "/..."),
        ("@../x", "/@..%2fx"),
        ("x" * 300, "/" + "x" * 300),
    ],
)
def test_a_name_becomes_one_path_segment(name: str, path: str) -> None:
    """Whatever a package is called, its URL has one segment below the registry."""
    assert addresses().packument(name).raw_path == path


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "@a/..", "a/../../b", "..\\x", "a//b", "/a", "\ud800"]
)
def test_a_name_that_no_encoding_tames_is_refused(name: str) -> None:
    """Dot segments are resolved by servers even when they are percent-encoded."""
    with pytest.raises(BadAnswer) as refused:
        addresses().packument(name)
    assert refused.value.reason == "bad_name"


@given(st.text(max_size=40))
@example("%2e%2e/x")
@example("@@a/b@c")
def test_no_name_reaches_beyond_its_segment(name: str) -> None:
    """A name is refused, or its URL decodes to the name, below the registry's own path."""
    try:
        url = addresses("https://registry.example/npm/").packument(name)
    except BadAnswer:
        return
    wire = url.raw_path_qs
    assert wire.startswith("/npm/")
    assert wire.count("/") == 2
    assert not set(wire) & set("?#\\ \r\n\x00")
    assert unquote(wire.removeprefix("/npm/")) == name


@pytest.mark.parametrize("base", ["https://h.example/a/b", "https://h.example/a/b/"])
def test_a_base_url_may_have_a_path_and_end_in_a_slash(base: str) -> None:
    """CouchDB-like registries lie below a database's path."""
    both = addresses(base, base)
    assert str(both.packument("x")) == "https://h.example/a/b/x"
    assert str(both.root()) == "https://h.example/a/b/"
    assert both.changes(0, 5, descending=False).raw_path_qs == "/a/b/_changes?since=0&limit=5"


def test_changes_asks_for_no_more_rows_than_npm_allows() -> None:
    """The feed of npm answers a larger limit with 400."""
    url = addresses(feed="https://feed.example").changes(7, 50_000, descending=True)
    assert url.raw_path_qs == "/_changes?since=7&limit=10000&descending=true"


def test_an_opaque_cursor_is_quoted_whole() -> None:
    """A CouchDB seq may hold any characters."""
    url = addresses(feed="https://feed.example").changes("3-a&b=+/", 1, descending=False)
    assert url.raw_query_string == "since=3-a%26b%3D%2B%2F&limit=1"


def test_a_startkey_is_quoted_as_json() -> None:
    """`_all_docs` takes JSON strings as keys."""
    url = addresses(feed="https://feed.example").all_docs('@a/"b"', 3)
    assert url.query["startkey"] == '"@a/\\"b\\""'


def test_a_tarball_is_asked_for_at_the_registry_first() -> None:
    """The usual place is the file name of dist.tarball below the package on the registry."""
    found = addresses().tarball("x", "https://registry.example/x/-/x-1.0.0.tgz")
    assert [str(url) for url in found.urls] == ["https://registry.example/x/-/x-1.0.0.tgz"]
    assert found.refused is None


def test_a_scoped_tarball_keeps_the_slash_that_clients_use() -> None:
    """Tarballs of scoped packages are known by the unescaped spelling."""
    found = addresses().tarball("@a/x", "http://registry.example/@a/x/-/x-1.0.0.tgz")
    assert [str(url) for url in found.urls] == ["https://registry.example/@a/x/-/x-1.0.0.tgz"]


@given(
    st.from_regex(r"(@?[a-zA-Z0-9._~-]{1,3}/)?[a-zA-Z0-9._~%-]{1,4}", fullmatch=True),
    st.from_regex(r"https?://[a-z0-9.]{1,4}(:[0-9]{2})?(/[a-z.%2f?#@]{0,3}){1,4}", fullmatch=True),
)
@example("@a/x", "https://registry.example/@a/x/-/x-1.0.0.tgz")
@example("x", "http://elsewhere.example:81/a/../x-1.0.0.tgz")
def test_the_usual_place_is_the_first_of_all(name: str, dist: str) -> None:
    """It is found in a shorter way, or not at all."""
    usual = addresses().usual_tarball(name, dist)
    if usual is not None:
        assert usual == addresses().tarball(name, dist).urls[0]


def test_the_usual_place_is_found_where_it_is_usual() -> None:
    """Also where the document names another host than the registry's."""
    found = addresses().usual_tarball("@a/x", "http://elsewhere.example/@a/x/-/x-1.0.0.tgz")
    assert str(found) == "https://registry.example/@a/x/-/x-1.0.0.tgz"


def test_an_unusual_path_is_the_second_try() -> None:
    """Where dist.tarball differs from the usual place, its path is tried on the registry."""
    found = addresses("https://r.example/npm").tarball("x", "http://r.example/files/x.tgz?v=1")
    assert [str(url) for url in found.urls] == [
        "https://r.example/npm/x/-/x.tgz",
        "https://r.example/files/x.tgz?v=1",
    ]


def test_another_host_is_asked_last_and_only_where_allowed() -> None:
    """A host of dist.tarball that is not in tarball_hosts is named as refused."""
    dist = "http://user:secret@files.example:8080/x.tgz#top"
    allowed = addresses(REGISTRY, None, "files.example:8080").tarball("x", dist)
    assert str(allowed.urls[-1]) == "http://files.example:8080/x.tgz"
    assert allowed.refused is None
    refused = addresses(REGISTRY, None, "files.example").tarball("x", dist)
    assert all(url.host == "registry.example" for url in refused.urls)
    assert refused.refused == "files.example"


def test_credentials_of_the_registry_are_kept_for_its_own_host() -> None:
    """A registry's user and password go with every request to it, also by another path."""
    found = addresses("https://me:pw@r.example/npm").tarball("x", "https://r.example/f/x.tgz")
    assert [url.raw_user for url in found.urls] == ["me", "me"]


@pytest.mark.parametrize(
    "dist", ["", "x.tgz", "ftp://h.example/x.tgz", "http://", "http://h.example", "http://[x/y"]
)
def test_what_is_no_url_of_a_file_is_refused(dist: str) -> None:
    """A dist.tarball that could not be asked for is the package's fault."""
    with pytest.raises(BadAnswer) as refused:
        addresses().tarball("x", dist)
    assert refused.value.reason == "bad_url"


def test_a_file_name_that_hides_a_path_is_not_used() -> None:
    """An encoded slash in the file name does not lead out of the package's directory."""
    found = addresses().tarball("x", "https://registry.example/x/-/..%2f..%2fy.tgz")
    assert [url.raw_path for url in found.urls] == ["/x/-/..%2F..%2Fy.tgz"]


@pytest.mark.parametrize(
    ("current", "location", "target"),
    [
        ("https://registry.example/a", "/b?c=1", "https://registry.example/b?c=1"),
        ("http://registry.example/a", "https://registry.example/a", "https://registry.example/a"),
        ("https://registry.example/a", "//cdn.example/x", "https://cdn.example/x"),
        ("https://feed.example/a", "https://registry.example/a", "https://registry.example/a"),
        ("https://registry.example/", "https://me:pw@cdn.example/x#y", "https://cdn.example/x"),
    ],
)
def test_redirects_to_known_hosts_are_followed(current: str, location: str, target: str) -> None:
    """The registry's and the feed's host and those of tarball_hosts, without credentials."""
    all_hosts = addresses(REGISTRY, "https://feed.example", "cdn.example")
    assert str(all_hosts.redirected(URL(current), location)) == target


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "https://other.example/",
        "https://registry.example:8443/",
        "http://registry.example/a",
        "file:///etc/passwd",
        "http://[bad",
    ],
)
def test_redirects_elsewhere_are_refused(location: str | None) -> None:
    """To another host or port, from https to http, to no URL: never followed."""
    with pytest.raises(BadAnswer) as refused:
        addresses().redirected(URL("https://registry.example/a"), location)
    assert refused.value.reason == "redirect_refused"
