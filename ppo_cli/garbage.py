"""Python's search for garbage in circles: made rarely, for imports make objects by the hundred thousand."""

from __future__ import annotations

import atexit
import gc


def search_rarely() -> None:
    """Search as often as this tool's own objects need, which takes a tenth off a start, and not at the process's end.

    What is left then goes with the process; to look through it takes a quarter of a second once PyTorch is imported.
    """
    gc.set_threshold(50_000, 10, 10)
    atexit.register(gc.freeze)
