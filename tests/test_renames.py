"""Settings that were renamed: an old name does what it did wherever it is said, and who says it is told the new one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from console import run
from test_conf import write

from ppo_cli.config import NetworkConfig, TrainConfig, setting
from ppo_cli.errors import ConfigError
from ppo_cli.hydra_ext import argv, renames, resumption
from ppo_cli.hydra_ext.compose import checked, loader, prepare, reusing
from ppo_cli.plain import from_plain, to_plain
from ppo_cli.renames import understands_old_names
from ppo_cli.runs.summary import fingerprint

GLOBAL = "# @package _global_\n"
TINY = ("total_timesteps=64", "buffer_size=64", "batch_size=64", "epochs=1", "eval_every=null", "logger=[]")


@pytest.fixture(autouse=True)
def nothing_told_yet() -> None:
    renames._told.clear()


def composed(*typed: str, user_dir: Path | None = None, config_name: str = "train") -> TrainConfig:
    line = argv.parse(typed, TrainConfig)
    prepare(user_dir)
    with loader(config_name) as load:
        config: TrainConfig = checked(TrainConfig, load, line.overrides)
        assert checked(TrainConfig, reusing(TrainConfig, load), line.overrides) == config
    return config


# typed


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_typed(capsys: pytest.CaptureFixture[str], sign: str) -> None:
    network = composed(f"{sign}network.memory=lstm", f"{sign}network.memory_size=8").network
    assert (network.recurrent, network.recurrent_size) == ("lstm", 8)
    composed("network.memory=gru")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "network.memory is called network.recurrent now",
        "network.memory_size is called network.recurrent_size now",
    ]


def test_what_has_no_old_name_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert composed("network=lstm", "network.recurrent_size=8").network.recurrent == "lstm"
    assert capsys.readouterr() == ("", "")


def test_both_names_with_one_value_agree() -> None:
    assert composed("network.memory=gru", "network.recurrent=gru").network.recurrent == "gru"


def test_both_names_with_two_values_are_one_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        composed("network.memory=lstm", "++network.recurrent=gru")
    (problem,) = caught.value.problems
    what = "network.memory=lstm and network.recurrent=gru, but network.memory is called network.recurrent now"
    assert (problem.what, problem.fix) == (what, "network.recurrent=lstm or network.recurrent=gru")


@pytest.mark.parametrize("typed", ["memory=lstm", "--network.memory=lstm"])
def test_a_slip_with_the_old_name_is_answered_with_the_new_one(typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(typed)
    assert [problem.fix for problem in caught.value.problems] == ["network.recurrent=lstm"]


def test_references() -> None:
    assert composed("network.hidden_sizes=[${network.memory_size}]").network.hidden_sizes == [64]


def test_where_a_run_goes_on() -> None:
    line = argv.parse(["resume=somewhere", "network.memory=lstm", "lr=1"], TrainConfig)
    assert resumption.changes(line) == {"network.recurrent": "lstm", "lr": 1.0}


# in files


@pytest.mark.parametrize(
    ("file", "text", "typed"),
    [
        ("network/mine.yaml", "memory: lstm\nmemory_size: 8\n", "network=mine"),
        ("network/own/mine.yaml", "memory: lstm\nmemory_size: 8\n", "network=own/mine"),
        ("group/mine.yaml", "memory: lstm\nmemory_size: 8\n", "+group@network=mine"),
        ("experiment/mine.yaml", GLOBAL + "network: {memory: lstm, memory_size: 8}\n", "+experiment=mine"),
        ("preset/mine.yaml", GLOBAL + "network: {memory: lstm, memory_size: '${num_envs}'}\n", "preset=mine"),
        ("preset/mine.yaml", GLOBAL + "defaults: [/network/lstm@network]\nnetwork: {memory_size: 8}\n", "preset=mine"),
        (
            "network/mine.yaml",
            "memory: lstm\nmemory_size: 8\nhidden_sizes: ['${network.memory_size}']\nshared: true\n",
            "network=mine",
        ),
    ],
)
def test_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, text: str, typed: str) -> None:
    write(tmp_path, {file: text})
    network = composed(typed, user_dir=tmp_path).network
    assert (network.recurrent, network.recurrent_size) == ("lstm", 8)
    if "hidden_sizes" in text:
        assert network.hidden_sizes == [8]
    told = capsys.readouterr().err.splitlines()
    assert f"network.memory_size in {file} is called network.recurrent_size now" in told
    assert len(told) == len(set(told)) == text.count("memory:") + 1


def test_in_a_primary_config(tmp_path: Path) -> None:
    write(tmp_path, {"mine.yaml": "defaults: [train, _self_]\nnetwork: {memory: gru}\n"})
    assert composed(user_dir=tmp_path, config_name="mine").network.recurrent == "gru"


@pytest.mark.parametrize(
    ("preset", "network", "typed", "wins"),
    [
        ("memory: lstm", "recurrent: gru", "", "gru"),
        ("recurrent: lstm", "memory: gru", "", "gru"),
        ("recurrent: lstm", "memory: null", "", None),
        ("memory: lstm", "memory: gru", "network.recurrent=null", None),
        ("memory: lstm", "{}", "network.recurrent=gru", "gru"),
        ("recurrent: lstm", "recurrent: lstm", "network.memory=gru", "gru"),
    ],
)
def test_the_last_word_is_the_last_whatever_names_are_used(
    tmp_path: Path, preset: str, network: str, typed: str, wins: str | None
) -> None:
    write(tmp_path, {"preset/mine.yaml": f"{GLOBAL}network: {{{preset}}}\n", "network/mine.yaml": f"{network}\n"})
    words = ["preset=mine", "network=mine", *typed.split()]
    assert composed(*words, user_dir=tmp_path).network.recurrent == wins


def test_both_names_in_one_file_are_one_problem_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, {"network/mine.yaml": "memory: lstm\nrecurrent: null\n"})
    with pytest.raises(ConfigError) as caught:
        composed("network=mine", user_dir=tmp_path)
    (problem,) = caught.value.problems
    assert problem.what.startswith("network/mine.yaml: network.memory=lstm and network.recurrent=null, but")
    write(tmp_path, {"network/mine.yaml": "memory: lstm\nrecurrent: lstm\n"})
    assert composed("network=mine", user_dir=tmp_path).network.recurrent == "lstm"


def test_swept(tmp_path: Path) -> None:
    write(tmp_path, {"own/sizes.yaml": f"{GLOBAL}hydra: {{sweeper: {{params: {{network.memory_size: '3,4'}}}}}}\n"})
    answer = run(tmp_path, "ppo-train", "--config-dir=.", "+own=sizes", "-m", "network.memory=lstm,gru", *TINY)
    assert answer.code == 0, answer.err
    assert answer.err.splitlines() == [
        "network.memory is called network.recurrent now",
        "network.memory_size is called network.recurrent_size now",
    ]
    (sweep,) = (tmp_path / "outputs/multirun").iterdir()
    jobs = sorted(path for path in sweep.iterdir() if path.is_dir())
    networks = [json.loads((path / "summary.json").read_text())["config"]["network"] for path in jobs]
    made = {(network["recurrent"], network["recurrent_size"]) for network in networks}
    assert made == {(kind, size) for kind in ("lstm", "gru") for size in (3, 4)}
    assert "memory" not in jobs[0].name


# in Python


def test_in_python() -> None:
    with pytest.warns(DeprecationWarning, match=r"^memory is called recurrent now$") as caught:
        config = NetworkConfig([8], memory="lstm")  # type: ignore[call-arg,arg-type]
    assert caught[0].filename == __file__
    assert config == NetworkConfig([8], recurrent="lstm")  # type: ignore[arg-type]
    with pytest.warns(DeprecationWarning, match="memory_size is called recurrent_size now"):
        config.memory_size = 5  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="memory_size is called recurrent_size now") as caught:
        assert config.memory_size == config.recurrent_size == 5  # type: ignore[attr-defined]
    assert caught[0].filename == __file__
    assert "memory" not in to_plain(config)


def test_in_python_both_names_are_one_problem() -> None:
    with pytest.raises(ConfigError, match="memory=lstm and recurrent=gru, but"):
        NetworkConfig(memory="lstm", recurrent="gru")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="memory=lstm and recurrent=None, but"):
        replace(NetworkConfig(), memory="lstm")  # type: ignore[call-arg]


# any other setting


@pytest.fixture
def another_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program as it is once ``lr`` and ``env.frame_stack`` had other names before."""
    for field, was in (
        (TrainConfig.__dataclass_fields__["lr"], "step_size"),
        (type(TrainConfig().env).__dataclass_fields__["frame_stack"], "stacked"),
    ):
        monkeypatch.setattr(field, "metadata", {**field.metadata, "was": was})


@pytest.mark.usefixtures("another_rename")
def test_all_follows_from_the_settings_own_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"own/mine.yaml": f"{GLOBAL}step_size: 0.5\nenv: {{stacked: 3}}\n"})
    assert composed("step_size=0.5").lr == 0.5
    config = composed("+own=mine", user_dir=tmp_path)
    assert (config.lr, config.env.frame_stack) == (0.5, 3)
    assert capsys.readouterr().err.splitlines() == [
        "step_size is called lr now",
        "env.stacked in own/mine.yaml is called env.frame_stack now",
    ]
    plain: dict[str, Any] = to_plain(config)
    plain["step_size"], plain["env"]["stacked"] = plain.pop("lr"), plain["env"].pop("frame_stack")
    assert from_plain(TrainConfig, plain) == config


def test_a_fingerprint_is_taken_of_the_old_name(request: pytest.FixtureRequest) -> None:
    before = fingerprint(TrainConfig())
    request.getfixturevalue("another_rename")
    assert fingerprint(TrainConfig()) != before  # for a file that has the old name was made by a program that had it


def test_a_dataclass_understands_what_its_lines_say() -> None:
    @understands_old_names
    @dataclass
    class Made:
        """Made up."""

        colour: str = setting("red", "a made-up setting", was="color")

    with pytest.warns(DeprecationWarning, match="color is called colour now"):
        assert Made(color="blue") == Made("blue")  # type: ignore[call-arg]
