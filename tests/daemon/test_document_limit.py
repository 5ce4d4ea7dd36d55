"""`policy.max_packument_bytes`: a package whose document is too large is left out by its rule."""

from typing import Any

import pytest

from npmmirror.backfill import Wish
from npmmirror.daemon import cold_commands
from npmmirror.daemon.explaining import explain
from npmmirror.daemon.showing import shown
from npmmirror.pipeline.reconcile import Asked
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_coverage import looked
from tests.daemon.test_following import held
from tests.daemon.test_policy import another, applied, one, skips

pytestmark = pytest.mark.anyio

LIMIT = 20_000
WHY = "policy.max_packument_bytes: its document has more than 20,000 bytes"
LONG = "x" * 2 * LIMIT
"""What makes a document too large."""


def revisions(here: RunningMirror, name: str) -> int:
    """How many documents of a package are captured."""
    rows = here.rows("SELECT p.name FROM revisions JOIN packages AS p ON p.id = package_id")
    return rows.count((name,))


async def test_a_package_whose_document_is_too_large_is_skipped_by_its_rule(mirror: Open) -> None:
    """Not failed: nothing is tried again, and every command says which rule it was."""
    async with mirror(policy={"max_packument_bytes": LIMIT}) as here:
        registry = here.upstream.registry
        registry.publish("small", "1.0.0")
        registry.publish("vast", "1.0.0", manifest={"description": LONG})
        async with here.running():
            status = await here.at_head()
        assert (status["work_list"], status["dead_letters"]) == ({}, {})
        assert status["skips"] == {"packument_too_large": 1}
        assert skips(here) == {("vast", "", "packument_too_large", WHY)}
        assert here.upstream.count("packument", "vast") == 1
        assert held(here, "small") == {"1.0.0"}
        async with shown(here.config) as showing:
            assert (await showing.package("vast"))["skipped"]["detail"] == WHY
        told = (await explain(here.config, "vast", None))["document"]
        assert (told["wanted"], f"{told['rule']}: {told['why']}") == (False, WHY)
        tally, rows = await looked(here.config)
    assert [(row.package, row.reason, row.detail) for row in rows] == [("vast", "size", WHY)]
    assert tally.whole


async def test_a_package_that_grows_is_skipped_from_then_on_and_what_is_here_stays(
    mirror: Open,
) -> None:
    """Its revisions, its tarballs and its state; once its document is small again it goes on."""
    async with mirror(policy={"max_packument_bytes": LIMIT}) as here:
        registry = here.upstream.registry
        registry.publish("growing", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("growing", "1.1.0", manifest={"description": LONG})
            status = await here.at_head()
            assert status["totals"]["packages"] == {"live": 1}
            assert (revisions(here, "growing"), held(here, "growing")) == (1, {"1.0.0"})
            assert skips(here) == {("growing", "", "packument_too_large", WHY)}
            registry.unpublish_version("growing", "1.1.0")
            registry.publish("growing", "1.2.0")
            await here.at_head()
        assert (revisions(here, "growing"), held(here, "growing")) == (2, {"1.0.0", "1.2.0"})
        assert skips(here) == set()


async def test_a_higher_limit_asks_for_what_was_left_out(mirror: Open) -> None:
    """A lower one, or another key, asks for nothing."""
    async with mirror(policy={"max_packument_bytes": LIMIT, "tarballs": "all"}) as here:
        here.upstream.registry.publish("vast", "1.0.0", manifest={"description": LONG})
        async with here.running():
            await here.at_head()
        for lower in (LIMIT - 1, LIMIT - 2):
            another(here, max_packument_bytes=lower)
            async with here.running():
                await applied(here)
        assert here.upstream.count("packument", "vast") == 1
        another(here, max_packument_bytes=0)
        async with here.running():
            await applied(here)
        assert held(here, "vast") == {"1.0.0"}
        assert skips(here) == set()


async def test_a_person_is_told_the_limit_and_may_have_it_in_spite_of_it(mirror: Open) -> None:
    """As of any other rule."""
    async with mirror(policy={"max_packument_bytes": LIMIT}) as here:
        here.upstream.registry.publish("vast", "1.0.0", manifest={"description": LONG})
        refused = await one(here, "vast")
        assert not refused.complete
        assert skips(here) == {("vast", "", "packument_too_large", WHY)}
        assert (await one(here, "vast", force=True)).complete
        assert held(here, "vast") == {"1.0.0"}
        assert skips(here) == set()


async def test_what_the_policy_leaves_out_is_no_fault_of_compression(mirror: Open) -> None:
    """A document without end is cut off at the limit, like any other that is too large."""
    limits = {"max_packument_bytes": 1 << 20, "large_packument_bytes": 1 << 19}
    async with mirror(policy={"max_packument_bytes": 1 << 20}, fetch=limits) as here:
        here.upstream.registry.publish("vast", "1.0.0")
        here.upstream.fault("packument", faults.EndlessGzip(), name="vast", times=None)
        async with here.running():
            status = await here.at_head()
        assert status["skips"] == {"packument_too_large": 1}


async def test_a_package_that_is_called_deleted_and_answers_too_much_is_looked_at_again(
    mirror: Open,
) -> None:
    """What a cache still has is no reason to pass over that it is gone."""
    policy = {"max_packument_bytes": LIMIT, "confirm_removal_hours": 0}
    async with mirror(policy=policy) as here:
        registry = here.upstream.registry
        registry.publish("vast", "1.0.0", manifest={"description": LONG})
        registry.remove("vast")
        registry.serve_stale("vast", 1)
        async with here.running():
            await here.until(lambda status: status["skips"])
        assert {reason for _, _, reason, _ in skips(here)} == {"gone_before_capture"}


async def test_what_was_left_out_is_no_finding_until_a_newer_revision_is_listed(
    mirror: Open,
) -> None:
    """Neither for a reconciliation nor for a backfill: it was judged, as what is denied is."""
    async with mirror(policy={"max_packument_bytes": LIMIT}) as here:
        registry = here.upstream.registry
        registry.publish("grown", "1.0.0")
        async with here.running():
            await here.at_head()
            registry.publish("grown", "1.1.0", manifest={"description": LONG})
            registry.publish("vast", "1.0.0", manifest={"description": LONG})
            await here.at_head()
        report = await reconciled(here)
        assert (report["missing"], report["older"]) == (0, 0)
        backfilled = await cold_commands.backfill(
            here.config, here.source, Wish(), tell=lambda _: None
        )
        assert backfilled["queued"] == 0
        for name in ("grown", "vast"):
            registry.unpublish_version(
                name, "1.1.0" if name == "grown" else "1.0.0", announce="never"
            )
        report = await reconciled(here)
        assert (report["missing"], report["older"]) == (1, 1)


async def reconciled(here: RunningMirror) -> dict[str, Any]:
    """What `npmmirror reconcile` reports where no daemon runs."""
    report = await cold_commands.reconcile(here.config, here.source, Asked(), tell=lambda _: None)
    assert report is not None
    return report
