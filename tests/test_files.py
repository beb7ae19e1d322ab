"""Files of settings and the words that choose them: what is wrong is told with file, line or key, and a way out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from composing import composed, refused
from console import Train, run
from test_conf import write

from ppo_cli.config import EvalConfig, TrainConfig
from ppo_cli.errors import ConfigError
from ppo_cli.hydra_ext import app, argv, resumption, schema
from ppo_cli.hydra_ext.compose import prepare
from ppo_cli.plain import to_plain
from ppo_cli.search_config import KEYS

GLOBAL = "# @package _global_\n"
WIDE = {"experiment/wide.yaml": GLOBAL + "lr: 0.5\n"}


# in files


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        (GLOBAL + "lrr: 0.1", "c/experiment/x.yaml: 'lrr' is not a setting of ppo-train. Did you mean lr?", "lr=0.1"),
        (GLOBAL + "network: {hiden_sizes: [8]}", "c/experiment/x.yaml: 'network.hiden_sizes'", "network.hidden_sizes="),
        (GLOBAL + "network: {widht: 8}", "c/experiment/x.yaml: 'network.widht' is not a setting", "ppo-train --help"),
        ("lr: 0.1", "c/experiment/x.yaml: its settings are read as experiment.…", "# @package _global_ as the first"),
        ("", "c/experiment/x.yaml is empty", "# @package _global_ in c/experiment/x.yaml"),
        ("# @package\nlr: 0.1", "c/experiment/x.yaml: Expected header format", "# @package _global_"),
        (GLOBAL + "lr: 0.1\nlr: 0.2", "c/experiment/x.yaml, line 3: found duplicate key lr", "one of the two lines"),
        (GLOBAL + "env:\n\tid: x", "c/experiment/x.yaml, line 3: found character '\\t'", "spaces"),
        (GLOBAL + "lr: [1\nseed: 2", "c/experiment/x.yaml, line 3: expected ',' or ']'", "YAML"),
        (GLOBAL + "lr: \x07", "c/experiment/x.yaml cannot be read", "YAML"),
        (GLOBAL + "- lr", "c/experiment/x.yaml holds a list", "YAML"),
    ],
)
def test_a_file_that_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, what: str, fix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "c", {"experiment/x.yaml": text})
    problem = refused("--config-dir=c", "+experiment=x")
    assert problem.what.startswith(what)
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize(
    ("encoding", "what"),
    [("utf-16", "x.yaml is not text in UTF-8: it is UTF-16"), ("latin-1", "line 2 has other bytes")],
)
def test_other_encodings_are_named(tmp_path: Path, encoding: str, what: str) -> None:
    write(tmp_path, {"experiment/x.yaml": ""})
    (tmp_path / "experiment/x.yaml").write_text(GLOBAL + "lr: 0.1 # ü\n", encoding)
    problem = refused(f"--config-dir={tmp_path}", "+experiment=x")
    assert what in problem.what
    assert problem.fix == "saving x.yaml as UTF-8"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, {"experiment/x.yaml": ""})
    (tmp_path / "experiment/x.yaml").write_text(GLOBAL + "lr: 0.5\n", "utf-8-sig")
    assert composed(f"--config-dir={tmp_path}", "+experiment=x").lr == 0.5


def test_what_is_typed_is_no_files_fault(tmp_path: Path) -> None:
    write(tmp_path, {"experiment/x.yaml": GLOBAL + "lrr: 0.1\n"})
    assert "x.yaml" in refused(f"--config-dir={tmp_path}", "+experiment=x").what
    assert refused("+lrr=0.1").what.startswith("'lrr' is not")


def test_one_message_from_the_command(tmp_path: Path) -> None:
    write(tmp_path, {"experiment/x.yaml": GLOBAL + "lr: 1\nlr: 2\n"})
    answer = run(tmp_path, "ppo-train", "--config-dir=.", "+experiment=x")
    assert answer.code == 2
    assert "Invalid configuration" in answer.err
    assert "experiment/x.yaml, line 3: found duplicate key lr" in answer.words


WRONG = (
    ["--config-dir=.", "+experiment=x"],
    ["--config-dir=.", "--config-name=mine"],
    ["lr=-1"],
    ["batch_size=63"],
)


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_shown_is_refused_as_what_is_run(tmp_path: Path, here: Train, words: list[str]) -> None:
    write(tmp_path, {"experiment/x.yaml": GLOBAL + "lrr: 0.1\n", "mine.yaml": "defaults: [train, _self_]\nlrr: 0.1\n"})
    shown = here(*words, "--cfg", "job")
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == here(*words).err


def test_a_run_is_shown_with_its_settings_and_no_others(here: Train) -> None:
    settings = to_plain(TrainConfig()).keys()
    assert yaml.safe_load(here("--cfg", "job").out).keys() == settings
    assert yaml.safe_load(here("--cfg", "job", "search=optuna").out).keys() == {*settings, *KEYS}
    assert yaml.safe_load(here("--cfg", "all").out).keys() == {*settings, *KEYS, "hydra"}


# texts that references come to


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "3", 3),
        ("total_timesteps", "1e5", 100_000),
        ("lr", "1e-3", 1e-3),
        ("gamma", "1", 1.0),
        ("anneal_lr", "True", True),
        ("threads", "2", 2),
        ("compile", "false", False),
        ("checkpoint_every", "auto", "auto"),
        ("target_kl", "null", None),
        ("device", "cpu", "cpu"),
        ("network.hidden_sizes", "[${oc.env:PPO_TEST}]", [7]),
    ],
)
def test_a_text_from_the_environment_becomes_what_the_setting_takes(
    monkeypatch: pytest.MonkeyPatch, key: str, text: str, value: Any
) -> None:
    monkeypatch.setenv("PPO_TEST", "7" if "$" in text else text)
    config: Any = composed(f"{key}={text}" if "$" in text else f"{key}=${{oc.env:PPO_TEST}}")
    for part in key.split("."):
        config = getattr(config, part)
    assert (config, type(config)) == (value, type(value))


@pytest.mark.parametrize(("key", "text"), [("seed", "three"), ("seed", "1.5"), ("seed", ""), ("anneal_lr", "1")])
def test_a_text_that_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch, key: str, text: str) -> None:
    monkeypatch.setenv("PPO_TEST", text)
    assert refused(f"{key}=${{oc.env:PPO_TEST}}").what.startswith(f"{key}={text} is not")


def test_so_it_does_where_a_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPO_TEST", "4096")
    line = argv.parse(["resume=x", "total_timesteps=${oc.env:PPO_TEST}", "init_from=${x}"], TrainConfig)
    assert resumption.changes(line) == {"total_timesteps": 4096, "init_from": "${x}"}  # which is a path as it is
    line = argv.parse(["resume=x", "lr=${gamma}"], TrainConfig)
    with pytest.raises(ConfigError, match=r"lr=\$\{gamma\}: .*a run that goes on has no files to refer to"):
        resumption.changes(line)


def test_a_bare_name_is_a_list_of_one() -> None:
    assert composed("logger=tensorboard").logger == ["tensorboard"]
    assert composed("callbacks=module:Class").callbacks == ["module:Class"]
    assert composed("env.wrappers=TimeAwareObservation").env.wrappers == ["TimeAwareObservation"]
    assert schema.fitted(TrainConfig, "logger", "csv") == ["csv"]
    assert schema.fitted(EvalConfig, "wrappers", "a:B") == ["a:B"]
    assert refused("logger=tensorbord").fix == "logger=[tensorboard]"
    assert "logger=" in refused("logger=").what


@pytest.mark.parametrize(
    "typed",
    [
        "env.wrappers=[TimeAwareObservation,{mod.sub:W:{a:b:c}}]",
        'env.wrappers=[TimeAwareObservation,{"mod.sub:W":{a:b:c}}]',
        "env.wrappers=[TimeAwareObservation,{mod.sub\\:W:{a:b:c}}]",
        "++env.wrappers=[TimeAwareObservation, {mod.sub:W: {a: b:c}}]",
    ],
)
def test_a_wrapper_of_ones_own_takes_arguments(typed: str) -> None:
    assert composed(typed).env.wrappers == ["TimeAwareObservation", {"mod.sub:W": {"a": "b:c"}}]


# words that choose files


@pytest.mark.parametrize(
    ("typed", "what", "fix"),
    [
        ("+trial=uu", "neither a setting of ppo-train nor a folder", "--config-dir=DIR, where DIR/trial/uu"),
        ("trial=u", "neither a setting of ppo-train nor a folder", "--config-dir=DIR, where DIR/trial/u"),
        ("+learning_rate=a", "is called lr here", "lr=a"),
        ("--config-dir=c experiment=wide", "experiment is a folder of files", "+experiment=wide"),
        ("--config-dir=c +experiment=wid", "experiment=wid is none of ", "+experiment=wide"),
        (
            "--config-dir=c +experiment=old",
            "c/experiment/old.yml is not read",
            "mv c/experiment/old.yml c/experiment/old",
        ),
        ("--config-dir=c +experiment=old.yml", "c/experiment/old.yml is not read", "mv c/experiment/old.yml"),
        ("--config-path=c", "--config-path would take the place", "--config-dir=c"),
        ("hydra/launcher=joblib", "would run the jobs its own way", "n_jobs=2"),
    ],
)
def test_advice_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, what: str, fix: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "c", {**WIDE, "experiment/old.yml": GLOBAL})
    problem = refused(*typed.split())
    assert what in problem.what
    assert problem.fix.startswith(fix)


def test_the_advice_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "c", WIDE)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert composed("--config-dir=~/c", "+experiment=wide").lr == 0.5


def test_a_file_to_start_from_needs_the_others(tmp_path: Path) -> None:
    write(tmp_path, {"bare.yaml": "lr: 0.5\n", "whole.yaml": "defaults: [train, _self_]\nlr: 0.5\n"})
    for name, typed in (("bare", "seed=1"), ("whole", "seed=1"), ("whole", "lrr=1")):
        line = argv.parse([f"--config-dir={tmp_path}", f"--config-name={name}", typed], TrainConfig)
        prepare(line.user_dir)
        if (name, typed) == ("whole", "seed=1"):
            assert app.config_of(line, "train", TrainConfig).lr == 0.5
            continue
        with pytest.raises(ConfigError) as caught:
            app.config_of(line, "train", TrainConfig)
        fix = "lr=1" if name == "whole" else "defaults: [train, _self_] at the beginning of bare.yaml"
        assert [problem.fix for problem in caught.value.problems] == [fix]


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    line = argv.parse(["seed=1"], TrainConfig)
    folder.rmdir()
    try:
        with pytest.raises(ConfigError, match="the current folder is no longer there"):
            app.start(line)
    finally:
        os.chdir(tmp_path)
