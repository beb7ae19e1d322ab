"""Evaluating a checkpoint: what ``ppo-eval`` does, for notebooks and scripts too."""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EvalConfig, TrainConfig, own_modules, show
from ppo_cli.devices import intra_op_threads, resolve_device
from ppo_cli.envs.calls import read_calls
from ppo_cli.envs.inspect import read_spec
from ppo_cli.envs.video import Film
from ppo_cli.errors import CheckpointError, ConfigError, Problem
from ppo_cli.places import kept_folder, shown
from ppo_cli.plain import as_data, from_plain
from ppo_cli.runs.checkpoint import find_checkpoint, load_checkpoint
from ppo_cli.runs.files import write_json
from ppo_cli.runs.names import CHECKPOINTS_FOLDER, VIDEO_FOLDER
from ppo_cli.runs.progress import success_rate
from ppo_cli.training.play import Episodes, play
from ppo_cli.validation import validate

log = logging.getLogger("ppo_cli")

BOOTSTRAP_DRAWS = 10_000


@dataclass(frozen=True)
class EvalResult:
    """What ``ppo-eval`` found; field by field what ``eval.json`` holds, but for the last two."""

    episode_return_mean: float
    episode_return_std: float
    episode_return_median: float
    episode_return_min: float
    episode_return_max: float
    episode_return_ci95: tuple[float, float]
    episode_returns: list[float]
    episode_lengths: list[int]
    success_rate: float | None
    seed: int
    episodes: int
    deterministic: bool
    checkpoint: Path
    written: Path | None
    video: Path | None


def evaluate(checkpoint: str | os.PathLike[str], **settings: Any) -> EvalResult:
    """Evaluate a checkpoint, as ``ppo-eval checkpoint=… key=value`` does.

    Args:
        checkpoint: A run's folder or a checkpoint file.
        **settings: Fields of :class:`ppo_cli.config.EvalConfig`.

    Raises:
        ConfigError: if a setting or the checkpoint does not fit.
    """
    return run_eval(EvalConfig(checkpoint=os.fspath(checkpoint), **settings))


def run_eval(config: EvalConfig) -> EvalResult:
    """Rebuild environment, network and normalisers from the checkpoint alone, and play.

    Raises:
        ConfigError: if a setting or the checkpoint does not fit.
    """
    config = as_data(config)
    _validate(config)
    path = find_checkpoint(config.checkpoint)
    payload = load_checkpoint(path)
    train_config = _train_config(path, payload, config)
    agent = PPOAgent.from_state_dict(payload["agent"], resolve_device(config.device), module=config.network)
    with kept_folder():
        spec = read_spec(train_config.env)
    if not spec.same_spaces(agent.spec):
        what = f"{path} is of an agent for other observations or actions than {train_config.env.id} has here"
        raise CheckpointError(Problem(what, "the version of the environment's package that it was trained with"))
    episodes, seed, deterministic = config.episodes, config.seed, config.deterministic
    if seed == "run":
        episodes, seed, deterministic = _own_evaluation(path, payload["run"])
        _check_repeats(config, episodes, deterministic)
    film = Film(_run_folder(path).absolute() / VIDEO_FOLDER) if config.video else None
    with intra_op_threads(train_config.threads if isinstance(train_config.threads, int) else 1), kept_folder():
        played = play(
            agent.policy,
            train_config.env,
            episodes=episodes,
            seed=int(seed),
            deterministic=deterministic,
            num_envs=1 if config.render else config.num_envs,
            film=film,
            human=config.render is not None,
            calls=[call for call in read_calls(payload["run"].get("calls", [])) if call.in_evaluation],
            in_processes=train_config.vector_backend == "async",
        )
    return _write(_summarise(played, int(seed), deterministic, path, film.folder if film else None))


def _check_repeats(config: EvalConfig, episodes: int, deterministic: bool) -> None:
    """With ``seed=run`` the run's own evaluation is played again, and no other one.

    Raises:
        ConfigError: if another number of episodes or another way to act was asked for.
    """
    usual = EvalConfig()
    problems = [
        Problem(f"seed=run repeats the run's evaluation, which had {name}={show(had)}", f"{name}={show(had)}")
        for name, asked, default, had in (
            ("episodes", config.episodes, usual.episodes, episodes),
            ("deterministic", config.deterministic, usual.deterministic, deterministic),
        )
        if asked not in (default, had)
    ]
    if problems:
        raise ConfigError(problems)


def _validate(config: EvalConfig) -> None:
    validate(config)
    if isinstance(config.seed, str) and config.seed != "run":
        raise ConfigError(Problem(f"seed={config.seed} is neither a whole number nor run", "seed=0"))
    if isinstance(config.seed, int) and config.seed < 0:
        raise ConfigError(Problem(f"seed={config.seed} must be at least 0", "seed=0"))
    if config.video and config.render is not None:
        raise ConfigError(
            Problem("video=true films, and render=human shows a window; they exclude each other", "video=true")
        )


def _train_config(path: Path, payload: dict[str, Any], asked: EvalConfig) -> TrainConfig:
    """The configuration the checkpoint's run had; a module is imported only if the user named it too."""
    if payload["run"] is None:
        raise CheckpointError(
            Problem(f"{path} was saved by agent.save() and names no environment", "PPOAgent.load() in Python")
        )
    try:
        config: TrainConfig = from_plain(TrainConfig, payload["run"]["config"])
    except ConfigError as error:
        raise CheckpointError(error.problems) from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(Problem(f"{path} does not describe its run ({error!r})", "another checkpoint")) from error
    needed = own_modules(config)
    given = {"env": asked.env, "network": asked.network, "wrappers": show(asked.wrappers) if asked.wrappers else None}
    problems = []
    for key, value in given.items():
        saved = {"env": config.env.id, **needed}.get(key)
        if value is not None and value != saved:
            what = f"{key}={value}, but the checkpoint was trained with {key}={saved or 'none of yours'}"
            problems.append(Problem(what, shlex.quote(f"{key}={saved}") if saved else f"the same without {key}="))
        elif value is None and key in needed:
            what = f"the checkpoint's {key} {saved} lives in a module, which is imported only if you say so"
            problems.append(Problem(what, shlex.quote(f"{key}={saved}")))
    if problems:
        raise ConfigError(problems)
    return config


def _own_evaluation(path: Path, run: dict[str, Any]) -> tuple[int, int, bool]:
    """Episodes, seed and determinism of the evaluation that the training run made for this checkpoint."""
    own = run.get("evaluation")
    if own is None:
        raise ConfigError(Problem(f"seed=run, but {path} was saved without an evaluation", "seed=0"))
    try:
        if not isinstance(own, dict):  # a tensor takes indices too, and raises errors of its own
            raise TypeError(f"a {type(own).__name__}")
        episodes, seed, deterministic = len(own["returns"]), own["seed"], own["deterministic"]
        if type(seed) is not int or seed < 0 or type(deterministic) is not bool or not episodes:
            raise ValueError(f"seed={seed!r:.80}, deterministic={deterministic!r:.80}, {episodes} episodes")
        return episodes, seed, deterministic
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{path} does not describe its own evaluation ({error!r})"
        raise CheckpointError(Problem(what, "seed=0")) from error


def _summarise(played: Episodes, seed: int, deterministic: bool, path: Path, video: Path | None) -> EvalResult:
    returns = np.asarray(played.returns)
    draws = np.random.default_rng(0).choice(returns, (BOOTSTRAP_DRAWS, len(returns))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return EvalResult(
        episode_return_mean=float(returns.mean()),
        episode_return_std=float(returns.std()),
        episode_return_median=float(np.median(returns)),
        episode_return_min=float(returns.min()),
        episode_return_max=float(returns.max()),
        episode_return_ci95=(float(low), float(high)),
        episode_returns=played.returns,
        episode_lengths=played.lengths,
        success_rate=success_rate(played.successes),
        seed=seed,
        episodes=len(returns),
        deterministic=deterministic,
        checkpoint=path,
        written=None,
        video=video,
    )


def _run_folder(checkpoint: Path) -> Path:
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS_FOLDER else checkpoint.parent


def _write(result: EvalResult) -> EvalResult:
    path = _run_folder(result.checkpoint) / "eval.json"
    content = dataclasses.asdict(result)
    del content["written"], content["video"]
    content["checkpoint"] = str(result.checkpoint)
    try:
        write_json(path, content)
    except OSError as error:  # a read-only archive of runs can still be evaluated
        older = ", and is of an earlier evaluation" if path.is_file() else ""
        log.warning("%s could not be written (%s)%s", shown(path), error.strerror or error, older)
        return result
    return dataclasses.replace(result, written=path)
