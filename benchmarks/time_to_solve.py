"""Seconds of a whole process until CartPole-v1's evaluation mean reaches 475: our preset against SB3 with rl-zoo's.

``python -m benchmarks.time_to_solve``; needs ``pip install stable-baselines3``. A round is a seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile

from benchmarks.compare import Contender, Measurement, compare

GOAL, EVAL_EVERY, EVAL_EPISODES = 475.0, 5_120, 20


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        _run(json.loads(arguments.run))
        return
    field = [
        Contender("ppo-cli", "ours", {}),
        Contender("SB3, threads=1", "sb3", {"threads": 1}),
        Contender("SB3, threads=auto", "sb3", {"threads": "auto"}),
    ]
    measured = (
        Measurement("process_seconds", "whole process, s", higher_is_better=False),
        Measurement("steps", "steps", higher_is_better=False),
        Measurement("mean", "evaluation mean", higher_is_better=True),
    )
    compare("time-to-solve", field, measured, _command, arguments.seeds)


def _command(contender: Contender, seed: int) -> list[str]:
    spec = json.dumps({"side": contender.side, "seed": seed, **contender.spec})
    return ["-m", "benchmarks.time_to_solve", "--run", spec]


def _run(spec: dict[str, object]) -> None:
    (_ours if spec["side"] == "ours" else _sb3)(spec)


def _ours(spec: dict[str, object]) -> None:
    from ppo_cli.cli.train import main as ppo_train

    with tempfile.TemporaryDirectory() as folder:
        words = ["env=CartPole-v1", f"seed={spec['seed']}", f"target_return={GOAL}", f"eval_every={EVAL_EVERY}"]
        sys.argv = ["ppo-train", *words, f"eval_episodes={EVAL_EPISODES}", f"hydra.run.dir={folder}/run"]
        try:
            ppo_train()
        except SystemExit as end:
            if end.code:
                raise
        with open(f"{folder}/run/summary.json") as file:  # noqa: PTH123
            summary = json.load(file)
    print(json.dumps({"steps": summary["step"], "mean": summary["final_return"]}))


def _sb3(spec: dict[str, object]) -> None:
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
    from stable_baselines3.common.env_util import make_vec_env

    if spec["threads"] != "auto":
        torch.set_num_threads(int(str(spec["threads"])))
    seed, num_envs = int(str(spec["seed"])), 8
    evaluation = EvalCallback(
        make_vec_env("CartPole-v1", 1, seed=seed + 1000),
        eval_freq=EVAL_EVERY // num_envs,
        n_eval_episodes=EVAL_EPISODES,
        callback_on_new_best=StopTrainingOnRewardThreshold(GOAL, verbose=0),
        verbose=0,
    )
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", num_envs, seed=seed),
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.0,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
        seed=seed,
        device="cpu",
    )
    model.learn(100_000, callback=evaluation)
    print(json.dumps({"steps": model.num_timesteps, "mean": float(evaluation.last_mean_reward)}))


if __name__ == "__main__":
    main()
