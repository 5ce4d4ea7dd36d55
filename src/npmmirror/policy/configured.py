"""From the configuration to the policy that it means."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from npmmirror.config import PolicySection
from npmmirror.patterns import FILE, Names, Pattern
from npmmirror.policy.selection import Policy, SelectionRule, Settings


def lists_of(section: PolicySection) -> dict[str, str]:
    """The paths of the files whose names the policy needs, and a key that asks for each."""
    return {
        pattern.removeprefix(FILE): key
        for key, pattern in _patterns(section)
        if pattern.startswith(FILE)
    }


def policy_of(section: PolicySection, names: Names | None = None) -> Policy:
    """The policy that a configuration means; `names` are those of `lists_of`, by path."""
    names = names or {}
    return Policy(
        Settings(
            tarballs=section.tarballs,
            keep_versions=section.keep_versions,
            prereleases=section.prereleases,
            published_since=section.published_since,
            max_tarball_bytes=section.max_tarball_bytes,
            max_packument_bytes=section.max_packument_bytes,
        ),
        allow=_parsed(section.allow, names),
        deny=_parsed(section.deny, names),
        rules=tuple(
            SelectionRule(_label(number, rule.match), _parsed(rule.match, names), rule.settings)
            for number, rule in enumerate(section.rule, start=1)
        ),
        digest=_digest(section, names),
    )


def _patterns(section: PolicySection) -> Iterator[tuple[str, str]]:
    for key in ("allow", "deny"):
        yield from ((f"policy.{key}", pattern) for pattern in getattr(section, key))
    for rule in section.rule:
        yield from (("policy.rule", pattern) for pattern in rule.match)


def _parsed(patterns: Sequence[str], names: Names) -> tuple[Pattern, ...]:
    return tuple(Pattern.parse(pattern, names) for pattern in patterns)


def _label(number: int, patterns: Sequence[str]) -> str:
    more = ", …" if len(patterns) > 1 else ""
    return f"policy.rule {number} ({json.dumps(patterns[0], ensure_ascii=False)}{more})"


def _digest(section: PolicySection, names: Names) -> str:
    """SHA-256 (hex) of what decides about what is wanted."""
    told: dict[str, Any] = section.model_dump(
        mode="json",
        include={
            *("allow", "deny", "prereleases", "published_since", "keep_versions"),
            *("tarballs", "max_tarball_bytes", "rule"),
            # An old digest is that of a policy without a limit, and stays so.
            *(("max_packument_bytes",) if section.max_packument_bytes else ()),
        },
    )
    files = {path: sorted(found) for path, found in names.items()}
    text = json.dumps([told, files], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
