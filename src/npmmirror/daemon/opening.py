"""Opening archive and index together: they must agree, and the archive is right."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import structlog

from npmmirror.archive import (
    ENOUGH_HELD,
    CaptureLog,
    CaptureReader,
    DiskFaultError,
    PayloadEncoder,
    TarballStore,
    make_directory,
)
from npmmirror.capture import Kind, Location, Record
from npmmirror.change import Seq
from npmmirror.clock import Clock, timestamp
from npmmirror.config import Config, StorageSection
from npmmirror.daemon.selecting import read_policy
from npmmirror.errors import StorageError
from npmmirror.failpoints import reach
from npmmirror.index import Group, IndexReader, IndexWriter, Mark
from npmmirror.pipeline.examiner import Examiner
from npmmirror.pipeline.logbook import seal
from npmmirror.pipeline.replay import ERASE, roll_forward
from npmmirror.policy import Policy
from npmmirror.worker_threads import WorkerThreads

_EMPTY = frozenset({Kind.GENESIS, Kind.MARK})
"""A log of these alone holds nothing that an index could lack."""
ATTACH_SECONDS = 10.0
"""How long a disk is waited for at the start."""
HUNG_SECONDS = 1.0
"""How long a call to a disk that hangs is waited for at the end."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """The parts of a data directory, open and in agreement.

    `writing` is the one thread that writes to the capture log, `publishing` the one that moves
    tarballs to their places, which may be on a NAS that hangs. `following_since` is the time of
    the first start of following, `cursor` how far the feed was read; None where nothing was ever
    followed.
    """

    log: CaptureLog
    captures: CaptureReader
    index: IndexWriter
    reader: IndexReader
    store: TarballStore
    examiner: Examiner
    writing: WorkerThreads
    publishing: WorkerThreads
    following_since: str | None
    cursor: Seq | None
    policy: Policy


@asynccontextmanager
async def open_archive_and_index(
    config: Config, threads: WorkerThreads, clock: Clock, *, patient: bool = False
) -> AsyncIterator[Opened]:
    """Open both; what a kill left between them is made good.

    Where the disk of the tarballs is away, the `patient` do without it until it comes back.

    Raises:
        StorageError: they do not belong together, or one of them cannot be used.
    """
    storage, policy = config.storage, read_policy(config.policy)
    async with AsyncExitStack() as stack:
        _make_directories(storage)
        reading = stack.enter_context(WorkerThreads(2, "npmmirror-tarballs", patience=HUNG_SECONDS))
        publishing = stack.enter_context(
            WorkerThreads(1, "npmmirror-publisher", patience=HUNG_SECONDS)
        )
        writing = stack.enter_context(WorkerThreads(1, "npmmirror-writer"))
        index = await stack.enter_async_context(await IndexWriter.open(storage.index_path))
        reach("start.index_opened")
        mark = await index.last_mark()
        captures = storage.data_dir / "captures"
        archive = await writing.run(
            CaptureLog.open,
            captures,
            segment_bytes=storage.segment_bytes,
            committed=mark.place if mark is not None else None,
        )
        stack.callback(archive.close)
        reach("start.log_opened")
        reader = stack.enter_context(CaptureReader(captures))
        examiner = Examiner(reader, PayloadEncoder())
        _tell(archive)
        if (erasure := await index.resumption(ERASE)) is not None:
            log.warning("erase_unfinished", package=erasure.place)
        now = timestamp(clock.now())
        if mark is None and _is_empty(reader):
            first = await writing.run(seal, archive, None, now)
            reach("start.first_mark_logged")
            await index.commit(Group(mark=first))
        else:
            after = _common(archive, reader, mark, storage.data_dir)
            records = await roll_forward(
                archive, reader, index, examiner, policy, after=after, now=now
            )
            if records:
                log.warning("rolled_forward", records=records)
        store = TarballStore(
            staging=storage.staging_path,
            packages=storage.packages_path,
            threads=threads,
            reading=reading,
            home=storage.data_dir,
        )
        view = await stack.enter_async_context(await IndexReader.open(storage.index_path))
        held = [file.path for file in await view.held(limit=ENOUGH_HELD)]
        swept = await threads.run(store.prepare_staging)
        swept += await _attach(store, held, publishing, storage.packages_path, patient=patient)
        reach("start.swept")
        if swept:
            log.info("staging_swept", files=swept)
        following = await index.following()
        yield Opened(
            archive,
            reader,
            index,
            view,
            store,
            examiner,
            writing,
            publishing,
            following.at if following is not None else None,
            await index.cursor(),
            policy,
        )


def _make_directories(storage: StorageSection) -> None:
    """Make what is missing, and tell in a sentence what stands in the way."""
    for path in (storage.data_dir / "captures", storage.staging_path):
        try:
            make_directory(path)
        except OSError as error:
            raise StorageError(f"the directory {path} cannot be used: {error.strerror}") from error


async def _attach(
    store: TarballStore,
    held: list[str],
    publishing: WorkerThreads,
    packages: Path,
    *,
    patient: bool,
) -> int:
    """Take the directory of the tarballs into use; how many temp files lay there.

    A disk that was used before may come back; at the first use it is the configuration that is
    wrong.

    Raises:
        StorageError: it cannot be used.
    """
    try:
        with anyio.fail_after(ATTACH_SECONDS):
            return await publishing.run(store.attach, held)
    except TimeoutError:
        away = StorageError(f"the disk of {packages} does not answer")
    except DiskFaultError as fault:
        away = fault
    except OSError as error:
        raise StorageError(f"the directory {packages} cannot be used: {error.strerror}") from error
    if not (patient and held):
        raise away
    log.error("tarballs_away", error=str(away))
    return 0


def _is_empty(reader: CaptureReader) -> bool:
    """Whether nothing was captured yet. Each kill at the very first start may leave a mark."""
    return all(isinstance(one, Record) and one.kind in _EMPTY for one in reader.scan())


def _tell(archive: CaptureLog) -> None:
    for aside in archive.set_aside:
        log.warning(
            "capture_tail_set_aside",
            segment=aside.segment,
            offset=aside.offset,
            bytes=aside.length,
            moved_to=str(aside.path),
        )
    for damage in archive.damages:
        log.error("capture_damaged", error=str(damage.error()))


def _common(
    archive: CaptureLog, reader: CaptureReader, mark: Mark | None, data_dir: Path
) -> Location | None:
    """The place of the record that both know last.

    Raises:
        StorageError: there is none.
    """
    if mark is None:
        raise StorageError(
            f"the index in {data_dir} is empty beside a capture log of {archive.tip.ordinal} "
            "records: run `npmmirror reindex` to rebuild it"
        )
    ours = None
    if mark.ordinal <= archive.tip.ordinal:
        record = reader.record(mark.place)
        ours = (record.ordinal, record.hash)
    if ours != (mark.ordinal, mark.header_sha256):
        raise StorageError(
            f"the index in {data_dir} is ahead of the capture log, or of another one (its record "
            f"{mark.ordinal} is not there): put the newer captures/ back, or run "
            "`npmmirror reindex` to rebuild the index from what is there"
        )
    return mark.place
