"""What is wanted: of packages, of versions, and what a person's `NAME@SPEC` means."""

from npmmirror.policy.configured import lists_of, policy_of
from npmmirror.policy.selection import (
    OUTSIZED,
    POLICY,
    TARBALL_LIMIT,
    Candidate,
    Drop,
    Keep,
    Policy,
    Settings,
    TarballPolicy,
    Verdict,
    is_prerelease,
    judged,
    outsized,
)
from npmmirror.policy.specs import parse_spec, resolve
from npmmirror.policy.tarballs import Want, refused_tarballs, wanted_tarballs

__all__ = [
    "OUTSIZED",
    "POLICY",
    "TARBALL_LIMIT",
    "Candidate",
    "Drop",
    "Keep",
    "Policy",
    "Settings",
    "TarballPolicy",
    "Verdict",
    "Want",
    "is_prerelease",
    "judged",
    "lists_of",
    "outsized",
    "parse_spec",
    "policy_of",
    "refused_tarballs",
    "resolve",
    "wanted_tarballs",
]
