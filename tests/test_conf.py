"""``conf/`` says what the dataclasses say, and presets are differences only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from ppo_cli.config import ContinuousConfig, EnvConfig, EvalConfig, NetworkConfig, PPOConfig, TrainConfig, walk
from ppo_cli.errors import ConfigError
from ppo_cli.hydra_ext import argv
from ppo_cli.hydra_ext.compose import checked, loader, prepare, reusing
from ppo_cli.places import conf_dir
from ppo_cli.plain import to_plain
from ppo_cli.trackers import MlflowConfig, WandbConfig

GROUPS = ("env.", "network.", "continuous.", "wandb.", "mlflow.")
TUNED = conf_dir() / "preset/tuned"
PRESETS = sorted(path.relative_to(TUNED).with_suffix("").as_posix() for path in TUNED.rglob("*.yaml"))
PACKAGES = {"ALE": "ale_py"}  # ids that are known only where a package is installed


def compose(config_name: str, kind: type[Any], *overrides: str) -> Any:
    prepare()
    with loader(config_name) as load:
        return checked(kind, load, overrides)


def root_settings() -> list[tuple[str, Any, Any]]:
    return [row for row in walk(TrainConfig()) if not row[0].startswith(GROUPS)]


FILES = {
    "hyperparameters/default.yaml": root_settings(),
    "env/CartPole-v1.yaml": list(walk(EnvConfig())),
    "network/defaults.yaml": list(walk(NetworkConfig())),
    "continuous/defaults.yaml": list(walk(ContinuousConfig())),
    "wandb/default.yaml": list(walk(WandbConfig())),
    "mlflow/default.yaml": list(walk(MlflowConfig())),
    "eval.yaml": list(walk(EvalConfig())),
}


@pytest.mark.parametrize("name", FILES)
def test_file_lists_every_setting_with_its_default(name: str) -> None:
    values = OmegaConf.to_container(OmegaConf.load(conf_dir() / name))
    assert isinstance(values, dict)
    values.pop("defaults", None)
    values.pop("hydra", None)
    assert values == {key: value for key, value, _ in FILES[name]}


@pytest.mark.parametrize("name", FILES)
def test_file_says_what_every_setting_means(name: str) -> None:
    lines = (conf_dir() / name).read_text(encoding="utf-8").splitlines()
    for key, _, item in FILES[name]:
        (line,) = [line for line in lines if line.startswith(f"{key}:")]
        assert line.partition("  # ")[2] == item.metadata["meaning"]


def test_plain_defaults_are_the_dataclass() -> None:
    assert compose("train", TrainConfig, "hyperparameters=default") == TrainConfig()
    assert compose("eval", EvalConfig) == EvalConfig()


@pytest.mark.parametrize(
    ("choice", "network"),
    [
        ("mlp", NetworkConfig(encoder="mlp")),
        ("cnn", NetworkConfig(encoder="cnn", hidden_sizes=[512], activation="relu")),
        ("impala", NetworkConfig(encoder="impala", hidden_sizes=[256], activation="relu")),
        ("lstm", NetworkConfig(recurrent="lstm")),
        ("gru", NetworkConfig(recurrent="gru")),
        ("cnn_lstm", NetworkConfig("cnn", [512], "relu", recurrent="lstm", recurrent_size=256)),
        ("toys:Halves", NetworkConfig(module="toys:Halves")),
    ],
)
def test_network_is_a_choice_of_differences(choice: str, network: NetworkConfig) -> None:
    line = argv.parse(["hyperparameters=default", f"network={choice}"], TrainConfig)
    assert compose("train", TrainConfig, *line.overrides).network == network


@pytest.mark.parametrize("choice", ["gaussian", "squashed", "beta", "gsde"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_continuous_is_a_choice_that_wins_over_the_preset(env: str, choice: str) -> None:
    config = compose("train", TrainConfig, f"env={env}", f"continuous={choice}")
    assert config.continuous.distribution == choice


def test_network_is_a_choice_that_wins_over_the_preset_and_leaves_the_rest() -> None:
    config = compose(
        "train", TrainConfig, "env=CartPole-v1", "preset=atari", "network=impala", "network.recurrent_size=8"
    )
    assert (config.network.hidden_sizes, config.network.recurrent_size) == ([256], 8)
    assert compose("train", TrainConfig, "env=CartPole-v1", "network=lstm").network.shared is False
    assert compose("train", TrainConfig, "env=Pendulum-v1").continuous.distribution == "gsde"


def test_presets_ship_for_these_environments() -> None:
    control = ["Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
    control += ["BipedalWalker-v3", "LunarLander-v3", "LunarLanderContinuous-v3"]
    robots = ["Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "InvertedDoublePendulum-v5"]
    robots += ["InvertedPendulum-v5", "Reacher-v5", "Swimmer-v5", "Walker2d-v5"]
    games = ["ALE/Breakout-v5", "ALE/Pong-v5"]
    assert sorted(control + robots + games) == PRESETS


@pytest.mark.parametrize("env", PRESETS)
def test_preset_is_taken_up_by_env_alone_and_is_whole_iterations(env: str) -> None:
    package = PACKAGES.get(env.partition("/")[0])
    if package is not None:
        pytest.importorskip(package)
    delta = OmegaConf.to_container(OmegaConf.load(TUNED / f"{env}.yaml"))
    assert isinstance(delta, dict)
    delta.pop("defaults", None)
    config = compose("train", TrainConfig, f"env={env}")
    assert config.env.id == env
    taken = OmegaConf.create(to_plain(config))
    assert OmegaConf.merge(taken, delta) == taken
    assert config.total_timesteps % config.buffer_size == 0


def test_command_line_overrides_the_preset() -> None:
    assert compose("train", TrainConfig, "env=CartPole-v1", "lr=1e-4").lr == 1e-4
    assert compose("train", TrainConfig, "lr=1e-4", "env=CartPole-v1").lr == 1e-4


def test_any_registered_id_is_an_environment() -> None:
    config = compose("train", TrainConfig, "env=FrozenLake-v1")
    assert config.env == EnvConfig(id="FrozenLake-v1")
    assert config.total_timesteps == TrainConfig().total_timesteps


def test_users_folder_comes_before_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env/CartPole-v1.yaml").write_text("id: CartPole-v1\nmax_episode_steps: 7\n")
    (tmp_path / "env/mine.yaml").write_text("id: Acrobot-v1\n")
    prepare(user_dir=tmp_path)
    with loader("train") as load:
        assert checked(TrainConfig, load, []).env.max_episode_steps == 7
        assert checked(TrainConfig, load, ["env=mine"]).env.id == "Acrobot-v1"


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("total_timesteps=1e5", "total_timesteps", 100_000),
        ("total_timesteps=1_000", "total_timesteps", 1000),
        ("lr=1", "lr", 1.0),
        ("max_grad_norm=null", "max_grad_norm", None),
        ("logger=[csv]", "logger", ["csv"]),
        ("init_from=2024", "init_from", "2024"),
    ],
)
def test_value_becomes_its_settings_type(typed: str, key: str, value: Any) -> None:
    got = getattr(compose("train", TrainConfig, typed), key)
    assert (got, type(got)) == (value, type(value))


def test_every_setting_of_the_agent_reaches_the_command_line() -> None:
    agent = {item[0] for item in walk(PPOConfig())}
    assert agent <= {item[0] for item in walk(TrainConfig())}


def test_reused_composition_is_the_real_one() -> None:
    prepare()
    words = ["network.hidden_sizes=[8]", "lr=1e-5", "env=Acrobot-v1", "seed=3", "++env.kwargs.x=1", "gamma=${lam}"]
    with loader("train") as load:
        quick = reusing(TrainConfig, load)
        assert checked(TrainConfig, quick, words) == checked(TrainConfig, load, words)
        assert checked(TrainConfig, quick, [*words, "lr=1"]).lr == 1.0
        assert checked(TrainConfig, quick, words).lr == 1e-5


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("file", "text", "typed", "what", "fix"),
    [
        ("env/Acrobot-v1.yaml", "max_episode_steps: 9", "env=Acrobot-v1", "does not say which", "id: Acrobot-v1"),
        ("group/a.yaml", "env: {id: Pendulum-v1}", "+group=a", "CartPole-v1's preset", "override /env: Pendulum-v1"),
        ("group/a.yaml", "defaults: [override /preset: mujco]", "+group=a", "preset=mujco is none of", "preset=mujoco"),
    ],
)
def test_users_files_that_mean_something_else_than_they_say(
    tmp_path: Path, file: str, text: str, typed: str, what: str, fix: str
) -> None:
    write(tmp_path, {file: ("# @package _global_\n" if file.startswith("group") else "") + text + "\n"})
    prepare(tmp_path)
    with loader("train") as load, pytest.raises(ConfigError) as caught:
        checked(TrainConfig, load, [typed])
    (problem,) = caught.value.problems
    assert what in problem.what
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("file", "text", "typed", "named"),
    [
        ("network/mine.yaml", "hiden_sizes: [8]", "network=mine", ["network.hidden_sizes=[8]"]),
        ("group/a.yaml", "learning_rate: 0.1\ngama: 1\nnetwork: {shard: true}", "+group=a",
         ["lr=0.1", "gamma=1", "network.shared=true"]),
        ("group/a.yaml", "network: null", "+group=a", ["the same without network=null"]),
        ("group/a.yaml", "1: 2", "+group=a", ["ppo-train --help, which lists them all"]),
        ("env/Mine.yaml", "id: CartPole-v1\nkwarg: {x: 1}", "env=Mine", ["env.kwargs={x:1}"]),
    ],
)  # fmt: skip
def test_users_files_that_misspell_settings_are_answered_as_if_those_were_typed(
    tmp_path: Path, file: str, text: str, typed: str, named: list[str]
) -> None:
    write(tmp_path, {file: ("# @package _global_\n" if file.startswith("group") else "") + text + "\n"})
    prepare(tmp_path)
    with loader("train") as load, pytest.raises(ConfigError) as caught:
        checked(TrainConfig, load, [typed])
    assert [problem.fix for problem in caught.value.problems] == named


def test_users_files_may_choose_and_change_an_environment(tmp_path: Path) -> None:
    global_ = "# @package _global_\n"
    write(
        tmp_path,
        {
            "group/a.yaml": global_ + "defaults: [override /env: Pendulum-v1, override /preset: mujoco]\n",
            "env/Short.yaml": "id: CartPole-v1\nmax_episode_steps: 9\n",
        },
    )
    prepare(tmp_path)
    with loader("train") as load:
        assert checked(TrainConfig, load, ["+group=a"]).env.id == "Pendulum-v1"
        assert checked(TrainConfig, load, ["env=Short"]).env.max_episode_steps == 9
        assert checked(TrainConfig, load, ["env=CartPole-v1", "env.id=Acrobot-v1"]).env.id == "Acrobot-v1"
