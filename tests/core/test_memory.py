"""What was freed is the system's again."""

import subprocess
import sys

import pytest

from npmmirror import memory

PROGRAM = """
import threading
from pathlib import Path
from npmmirror.memory import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def work():
    blocks = [bytes(1000) for _ in range(40_000)]
    kept.append(blocks[-1])  # the last block of the thread's arena stays in use

kept = []
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
before = resident()
give_back()
print(before - resident())
"""


def test_freed_memory_goes_back_though_a_small_block_lies_above_it() -> None:
    """80 MB were taken and freed, in arenas that cannot shrink."""
    if memory._trim is None:
        pytest.skip("this libc keeps no arenas")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 20_000_000
