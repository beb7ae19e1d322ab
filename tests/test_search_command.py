"""A search as it is typed: what is searched, what is refused, and one from its beginning to its preset."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from console import Answer, Train, command, environment, files_in, run

from ppo_cli.hydra_ext.search_words import search_of
from ppo_cli.places import conf_dir
from ppo_cli.plain import to_plain
from ppo_cli.search.folder import read_search
from ppo_cli.search_config import SearchConfig

pytest.importorskip("optuna")
LR = "lr=tag(log,interval(1e-5,1e-2))"
SMALL = [
    "env=CartPole-v1", "total_timesteps=512", "buffer_size=64", "num_envs=1", "epochs=1", "eval_every=64",
    "eval_episodes=2", "checkpoint_every=64", "compile=false", "threads=1", "search.trials=4", "search.seeds=2",
    "search.startup=2", "search.top=1", "search.fresh_seeds=2", "batch_size=32,64", LR,
]  # fmt: skip


def looked_at(answer: Answer) -> dict[str, str]:
    """The settings of a dry run, with what is tried of each."""
    assert answer.code == 0, answer.err
    *lines, last = answer.out.splitlines()
    assert last.endswith("nothing was started")
    return dict(line.split(maxsplit=1) for line in lines)  # type: ignore[misc]


SPACES = {
    LR: ("lr", "1e-05 to 0.01, by its logarithm"),
    "lam=interval(0.9,1)": ("lam", "0.9 to 1"),
    "epochs=interval(1,10)": ("epochs", "whole numbers 1 to 10"),
    "epochs=range(1,10)": ("epochs", "whole numbers 1 to 9"),
    "epochs=tag(log,int,interval(1,64))": ("epochs", "whole numbers 1 to 64, by its logarithm"),
    "network.hidden_sizes=choice([8],[16,16])": ("network.hidden_sizes", "[8], [16,16]"),
    "network=mlp,lstm": ("network", "mlp, lstm"),
    "anneal_lr=true,false": ("anneal_lr", "true, false"),
    "epochs=tag(log,interval(0.5,64.5))": ("epochs", "whole numbers 1 to 64, by its logarithm"),
    "epochs=shuffle(range(2,20,3))": ("epochs", "whole numbers 2 to 17"),
}


@pytest.mark.parametrize("word", SPACES)
def test_what_is_searched(tmp_path: Path, here: Train, word: str) -> None:
    key, values = SPACES[word]
    found = looked_at(here("-m", "search=optuna", word, "dry_run=true"))
    assert found == {key: values}
    assert not files_in(tmp_path)


def test_a_space_of_a_file_and_what_is_typed_beside_it(tmp_path: Path, here: Train) -> None:
    found = looked_at(
        here("-m", "search=optuna", "search_space=ppo", "gamma=0.9", "lam=interval(0.5,1)", "dry_run=true")
    )
    assert found["lam"] == "0.5 to 1"
    assert "gamma" not in found
    assert len(found) > 8
    (tmp_path / "search_space").mkdir()
    (tmp_path / "search_space" / "mine.yaml").write_text("lr: 1e-3,1e-4\nepochs: range(1,4)\n")
    found = looked_at(here("--config-dir=.", "-m", "search=optuna", "search_space=mine", "dry_run=true"))
    assert found == {"lr": "0.001, 0.0001", "epochs": "whole numbers 1 to 3"}


REFUSED = {
    "nothing to search": (["search=optuna"], "there is nothing to search", "search_space=ppo"),
    "a seed": (["search=optuna", LR, "seed=1"], "a search chooses its seeds", "search.seeds=3"),
    "environments": (["search=optuna", LR, "env=CartPole-v1,Acrobot-v1"], "no common scale", "a search for each"),
    "pairs": (["search=optuna", "lr=1,2", "gamma=0,1", "zip=[lr,gamma]"], "zip= is for a sweep", "without zip="),
    "an interval in a sweep": ([LR], "an interval has no values to try", "search=optuna"),
    "trials of a sweep": (["lr=1e-3,1e-4", "search.trials=3"], "no effect without a search", "search=optuna"),
    "a space of a sweep": (["lr=1e-3,1e-4", "search_space=ppo"], "no effect without a search", "search=optuna"),
    "a misspelt key": (["search=optuna", LR, "search.trails=3"], "Did you mean search.trials?", "search.trials=3"),
    "several numbers of trials": (["search=optuna", LR, "search.trials=3,4"], "about the whole search", "<one value>"),
    "no trials": (["search=optuna", LR, "search.trials=0"], "search.trials=0 must be at least 1", "search.trials=40"),
    "no threshold": (["search=optuna", LR, "search.metric=steps"], "how soon a run reaches", "search.threshold="),
    "a threshold": (["search=optuna", LR, "search.threshold=3"], "has no effect with search.metric=final", "steps"),
    "upside down": (["search=optuna", "lr=interval(1,0.1)"], "from less to more", "interval(0.1,0.9)"),
    "a logarithm of nothing": (["search=optuna", "lr=tag(log,interval(0,0.1))"], "above 0", "1e-5"),
    "values that do not fit": (["search=optuna", "lr=interval(-1,1)"], "lr=-1.0 must be above 0", "lr="),
    "several lengths": (["search=optuna", LR, "total_timesteps=1e4,1e5"], "same steps of their curves", "=<one value>"),
    "several curves": (["search=optuna", LR, "eval_every=null,100"], "same steps of their curves", "=<one value>"),
    "what is not learnt": (["search=optuna", LR, "keep_last=1,2"], "changes nothing of what is learnt", "keep_last="),
    "without rows": (["search=optuna", LR, "logger=[]"], "goes by the rows of metrics.csv", "logger=csv"),
    "no two whole numbers": (["search=optuna", "epochs=interval(1.2,2.8)"], "from less to more", "interval(0.1,0.9)"),
    "what no file keeps": (
        ["search=optuna", "+env.kwargs.x=choice({1:2},{a:3})"], "search.json cannot keep", "texts as keys",
    ),
    "values that never fit": (["search=optuna", "buffer_size=1000", "batch_size=64,128"], "does not divide", "=50"),
    "values that seldom fit": (
        ["search=optuna", "continuous.min_log_std=interval(-20,5)"], "not all of the space", "continuous.max_log_std=",
    ),
    "a cluster": (["search=optuna", LR, "hydra/launcher=submitit_local"], "one after another", "hydra/launcher=local"),
    "what does not exist": (["search=skopt", LR], "search=skopt is none of", "search="),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, here: Train, name: str) -> None:
    words, what, fix = REFUSED[name]
    answer = here("-m", *words, "dry_run=true")
    assert answer.code == 2
    assert what in answer.words
    assert fix in answer.words
    assert not files_in(tmp_path)


def test_files_that_make_trials_incomparable(tmp_path: Path, here: Train) -> None:
    for name, env, steps in (("a", "Acrobot-v1", 1000), ("b", "Acrobot-v1", 2000)):
        (tmp_path / f"{name}.yaml").write_text(f"env: {{id: {env}}}\ntotal_timesteps: {steps}\n")
    words = ["-m", "search=optuna", "preset=./a.yaml,./b.yaml", LR, "dry_run=true"]
    answer = here(*words)
    assert answer.code == 2
    assert "make total_timesteps 1000 and 2000" in answer.words
    assert "make env.id Acrobot-v1 and CartPole-v1" in answer.words  # which trial 0 would have
    assert here(*words, "total_timesteps=500", "env=Acrobot-v1").code == 0


def test_what_is_searched_need_not_fit_as_it_stands(here: Train) -> None:
    assert looked_at(here("-m", "search=optuna", "buffer_size=1000", "batch_size=64,50", "dry_run=true"))


def test_a_single_run_is_no_search(here: Train) -> None:
    answer = here("search=optuna", "lr=1e-3")
    assert answer.code == 2
    assert "search=optuna is about several runs" in answer.words


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    _, problems = search_of({"search": {"name": "optuna"}}, ["search=optuna"])
    assert [problem.fix for problem in problems] == ["pip install 'ppo-cli[search]'"]


def test_the_file_lists_every_setting() -> None:
    import yaml

    content = yaml.safe_load((conf_dir() / "search" / "optuna.yaml").read_text())
    assert content == {**to_plain(SearchConfig()), "name": "optuna"}


def test_the_preset_is_trial_0_or_left_out(here: Train) -> None:
    said = here("-m", "search=optuna", "env=Acrobot-v1", LR, "dry_run=true").out
    assert "trial 0 is the preset" in said
    for words in (["search.preset=false"], ["hyperparameters=default"]):
        assert "preset" not in here("-m", "search=optuna", "env=Acrobot-v1", LR, "dry_run=true", *words).out


def test_from_the_first_trial_to_the_preset_through_sigkill(tmp_path: Path) -> None:
    began = subprocess.Popen(
        command("ppo-train", "-m", "search=optuna", *SMALL, "n_jobs=2", "hydra.sweep.dir=search"),
        cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "search"
    until = time.monotonic() + 120
    while not list(folder.glob("*/checkpoints/step_*.pt")):
        assert time.monotonic() < until
        assert began.poll() is None
        time.sleep(0.05)
    os.kill(began.pid, signal.SIGKILL)
    began.wait()
    answer = run(tmp_path, "ppo-train", "-m", "resume=search")
    assert answer.code == 0, answer.err + answer.out
    found = json.loads((folder / "search.json").read_text())
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert {trial["state"] for trial in found["trials"]} <= {"finished", "pruned"}
    assert "The search believed" in answer.out
    winner = found["finals"][0]
    assert f"ppo-train preset={Path('search', 'best.yaml')}" in answer.out
    # What the preset repeats is the run that its score is of.
    again = run(tmp_path, "ppo-train", "preset=search/best.yaml", f"seed={winner['seeds'][0]}", "hydra.run.dir=again")
    assert again.code == 0, again.err
    one, other = (rows(path) for path in (folder / winner["folders"][0], tmp_path / "again"))
    assert one == other
    assert read_search(folder).search.trials == 4
    listed = run(tmp_path, "ppo-train", "-m", "resume=search", "search.trials=5", "dry_run=true")
    assert "5 trials of 2 runs" in listed.out
    refused = run(tmp_path, "ppo-train", "-m", "resume=search", "lr=3")
    assert (refused.code, "was said when the search began" in refused.words) == (2, True)


def rows(folder: Path) -> list[list[str]]:
    """A run's rows, without those columns that clocks are in."""
    lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    kept = [place for place, name in enumerate(lines[0]) if not name.startswith("time/")]
    return [[line[place] for place in kept] for line in lines]
