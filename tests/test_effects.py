"""Settings that do nothing in a run are said to, once, and only where someone set them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toys  # noqa: F401  (registers environments)

from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig, walk
from ppo_cli.hydra_ext import argv
from ppo_cli.hydra_ext.app import plan_run, start
from ppo_cli.spec import ActionPart, ObsPart, Spec
from ppo_cli.training.effects import EFFECTS, warn_of_no_effect
from ppo_cli.training.plan import Plan, Planner
from ppo_cli.training.run import resume, train

PRESETS = ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "BipedalWalker-v3", "Hopper-v5")
NUMBERS = (ObsPart("", "numbers", (3,), measured=True),)
CHOICE = (ActionPart("", "categorical", 1, (2,)),)


def moves(low: float = -1.0, high: float = 1.0) -> tuple[ActionPart, ...]:
    return (ActionPart("", "continuous", 1, (), (low,), (high,)),)


def told(
    caplog: pytest.LogCaptureFixture,
    spec: Spec,
    changed: set[str] | None = None,
    from_preset: frozenset[str] = frozenset(),
    **settings: Any,
) -> list[str]:
    """The warnings of a run with these settings and spaces, of which nothing is built."""
    config: Any = replace(TrainConfig(vector_backend="sync", checkpoint_every=1000), **settings)
    inspection: Any = type("Inspection", (), {"spec": spec})()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ppo_cli"):
        warn_of_no_effect(Plan(config, config, inspection, (), from_preset), changed)
    return [record.getMessage() for record in caplog.records]


VECTOR, ARM = Spec(NUMBERS, CHOICE), Spec(NUMBERS, moves())
BYTES = Spec((ObsPart("", "numbers", (3,)),), CHOICE)
IDLE = [
    (BYTES, {"normalize_obs": True}, "normalize_obs=true: no effect, for no part"),
    (VECTOR, {"continuous": ContinuousConfig("beta", max_log_std=1.0)},
     "continuous.distribution=beta, continuous.max_log_std=1.0: no effect, for no action is continuous"),
    (VECTOR, {"continuous": ContinuousConfig(resample_every=1)}, "continuous.resample_every=1: no effect, for no"),
    (ARM, {"continuous": ContinuousConfig(resample_every=None)}, "continuous.resample_every=null: no effect, for only"),
    (ARM, {"continuous": ContinuousConfig("beta", state_dependent_std=True)}, "continuous.state_dependent_std=true:"),
    (ARM, {"continuous": ContinuousConfig("beta", initial_log_std=1.0)}, "continuous.initial_log_std=1.0: no effect"),
    (VECTOR, {"network": NetworkConfig(recurrent_size=8, sequence_length=4)},
     "network.recurrent_size=8, network.sequence_length=4: no effect, for there is no recurrent layer"),
    (VECTOR, {"network": NetworkConfig("mlp", module="a:B")}, "network.encoder=mlp: no effect, for network.module"),
    (VECTOR, {"env": EnvConfig(start_timeout=5.0)}, "env.start_timeout=5.0: no effect, for environments are built"),
    (VECTOR, {"keep_last": 2, "checkpoint_every": None}, "keep_last=2: no effect, for with checkpoint_every=null"),
    (VECTOR, {"keep_best": False, "eval_episodes": 3, "eval_every": None},
     "keep_best=false, eval_episodes=3: no effect, for with eval_every=null"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "settings", "line"), IDLE)
def test_a_setting_without_effect_says_so(
    caplog: pytest.LogCaptureFixture, spec: Spec, settings: dict[str, Any], line: str
) -> None:
    (found,) = told(caplog, spec, **settings)
    assert found.startswith(line)
    assert told(caplog, spec, set(), **settings) == []  # of a run that goes on, which changes none of them
    named = line.partition(":")[0]
    changed = {word.partition("=")[0] for word in named.split(", ")}
    assert told(caplog, spec, changed, **settings) == [found]
    assert told(caplog, spec, None, frozenset(changed), **settings) == []  # it was the preset that set them


def test_the_table_names_settings() -> None:
    keys = {key for key, _, _ in walk(TrainConfig())}
    assert {key for effect in EFFECTS for key in effect.keys} <= keys
    assert len({effect.without for effect in EFFECTS}) == len(EFFECTS)
    assert keys >= {word for _, settings, line in IDLE for word in [line.partition("=")[0]] if settings}


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (VECTOR, {}),
        (BYTES, {}),
        (VECTOR, {"normalize_obs": True}),
        (VECTOR, {"vector_backend": "async", "env": EnvConfig(start_timeout=5.0)}),
        (VECTOR, {"network": NetworkConfig(recurrent="gru", recurrent_size=8, sequence_length=4)}),
        (ARM, {"continuous": ContinuousConfig("gsde", resample_every=1, initial_log_std=-3.0)}),
        (ARM, {"continuous": ContinuousConfig("beta")}),
        (VECTOR, {"keep_last": 2}),
        (VECTOR, {"eval_every": None, "checkpoint_every": None}),
    ],
)
def test_what_has_an_effect_or_was_not_set_says_nothing(
    caplog: pytest.LogCaptureFixture, spec: Spec, settings: dict[str, Any]
) -> None:
    assert told(caplog, spec, **settings) == []


@pytest.mark.parametrize(
    ("batch", "envs", "length", "lines"), [(61, 8, None, 1), (64, 8, None, 0), (61, 8, 1, 0), (61, 122, None, 0)]
)
def test_sequences_of_one_step(
    caplog: pytest.LogCaptureFixture, batch: int, envs: int, length: int | None, lines: int
) -> None:
    network = NetworkConfig(recurrent="lstm", sequence_length=length)
    sizes = {"buffer_size": batch * 8 if envs == 8 else 122, "batch_size": batch, "num_envs": envs}
    found = told(caplog, VECTOR, network=network, **sizes)
    assert len(found) == lines
    assert all("batch_size=61 leaves sequences of 1 step" in line for line in found)


@pytest.mark.parametrize(
    ("low", "high", "start", "distribution", "far"),
    [
        (0.0, 1000.0, 0.0, "gaussian", True),
        (0.0, 1000.0, 6.0, "gaussian", False),
        (-0.05, 0.05, 0.0, "gaussian", True),
        (5.0, 7.0, 0.0, "gaussian", True),
        (-7.0, -5.0, 0.0, "gaussian", True),
        (-2.0, 2.0, 0.0, "gaussian", False),
        (0.0, 1.0, 0.0, "gaussian", False),
        (-10.0, 10.0, 0.0, "gaussian", False),
        (0.0, float("inf"), 0.0, "gaussian", False),
        (-3.4e38, 3.4e38, 0.0, "gaussian", False),
        (3.0, 3.0, 0.0, "gaussian", False),
        (0.0, 1000.0, 0.0, "squashed", False),
        (0.0, 1000.0, 0.0, "beta", False),
        (-2.0, 2.0, 0.0, "gsde", False),  # of 64 features: ± 4
        (-0.3, 0.3, 0.0, "gsde", True),
        (-0.3, 0.3, -3.0, "gsde", False),
        (0.0, 100.0, 0.0, "gsde", True),
        (0.0, 70.0, 0.0, "gsde", False),
    ],
)
def test_bounds_far_from_the_first_actions(
    caplog: pytest.LogCaptureFixture, low: float, high: float, start: float, distribution: str, far: bool
) -> None:
    continuous = ContinuousConfig(distribution, initial_log_std=start if distribution != "beta" else 0.0)
    found = told(caplog, Spec(NUMBERS, (*CHOICE, *moves(low, high))), continuous=continuous)
    assert len(found) == far
    for word in ("continuous=squashed", "continuous=beta", "RescaleAction", f"{low:g} and {high:g}"):
        assert all(word in line for line in found)
    assert all(("continuous.initial_log_std=" in line) == (distribution == "gsde") for line in found)


def test_a_better_beginning_is_named(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, Spec(NUMBERS, moves(-0.01, 0.01)), continuous=ContinuousConfig("gsde"))
    assert "drawn from 0 ± about 4 at first" in line
    assert "continuous.initial_log_std=-6 begins" in line  # ln(0.01 / 4)
    continuous = ContinuousConfig("gsde", initial_log_std=-6.0)
    assert told(caplog, Spec(NUMBERS, moves(-0.01, 0.01)), continuous=continuous) == []


@pytest.mark.parametrize("env", PRESETS)
def test_presets_are_silent(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, env: str) -> None:
    gymnasium = pytest.importorskip("gymnasium")
    try:
        gymnasium.make(env).close()
    except gymnasium.error.DependencyNotInstalled:
        pytest.skip("its package is not installed")
    for typed in ([], ["eval_every=null", "checkpoint_every=null"], ["continuous=beta"]):
        line = argv.parse([f"env={env}", *typed], TrainConfig)
        start(line)
        plan, _ = plan_run(line, "train")
        caplog.clear()
        with caplog.at_level(logging.WARNING, "ppo_cli"):
            warn_of_no_effect(plan)
        beta_alone = [record for record in caplog.records if "continuous.distribution=beta" in record.getMessage()]
        assert caplog.records == (beta_alone if "continuous=beta" in typed else []), caplog.text


def test_what_a_person_set_over_a_preset_is_told(caplog: pytest.LogCaptureFixture) -> None:
    line = argv.parse(["env=MountainCarContinuous-v0", "continuous=beta", "continuous.resample_every=9"], TrainConfig)
    start(line)
    plan, _ = plan_run(line, "train")
    assert "continuous.initial_log_std" in plan.from_preset
    assert "continuous.resample_every" not in plan.from_preset
    with caplog.at_level(logging.WARNING, "ppo_cli"):
        warn_of_no_effect(plan)
    (record,) = caplog.records
    assert record.getMessage().startswith("continuous.resample_every=9: no effect")
    assert Planner().plan(plan.asked).from_preset == frozenset()  # in Python, whatever differs was set


def test_it_is_said_at_the_start_once_and_of_changes_alone_when_a_run_goes_on(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"buffer_size": 64, "epochs": 1, "eval_every": None, "logger": [], "num_envs": 1}
    config = TrainConfig(total_timesteps=64, eval_episodes=3, env=EnvConfig("Clock-v0", {"length": 4}), **tiny)
    result = train(config, tmp_path / "run", show=False)
    said = (result.run_dir / "train.log").read_text().count
    assert (said("eval_episodes=3: no effect"), said("no effect")) == (1, 1)
    resume(result.run_dir, {"total_timesteps": 128, "keep_best": False}, show=False)
    said = (result.run_dir / "train.log").read_text().count
    assert (said("eval_episodes=3"), said("keep_best=false: no effect"), said("no effect")) == (1, 1, 2)
