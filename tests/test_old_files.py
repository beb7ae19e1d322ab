"""Files of earlier versions: what was saved then is evaluated, found and gone on with now.

``tests/data/runs_5588246`` holds three runs that commit 5588246 made, whose checkpoints have format 1: each stopped by
a signal in its fifth of seven iterations, with the rows of the same run undisturbed beside it, and with what
``ppo-eval episodes=5 seed=7`` made of its checkpoints. In ``summary.json`` stands the command line of each.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from console import run
from test_checkpoint import VERSION_1, behaviour

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import NetworkConfig, TrainConfig, setting, walk
from ppo_cli.errors import CheckpointError, ConfigError
from ppo_cli.hydra_ext import argv, resumption
from ppo_cli.hydra_ext.compose import prepare
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.plain import from_plain, to_plain, up_to_date
from ppo_cli.renames import understands_old_names
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.runs.resume import find_saved
from ppo_cli.runs.summary import fingerprint
from ppo_cli.training.evaluate import evaluate
from ppo_cli.training.run import resume

RUNS = Path(__file__).parent / "data" / "runs_5588246"
NAMES = ["cartpole", "lstm", "lunarlander"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """One of the runs."""
    if request.param == "lunarlander":
        pytest.importorskip("Box2D")
    return str(request.param)


def copy_of(name: str, folder: Path) -> Path:
    """A run where its command would have put it."""
    summary = json.loads((RUNS / name / "run" / "summary.json").read_text())
    return Path(shutil.copytree(RUNS / name / "run", folder / "outputs" / summary["env"] / "2026-11-26_02-50-16_0"))


def command_of(run_dir: Path) -> list[str]:
    return shlex.split(json.loads((run_dir / "summary.json").read_text())["command"])


def rows_of(file: Path) -> list[dict[str, float | None]]:
    """A run's metrics, without what the clock says."""
    with file.open(newline="") as lines:
        return [
            {key: float(cell) if cell else None for key, cell in row.items() if not key.startswith("time/")}
            for row in csv.DictReader(lines)
        ]


GOES_ON_AT = 256


def assert_goes_on(file: Path, name: str) -> None:
    """The rows begin as those that 5588246 would have written, and are as many.

    The first that was added is of a rollout by the policy and the values of then. What it learns from it is scaled by a
    moving average since, so that the rows after it are others. On the machine that made them the first are the same bit
    for bit; another kind of processor adds in another order, so what comes of sums is compared roughly.
    """
    rows, expected = rows_of(file), rows_of(RUNS / name / "undisturbed.csv")
    assert [(row["iteration"], row["step"]) for row in rows] == [(row["iteration"], row["step"]) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert [key for key in other if row[key] is None] == [key for key in other if other[key] is None]
        if row["step"] <= GOES_ON_AT + 64:
            first = row["step"] > GOES_ON_AT
            learnt = ("train/", "eval/")
            same = [key for key in other if not first or not key.startswith(learnt) or "explained" in key]
            numbers = {key: other[key] for key in same if other[key] is not None}
            assert {key: row[key] for key in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("file", ["best.pt", "step_256.pt"])
def test_a_checkpoint_of_then_evaluates_to_the_same_mean(tmp_path: Path, name: str, file: str) -> None:
    path = copy_of(name, tmp_path) / "checkpoints" / file
    expected = json.loads((RUNS / name / "evaluated.json").read_text())[file]
    result = evaluate(path, episodes=5, seed=7)
    assert result.episode_return_mean == pytest.approx(expected["mean"], rel=1e-4)
    if name != "lunarlander":
        assert (result.episode_returns, result.episode_lengths) == (expected["returns"], expected["lengths"])


def test_a_run_of_then_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(CurvesLogger, "close", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    run_dir = copy_of(name, tmp_path)
    recurrent = "lstm" if name == "lstm" else None
    assert resume(run_dir, {"network.recurrent": recurrent, "lr": 3e-4}, show=False).status == "finished"
    assert_goes_on(run_dir / "metrics.csv", name)
    assert (run_dir / "train.log").read_text().count("those of normalize_value forget from now on") == 1
    summary = json.loads((run_dir / "summary.json").read_text())
    (resumption,) = summary["resumed"]
    assert (resumption["step"], resumption["best_step"], resumption["changes"]) == (256, 192, {})
    assert summary["config"]["network"]["recurrent"] == recurrent
    assert summary["request"] == json.loads((RUNS / name / "run" / "summary.json").read_text())["request"]
    assert torch.load(run_dir / "checkpoints" / "last.pt", weights_only=True)["format_version"] == 3


def test_the_old_name_is_understood_where_a_run_goes_on(tmp_path: Path) -> None:
    run_dir = copy_of("lstm", tmp_path)
    called, refused = r"network\.memory is called network\.recurrent now", r"network\.recurrent=gru cannot change"
    with pytest.warns(DeprecationWarning, match=called) as caught, pytest.raises(ConfigError, match=refused):
        resume(run_dir, {"network.memory": "gru"}, show=False)
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=called):
        assert find_saved(run_dir, {"network.memory": "lstm"}).changes == {}
    with pytest.raises(ConfigError) as error:
        resume(run_dir, {"network.memory": "lstm", "network.recurrent": "gru"}, show=False)
    (problem,) = error.value.problems
    assert problem.fix == "network.recurrent=lstm or network.recurrent=gru"


def test_the_command_of_then_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    run_dir = copy_of(name, tmp_path)
    prepare()
    _, *words = command_of(run_dir)
    for new in (words, [word.replace("memory", "recurrent") for word in words]):
        own = resumption.own_run(argv.parse([*new, "resume=auto"], TrainConfig))
        assert own is not None
        assert own[0].resolve() == run_dir
    assert resumption.own_run(argv.parse([*words, "lr=0.1"], TrainConfig)) is None


def test_a_requeued_command_of_then_goes_on(tmp_path: Path) -> None:
    run_dir = copy_of("lstm", tmp_path)
    answer = run(tmp_path, *command_of(run_dir), "resume=auto")
    assert answer.code == 0, answer.err
    assert answer.err.count("network.memory_size is called network.recurrent_size now") == 1
    assert [path.name for path in run_dir.parent.iterdir()] == [run_dir.name]
    assert_goes_on(run_dir / "metrics.csv", "lstm")


def test_the_recurrent_layers_parameters_have_their_new_names() -> None:
    path = RUNS / "lstm" / "run" / "checkpoints" / "best.pt"
    before, after = torch.load(path, weights_only=True)["agent"], load_checkpoint(path)["agent"]
    for section in ("parameters", "first_moment", "second_moment"):
        renamed = {name.replace("memory.", "recurrent."): tensor for name, tensor in before[section].items()}
        assert after[section].keys() == renamed.keys() != before[section].keys()
        assert all(torch.equal(after[section][name], tensor) for name, tensor in renamed.items())


def test_a_parameter_under_both_names_is_refused(tmp_path: Path) -> None:
    payload = torch.load(RUNS / "lstm" / "run" / "checkpoints" / "best.pt", weights_only=True)
    payload["agent"]["parameters"]["recurrent.bias"] = payload["agent"]["parameters"]["memory.bias"].clone()
    torch.save(payload, tmp_path / "both.pt")
    with pytest.raises(CheckpointError, match=r"has 'memory\.bias', which nothing here knows"):
        evaluate(tmp_path / "both.pt", episodes=1)


# a setting that comes later


@understands_old_names
@dataclass
class LaterNetwork(NetworkConfig):
    """A network with a made-up setting, whose default is not what there was before."""

    dropout: float = setting(0.1, "a made-up setting of a group", since=2, before=0.0)


@dataclass
class LaterExtras:
    """A made-up group."""

    taste: str = setting("sweet", "a made-up setting of a made-up group", since=2)


@understands_old_names
@dataclass
class LaterConfig(TrainConfig):
    """A run with made-up settings."""

    network: LaterNetwork = field(default_factory=LaterNetwork)
    extras: LaterExtras = field(default_factory=LaterExtras)
    colours: list[str] = setting(["red"], "a made-up setting", since=2)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program as it is once it has the made-up settings."""
    for module in ("runs.formats", "runs.summary", "runs.resume", "training.evaluate"):
        monkeypatch.setattr(f"ppo_cli.{module}.TrainConfig", LaterConfig)


@pytest.mark.usefixtures("later")
def test_a_setting_that_came_later_is_no_reason_to_refuse_a_file(tmp_path: Path) -> None:
    path = tmp_path / VERSION_1.name
    shutil.copy(VERSION_1, path)
    assert behaviour(path) == json.loads(VERSION_1.with_suffix(".json").read_text())
    config = from_plain(LaterConfig, load_checkpoint(path)["run"]["config"])
    assert (config.network.dropout, config.extras.taste, config.colours) == (0.0, "sweet", ["red"])
    assert config.colours is not LaterConfig.__dataclass_fields__["colours"].metadata["before"]


@pytest.mark.usefixtures("later")
def test_nor_does_it_change_a_run_that_goes_on(tmp_path: Path) -> None:
    run_dir = copy_of("cartpole", tmp_path)
    saved = find_saved(run_dir, {})
    assert (saved.config.network.dropout, saved.changes, saved.progress.best_step) == (0.0, {}, 192)
    assert saved.content is not None
    assert saved.content["run"]["config"] == saved.summary["config"] == to_plain(saved.config)
    assert find_saved(run_dir, {"colours": ["blue"]}).changes == {"colours": "[blue]"}


def test_a_setting_of_the_first_format_is_never_filled_in() -> None:
    plain = to_plain(LaterConfig())
    del plain["network"]["shared"], plain["network"]["dropout"], plain["extras"]
    with pytest.raises(ConfigError) as caught:
        from_plain(LaterConfig, plain)
    (problem,) = caught.value.problems
    assert problem.what == "setting 'shared' is missing"


@pytest.mark.parametrize("place", ["agent", "run"])
def test_an_unknown_setting_is_refused_by_name(tmp_path: Path, place: str) -> None:
    payload = torch.load(VERSION_1, weights_only=True)
    payload[place]["config"]["network"]["dropout"] = 0.1
    torch.save(payload, tmp_path / "newer.pt")
    with pytest.raises(CheckpointError, match="unknown setting 'dropout'"):
        evaluate(tmp_path / "newer.pt", episodes=1)


def test_a_setting_under_both_names_is_refused() -> None:
    plain = to_plain(TrainConfig())
    plain["network"]["memory"] = "lstm"
    with pytest.raises(ConfigError, match="unknown setting 'memory'"):
        from_plain(TrainConfig, plain)


def test_what_is_no_config_is_left_to_whoever_reads_it() -> None:
    for plain in (None, 5, [], torch.zeros(2)):
        assert up_to_date(TrainConfig, plain) is plain
    odd = {None: 1, "network": 5}
    found = up_to_date(TrainConfig, odd)
    assert odd.items() <= found.items()
    later = {key for key, _, item in walk(TrainConfig()) if item.metadata["since"] > 1}
    assert {str(key) for key in found.keys() - odd.keys()} <= {key.partition(".")[0] for key in later}


# fingerprints


def test_fingerprints_are_those_of_5588246() -> None:
    lstm = NetworkConfig(recurrent="lstm", recurrent_size=4)
    assert fingerprint(TrainConfig()) == "58fa4b96e8618c4f2458eea7f5b2401b6958114abd9925792d77072bb91303a1"
    assert fingerprint(TrainConfig(network=lstm)) == "d8fc4b9a6515a2328683c55167336e5d2dec9057704d6d2b73427ec0d06a8ba5"


def test_a_setting_that_came_later_is_in_the_fingerprint_only_where_it_is_set() -> None:
    assert fingerprint(LaterConfig()) == fingerprint(TrainConfig())
    changed = [
        replace(LaterConfig(), colours=["blue"]),
        replace(LaterConfig(), network=LaterNetwork(dropout=0.0)),
        replace(LaterConfig(), extras=LaterExtras("sour")),
    ]
    assert len({fingerprint(config) for config in (LaterConfig(), *changed)}) == 4


def test_an_agent_of_then_is_one_of_now(tmp_path: Path) -> None:
    agent: Any = PPOAgent(4, 2)
    agent.load(RUNS / "lstm" / "run" / "checkpoints" / "best.pt")
    assert agent.config.network.recurrent == "lstm"
    agent.save(tmp_path / "again.pt")
    assert load_checkpoint(tmp_path / "again.pt")["agent"].keys() == agent.state_dict().keys()
