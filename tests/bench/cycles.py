"""How well cycles are told, and what real recordings give: `make cycles`.

Runs every report of segmentation (boundary errors by phase, feature errors beside their tolerances, over simulated
cycles with faults) and of real data (what could be computed, what not and why), one after the other, and prints them.
"""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(wanted: list[str]) -> int:
    """All reports, or those whose name holds one of the words; the number of those that failed."""
    failed = 0
    for file in sorted([*HERE.glob("segmentation_*.py"), *HERE.glob("real_data_*.py")]):
        if wanted and not any(word in file.stem for word in wanted):
            continue
        began = time.monotonic()
        print(f"── {file.stem}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"tests.bench.{file.stem}"], check=False).returncode
        print(f"   {time.monotonic() - began:.0f} s{'' if code == 0 else f', FAILED with {code}'}\n", flush=True)
        failed += code != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
