"""``-m``: every job checked first, failures survived, and a table at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path

from console import FRAME_TOP, Train, files_in, run

from ppo_cli.sweep.jobs import job_name

# one job's environment outlives the few steps that it is tried out for
MODULE = """
import gymnasium

class Fragile(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, a, b):
        self.breaks, self.steps, self.total = (a, b) == (1, 2), 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.total += 1
        if self.breaks and self.total == 20:
            raise RuntimeError("the wheel fell off")
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 8, False, {}

gymnasium.register("Fragile-v0", entry_point=Fragile)
"""
TINY = ("total_timesteps=64", "buffer_size=64", "batch_size=64", "epochs=1", "eval_every=64", "eval_episodes=2")


def test_two_by_three_with_one_that_breaks(tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(MODULE)
    words = ("env=fragile:Fragile-v0", "env.kwargs.a=0,1", "-m", "env.kwargs.b=0,1,2", "num_envs=1", *TINY)
    answer = run(tmp_path, "ppo-train", *words)
    assert answer.code == 1, answer.err
    assert "Traceback" not in answer.out + answer.err
    (sweep,) = (tmp_path / "outputs/multirun").iterdir()
    jobs = sorted(path for path in sweep.iterdir() if path.is_dir())
    assert [path.name for path in jobs] == [
        f"{number}_env.kwargs.a-{a}_env.kwargs.b-{b}"
        for number, (a, b) in enumerate((a, b) for a in (0, 1) for b in range(3))
    ]
    statuses = [json.loads((path / "summary.json").read_text())["status"] for path in jobs]
    assert statuses == ["finished"] * 5 + ["failed"]
    rows = [line for line in answer.out.splitlines() if line.startswith("│")]
    assert ["8.00" in row for row in rows] == [True] * 5 + [False]
    assert re.search(r"job 5 \(env.kwargs.a=1 env.kwargs.b=2\) failed .*RuntimeError: the wheel fell off", answer.out)
    log = (jobs[5] / "train.log").read_text()
    assert "the wheel fell off" in log
    assert "threads=1 (as the sweep was checked)" in log
    assert (sweep / "multirun.yaml").is_file()


def test_every_bad_job_is_named_before_any_starts(tmp_path: Path, here: Train) -> None:
    answer = here("-m", "batch_size=256,63", "env=CartPole-v1,CartPol-v1,toys:Dial-v0")
    assert answer.code == 2
    assert answer.err.count(FRAME_TOP) == 1
    assert "job 3 (batch_size=63 env=CartPole-v1): batch_size=63 does not divide buffer_size=256" in answer.words
    assert "jobs 1, 4 of 6: env=CartPol-v1" in answer.words
    assert "toys:Dial-v0 has actions of kind Box of int64" in answer.words
    assert not files_in(tmp_path)


def test_what_all_jobs_have_wrong_is_named_once(here: Train) -> None:
    answer = here("-m", "seed=0,1,2", "gamma=2")
    assert answer.code == 2
    assert answer.words.count("gamma=2") == 1
    assert "job" not in answer.words
    answer = here("-m", "seed=0,1,2", "lrr=2")
    assert answer.code == 2
    assert "Did you mean lr?" in answer.words


def test_folder_names_are_short_safe_and_distinct() -> None:
    assert job_name(3, ["env.kwargs.x=[1,2]", "env=ALE/Pong-v5"]) == "3_env.kwargs.x-1-2-_env-ALE-Pong-v5"
    long = [job_name(number, [f"network.hidden_sizes=[{'64,' * 60}{number}]"]) for number in range(20)]
    assert len(set(long)) == 20
    assert max(map(len, long)) == 80
