"""What to answer when someone types the name of a setting that does not exist."""

from __future__ import annotations

import difflib
import importlib.util
import re
from dataclasses import fields
from typing import Any

from ppo_cli.config import ARGUMENTS, TrainConfig, old_names, walk
from ppo_cli.errors import Problem
from ppo_cli.launchers import LAUNCHERS
from ppo_cli.renames import ELSEWHERE, told
from ppo_cli.search_config import SearchConfig
from ppo_cli.sweep_config import OPTIONS

_COUNTED_OTHERWISE = {
    "n_steps": "n_steps × num_envs",
    "num_steps": "num_steps × num_envs",
    "horizon": "horizon × num_envs",
    "num_minibatches": "buffer_size ÷ num_minibatches",
    "hidden_dim": "[64,64]",
    "net_arch": "[64,64]",
    "clip_vloss": "0.2",
}


GROUPS = ("env", "network", "continuous", "wandb", "mlflow")
"""The groups that hold settings of their own."""
IN_COMMON = "defaults"
"""The file of such a group that its choices begin with, and that is none of them."""


def settings(kind: type[Any]) -> list[str]:
    """Every key that may be typed before a ``=``."""
    return [*choices(kind), *(key for key, _, _ in walk(kind()))]


def choices(kind: type[Any]) -> dict[str, str]:
    """The config groups and a choice of each."""
    if kind is not TrainConfig:
        return {}
    return {
        "env": "CartPole-v1",
        "network": "auto",
        "continuous": "gaussian",
        "hyperparameters": "tuned",
        "preset": "mujoco",
        "wandb": "default",
        "mlflow": "default",
        "search": "optuna",
        "search_space": "ppo",
    }


def command(kind: type[Any]) -> str:
    """The command whose settings ``kind`` holds."""
    return "ppo-train" if kind is TrainConfig else "ppo-eval"


def unknown_key(key: str, value: str, kind: type[Any]) -> Problem:
    """Name the setting that was probably meant."""
    if key.startswith("search."):
        return _about_search(key, value)
    known = [*settings(kind), *(OPTIONS if kind is TrainConfig and "." not in key else ())]
    for old, new in old_names(kind).items():
        if key in (old, old.rpartition(".")[2]):
            return Problem(told(old, new), f"{new}={value}")
    ours = ELSEWHERE.get(key.rpartition(".")[2])
    if ours in known:
        right = _COUNTED_OTHERWISE.get(key, value)
        return Problem(f"{key!r} is called {ours} here", f"{ours}={right}")
    near = _nearest(key, known)
    if near is None:
        misspelt = difflib.get_close_matches(key.rpartition(".")[2], ELSEWHERE, n=1, cutoff=0.8)
        near = next((ELSEWHERE[name] for name in misspelt if ELSEWHERE[name] in known), None)
    if near is not None:
        return Problem(f"{key!r} is not a setting of {command(kind)}. Did you mean {near}?", f"{near}={value}")
    what = f"{key!r} is not a setting of {command(kind)}"
    arguments = tuple(f"{name}." for name in ARGUMENTS)
    if kind is not TrainConfig and (key in settings(TrainConfig) or key.startswith(arguments)):
        what = f"{what}, which takes it from the checkpoint"
    return Problem(what, f"{command(kind)} --help, which lists them all")


def _about_search(key: str, value: str) -> Problem:
    names = [f"search.{item.name}" for item in fields(SearchConfig)]
    if key in names:
        return Problem(f"{key}={value} has no effect without a search", f"-m search=optuna {key}={value}")
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
    return Problem(f"{key!r} is not a setting of a search. Did you mean {near}?", f"{near}={value}")


def no_such_group(word: str, key: str, value: str, kind: type[Any]) -> Problem:
    """Name what was probably meant by a name that is neither a setting nor a folder of the user's files."""
    problem = unknown_key(key, value, kind)
    is_name = re.fullmatch(r"[A-Za-z_][\w/-]*(\.ya?ml)?", value) and value.lower() not in ("true", "false", "null")
    if "which lists them all" not in problem.fix or not is_name or "." in key:
        return problem
    file = f"{key}/{re.sub(r'[.]ya?ml$', '', value)}.yaml"
    what = f"{word}: {key!r} is neither a setting of {command(kind)} nor a folder of your files"
    return Problem(what, f"--config-dir=DIR, where DIR/{file} is your file")


def no_such_launcher(name: str) -> Problem:
    """What is wrong with ``hydra/launcher=name``."""
    what = f"hydra/launcher={name} would run the jobs its own way, without resuming, retries or n_jobs"
    near = [known for known in LAUNCHERS if len(name) > 2 and name in known]
    return Problem(
        what, f"hydra/launcher={near[0]}" if near else "n_jobs=2 with hydra/launcher=local, which need not be said"
    )


def no_such_sweeper(name: str) -> Problem:
    """What is wrong with ``hydra/sweeper=name``."""
    what = f"hydra/sweeper={name} would neither check all jobs first nor tell of those that fail"
    searches = name in ("optuna", "ax", "nevergrad")  # Hydra's plugins
    return Problem(what, "search=optuna, which searches" if searches else "the same without hydra/sweeper=")


def missing_plugin() -> list[Problem]:
    """What keeps Hydra from finding our sweeper: it takes one from installed packages alone."""
    try:
        if importlib.util.find_spec("hydra_plugins.ppo_cli_plugin") is not None:
            return []
    except ModuleNotFoundError:  # of the package around it
        pass
    return [Problem("-m needs ppo-cli to be installed, and here it is only found on the path", "pip install -e .")]


def _nearest(key: str, known: list[str]) -> str | None:
    """The key most alike, as a whole or by its last part."""
    group, dot, last = key.rpartition(".")
    beside = [name for name in known if dot and name.startswith(f"{group}.")]
    if beside:  # what they have in common makes whole keys look more alike than they are
        close = difflib.get_close_matches(last, [name.rpartition(".")[2] for name in beside], n=1, cutoff=0.6)
        if close:
            return f"{group}.{close[0]}"
    by_name = {name.rpartition(".")[2]: name for name in reversed(known)} | {name: name for name in known}
    for wanted in (last,) if beside else (key, last):
        for name in difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.6):
            begun = len(wanted) > 2 and name.startswith(wanted)
            if begun or difflib.SequenceMatcher(None, name, wanted).ratio() >= 0.75:
                return by_name[name]
    return None


def unnamed(key: str) -> Problem:
    """What is wrong with a folder without a name."""
    fix = "outputs" if key == "output_dir" else "outputs/mine"
    return Problem(f"{key}= is empty; a shell leaves it so where a variable is not set", f"{key}={fix}")
