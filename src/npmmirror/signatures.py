"""What the signatures of versions are worth, held against the registry's keys. Pure.

A registry signs `name@version:integrity` with ECDSA over P-256 and SHA-256. Judged is as npm judges:
the signature must be made with the key that it names, of a version that was published before the key
expired. Source: npm's `audit signatures`.
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from time import sleep
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from npmmirror.effects import Effects, VersionFacts
from npmmirror.integrity import sri
from npmmirror.jsontext import Raw, UnreadableError, value
from npmmirror.packument import Packument, instant
from npmmirror.plain import NOT_SIGNED, Signing

VALID: Final = "valid"
INVALID: Final = "invalid"
"""A signature is wrong, or is none."""
UNSIGNED: Final = "unsigned"
UNKNOWN_KEY: Final = "unknown_key"
"""It names a key that upstream had not served by then, or one of a kind that is not known here."""
EXPIRED_KEY: Final = "expired_key"
"""It is right, but the version was published when the key had expired."""
STATES: Final = (VALID, INVALID, UNSIGNED, UNKNOWN_KEY, EXPIRED_KEY)

KEY_TYPE: Final = "ecdsa-sha2-nistp256"
MOST_KEYS: Final = 100
MOST_SIGNATURES: Final = 16
"""A version with more is called invalid without a look: each costs a tenth of a millisecond."""

_UNDATED: Final = "2015-01-01T00:00:00.000Z"
"""When a version without a time counts as published."""
_WORST_FIRST: Final = (INVALID, UNKNOWN_KEY, EXPIRED_KEY)
_ALGORITHM: Final = ECDSA(SHA256())


class NotKeysError(ValueError):
    """The bytes are no document of a registry's keys, for the reason they tell."""


class Key(msgspec.Struct, frozen=True, array_like=True):
    """A key as a registry serves it: `key` is a SubjectPublicKeyInfo in base64.

    `expires` is None where it does not.
    """

    keyid: str
    keytype: str
    scheme: str
    key: str
    expires: str | None = None


class Keys(msgspec.Struct, frozen=True, array_like=True):
    """The keys of a record of the capture log; `ordinal` is its, 0 where there is none."""

    ordinal: int = 0
    keys: tuple[Key, ...] = ()

    @classmethod
    def parse(cls, ordinal: int, document: bytes | None) -> "Keys":
        """The keys that a document tells; none where upstream served none.

        Entries that are no keys are left out; of two with one name the first counts.

        Raises:
            NotKeysError: it is no such document.
        """
        return cls(ordinal, () if document is None else tuple(_keys(document)))

    def named(self, keyid: str) -> Key | None:
        """The key of this name."""
        return next((key for key in self.keys if key.keyid == keyid), None)


def _keys(document: bytes) -> list[Key]:
    try:
        told = value(document)
    except UnreadableError as error:
        raise NotKeysError(error.reason) from error
    listed = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise NotKeysError("it has no list of keys")
    if len(listed) > MOST_KEYS:
        raise NotKeysError(f"it has {len(listed)} keys")
    return [key for entry in listed if (key := _key(entry)) is not None]


def _key(entry: Any) -> Key | None:
    told = entry if isinstance(entry, dict) else {}
    keyid, key, expires = told.get("keyid"), told.get("key"), told.get("expires")
    if not isinstance(keyid, str) or not isinstance(key, str):
        return None
    kind, scheme = str(told.get("keytype")), str(told.get("scheme"))
    return Key(keyid, kind, scheme, key, str(expires) if expires else None)


def signed(effects: Effects, packument: Packument, keys: Keys) -> Effects:
    """The effects of a document, with what the signatures of their versions are worth."""
    versions = tuple(_with_verdict(facts, packument, keys) for facts in effects.versions)
    return replace(effects, versions=versions, keys=keys.ordinal)


def _with_verdict(facts: VersionFacts, packument: Packument, keys: Keys) -> VersionFacts:
    dist = packument.signing(facts.version) or _signing(packument.versions[facts.version])
    state = _judged(packument, facts.version, dist, keys)
    return msgspec.structs.replace(facts, signature=state, attested=_is_attested(dist))


def judge(packument: Packument, version: str, keys: Keys) -> str:
    """What the signatures of a version of the document are worth, one of `STATES`.

    Of several the worst counts: npm takes none that is not valid.

    Raises:
        KeyError: the document has no such version.
    """
    return _judged(packument, version, _signing(packument.versions[version]), keys)


def _judged(packument: Packument, version: str, dist: Signing, keys: Keys) -> str:
    signatures = dist.signatures
    if not signatures:
        return UNSIGNED
    if not isinstance(signatures, list) or len(signatures) > MOST_SIGNATURES:
        return INVALID
    message = _message(packument.name, version, dist)
    published = packument.times.get(version)
    found = {_verdict(each, message, published, keys) for each in signatures}
    return next((state for state in _WORST_FIRST if state in found), VALID)


def _verdict(signature: Any, message: bytes | None, published: str | None, keys: Keys) -> str:
    told = signature if isinstance(signature, dict) else {}
    keyid, sig = told.get("keyid"), told.get("sig")
    if not isinstance(keyid, str) or not isinstance(sig, str) or message is None:
        return INVALID
    key = keys.named(keyid)
    public = None if key is None else _public_key(key.keytype, key.scheme, key.key)
    if key is None or public is None:
        return UNKNOWN_KEY
    if not _is_made_with(public, sig, message):
        return INVALID
    return VALID if _is_before(published, key.expires) else EXPIRED_KEY


def _message(name: str, version: str, dist: Signing) -> bytes | None:
    """What is signed; None where the document has no digest."""
    integrity, shasum = dist.integrity, dist.shasum
    if not isinstance(integrity, str) or not integrity:
        try:
            integrity = sri(shasum, "sha1") if isinstance(shasum, str) and shasum else None
        except ValueError:
            integrity = None
    if integrity is None:
        return None
    return f"{name}@{version}:{integrity}".encode("utf-8", "surrogatepass")


def _is_made_with(public: EllipticCurvePublicKey, sig: str, message: bytes) -> bool:
    sleep(0)  # in a thread: whoever waits for the interpreter's lock gets it between two of them
    try:
        public.verify(base64.b64decode(sig, validate=True), message, _ALGORITHM)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_before(published: str | None, expires: str | None) -> bool:
    """Whether a key had not expired; a time that is no date is as none, an end that is none is past."""
    if expires is None:
        return True
    end, at = instant(expires), instant(published) or instant(_UNDATED)
    return end is not None and at is not None and at < end


@lru_cache(maxsize=2 * MOST_KEYS)
def _public_key(keytype: str, scheme: str, key: str) -> EllipticCurvePublicKey | None:
    """The key; None where it is of a kind that is not known here, or none at all."""
    if {keytype, scheme} != {KEY_TYPE}:
        return None
    try:
        public = load_der_public_key(base64.b64decode(key, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    is_ours = isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)
    return public if is_ours and isinstance(public, EllipticCurvePublicKey) else None


class _Manifest(msgspec.Struct, gc=False):
    dist: Any = None


_decode: Callable[[Raw], _Manifest] = msgspec.json.Decoder(_Manifest).decode
_NOT_PLAIN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _signing(raw: Raw) -> Signing:
    """What of a manifest's `dist` is signed, and by what."""
    try:
        found = _decode(raw).dist
    except _NOT_PLAIN:
        found = _dist_of_odd(raw)
    if not isinstance(found, dict):
        return NOT_SIGNED
    return Signing(*map(found.get, Signing.__struct_fields__))


def _dist_of_odd(raw: Raw) -> Any:
    try:
        body = value(raw)
    except UnreadableError:
        return None
    return body.get("dist") if isinstance(body, dict) else None


def is_attested(packument: Packument, version: str) -> bool:
    """Whether the document tells that there are attestations of a version.

    Raises:
        KeyError: the document has no such version.
    """
    return _is_attested(_signing(packument.versions[version]))


def _is_attested(dist: Signing) -> bool:
    return bool(dist.attestations)
