"""What is wanted: of packages, of versions, and what a person's `NAME@SPEC` means.

`npmmirror.policy.configured` makes a policy of a configuration. It is not imported here: the
process that examines documents has no configuration, and is ready the sooner.
"""

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
    "outsized",
    "parse_spec",
    "refused_tarballs",
    "resolve",
    "wanted_tarballs",
]
