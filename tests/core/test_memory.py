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


BOUND = """
import ctypes, sys, threading
from npmmirror.memory import bound

if sys.argv[1] == "bound":
    bound()
met = threading.Barrier(9)

def work():
    kept.extend(bytes(1000) for _ in range(1000))
    met.wait()

kept = []
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
met.wait()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.parametrize("how", ["bound", "free"])
def test_threads_share_few_arenas(how: str) -> None:
    """Found by a soak of 30 minutes: 30 MB in use were spread over 170."""
    if memory._mallopt is None:
        pytest.skip("this libc keeps no arenas")
    done = subprocess.run(
        [sys.executable, "-c", BOUND, how], capture_output=True, text=True, check=True
    )
    arenas = done.stdout.count("<heap nr=")
    assert arenas <= memory.ARENAS if how == "bound" else arenas > memory.ARENAS
