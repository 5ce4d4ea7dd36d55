"""How fast the mirror serves, beside others; `benchmarks/README.md` tells of it.

python benchmarks/serve.py

See `benchmarks/serving/__main__.py`.
"""

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    # What it starts is the program that it lies beside.
    places = [str(ROOT), str(ROOT / "src")]
    sys.path[:0] = places
    os.environ["PYTHONPATH"] = os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])
    runpy.run_module("benchmarks.serving", run_name="__main__", alter_sys=True)
