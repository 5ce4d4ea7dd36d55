"""Claims are read as npm reads them, and bytes held against them."""

import base64
import hashlib

import pytest
from hypothesis import given, strategies as st

from npmmirror.integrity import Expected, Hasher, agree, sri

BODY = b"the bytes of a tarball"


def claim(algorithm: str, body: bytes = BODY) -> str:
    """An entry that claims this body."""
    digest = hashlib.new(algorithm, body, usedforsecurity=False).digest()
    return f"{algorithm}-{base64.b64encode(digest).decode()}"


def hashed(integrity: str | None, shasum: str | None = None, body: bytes = BODY) -> Hasher:
    """A hasher that took in the body."""
    hasher = Hasher(Expected.of(integrity, shasum))
    hasher.update(body)
    return hasher


@pytest.mark.parametrize("algorithm", ["sha512", "sha384", "sha256", "sha1"])
def test_each_algorithm_is_verified(algorithm: str) -> None:
    """Right bytes match, others do not."""
    assert hashed(claim(algorithm)).matches
    assert not hashed(claim(algorithm), body=b"others").matches


def test_the_strongest_algorithm_decides() -> None:
    """A weaker hash that matches saves nothing, one that does not harms nothing."""
    weak_right = f"{claim('sha1')} {claim('sha256')} {claim('sha512', b'x')}"
    strong_right = f"{claim('sha1', b'x')} {claim('sha512')} {claim('sha384', b'x')}"
    assert not hashed(weak_right).matches
    assert hashed(strong_right).matches


def test_any_hash_of_the_strongest_may_match() -> None:
    """Several of one algorithm are alternatives."""
    assert hashed(f"{claim('sha512', b'x')} {claim('sha512')}").matches


def test_integrity_goes_before_shasum() -> None:
    """The SHA-1 is asked only where integrity tells nothing."""
    right = hashlib.sha1(BODY, usedforsecurity=False).hexdigest()
    assert not hashed(claim("sha512", b"x"), right).matches
    assert hashed(None, right).matches
    assert hashed("", right.upper()).matches
    assert not hashed("", "0" * 40).matches


@pytest.mark.parametrize("space", [" ", "\n", "\t  \r\n"])
def test_white_space_and_options(space: str) -> None:
    """Entries are separated by any white space and may carry options."""
    text = f"{space}{claim('sha1')}{space}{claim('sha512')}?foo?bar=1{space}"
    found = Expected.of(text, None)
    assert found is not None
    assert (found.algorithm, found.claim, found.ignored) == ("sha512", text, ())
    assert found.digests == {hashlib.sha512(BODY).hexdigest()}


@pytest.mark.parametrize(
    "entry",
    [
        claim("md5"),
        claim("sha512").upper(),
        claim("sha512").rstrip("="),
        claim("sha512")[:-8],
        claim("sha512")[:-3] + "B==",
        "sha512-!!",
        "sha512-",
        "sha9-aaaa",
        "nonsense",
        "sha256-" + claim("sha512").partition("-")[2],
    ],
)
def test_what_is_malformed_is_ignored_and_told(entry: str) -> None:
    """Alone it claims nothing; beside a good entry it is listed."""
    assert Expected.of(entry, None) is None
    found = Expected.of(f"{entry} {claim('sha1')}", None)
    assert found is not None
    assert (found.algorithm, found.ignored) == ("sha1", (entry,))
    fallen_back = Expected.of(entry, "0" * 40)
    assert fallen_back is not None
    assert fallen_back.ignored == (entry,)


@pytest.mark.parametrize("shasum", [None, "", "0" * 39, "z" * 40])
def test_without_any_digest_bytes_are_unverifiable(shasum: str | None) -> None:
    """No claim is contradicted, and the verdict says why."""
    hasher = hashed(None, shasum)
    assert hasher.expected is None
    assert hasher.matches
    assert hasher.verdict().startswith("unverifiable")


def test_a_mismatch_tells_both_digests() -> None:
    """What was claimed, what arrived, and how much of it."""
    verdict = hashed(claim("sha512"), body=b"others").verdict()
    assert claim("sha512") in verdict
    assert claim("sha512", b"others") in verdict
    assert "(6 bytes)" in verdict


def test_an_empty_body_whose_digest_says_so_matches() -> None:
    """Zero-length tarballs are really there."""
    assert hashed(None, "da39a3ee5e6b4b0d3255bfef95601890afd80709", b"").matches


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_chunks_make_no_difference(chunks: list[bytes]) -> None:
    """Digests and size are of everything taken in."""
    body = b"".join(chunks)
    hasher = Hasher(Expected.of(claim("sha384", body), None))
    for chunk in chunks:
        hasher.update(memoryview(chunk))
    assert hasher.size == len(body)
    assert hasher.matches
    assert hasher.digests.sha512 == hashlib.sha512(body).hexdigest()
    assert sri(hasher.digests.sha512) == claim("sha512", body)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """A claim may be anything; it never raises."""
    found = Expected.of(text, text)
    assert found is None or found.digests


@given(
    st.lists(st.sampled_from(["sha1", "sha256", "sha384", "sha512", "md5"]), max_size=4),
    st.lists(st.sampled_from(["rubbish", "sha512-?", "sha1-AAAA"]), max_size=3),
)
def test_right_claims_match_in_any_mixture(algorithms: list[str], rubbish: list[str]) -> None:
    """Whatever stands beside them, claims of the right bytes match."""
    entries = [claim(algorithm) for algorithm in algorithms] + rubbish
    assert hashed(" ".join(entries)).matches


@pytest.mark.parametrize(
    ("one", "other", "shasum", "found"),
    [
        (sri("aa" * 64), sri("aa" * 64), None, True),
        (sri("aa" * 64), sri("bb" * 64), None, False),
        (f"{sri('cc' * 64)} {sri('bb' * 64)}", sri("bb" * 64), "0" * 40, True),
        (sri("aa" * 20, "sha1"), None, "AA" * 20, True),
        (sri("aa" * 20, "sha1"), sri("bb" * 64), "bb" * 20, False),
        (f"{sri('aa' * 20, 'sha1')} {sri('bb' * 64)}", sri("bb" * 64), "cc" * 20, True),
        (sri("aa" * 64), None, "aa" * 20, None),
        ("", sri("aa" * 64), None, None),
        ("nonsense", sri("aa" * 64), None, None),
    ],
)
def test_two_claims_of_the_same_bytes(
    one: str, other: str | None, shasum: str | None, found: bool | None
) -> None:
    """The strongest algorithm that both have decides; without one neither says anything."""
    assert agree(one, other, shasum) is found
