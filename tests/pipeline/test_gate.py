"""One job a package, until its result is committed."""

from npmmirror.change import Change
from npmmirror.outcome import WorkItem
from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.job import Job
from npmmirror.policy import Want


def job(rev: str, ticket: int, package: str = "left-pad") -> Job:
    return Job(package, change=Change(ticket, package, rev), tickets=[ticket])


def test_the_first_job_of_a_package_passes() -> None:
    """Nothing is in work: the job starts."""
    gate = Gate()
    assert gate.admit(job("1-a", 1))
    assert gate.busy("left-pad")
    assert not gate.busy("Left-Pad")


def test_jobs_of_different_packages_pass_side_by_side() -> None:
    """The gate is keyed by package."""
    gate = Gate()
    assert gate.admit(job("1-a", 1))
    assert gate.admit(job("1-a", 2, package="chalk"))
    assert gate.running == 2


def test_a_change_joins_before_the_request_is_sent() -> None:
    """One request answers both changes; both tickets are finished by it."""
    gate = Gate()
    first = job("1-a", 1)
    gate.admit(first)
    assert not gate.admit(job("2-b", 2))
    assert first.tickets == [1, 2]
    assert first.change == Change(2, "left-pad", "2-b")
    assert gate.release("left-pad") is None
    assert not gate.busy("left-pad")


def test_a_change_waits_once_the_request_is_sent() -> None:
    """The document that is under way may be older than the change: it is asked for again."""
    gate = Gate()
    first = job("1-a", 1)
    gate.admit(first)
    first.sent = True
    second = job("2-b", 2)
    assert not gate.admit(second)
    assert first.tickets == [1]
    assert gate.waiting == 1
    assert gate.release("left-pad") is second
    assert gate.busy("left-pad")


def test_waiting_changes_are_joined_into_one_job() -> None:
    """However many changes come meanwhile, one job waits."""
    gate = Gate()
    first = job("1-a", 1)
    gate.admit(first)
    first.sent = True
    for number in range(2, 50):
        gate.admit(job(f"{number}-b", number))
    assert gate.waiting == 1
    following = gate.release("left-pad")
    assert following is not None
    assert following.tickets == list(range(2, 50))


def test_the_document_found_has_just_the_waiting_revision() -> None:
    """Then the waiting change is answered by it, and is not asked for again."""
    gate = Gate()
    first = job("1-a", 1)
    gate.admit(first)
    first.sent = True
    gate.admit(job("2-b", 2))
    gate.absorb(first, "2-b")
    assert first.tickets == [1, 2]
    assert gate.release("left-pad") is None


def test_the_document_found_has_another_revision() -> None:
    """Older or newer: the waiting change keeps its own look at upstream."""
    for found in ("1-a", "3-c", None):
        gate = Gate()
        first = job("1-a", 1)
        gate.admit(first)
        first.sent = True
        gate.admit(job("2-b", 2))
        gate.absorb(first, found)
        assert first.tickets == [1]
        assert gate.release("left-pad") is not None


def test_a_wish_is_not_absorbed() -> None:
    """What a person asked for needs its own job, even if the document is the right one."""
    gate = Gate()
    first = job("1-a", 1)
    gate.admit(first)
    first.sent = True
    gate.admit(job("2-b", 2))
    gate.admit(Job("left-pad", want=Want(all_versions=True)))
    gate.absorb(first, "2-b")
    following = gate.release("left-pad")
    assert following is not None
    assert following.want == Want(all_versions=True)


def test_joining_unites_what_is_asked_for() -> None:
    """The packument, tarballs of the work list and force: the sum of both jobs."""
    row = WorkItem("left-pad", "1.0.0", "wanted", "2026-11-22T08:00:00.000000Z")
    first = Job("left-pad", document=False, work={"1.0.0": row})
    first.join(Job("left-pad", want=Want(specs=("latest",)), force=True, tickets=[7]))
    assert first.document
    assert first.force
    assert first.tarball_rows == ("1.0.0",)
    assert first.want == Want(specs=("latest",))
    assert first.tickets == [7]


def test_what_waited_behind_a_job_of_its_package_is_seen() -> None:
    """The index knew nothing of it when it came."""
    gate, first, second = Gate(), Job("a", unseen=True), Job("a", unseen=True)
    assert gate.admit(first)
    first.sent = True
    assert not gate.admit(second)
    assert gate.release("a") is second
    assert not second.unseen
