"""Imported by the server that jobs are forked from, and by nobody else: it imports what all of them need."""

from __future__ import annotations

import gc
from importlib import import_module

from ppo_cli.garbage import search_rarely

search_rarely()
for _name in (
    "torch",
    "ppo_cli.sweep.job",
    "ppo_cli.loggers.tensorboard",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
):
    import_module(_name)
gc.freeze()  # or a search in a job would write to each page that it shares with the others, which copies it
