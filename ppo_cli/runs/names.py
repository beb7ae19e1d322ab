"""What the files and folders are called that runs, sweeps and searches leave on disk."""

from __future__ import annotations

SUMMARY_FILE, METRICS_FILE, LOG_FILE, CURVES_FILE = "summary.json", "metrics.csv", "train.log", "curves.png"
CHECKPOINTS_FOLDER, TENSORBOARD_FOLDER, VIDEO_FOLDER = "checkpoints", "tensorboard", "video"
"""Of a run."""
BEST_FILE, LAST_FILE, SCHEDULED_FILES = "best.pt", "last.pt", "step_*.pt"
"""Of its checkpoints, the last as a pattern."""
JOB_FILE, ATTEMPTS_FILE = "job.json", "attempts.json"
"""Of a run that is a sweep's job."""
SWEEP_FILE, MULTIRUN_FILE, RESULTS_FILE = "sweep.json", "multirun.yaml", "results.csv"
"""Of a sweep."""
SEARCH_FILE, PRESET_FILE, REPORT_FOLDER = "search.json", "best.yaml", "report"
"""Of a search, in the folder of its sweep."""
