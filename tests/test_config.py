"""The settings' defaults, checks and answers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ppo_cli.config import (
    ContinuousConfig,
    EnvConfig,
    EvalConfig,
    NetworkConfig,
    PPOConfig,
    TrainConfig,
    show,
    walk,
    whole_iterations,
)
from ppo_cli.errors import ConfigError
from ppo_cli.plain import from_plain, to_plain
from ppo_cli.validation import validate


@pytest.mark.parametrize("kind", [PPOConfig, TrainConfig, EvalConfig])
def test_the_defaults_fit_and_each_setting_says_what_it_means(kind: type[Any]) -> None:
    validate(kind())
    for key, _, item in walk(kind()):
        assert len(item.metadata["meaning"]) > 10, key


def test_the_settings_are_those_that_the_readme_promises() -> None:
    promised = """seed device total_timesteps num_envs lr gamma lam clip_ratio value_clip value_coef entropy_coef
        max_grad_norm target_kl buffer_size batch_size epochs anneal_lr anneal_clip normalize_obs normalize_reward
        normalize_value eval_every eval_episodes target_return checkpoint_every log_every output_dir init_from logger
        env.id env.kwargs env.max_episode_steps network.hidden_sizes network.activation network.shared"""
    promised += " threads compile vector_backend"
    assert set(promised.split()) <= {key for key, _, _ in walk(TrainConfig())}


def test_no_default_list_or_mapping_is_shared_between_configs() -> None:
    first, second = TrainConfig(), TrainConfig()
    first.network.hidden_sizes.append(7)
    first.env.kwargs["x"] = 1
    first.logger.clear()
    assert second == TrainConfig()


def problems_of(config: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(config)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr=-1.0 must be above 0; try lr=0.0003"),
        ({"lr": 0}, "lr=0 must be above 0; try lr=0.0003"),
        ({"gamma": 1.5}, "gamma=1.5 must be at least 0 and at most 1; try gamma=0.99"),
        ({"lam": -0.1}, "lam=-0.1 must be at least 0 and at most 1; try lam=0.95"),
        ({"clip_ratio": math.nan}, "clip_ratio=nan must be above 0; try clip_ratio=0.2"),
        ({"max_grad_norm": math.inf}, "max_grad_norm=inf must be above 0; try max_grad_norm=0.5"),
        ({"target_return": math.nan}, "target_return=nan must be a finite number; try target_return=null"),
        ({"seed": -1}, "seed=-1 must be at least 0 and at most 9223372036854775807; try seed=0"),
        ({"epochs": 0}, "epochs=0 must be at least 1; try epochs=10"),
        ({"total_timesteps": -5}, "total_timesteps=-5 must be at least 1; try total_timesteps=500000"),
        ({"num_envs": 0}, "num_envs=0 must be at least 1; try num_envs=8"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1; try batch_size=64"),
        ({"batch_size": 63}, "batch_size=63 does not divide buffer_size=2048; try batch_size=64"),
        ({"num_envs": 3}, "num_envs=3 does not divide buffer_size=2048; try num_envs=2"),
        ({"lr": "abc"}, "lr=abc is not a number; try lr=0.0003"),
        ({"epochs": 1.5}, "epochs=1.5 is not a whole number; try epochs=10"),
        ({"epochs": True}, "epochs=true is not a whole number; try epochs=10"),
        ({"anneal_lr": 1}, "anneal_lr=1 is not true or false; try anneal_lr=false"),
        ({"eval_every": 0}, "eval_every=0 must be at least 1; try eval_every=25000"),
        ({"logger": ["cvs"]}, "logger=[cvs] is none of csv, tensorboard, wandb, mlflow; try logger=[csv]"),
        (
            {"network": NetworkConfig(activation="rely")},
            "rely is none of tanh, relu, elu, gelu, silu; try network",
        ),
        (
            {"network": NetworkConfig(hidden_sizes=[])},
            "hidden_sizes=[] is empty; try network.hidden_sizes=[64,64]",
        ),
        ({"network": NetworkConfig(hidden_sizes=[8, 0])}, "network.hidden_sizes=[8,0] must be at least 1"),
        ({"network": NetworkConfig(hidden_sizes=[8.5])}, "network.hidden_sizes=[8.5] is not a list of whole numbers"),
        ({"env": EnvConfig(max_episode_steps=0)}, "env.max_episode_steps=0 must be at least 1"),
        ({"threads": "abc"}, "threads=abc is neither auto nor a whole number; try threads=auto"),
        ({"threads": 0}, "threads=0 must be at least 1 and at most 1024; try threads=auto"),
        ({"threads": True}, "threads=true is not a whole number"),
        ({"compile": "maybe"}, "compile=maybe is neither auto nor true or false; try compile=auto"),
        ({"compile": 1}, "compile=1 is not true or false"),
        ({"vector_backend": "asink"}, "is none of auto, native, envpool, sync, async; try vector_backend=async"),
        ({"target_return": 5.0, "eval_every": None}, "eval_every=null turns them off; try eval_every=10000"),
    ],
)
def test_a_value_that_does_not_fit_is_answered_with_what_fits(settings: dict[str, Any], message: str) -> None:
    (problem,) = problems_of(TrainConfig(**settings))
    assert message in problem


def test_what_is_picked_for_auto_fits_as_well() -> None:
    for settings in ({"threads": 3}, {"compile": True}, {"compile": False}, {"vector_backend": "sync"}):
        validate(TrainConfig(**settings))


def test_all_problems_are_told_at_once() -> None:
    assert len(problems_of(TrainConfig(lr=-1, gamma=2, epochs=0))) == 3
    assert len(problems_of(TrainConfig(batch_size=63, num_envs=3))) == 2


def test_null_switches_off_only_what_can_be_switched_off() -> None:
    validate(TrainConfig(value_clip=None, max_grad_norm=None, target_kl=None, eval_every=None, checkpoint_every=None))
    assert "clip_ratio=null is not a number" in problems_of(TrainConfig(clip_ratio=None))[0]  # type: ignore[arg-type]


def test_what_the_answer_proposes_fits() -> None:
    for size, wanted in [(2048, 63), (100, 64), (7, 3), (96, 1000)]:
        (problem,) = problems_of(TrainConfig(buffer_size=size, num_envs=1, batch_size=wanted))
        proposed = int(problem.rpartition("batch_size=")[2])
        validate(TrainConfig(buffer_size=size, num_envs=1, batch_size=proposed))


def test_a_value_is_shown_as_one_types_it() -> None:
    values = [None, True, 0.5, [1, 2], {"a": None, "b": [False]}, "x"]
    assert [show(value) for value in values] == ["null", "true", "0.5", "[1,2]", "{a:null,b:[false]}", "x"]


def test_a_config_survives_becoming_plain_data() -> None:
    config = TrainConfig(
        env=EnvConfig(id="LunarLander-v3", kwargs={"gravity": -9.0, "size": (1, 2.5)}),
        network=NetworkConfig(hidden_sizes=[5], shared=False),
        value_clip=0.1,
        logger=[],
    )
    plain = to_plain(config)
    assert from_plain(TrainConfig, plain) == config
    untouched = {"encoder": "auto", "activation": "tanh", "layer_norm": False, "recurrent": None, "recurrent_size": 64}
    untouched |= {"sequence_length": None, "module": None}
    assert plain["network"] == {"hidden_sizes": [5], "shared": False} | untouched
    plain["network"]["hidden_sizes"].append(1)
    assert config.network.hidden_sizes == [5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gama": 0.9}, "unknown setting 'gama'"),
        ({"gamma": 7}, "gamma=7 must be"),
        ({"network": {"hidden_sizes": [4]}}, "setting 'shared' is missing"),
        ({"network": 5}, "network=5"),
    ],
)
def test_plain_data_is_read_strictly(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_plain(TrainConfig, to_plain(TrainConfig()) | change)
    without = to_plain(TrainConfig())
    del without["lam"]
    with pytest.raises(ConfigError, match="setting 'lam' is missing"):
        from_plain(TrainConfig, without)


def test_steps_are_rounded_up_to_whole_iterations() -> None:
    assert [whole_iterations(steps, 100) for steps in (1, 99, 100, 101, 200)] == [1, 1, 1, 2, 2]


def test_every_setting_is_a_field_with_metadata() -> None:
    for kind in (EnvConfig, NetworkConfig, ContinuousConfig, PPOConfig, TrainConfig, EvalConfig):
        for item in dataclasses.fields(kind):
            assert item.metadata or item.name in ("network", "continuous", "env", "wandb", "mlflow"), item.name
