"""Where environments are not as one wishes: wrapped, broken, lying about their spaces, or dead with their process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toys
from console import FRAME_TOP, files_in, run
from gymnasium.vector import AutoresetMode

from ppo_cli.config import EnvConfig, NetworkConfig, TrainConfig
from ppo_cli.envs.inspect import TRIAL_STEPS, inspect, read_spec
from ppo_cli.envs.make import make_env
from ppo_cli.envs.vector import Transition, VectorEnv
from ppo_cli.envs.workers import WorkerError
from ppo_cli.errors import ConfigError, RunError
from ppo_cli.seeding import stream_seed
from ppo_cli.spec import Spec
from ppo_cli.training.plan import Planner
from ppo_cli.training.play import play
from ppo_cli.training.preflight import preflight
from ppo_cli.training.run import train
from ppo_cli.training.trainer import Trainer


def vector(backend: str, config: EnvConfig, num_envs: int = 3) -> VectorEnv:
    return VectorEnv(backend, config, inspect(config, 0), [10 + index for index in range(num_envs)])


def still(envs: VectorEnv) -> Any:
    return np.zeros((envs.num_envs, 1), np.int64)


def go(envs: VectorEnv, steps: int) -> list[Transition]:
    return [envs.step(still(envs)) for _ in range(steps)]


def train_config(env: EnvConfig, **settings: Any) -> TrainConfig:
    common: dict[str, Any] = {"num_envs": 3, "buffer_size": 48, "batch_size": 16, "epochs": 1, "total_timesteps": 144}
    common |= {"network": NetworkConfig(hidden_sizes=[8]), "eval_every": None, "logger": [], "threads": 1}
    return TrainConfig(env=env, **{"vector_backend": "sync", "compile": False, **common, **settings})


def third_seed(seed: int = 0) -> int:
    """What a run seeds its environment number 2 with."""
    return stream_seed(seed, "env", 2)


# wrappers


def first_step(**settings: Any) -> Any:
    env = make_env(EnvConfig(id="toys:Clock-v0", **settings))
    env.reset()
    observation = env.step(0)[0]
    env.close()
    return observation.tolist()


@pytest.mark.parametrize(
    ("wrappers", "seen"),
    [
        ([], [1.0]),
        (["TimeAwareObservation"], [1.0, 1.0]),
        ([{"TimeAwareObservation": {}}], [1.0, 1.0]),
        (["toys:Doubled"], [2.0]),
        ([{"toys:Doubled": {"factor": 5}}], [5.0]),
        ([{"toys:Doubled": {"factor": 5}}, {"ReshapeObservation": {"shape": (1, 1)}}], [[5.0]]),
        ([{"toys:Doubled": {"factor": 3}}, "toys:Doubled"], [6.0]),
        (["TimeAwareObservation", "toys:Doubled"], [2.0, 2.0]),  # inner ones first
        (["toys:Doubled", "TimeAwareObservation"], [2.0, 1.0]),
    ],
)
def test_wrappers_are_put_on_in_their_order_with_their_arguments(wrappers: list[Any], seen: list[Any]) -> None:
    assert first_step(wrappers=wrappers, max_episode_steps=9) == seen


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("NoSuchWrapper", "there is no wrapper NoSuchWrapper"),
        ("toys:NoSuch", "there is no wrapper toys:NoSuch"),
        ("no_such_module:Wrapper", "no_such_module"),
        ({"toys:Doubled": {"colour": "red"}}, r"toys:Doubled refuses \{colour:red\}.*colour"),
        ("RescaleAction", "RescaleAction refuses"),
        ({"RescaleAction": {"min_action": -1, "max_action": 1}}, "RescaleAction refuses"),  # actions are no Box
        ({"toys:Doubled": 3}, "neither a name nor"),
        ({"toys:Doubled": {}, "TimeAwareObservation": {}}, "neither a name nor"),
        (3, "neither a name nor"),
        ("toys:not_a_wrapper", "makes no environment, but int"),
    ],
)
def test_a_wrapper_that_cannot_be_put_on_is_named(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_env(EnvConfig(id="toys:Clock-v0", wrappers=[entry]))
    assert "env.wrappers" in caught.value.problems[0].what
    assert "module:Class" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("NormalizeObservation", "normalize_obs"),
        ("gymnasium.wrappers:NormalizeReward", "normalize_reward"),
        ("gymnasium.wrappers.stateful_observation:NormalizeObservation", "normalize_obs"),
    ],
)
def test_a_wrapper_that_evaluations_would_know_nothing_of_is_refused(name: str, setting: str) -> None:
    with pytest.raises(ConfigError, match="learns as it goes") as caught:
        make_env(EnvConfig(id="toys:Clock-v0", wrappers=[name]))
    assert f"{setting}=true" in caught.value.problems[0].fix


@pytest.mark.parametrize("name", ["RecordVideo", "gymnasium.wrappers.rendering:RecordVideo"])
def test_a_wrapper_that_writes_files_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    with pytest.raises(ConfigError, match="writes files") as caught:
        make_env(EnvConfig(id="CartPole-v1", wrappers=[{name: {"video_folder": str(folder)}}]), "rgb_array")
    assert "video=true" in caught.value.problems[0].fix
    assert not folder.exists()


def test_stacked_observations_are_the_last_ones_with_the_newest_last() -> None:
    config = EnvConfig(id="toys:Clock-v0", frame_stack=3, max_episode_steps=4)
    assert read_spec(config).observations[0].shape == (3, 1)
    envs = vector("sync", config, 1)
    assert envs.reset().tolist() == [[0, 0, 0]]
    *steps, last = go(envs, 4)
    assert [step.observations[0].tolist() for step in steps] == [[0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert last.observations[0].tolist() == [0, 0, 0]
    assert last.finals is not None
    assert last.finals.observations.tolist() == [[2, 3, 4]]


def test_stacks_go_around_wrappers() -> None:
    assert first_step(frame_stack=2, wrappers=["toys:Doubled"]) == [[0.0], [2.0]]


@pytest.mark.parametrize(
    "settings", [{"wrappers": ["toys:Doubled"]}, {"frame_stack": 2}, {"restart_crashed": True}], ids=str
)
def test_what_is_put_around_an_environment_needs_one_that_is_stepped_alone(settings: dict[str, Any]) -> None:
    config = train_config(EnvConfig(id="CartPole-v1", **settings), vector_backend="native")
    with pytest.raises(ConfigError, match=f"vector_backend=native: env.{next(iter(settings))}"):
        preflight(config)


# an environment that raises


@pytest.mark.parametrize("how", ["raise", "odd"])
def test_an_error_says_which_environment_raised_it_and_where(tmp_path: Path, how: str) -> None:
    env = EnvConfig(id="toys:Dies-v0", kwargs={"at_step": 20, "how": how, "seed": third_seed()})
    with pytest.raises(RunError, match="came off" if how == "raise" else "the wheel is odd"):
        train(train_config(env), tmp_path / "run", show=False)
    assert "in step() of environment 2" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize("how", ["raise", "odd"])
def test_an_error_in_another_process_says_so_too(tmp_path: Path, how: str, recwarn: Any) -> None:
    env = EnvConfig(id="toys:Dies-v0", kwargs={"at_step": 20, "how": how, "seed": third_seed()})
    error = "ValueError in step(): the wheel came off" if how == "raise" else "Odd in step(): the wheel is odd"
    with pytest.raises(RunError) as caught:
        train(train_config(env, vector_backend="async"), tmp_path / "run", show=False)
    assert str(caught.value.problems[0].what) == f"environment 2 raised {error}"
    assert "env.restart_crashed=true" in caught.value.problems[0].fix
    log = (tmp_path / "run" / "train.log").read_text()
    assert "toys.py" in log  # where in the environment
    assert not [warning for warning in recwarn if "Worker" in str(warning.message)]


def test_an_error_survives_being_raised_once_more() -> None:
    again = WorkerError(WorkerError("environment 1 raised", "Traceback"))
    assert (str(again), again.args) == ("environment 1 raised", ("environment 1 raised", "Traceback"))


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_an_environment_that_raised_is_built_anew_and_its_episode_cut(backend: str, caplog: Any) -> None:
    kwargs = {"at_step": 5, "how": "raise", "seed": 11}  # environment 1, in its first life alone
    envs = vector(backend, EnvConfig(id="toys:Dies-v0", kwargs=kwargs, restart_crashed=True))
    envs.reset()
    *_, before, crash, after = go(envs, 6)
    assert before.observations.tolist() == [[4], [4], [4]]
    assert crash.observations.tolist() == [[5], [0], [5]]
    assert (crash.truncated.tolist(), crash.terminated.any()) == ([False, True, False], False)
    assert crash.rewards.tolist() == [1, 0, 1]
    assert crash.finals is not None
    assert (crash.finals.envs.tolist(), crash.finals.observations.tolist()) == ([1], [[4]])  # as last seen
    assert after.observations.tolist() == [[6], [1], [6]]
    assert after.finals is None
    envs.close()
    if backend == "sync":
        assert "environment 1 raised in step() and is built anew" in caplog.text
        assert "the wheel came off" in caplog.text


def test_what_wrappers_raise_is_survived_too() -> None:
    wrapper = {"toys:Doubled": {"breaks_at": 3}}
    envs = vector("sync", EnvConfig(id="toys:Clock-v0", wrappers=[wrapper], frame_stack=2, restart_crashed=True), 1)
    envs.reset()
    steps = go(envs, 4)
    assert [step.observations[0].tolist() for step in steps] == [[0, 2], [2, 4], [0, 0], [0, 2]]
    assert steps[2].finals is not None
    assert steps[2].finals.observations.tolist() == [[2, 4]]


def test_a_run_goes_on_past_errors(tmp_path: Path) -> None:
    env = EnvConfig(id="toys:Dies-v0", kwargs={"at_step": 20, "how": "raise"}, restart_crashed=True)
    result = train(train_config(env), tmp_path / "run", show=False)  # every environment raises at each 20th step
    assert (result.status, result.step) == ("finished", 144)
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("is built anew") == 6
    played = play(_policy(env), env, episodes=2, seed=0, deterministic=True, num_envs=2)
    assert played.lengths == [20, 20]


def _policy(env: EnvConfig) -> Any:
    trainer = Trainer(Planner().plan(train_config(env)), Path(), [])
    trainer.collector.envs.close()
    return trainer.agent.policy


def test_an_environment_whose_reset_raises_again_is_not_built_for_ever() -> None:
    class Stuck(toys.Breaks):
        def __init__(self) -> None:
            super().__init__(at_reset=True)

    gym.register("Stuck-v0", entry_point=Stuck)
    env = make_env(EnvConfig(id="Stuck-v0", restart_crashed=True), index=4)
    with pytest.raises(ValueError, match="the reset motor is stuck") as caught:
        env.reset()
    assert caught.value.__notes__ == ["in reset() of environment 4"]


# a process that dies


def dying(how: str = "exit", seed: int | None = 11, restart: bool = False, **settings: Any) -> EnvConfig:
    kwargs = {"at_step": 5, "how": how, "seed": seed}
    return EnvConfig(id="toys:Dies-v0", kwargs=kwargs, restart_crashed=restart, **settings)


def test_a_process_that_dies_is_named_with_its_exit_code() -> None:
    envs = vector("async", dying())
    envs.reset()
    with pytest.raises(RunError, match=r"the process of environment 1 died \(exit code 3\) in step\(\)") as caught:
        go(envs, 5)
    assert "env.restart_crashed=true" in caught.value.problems[0].fix
    assert not multiprocessing.active_children()
    envs.close()


def test_a_process_that_was_killed_is_named_with_the_signal() -> None:
    envs = vector("async", dying("kill"))
    envs.reset()
    with pytest.raises(RunError, match=r"environment 1 died \(SIGKILL: perhaps the memory was full\)"):
        go(envs, 5)


def test_a_process_that_dies_between_steps_is_named_too() -> None:
    envs = vector("async", EnvConfig(id="toys:Clock-v0"))
    envs.reset()
    process = envs._envs.processes[2]
    os.kill(process.pid, signal.SIGALRM)  # SIGHUP, say, may be ignored by whatever started the tests
    process.join()
    with pytest.raises(RunError, match=r"environment 2 died \(SIGALRM\) in step"):
        envs.step(still(envs))


def test_a_run_whose_process_dies_fails_with_one_message(tmp_path: Path) -> None:
    env = EnvConfig(id="toys:Dies-v0", kwargs={"at_step": 20, "seed": third_seed()})
    with pytest.raises(RunError, match=r"the process of environment 2 died \(exit code 3\)"):
        train(train_config(env, vector_backend="async"), tmp_path / "run", show=False)
    log = (tmp_path / "run" / "train.log").read_text()
    assert "could not be closed" not in log
    assert (tmp_path / "run" / "summary.json").exists()


def test_after_a_death_all_are_built_anew_and_every_episode_is_cut(caplog: Any) -> None:
    envs = vector("async", dying(restart=True))
    envs.reset()
    with caplog.at_level(logging.WARNING):
        *_, death, after = go(envs, 6)
    assert "the process of environment 1 died (exit code 3) in step(); all environments are built anew" in caplog.text
    assert death.observations.tolist() == [[0], [0], [0]]
    assert (death.truncated.tolist(), death.terminated.any(), death.rewards.any()) == ([True] * 3, False, False)
    assert death.ended is not None
    assert death.starts is not None
    assert death.ended.all()
    assert death.starts.all()
    assert death.valid is None
    assert death.finals is not None
    assert (death.finals.envs.tolist(), death.finals.observations.tolist()) == ([0, 1, 2], [[4]] * 3)
    assert after.observations.tolist() == [[1], [1], [1]]
    assert after.ended is None
    envs.close()


def test_a_death_among_steps_that_only_fetch_an_observation_cuts_no_episode_twice() -> None:
    config = EnvConfig(id="toys:Walk-v0", restart_crashed=True)
    envs = VectorEnv("async", config, inspect(config, 0), [10, 11, 12], AutoresetMode.NEXT_STEP)
    envs.reset()
    ended = np.zeros(3, np.bool_)
    while not 0 < ended.sum() < 3:
        step = envs.step(still(envs))
        ended = step.terminated | step.truncated
    envs._envs.processes[0].kill()
    death = envs.step(still(envs))
    assert death.valid is not None
    assert death.finals is not None
    assert death.starts is not None
    assert np.array_equal(death.valid, ~ended)
    assert np.array_equal(death.truncated, ~ended)
    assert np.array_equal(death.finals.observations, step.observations[~ended])
    assert death.starts.all()
    assert envs.step(still(envs)).valid is None
    envs.close()


def test_a_run_goes_on_past_a_death(tmp_path: Path) -> None:
    env = EnvConfig(id="toys:Dies-v0", kwargs={"at_step": 20, "seed": third_seed()}, restart_crashed=True)
    settings = {
        "vector_backend": "async",
        "network": NetworkConfig(hidden_sizes=[8], recurrent="gru", recurrent_size=4),
    }
    result = train(train_config(env, **settings), tmp_path / "run", show=False)
    assert (result.status, result.step) == ("finished", 144)
    assert (tmp_path / "run" / "train.log").read_text().count("are built anew") == 1


def test_processes_that_die_at_once_again_end_the_run() -> None:
    kwargs = {"at_step": 1, "how": "exit"}
    envs = vector("async", EnvConfig(id="toys:Dies-v0", kwargs=kwargs, restart_crashed=True), 2)
    envs.reset()
    assert envs.step(still(envs)).truncated.all()
    assert envs.step(still(envs)).truncated.all()  # a step of each life is survived; resets that die are not
    envs._envs.processes[0].kill()
    envs._envs.processes[0].join()
    assert envs.reset().tolist() == [[0], [0]]
    envs.close()


def test_a_broken_connection_of_an_environments_own_is_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: Any, action: Any) -> Any:
        raise ConnectionResetError("the simulator hung up")

    monkeypatch.setattr(toys.Clock, "step", step)
    for backend, error in {"sync": ConnectionResetError, "async": RunError}.items():
        envs = vector(backend, EnvConfig(id="toys:Clock-v0"))
        envs.reset()
        with pytest.raises(error, match="the simulator hung up"):
            envs.step(still(envs))
        envs.close()


def test_ctrl_c_does_not_reach_the_processes() -> None:
    envs = vector("async", EnvConfig(id="toys:Clock-v0"), 2)
    envs.reset()
    for process in envs._envs.processes:
        os.kill(process.pid, signal.SIGINT)
    assert envs.step(still(envs)).observations.tolist() == [[1], [1]]
    envs.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def spawned() -> Iterator[None]:
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("spawned")
def test_processes_may_be_fresh_ones() -> None:
    envs = vector("async", dying(), 2)
    assert envs.reset().tolist() == [[0], [0]]
    with pytest.raises(RunError, match=r"environment 1 died \(exit code 3\)"):
        go(envs, 5)


# an environment that breaks its promises


@pytest.mark.parametrize("source", ["info", "observation"])
def test_a_mask_that_allows_nothing_is_found_before_training(source: str) -> None:
    with pytest.raises(ConfigError, match="the mask after reset allows no choice for entry 1 of the action"):
        inspect(EnvConfig(id="Unlucky-v0", kwargs={"source": source}))


def test_an_environment_that_cannot_be_closed_can_be_looked_at() -> None:
    config = EnvConfig(id="FailsToClose-v0")
    assert read_spec(config) == Spec.simple(1, 2)
    inspect(config)


def test_a_constructor_that_exits_is_told_of() -> None:
    with pytest.raises(ConfigError, match=r"cannot be built: SystemExit: 0 \(toys.py, line \d+\)"):
        make_env(EnvConfig(id="toys:Wrong-v0", kwargs={"how": "exit init"}))


def test_an_environment_without_spaces_is_told_of() -> None:
    with pytest.raises(ConfigError, match="has observations of kind NoneType"):
        read_spec(EnvConfig(id="toys:Wrong-v0", kwargs={"how": "no spaces"}))


def test_an_argument_that_is_missing_is_answered_with_how_to_give_it() -> None:
    with pytest.raises(ConfigError, match=r"TypeError: .*missing 1 required positional argument: 'source'") as caught:
        make_env(EnvConfig(id="Unlucky-v0"))
    assert "env.kwargs.<name>=<value>" in caught.value.problems[0].fix


WRONG = {
    "shape": ("the observation after reset has shape (2,), and its space (1,)", "keeps to its spaces"),
    "nan": ("the observation after reset is not finite", "keeps to its spaces"),
    "text": ("the observation after reset is of type <U1, which is no number", "keeps to its spaces"),
    "category": ("the observation after reset is 0, which is none of Discrete(3, start=1)", "keeps to its spaces"),
    "missing": ("the observation after reset is dict and lacks a part of its space (KeyError: 'b')", "keeps to"),
    "reward nan": ("the reward of step 1 is nan", "keeps to its spaces"),
    "reward text": ("the reward of step 1 is 'much', which is no number", "keeps to its spaces"),
    "reward none": ("the reward of step 1 is None, which is no number", "keeps to its spaces"),
    "raise reset": ("raises ValueError: the reset motor is stuck (in reset() of environment 0)", "env.kwargs"),
    "exit reset": ("raises SystemExit: 0 (in reset() of environment 0) (toys.py, line ", "env.kwargs"),
    "raise step": ("raises ValueError: the wheel came off (in step() of environment 0)", "env.kwargs"),
}


@pytest.mark.parametrize(("how", "expected"), WRONG.items(), ids=WRONG.keys())
def test_a_broken_promise_is_found_before_anything_is_written(
    tmp_path: Path, how: str, expected: tuple[str, str]
) -> None:
    env = EnvConfig(id="toys:Wrong-v0", kwargs={"how": how})
    with pytest.raises(ConfigError) as caught:
        train(train_config(env, output_dir=str(tmp_path / "out")), show=False)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 2
    assert caught.value.title == "Broken environment"
    assert expected[0] in problem.what
    assert "toys:Wrong-v0" in problem.what
    assert expected[1] in problem.fix
    assert not files_in(tmp_path)


@pytest.mark.parametrize("how", ["shape", "nan", "category", "reward nan", "raise step"])
def test_a_promise_broken_some_steps_later_is_found_too(how: str) -> None:
    env = EnvConfig(id="toys:Wrong-v0", kwargs={"how": how, "late": 5})
    with pytest.raises(ConfigError, match=r"step 5|step 6|in step\(\)"):
        inspect(env)
    inspect(EnvConfig(id="toys:Wrong-v0", kwargs={"how": how, "late": TRIAL_STEPS + 1}))


def test_the_command_says_so_in_one_frame(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(
        "import gymnasium as gym, numpy as np\n"
        "class Lab(gym.Env):\n"
        "    observation_space = gym.spaces.Box(-1, 1, (3,))\n"
        "    action_space = gym.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return np.full(3, np.nan, np.float32), {}\n"
        "gym.register('Lab-v0', entry_point=Lab)\n"
    )
    answer = run(tmp_path, "ppo-train", "env=lab:Lab-v0")
    assert answer.code == 2
    assert answer.err.count(FRAME_TOP) == 1
    assert "lab:Lab-v0: the observation after reset is not finite" in answer.words
    assert "Traceback" not in answer.out + answer.err
    assert not [path for path in files_in(tmp_path) if path.name != "lab.py" and "__pycache__" not in path.parts]
