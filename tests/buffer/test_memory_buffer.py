"""The buffer in memory keeps the contract, with one partition and with several."""

import copy

import pytest

from npmmirror.buffer.memory import MemoryBuffer
from tests.buffer.contract import BufferContract, GoingBackContract


class MemoryPlace:
    """Holds the object that stands for a buffer's disk."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._buffer = MemoryBuffer(partitions)
        self._copy: MemoryBuffer | None = None

    async def open(self) -> MemoryBuffer:
        return self._buffer

    async def replace(self) -> None:
        self._buffer = MemoryBuffer(self._partitions)

    async def save(self) -> None:
        self._copy = copy.deepcopy(self._buffer)

    async def put_back(self) -> None:
        assert self._copy is not None
        self._buffer = copy.deepcopy(self._copy)


@pytest.fixture(params=[1, 3])
def place(request: pytest.FixtureRequest) -> MemoryPlace:
    return MemoryPlace(request.param)


class TestMemoryBuffer(BufferContract, GoingBackContract):
    """All of it."""
