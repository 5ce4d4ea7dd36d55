"""The shapes of everything that commands print with `--json`, for scripts and for the tests.

`docs/commands.md` explains the keys; `docs/json-schema.json` is made of this module. Keys may be
added in later versions; none is renamed, removed or given another type without a new major version.
"""

from typing import Any

import msgspec

from npmmirror.cli.shapes.buffer import BufferStatus, Peeked
from npmmirror.cli.shapes.closure import SyncedClosure
from npmmirror.cli.shapes.cold_start import Backfilled, Reconciled, Steered
from npmmirror.cli.shapes.coverage import (
    CheckedManifest,
    Coverage,
    MissingItem,
    WrittenManifest,
)
from npmmirror.cli.shapes.package import Package, PastPackage, Revision, Version
from npmmirror.cli.shapes.policy import Explained, Pruned
from npmmirror.cli.shapes.removals import RemovalList, RemovalsDecided
from npmmirror.cli.shapes.status import Status
from npmmirror.cli.shapes.work import (
    ConfigChecked,
    ConfigShown,
    Erased,
    Reindexed,
    Reset,
    Retried,
    SyncedPackage,
    Verified,
)

SHAPES: dict[str, Any] = {
    "sync": list[SyncedPackage],
    "sync closure": SyncedClosure,
    "retry": Retried,
    "backfill": Backfilled,
    "backfill steer": Steered,
    "reconcile": Reconciled,
    "status": Status,
    "show": Package,
    "show version": Version,
    "show revision": Revision,
    "show at": PastPackage,
    "coverage": Coverage,
    "coverage list": MissingItem,
    "coverage manifest": WrittenManifest,
    "coverage check": CheckedManifest,
    "verify": Verified,
    "prune": Pruned,
    "reindex": Reindexed,
    "erase": Erased,
    "reset": Reset,
    "removals list": RemovalList,
    "removals confirm": RemovalsDecided,
    "removals discard": RemovalsDecided,
    "buffer status": BufferStatus,
    "buffer peek": list[Peeked],
    "policy explain": Explained,
    "config check": ConfigChecked,
    "config show": ConfigShown,
}
"""By the words after `npmmirror`; the others of `show`, `sync` and `coverage` by what is printed."""


def schema() -> dict[str, Any]:
    """All of them as JSON Schema: one of `$defs` for each name in `commands`."""
    found, definitions = msgspec.json.schema_components(
        SHAPES.values(), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What npmmirror prints with --json",
        "commands": dict(zip(SHAPES, found, strict=True)),
        "$defs": definitions,
    }
