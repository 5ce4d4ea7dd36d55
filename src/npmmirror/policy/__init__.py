"""What is wanted: which tarballs to fetch, and what a person's `NAME@SPEC` means."""

from npmmirror.policy.specs import parse_spec, resolve
from npmmirror.policy.tarballs import TarballPolicy, Want, wanted_tarballs

__all__ = ["TarballPolicy", "Want", "parse_spec", "resolve", "wanted_tarballs"]
