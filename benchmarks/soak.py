"""The daemon under all its hazards for as long as you like; `benchmarks/README.md` tells of it.

python benchmarks/soak.py --minutes 30

See `benchmarks/soaking/__main__.py`.
"""

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    # Its checks are those of tests/; and what it starts is the program that it lies beside.
    places = [str(ROOT), str(ROOT / "src")]
    sys.path[:0] = places
    os.environ["PYTHONPATH"] = os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])
    runpy.run_module("benchmarks.soaking", run_name="__main__", alter_sys=True)
