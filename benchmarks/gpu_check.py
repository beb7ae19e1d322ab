"""What training on a GPU comes to, beside the same on the CPU: whether the numbers agree, and what everything costs.

``sh scripts/gpu_check.sh`` runs this and the tests that need a GPU. One table at the end; the status is 1 where numbers
that must agree do not, or a part raises, and 2 where there is no GPU. ``--device cpu --tiny`` tries the program itself
out, in half a minute and without one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import gpu_numbers, gpu_times
from benchmarks.gpu_rows import Row, Setting, show

PARTS: dict[str, Callable[[Setting], list[Row]]] = {
    "devices": gpu_numbers.devices,
    "numbers": gpu_numbers.learning,
    "refused": gpu_numbers.refused_recording,
    "resume": gpu_numbers.runs,
    "pictures": gpu_numbers.runs_of_pictures,
    "steps": gpu_times.gradient_steps,
    "transfers": gpu_times.transfers,
    "w1": gpu_times.w1,
    "atari": gpu_times.pictures,
}


def main() -> None:
    """Go through the parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and no large work on the CPU")
    parser.add_argument("--tiny", action="store_true", help="sizes that say nothing, to try the program out")
    parser.add_argument("--only", default="", help=f"parts, with commas between: {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=210.0, help="begin no part after so many")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print(f"there is no GPU here (PyTorch {torch.__version__}), so there is nothing to check", file=sys.stderr)
        raise SystemExit(2)
    if arguments.tiny:
        torch.set_num_threads(1)
    began, rows = time.perf_counter(), []
    chosen = [name for name in PARTS if name in (arguments.only.split(",") if arguments.only else PARTS)]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(torch.device(arguments.device), Path(folder), arguments.quick, arguments.tiny)
        for name in chosen:
            rows += _part(name, dataclasses.replace(setting, folder=setting.folder / name), began, arguments.seconds)
    show(rows)
    raise SystemExit(any(row.verdict == "FAILED" for row in rows))


def _part(name: str, setting: Setting, began: float, limit: float) -> list[Row]:
    """A part's rows; one that raises is a row, too, and does not keep the others from running."""
    start = time.perf_counter()
    if start - began > limit:
        return [Row(name, "", "left out", f"{start - began:.0f} s were over")]
    setting.folder.mkdir()
    try:
        rows = PARTS[name](setting)
    except Exception as error:
        traceback.print_exc()
        rows = [Row(name, "", "FAILED", f"{type(error).__name__}: {error}".partition("\n")[0][:120])]
    print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    for row in rows:  # whoever stops this early knows what was found so far
        print("   ", *row, sep="  ", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    main()
