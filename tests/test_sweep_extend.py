"""A sweep that goes on: more values, other settings, and what is refused; each with the jobs frozen as they were."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from console import Train, files_in

from ppo_cli.sweep.jobs import read_sweep

TINY = (
    "num_envs=1", "buffer_size=64", "batch_size=64", "epochs=1", "total_timesteps=64", "checkpoint_every=64",
    "eval_every=null", "network.hidden_sizes=[8]", "logger=csv", "hydra.sweep.dir=sweep", "vector_backend=sync",
)  # fmt: skip


def summaries(folder: Path) -> list[dict[str, Any]]:
    jobs = read_sweep(folder / "sweep").jobs
    return [json.loads((job.folder / "summary.json").read_text(encoding="utf-8")) for job in jobs]


def settings(folder: Path, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(one["config"][key] for key in keys) for one in summaries(folder)]


def test_more_seeds_then_more_steps_then_nothing(tmp_path: Path, here: Train) -> None:
    assert here("-m", "lr=1e-3,1e-4", "seed=0,1", *TINY).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").glob("*/summary.json")}
    first = [path.name for path in sorted((tmp_path / "sweep").glob("*_*/"))]
    dry = here("-m", "resume=sweep", "seed=1,2", "dry_run=true")
    assert dry.out.splitlines()[-3:] == ["4  lr=0.001 seed=2", "5  lr=0.0001 seed=2", "6 jobs; nothing was started"]
    assert len(read_sweep(tmp_path / "sweep").jobs) == 4

    answer = here("-m", "resume=sweep", "seed=range(1,3)", "retries=1", "gamma=0.9")
    assert answer.code == 0, answer.err
    assert settings(tmp_path, "gamma") == [(0.98,)] * 4 + [(0.9,)] * 2  # the new ones alone are left to do
    assert settings(tmp_path, "lr", "seed") == [
        (1e-3, 0), (1e-3, 1), (1e-4, 0), (1e-4, 1), (1e-3, 2), (1e-4, 2),
    ]  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in before} == before  # the old ones were not touched
    assert [path.name for path in sorted((tmp_path / "sweep").glob("*_*/"))][:4] == first
    assert "4_lr-0.001_seed-2" in [path.name for path in (tmp_path / "sweep").iterdir()]
    sweep = read_sweep(tmp_path / "sweep")
    assert sweep.options == {"retries": 1}
    assert [axis.values for axis in sweep.axes] == [((1e-3,), (1e-4,)), ((0,), (1,), (2,))]

    more = here("-m", "resume=sweep", "total_timesteps=128")
    assert more.code == 0, more.err
    assert [one["step"] for one in summaries(tmp_path)] == [128] * 6
    assert [one["resumed"][0]["step"] for one in summaries(tmp_path)] == [64] * 6
    with (tmp_path / "sweep/results.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["128"] * 6

    content = files_in(tmp_path)
    nothing = here("-m", "resume=sweep")
    assert nothing.code == 0
    assert "6 jobs in sweep: 6 finished" in nothing.out
    assert "started" not in nothing.out
    assert files_in(tmp_path) == content


def test_jobs_are_what_was_checked_whatever_becomes_of_the_files(tmp_path: Path, here: Train) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text("# @package _global_\nlr: 0.5\nepochs: 2\n")
    assert here("-m", "--config-dir=.", "+experiment=mine", "network=mlp,lstm", "seed=0", *TINY, "num_envs=2").code == 0
    file.unlink()
    answer = here("-m", "resume=sweep", "network=lstm", "lr=0.25")  # lr changes what is left to do, and nothing is
    assert answer.code == 2
    assert "lr=0.25: all jobs are finished" in answer.words
    assert "lr=0.25 total_timesteps=128" in answer.words
    answer = here("-m", "resume=sweep", "network=lstm", "lr=0.5", "wandb.project=mine")  # which change nothing
    assert answer.code == 0, answer.err
    assert settings(tmp_path, "lr") == [(0.5,)] * 2


@pytest.fixture
def started(tmp_path: Path, here: Train) -> Path:
    """A sweep over pairs, and seeds, that is finished."""
    words = ["lr=1e-3,1e-4", "batch_size=32,64", "zip=[lr,batch_size]", "network=mlp", "seed=0,1"]
    assert here("-m", *words, *TINY[:2], *TINY[3:]).code == 0
    return tmp_path


REFUSED = {
    "one of a pair": (["lr=0.1"], "lr and batch_size were swept together", "lr=<as many"),
    "a key that was not swept": (["gamma=0.9,0.8"], "gamma was not swept", "gamma=<one value>"),
    "less to do": (["total_timesteps=32"], "total_timesteps=32: all jobs are finished", "total_timesteps=128"),
    "what cannot change": (["total_timesteps=128", "buffer_size=128"], "buffer_size=128 cannot change", ""),
    "a group": (["hyperparameters=default"], "hyperparameters is no single setting", ""),
    "no setting": (["seed=2", "lrr=1"], "lrr is no single setting", ""),
    "new values that do not fit": (["lr=-1,1", "batch_size=63,32"], "lr=-1.0 must be above 0", "lr=0.0003"),
    "an interval": (["lr=interval(0,1)"], "a sweep that goes on takes values", "lr=<values>"),
    "an option": (["n_jobs=0"], "n_jobs=0 must be at least 1", ""),
    "other pairs": (["zip=[lr,seed]"], "what goes together was said when the sweep began", "the same without zip="),
}


def test_what_cannot_be_added(started: Path, here: Train) -> None:
    before = files_in(started)
    for words, what, fix in REFUSED.values():
        answer = here("-m", "resume=sweep", *words)
        assert answer.code == 2, (words, answer)
        assert what.replace(" ", "") in answer.words.replace(" ", ""), answer.err
        assert fix.replace(" ", "") in answer.words.replace(" ", ""), answer.err
    assert files_in(started) == before
    pairs = here("-m", "resume=sweep", "lr=0.01,1e-4", "batch_size=16,64")
    assert pairs.code == 0, pairs.err
    assert settings(started, "lr", "batch_size", "seed")[4:] == [(0.01, 16, 0), (0.01, 16, 1)]


def test_what_is_no_sweep(tmp_path: Path, here: Train) -> None:
    for named, what in (("auto", "is for a single run"), ("nowhere", "there is no such folder")):
        answer = here("-m", f"resume={named}")
        assert answer.code == 2
        assert what in answer.words
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    answer = here("-m", "resume=sweep")
    assert answer.code == 2
    assert "sweep.json cannot be read" in answer.words
