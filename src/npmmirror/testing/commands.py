"""Commands to a scripted upstream in another process: a JSON object in, a JSON object out."""

from collections.abc import Callable, Mapping
from typing import Any

from npmmirror.testing.faults import fault_from
from npmmirror.testing.history import History
from npmmirror.testing.server import ScriptedUpstream

Call = Callable[..., Any]
CHANGES = (
    "publish",
    "unpublish_version",
    "unpublish",
    "remove",
    "security_hold",
    "deprecate",
    "amend",
    "tag",
    "untag",
    "add_maintainer",
    "remove_maintainer",
    "set_time",
    "serve_stale",
    "hide",
    "reveal",
    "design_document",
    "reset_head",
)
"""Methods of the registry that can be called by name; their keywords are the command's keys."""


class Commands:
    """Carries out commands: `{"do": "publish", "name": "a", "version": "1.0.0"}`.

    Besides `CHANGES` there are `put_document` (`name`, `text`), `step` (`count`), `fault` (`fault`,
    `scope`, `name`, `times`, `chance`), `heal`, `played`, `release`, `state`, `count` (`scope`,
    `name`), `head` and `rotate_keys` (`at`), and what `more` adds.
    """

    def __init__(
        self, upstream: ScriptedUpstream, history: History, more: Mapping[str, Call] | None = None
    ) -> None:
        self._upstream = upstream
        self._history = history
        registry = upstream.registry
        self._calls: dict[str, Call] = {
            **{name: getattr(registry, name) for name in CHANGES},
            "put_document": lambda name, text: registry.put_document(name, text.encode()),
            "step": self.step,
            "fault": self._fault,
            "heal": upstream.heal,
            "played": lambda: upstream.played,
            "release": upstream.release,
            "state": registry.state,
            "count": upstream.count,
            "head": lambda: registry.feed.served(registry.feed.head),
            "rotate_keys": self._rotate_keys,
            **(more or {}),
        }

    def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer: `{"ok": true, "result": ...}`, or `{"ok": false, "error": "..."}`."""
        try:
            words = dict(command)
            result = self._calls[words.pop("do")](**words)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other process is told
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}
        return {"ok": True, "result": result}

    def step(self, count: int = 1) -> list[tuple[str, str]]:
        """Let steps of the history happen; the packages that changed, and how."""
        return [change for _ in range(count) for change in self._history.step()]

    def _rotate_keys(self, at: str) -> None:
        if self._upstream.registry.signing is None:
            raise ValueError("this registry does not sign")
        self._upstream.registry.signing.rotate(at)

    def _fault(self, fault: dict[str, Any], scope: str = "*", **options: Any) -> None:
        self._upstream.fault(scope, fault_from(fault), **options)  # type: ignore[arg-type]  # a word from outside
