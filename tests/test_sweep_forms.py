"""Every form in which a sweep can be written, as the jobs that come of it; and those that are refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from console import Answer, Train, files_in

from ppo_cli.places import conf_dir
from ppo_cli.sweep.jobs import read_sweep

EXPERIMENTS = sorted((conf_dir() / "experiment").glob("*.yaml"))
GLOBAL = "# @package _global_\n"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def listed(answer: Answer) -> list[str]:
    """The jobs of a dry run, without their numbers."""
    assert answer.code == 0, answer.err
    *lines, last = answer.out.splitlines()
    assert last == f"{len(lines)} job{'s' * (len(lines) > 1)}; nothing was started"
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    return [line.split(maxsplit=1)[1] for line in lines]


FORMS = {
    "every combination": (
        ["lr=1e-3,1e-4", "seed=0,1"],
        [f"lr={lr} seed={s}" for lr in (0.001, 0.0001) for s in (0, 1)],
    ),
    "a range": (["seed=range(2,8,2)"], ["seed=2", "seed=4", "seed=6"]),
    "a choice": (["gamma=choice(0.9,0.99)"], ["gamma=0.9", "gamma=0.99"]),
    "a glob": (["env=glob(Acro*)"], ["env=Acrobot-v1"]),
    "groups": (["network=mlp,lstm", "seed=1"], ["network=mlp", "network=lstm"]),
    "lists": (["network.hidden_sizes=[8],[8,8]"], ["network.hidden_sizes=[8]", "network.hidden_sizes=[8,8]"]),
    "pairs": (
        ["lr=1e-3,1e-4", "seed=0,1", "batch_size=32,64", "zip=[lr,batch_size]"],
        [f"{pair} seed={s}" for pair in ("lr=0.001 batch_size=32", "lr=0.0001 batch_size=64") for s in (0, 1)],
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_jobs_come_of_it(tmp_path: Path, here: Train, name: str) -> None:
    words, jobs = FORMS[name]
    assert listed(here(*words, "-m", "dry_run=true")) == jobs
    assert not files_in(tmp_path)


@pytest.mark.parametrize("place", range(3))
def test_the_flag_stands_anywhere(here: Train, place: int) -> None:
    words = ["seed=0,1", "dry_run=true"]
    words.insert(place, "-m")
    assert listed(here(*words)) == ["seed=0", "seed=1"]


FILES = {
    "experiment/grid.yaml": f"{GLOBAL}lr: 0.01\nn_jobs: 3\n"
    "hydra: {sweeper: {params: {seed: 'range(3)', gamma: '0.9,0.99'}}}\n",
    "experiment/mode.yaml": f"{GLOBAL}hydra: {{mode: MULTIRUN, sweeper: {{params: {{seed: '1,2'}}}}}}\n",
    "experiment/plain.yaml": f"{GLOBAL}lr: 0.02\nn_jobs: 2\n",
    "experiment/hunt.yaml": f"{GLOBAL}defaults: [{{override /search: optuna}}]\nlr: 0.03\n",
    "experiment/bad.yaml": f"{GLOBAL}n_jobs: 0\nfail_fast: soon\n",
}


def test_a_sweep_in_a_file(tmp_path: Path, here: Train) -> None:
    write(tmp_path, FILES)
    own = ["--config-dir=.", "dry_run=true"]
    found = listed(here(*own, "-m", "+experiment=grid"))
    assert found == [f"seed={seed} gamma={gamma}" for seed in range(3) for gamma in (0.9, 0.99)]
    assert listed(here(*own, "-m", "+experiment=grid", "gamma=0.5")) == [f"seed={seed}" for seed in range(3)]
    assert listed(here(*own, "+experiment=mode")) == ["seed=1", "seed=2"]
    assert listed(here(*own, "-m", "+experiment=plain", "seed=4,5")) == ["seed=4", "seed=5"]
    assert len(files_in(tmp_path)) == len(FILES) + 1


def test_the_packaged_experiments_are_sweeps(here: Train) -> None:
    jobs = {path.stem: len(listed(here("-m", f"+experiment={path.stem}", "dry_run=true"))) for path in EXPERIMENTS}
    assert jobs == {"lr_and_seeds": 10, "memory": 9, "objectives": 10, "published": 50}


def test_without_an_installation_there_is_no_sweep(here: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    answer = here("-m", "seed=0,1")
    assert (answer.code, "-m needs ppo-cli to be installed" in answer.words) == (2, True), answer.err
    assert "pip install -e ." in answer.words


REFUSED = {
    "an interval": (["-m", "lr=interval(1e-5,1e-3)"], "an interval has no values to try", "'lr=choice(…,…)'"),
    "options without -m": (["lr=1e-3", "n_jobs=2"], "n_jobs=2 is about several runs, and this is one", "ppo-train -m"),
    "options with another fault": (["gamma=2", "retries=1"], "retries=1 is about several runs", "gamma=0.99"),
    "an option swept": (["-m", "seed=0,1", "n_jobs=1,2"], "n_jobs is about the whole sweep", "n_jobs=<one value>"),
    "options out of range": (["-m", "seed=0,1", "n_jobs=0", "retries=-1"], "n_jobs=0 must be at least 1", "retries=0"),
    "options of another type": (["-m", "seed=0,1", "n_jobs=many"], "n_jobs=many is neither auto nor", "n_jobs=auto"),
    "options and jobs": (["-m", "seed=-1,1", "fail_fast=0"], "seed=-1 must be at least 0", "fail_fast=0 must be"),
    "pairs of unequal length": (["-m", "lr=1,2", "seed=1,2,3", "zip=[lr,seed]"], "lr has 2 and seed has 3 values", ""),
    "pairs with one that is not swept": (["-m", "lr=1,2", "zip=[lr,seed]"], "seed is not swept", "seed=<as many"),
    "one key as a pair": (["-m", "lr=1,2", "zip=lr"], "two keys or more", "zip=[lr,batch_size]"),
    "another sweeper": (
        ["-m", "seed=0,1", "hydra/sweeper=basic"],
        "hydra/sweeper=basic would",
        "without hydra/sweeper=",
    ),
    "another's sweeper": (["-m", "lr=1,2", "hydra/sweeper=optuna"], "hydra/sweeper=optuna would", "search=optuna"),
    "another launcher": (
        ["-m", "seed=0,1", "hydra/launcher=basic"],
        "hydra/launcher=basic would run",
        "hydra/launcher=local",
    ),
    "folders of one's own": (["-m", "seed=0,1", "hydra.sweep.subdir=x"], "hydra.sweep.subdir=x: jobs' folders", ""),
    "files with grids, swept": (["-m", "+experiment=grid,plain"], "which would not be heard", "a sweep for each"),
    "a grid in a file without -m": (
        ["+experiment=grid"],
        "a file has hydra.sweeper.params (seed, gamma)",
        "ppo-train -m",
    ),
    "a search in a file without -m": (["+experiment=hunt"], "a file has search=optuna", "ppo-train -m"),
    "a search's setting alone": (["search.metric=none"], "search.metric=none is about several runs", "ppo-train -m"),
    "a mode in a file": (["+experiment=mode", "resume=auto"], "resume=auto is for a single run", "resume=<the sweep's"),
    "options in a file": (
        ["-m", "+experiment=bad", "seed=0,1"],
        "n_jobs=0 must be at least 1",
        "fail_fast=soon is not",
    ),
    "no rows to wait for": (["-m", "seed=0,1", "job_timeout=5", "logger=tensorboard"], "waits for rows", "logger=csv"),
    "a value twice": (["-m", "seed=0,1", "lr=0.1,1e-1,0.2"], "lr=0.1 stands more than once", "lr=0.1,0.2"),
    "a pair twice": (
        ["-m", "zip=[seed,lr]", "seed=0,1,0", "lr=0.1,0.2,0.1"],
        "seed=0 with lr=0.1 stands more than once",
        "seed=0,1 lr=0.1,0.2",
    ),
    "nothing swept over": (["-m", "env=glob(Nothing*)"], "the sweep has no jobs", "seed=0,1,2"),
    "a misspelt option": (["-m", "seed=0,1", "njobs=2"], "Did you mean n_jobs?", "n_jobs=2"),
    "keys that JSON changes": (["-m", "seed=0,1", "env.kwargs={1:2}"], "job.json cannot keep", "texts as keys"),
    "what JSON has no number for": (
        ["-m", "seed=0,1", "env.kwargs.mode=nan"],
        "env.kwargs.mode holds nan, which job.json cannot keep",
        "'env.kwargs.mode=\"nan\"'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, here: Train, name: str) -> None:
    write(tmp_path, FILES)
    before = files_in(tmp_path)
    words, what, fix = REFUSED[name]
    answer = here("--config-dir=.", *words)
    assert answer.code == 2, answer
    for told in (what, fix):
        assert told.replace(" ", "") in answer.words.replace(" ", ""), answer.err
    assert files_in(tmp_path) == before


def test_a_plain_file_may_speak_of_sweeps(tmp_path: Path, here: Train) -> None:
    write(tmp_path, FILES)
    tiny = ("total_timesteps=64", "buffer_size=64", "batch_size=64", "num_envs=1", "epochs=1", "eval_every=null")
    answer = here("--config-dir=.", "+experiment=plain", "hydra.run.dir=run", *tiny)
    assert answer.code == 0, answer.err
    hunted = here("--config-dir=.", "+experiment=hunt", "search=none", "hydra.run.dir=other", *tiny)
    assert hunted.code == 0, hunted.err
    assert "n_jobs" not in json.loads((tmp_path / "run/summary.json").read_text())["config"]


def test_two_hundred_jobs_are_composed_and_checked_in_three_seconds(here: Train) -> None:
    listed(here("-m", "seed=0,1", "dry_run=true"))  # which imports everything
    began = time.process_time()
    assert len(listed(here("-m", "seed=range(100)", "lr=1e-3,1e-4", "dry_run=true"))) == 200
    assert time.process_time() - began < 3.0


def test_each_job_knows_what_its_own_preset_set(tmp_path: Path, here: Train) -> None:
    tiny = ("total_timesteps=64", "buffer_size=64", "batch_size=64", "num_envs=1", "eval_every=null", "logger=csv")
    words = [
        "seed=0,1",
        "env=Pendulum-v1,MountainCar-v0",
        "hydra.sweep.dir=sweep",
        "network.hidden_sizes=[8]",
        "epochs=1",
    ]
    assert here("-m", *words, *tiny).code == 0
    preset = [job.from_preset for job in read_sweep(tmp_path / "sweep").jobs]
    assert preset[0] == preset[2] != preset[1] == preset[3]
    assert "lr" in preset[0]
