"""The scripted registry's own keys: signing releases, rotating, expiring; attestation bundles."""

import base64
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Signature = Literal["good", "bad", "unknown", "none"]
"""How a release is signed: rightly, with the signature of another version, with a key that is not
served, or not at all."""

KIND = "ecdsa-sha2-nistp256"
_HEADER = b"".join(
    len(part).to_bytes(4, "big") + part for part in (b"ecdsa-sha2-nistp256", b"nistp256")
)


@dataclass(frozen=True, slots=True)
class ServedKey:
    """A key that is served; `expires` is None where it does not."""

    private: EllipticCurvePrivateKey
    expires: str | None = None

    @property
    def keyid(self) -> str:
        """The OpenSSH fingerprint of the key, as npm names keys."""
        point = self.private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        blob = _HEADER + len(point).to_bytes(4, "big") + point
        digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
        return f"SHA256:{digest.rstrip('=')}"

    def sign(self, message: str) -> dict[str, str]:
        """An entry of `dist.signatures`; the same each time."""
        algorithm = ECDSA(SHA256(), deterministic_signing=True)
        raw = self.private.sign(message.encode("utf-8", "surrogatepass"), algorithm)
        return {"keyid": self.keyid, "sig": base64.b64encode(raw).decode()}

    def told(self) -> dict[str, Any]:
        """The key as it is served."""
        public = self.private.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        return {
            "expires": self.expires,
            "keyid": self.keyid,
            "keytype": KIND,
            "scheme": KIND,
            "key": base64.b64encode(public).decode(),
        }


@dataclass(slots=True)
class Signing:
    """The keys of a registry that signs its releases; the last one is in use.

    `served` tells whether keys are served at all.
    """

    seed: int = 0
    served: bool = True
    keys: list[ServedKey] = field(default_factory=list)
    _made: int = 0

    def __post_init__(self) -> None:
        self.keys.append(self.make())

    @property
    def document(self) -> bytes:
        """What is served at `/-/npm/v1/keys`."""
        return orjson.dumps({"keys": [key.told() for key in self.keys]})

    def make(self) -> ServedKey:
        """Another key, which is not served."""
        self._made += 1
        text = f"key {self._made} of {self.seed}".encode()
        number = int.from_bytes(hashlib.sha256(text).digest(), "big") >> 1
        return ServedKey(derive_private_key(number, SECP256R1()))

    def expire(self, at: str) -> None:
        """Let the key in use expire; it stays in use."""
        self.keys[-1] = replace(self.keys[-1], expires=at)

    def rotate(self, at: str) -> None:
        """Let the key in use expire, and use another one from now on."""
        self.expire(at)
        self.keys.append(self.make())

    def sign(self, name: str, version: str, integrity: str, how: Signature) -> list[dict[str, str]]:
        """What `dist.signatures` holds."""
        message = f"{name}@{version}:{integrity}"
        match how:
            case "good":
                return [self.keys[-1].sign(message)]
            case "bad":
                return [self.keys[-1].sign(f"another {message}")]
            case "unknown":
                return [self.make().sign(message)]
            case "none":
                return []


def bundle_of(name: str, version: str) -> bytes:
    """An answer about attestations, of npm's form. Nobody could verify it."""
    subject = f"pkg:npm/{name.replace('@', '%40')}@{version}"
    statement = {"subject": [{"name": subject}], "predicateType": PROVENANCE}
    payload = base64.b64encode(orjson.dumps(statement)).decode()
    envelope = {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []}
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "dsseEnvelope": envelope,
    }
    told = {"attestations": [{"predicateType": PROVENANCE, "bundle": bundle}]}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2)


PROVENANCE = "https://slsa.example/provenance/v1"


def attestations_path(name: str, version: str) -> str:
    """Where an answer about attestations is served; decoded."""
    return f"/-/npm/v1/attestations/{name}@{version}"
