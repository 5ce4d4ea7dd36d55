"""What the signatures of versions are worth."""

import base64
import json
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, strategies as st

from npmmirror.diff import diff
from npmmirror.packument import Packument
from npmmirror.signatures import (
    MOST_KEYS,
    MOST_SIGNATURES,
    STATES,
    Key,
    Keys,
    NotKeysError,
    is_attested,
    judge,
    signed,
)

REAL = {
    "keyid": "SHA256:DhQ8wR5APBvFHLF/+Tc+AYvPOdTpcIDqOhxsBHRwC7U",
    "keytype": "ecdsa-sha2-nistp256",
    "scheme": "ecdsa-sha2-nistp256",
    "key": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEY6Ya7W++7aUPzvMTrezH6Ycx3c+HOKYCcNGybJZSCJq/fd7Qa8u"
    "uAKtdIkUQtQiEKERhAmE5lMMJhP8OkDOa2g==",
    "expires": None,
}
REAL_NAME, REAL_VERSION = "@anthropic-ai/claude-code", "2.1.97"
REAL_DIST = {
    "integrity": "sha512-8lKM/rFctBl+82bQ+0g0Lkbt9tJU/zYKAjWisNUq436/386n/VZQbnyjnibGkyqqB6mrX/3ub/cp"
    "FlpCu4FXLg==",
    "signatures": [
        {
            "keyid": REAL["keyid"],
            "sig": "MEUCICG6rML8JBFMxvrHFFDhofBztC5mvsOLqHbO7G4bdU4MAiEA/TuR+/HzSBvE2e/5XokcLHWOLaw6"
            "04eahZ4Hy+IFTew=",
        }
    ],
}
OURS = ec.generate_private_key(ec.SECP256R1())
KEYID, INTEGRITY = "SHA256:ours", "sha512-abc="


def spki(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode()


def keys(
    *, expires: str | None = None, ordinal: int = 7, other: dict[str, str] | None = None
) -> Keys:
    kind = "ecdsa-sha2-nistp256"
    told = {"keyid": KEYID, "keytype": kind, "scheme": kind, "key": spki(OURS)} | (other or {})
    return Keys(ordinal, (Key(**told, expires=expires),))


def sign(message: str, keyid: str = KEYID) -> dict[str, str]:
    raw = OURS.sign(message.encode(), ec.ECDSA(SHA256()))
    return {"keyid": keyid, "sig": base64.b64encode(raw).decode()}


def document(
    dist: Any, *, name: str = "a", at: str | None = "2026-01-01T00:00:00.000Z"
) -> Packument:
    times = {} if at is None else {"1.0.0": at}
    said = {"name": name, "time": times, "versions": {"1.0.0": {"name": name, "dist": dist}}}
    return Packument.parse(json.dumps(said).encode(), name=name)  # integers of any size


def verdict(
    dist: Any, known: Keys | None = None, at: str | None = "2026-01-01T00:00:00.000Z"
) -> str:
    return judge(document(dist, at=at), "1.0.0", keys() if known is None else known)


def test_a_real_signature_of_npms() -> None:
    """The published vector is valid, and for another version it is not."""
    said = {
        "name": REAL_NAME,
        "versions": {v: {"dist": REAL_DIST} for v in (REAL_VERSION, "2.1.98")},
    }
    packument = Packument.parse(orjson.dumps(said), name=REAL_NAME)
    known = Keys.parse(1, orjson.dumps({"keys": [REAL]}))
    assert judge(packument, REAL_VERSION, known) == "valid"
    assert judge(packument, "2.1.98", known) == "invalid"


def test_a_signature_of_other_bytes_is_invalid() -> None:
    """What is signed is name, version and digest."""
    good = {"integrity": INTEGRITY, "signatures": [sign(f"a@1.0.0:{INTEGRITY}")]}
    assert verdict(good) == "valid"
    assert verdict({**good, "integrity": "sha512-abd="}) == "invalid"


def test_without_integrity_the_shasum_is_what_was_signed() -> None:
    """It is spelt as SRI spells it."""
    shasum = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    message = "a@1.0.0:sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="
    assert verdict({"shasum": shasum, "signatures": [sign(message)]}) == "valid"
    assert verdict({"shasum": "0" * 40, "signatures": [sign(message)]}) == "invalid"
    assert verdict({"shasum": "no digest", "signatures": [sign(message)]}) == "invalid"


@pytest.mark.parametrize("absent", [None, [], "", {}])
def test_unsigned(absent: object) -> None:
    """No signatures, however that is spelt; and a manifest without `dist`."""
    assert verdict({"integrity": INTEGRITY, "signatures": absent}) == "unsigned"
    assert verdict({"integrity": INTEGRITY}) == "unsigned"
    assert verdict(None) == verdict([1]) == "unsigned"


@pytest.mark.parametrize(
    "odd", ["x", {"a": 1}, 5, [None], [{"keyid": KEYID}], [{"keyid": 5, "sig": ""}]]
)
def test_what_is_no_signature_is_invalid(odd: object) -> None:
    """Something stands there, and no client would take it."""
    assert verdict({"integrity": INTEGRITY, "signatures": odd}) == "invalid"


@pytest.mark.parametrize("sig", ["", "???", "AAAA", "MAYCAQECAQE="])
def test_a_signature_that_cannot_be_read_is_invalid(sig: str) -> None:
    """No base64, no DER, numbers that fit nothing."""
    dist = {"integrity": INTEGRITY, "signatures": [{"keyid": KEYID, "sig": sig}]}
    assert verdict(dist) == "invalid"


def test_of_a_key_that_is_not_known() -> None:
    """Another name, or no keys at all."""
    dist = {"integrity": INTEGRITY, "signatures": [sign(f"a@1.0.0:{INTEGRITY}", "SHA256:other")]}
    assert verdict(dist) == verdict(dist, Keys()) == "unknown_key"


@pytest.mark.parametrize(
    "other",
    [
        {"keytype": "ssh-ed25519"},
        {"scheme": "rsa"},
        {"key": "AAAA"},
        {"key": "no base64"},
        {"key": spki(ec.generate_private_key(ec.SECP384R1()))},
    ],
)
def test_a_key_of_a_kind_that_is_not_known(other: dict[str, str]) -> None:
    """Whatever such a key signs cannot be judged: it is as if the key were not known."""
    dist = {"integrity": INTEGRITY, "signatures": [sign(f"a@1.0.0:{INTEGRITY}")]}
    assert verdict(dist, keys(other=other)) == "unknown_key"


def test_a_key_counts_for_what_was_published_before_it_expired() -> None:
    """At the very instant it has expired; what has no time is of 2015."""
    dist = {"integrity": INTEGRITY, "signatures": [sign(f"a@1.0.0:{INTEGRITY}")]}
    end = "2026-01-01T00:00:00.000Z"
    assert verdict(dist, keys(expires=end), "2025-12-31T23:59:59.999Z") == "valid"
    assert verdict(dist, keys(expires=end), "2026-01-01T00:00:00.000Z") == "expired_key"
    assert verdict(dist, keys(expires=end), None) == "valid"
    assert verdict(dist, keys(expires="2015-01-01T00:00:00.000Z"), None) == "expired_key"
    assert verdict(dist, keys(expires="soon"), None) == "expired_key"


def test_a_wrong_signature_with_an_expired_key_is_wrong() -> None:
    """The worse of the two is told."""
    dist = {"integrity": INTEGRITY, "signatures": [sign("something else")]}
    assert verdict(dist, keys(expires="2020-01-01T00:00:00.000Z")) == "invalid"


def test_of_several_the_worst_counts() -> None:
    """As for npm, that takes none that is not valid."""
    good = sign(f"a@1.0.0:{INTEGRITY}")
    unknown, bad = {**good, "keyid": "SHA256:other"}, sign("b")
    assert verdict({"integrity": INTEGRITY, "signatures": [good, good]}) == "valid"
    assert verdict({"integrity": INTEGRITY, "signatures": [good, unknown]}) == "unknown_key"
    assert verdict({"integrity": INTEGRITY, "signatures": [good, unknown, bad]}) == "invalid"
    many = [good] * (MOST_SIGNATURES + 1)
    assert verdict({"integrity": INTEGRITY, "signatures": many}) == "invalid"


def test_a_document_of_keys() -> None:
    """Entries that are none are left out; of two with one name the first counts."""
    said = {"keys": [REAL, {**REAL, "key": "B"}, None, {"keyid": "x"}, {"keyid": "y", "key": "C"}]}
    found = Keys.parse(3, orjson.dumps(said))
    assert [key.keyid for key in found.keys] == [REAL["keyid"], REAL["keyid"], "y"]
    assert (key := found.named(REAL["keyid"] or "")) is not None
    assert (key.key, key.expires) == (REAL["key"], None)
    assert Keys.parse(3, None) == Keys(3)


@pytest.mark.parametrize("said", [b"<html>", b"[]", b"{}", b'{"keys": {}}', b""])
def test_what_is_no_document_of_keys(said: bytes) -> None:
    """It is refused, and told from one without keys."""
    with pytest.raises(NotKeysError):
        Keys.parse(3, said)


def test_too_many_keys_are_refused() -> None:
    """Each question to the examiner carries them."""
    with pytest.raises(NotKeysError):
        Keys.parse(3, orjson.dumps({"keys": [REAL] * (MOST_KEYS + 1)}))


def test_a_documents_effects_tell_of_signatures_and_attestations() -> None:
    """Of each version that is new or changed, and which keys they were held against."""
    dist = {
        "integrity": INTEGRITY,
        "signatures": [sign(f"a@1.0.0:{INTEGRITY}")],
        "attestations": {"url": "https://registry.example/-/npm/v1/attestations/a@1.0.0"},
    }
    packument = document(dist)
    found = signed(diff(packument, None, None, following_since=None), packument, keys(ordinal=9))
    [facts] = found.versions
    assert (facts.signature, facts.attested, found.keys) == ("valid", True, 9)
    assert is_attested(packument, "1.0.0")
    assert not is_attested(document({}), "1.0.0")


def test_of_a_large_document_nothing_decoded_is_kept() -> None:
    """Its signatures may be most of it; they are judged all the same."""
    dist = {"integrity": INTEGRITY, "signatures": [sign(f"a@1.0.0:{INTEGRITY}")]}
    small, large = document(dist), document({**dist, "padding": "x" * (1 << 20)})
    for packument in (small, large):
        effects = diff(packument, None, None, following_since=None)
        [facts] = signed(effects, packument, keys()).versions
        assert facts.signature == "valid"
    assert small.signing("1.0.0") is not None
    assert large.signing("1.0.0") is None


def test_a_manifest_that_only_pythons_parser_reads() -> None:
    """A lone surrogate somewhere in it does not make its signature another."""
    said = document({"integrity": INTEGRITY, "signatures": [sign(f"a@1.0.0:{INTEGRITY}")]}).raw
    odd = bytes(said).replace(b'{"name":"a","dist"', b'{"name":"a","x":"\\ud800","dist"')
    assert judge(Packument.parse(odd, name="a"), "1.0.0", keys()) == "valid"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["dist", "signatures", "keyid", "sig", "integrity", "shasum", "attestations"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_dist_is_there_is_a_verdict(dist: object) -> None:
    """Nothing is raised, whatever stands there; nor does it matter what was read before."""
    found = verdict(dist)
    assert found in STATES
    packument = document(dist)
    effects = diff(packument, None, None, following_since=None)
    [facts] = signed(effects, packument, keys()).versions
    assert facts.signature == found
    assert facts.attested == is_attested(document(dist), "1.0.0")
