"""Trackers: a run is shown in each as one, also where it was killed and gone on with, and none ends the training."""

from __future__ import annotations

import json
import math
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import tracking
from console import environment
from tracking import begin, go_on, learnt, problems_of, rows_of
from wandb_server import KEY, WandbServer, wandb_server

from ppo_cli.config import TrainConfig, walk
from ppo_cli.errors import ConfigError
from ppo_cli.hydra_ext import app, argv, resumption
from ppo_cli.hydra_ext.compose import prepare
from ppo_cli.loggers import hub, tracked
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.plain import to_plain
from ppo_cli.runs.resume import find_saved
from ppo_cli.runs.summary import fingerprint
from ppo_cli.trackers import TRACKERS, MlflowConfig, WandbConfig
from ppo_cli.training.preflight import preflight
from ppo_cli.validation import validate

HERE = Path(__file__).parent
needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="the extra wandb is not installed")
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra mlflow is not installed")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in this process, without a picture, and with trackers that know nothing of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    known = {"HOME": str(tmp_path), "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    known |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(CurvesLogger, "close", lambda *_: None)
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A server for Weights & Biases' client."""
    with wandb_server() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: None) -> str:
    """The address of a database that MLflow is told of and that is yet to be made."""
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


@needs_wandb
@needs_mlflow
@pytest.mark.slow
def test_a_run_that_was_stopped_and_killed_and_gone_on_with_is_one_run_everywhere(
    tmp_path: Path, server: WandbServer, store: str
) -> None:
    from mlflow import MlflowClient

    (tmp_path / "multirun.yaml").touch()
    run_dir = tmp_path / "0_seed-3"
    begin(run_dir, "csv,tensorboard,wandb,mlflow", "offline", 5)
    before = {name: tracked.kept_id(run_dir, name) for name in TRACKERS}
    in_wandb, in_mlflow = (before[name] or "none" for name in TRACKERS)
    tracking.sync(server, run_dir)  # as somebody may who does not wait; then the fifth row is made again
    assert [len(rows) for rows in (server.runs[in_wandb].rows, tracking.mlflow_rows(store, in_mlflow))] == [5, 5]
    tracking.act("go_on", run_dir, {}, 7, signal.SIGKILL, kills=True, MLFLOW_TRACKING_URI=store)
    go_on(run_dir, {})
    assert {name: tracked.kept_id(run_dir, name) for name in TRACKERS} == before
    tracking.sync(server, run_dir)
    expected = learnt(rows_of(run_dir))
    assert len(expected) == 7
    assert tracking.tensorboard_steps(run_dir) == list(expected)
    assert learnt(tracking.wandb_rows(server, in_wandb)) == expected
    assert learnt(tracking.mlflow_rows(store, in_mlflow)) == expected
    assert problems_of(run_dir) == []

    about = server.runs[in_wandb].about
    config = json.loads(about["config"])
    assert list(server.runs) == [in_wandb]
    assert (about["project"], about["tags"], about["groupName"]) == ("here", ["quick"], tmp_path.name)
    assert (config["lr"]["value"], config["network"]["value"]["hidden_sizes"]) == (0.003, [8])
    assert server.runs[in_wandb].exit_codes[-1] == 0

    client = MlflowClient(store)
    run = client.get_run(in_mlflow)
    params, tags = run.data.params, run.data.tags
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert client.get_experiment(run.info.experiment_id).name == "there"
    assert about["displayName"] == run.info.run_name == "0_seed-3"
    assert (params["lr"], params["network.hidden_sizes"], params["env.id"]) == ("0.003", "[8]", "CartPole-v1")
    assert not [key for key in (*config, *params) if key.startswith(TRACKERS)]
    assert (tags["team"], tags["group"], tags["status"]) == ("blue", tmp_path.name, "finished")
    assert run.info.status == "FINISHED"


@needs_wandb
@pytest.mark.usefixtures("alone")
def test_an_online_run_goes_on_as_itself_unless_rows_were_made_with_other_settings(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    run_dir = tmp_path / "run"
    begin(run_dir, "csv,wandb", "online", 5)
    go_on(run_dir, {})
    ((one, run),) = server.runs.items()
    before = learnt(rows_of(run_dir))
    assert learnt(tracking.wandb_rows(server, one)) == before
    assert len(run.rows) == 7
    assert "groupName" not in run.about
    first = min((run_dir / "checkpoints").glob("step_*.pt"))
    go_on(first, {"lr": 0.01})
    other = tracked.kept_id(run_dir, "wandb") or "none"
    assert list(server.runs) == [one, other]
    assert learnt(tracking.wandb_rows(server, one)) == before
    assert learnt(tracking.wandb_rows(server, other)) == learnt(rows_of(run_dir)) != before
    assert problems_of(run_dir) == []


@needs_mlflow
def test_mlflow_gets_the_rows_it_lacks_and_another_run_for_rows_of_other_settings(tmp_path: Path, store: str) -> None:
    from mlflow import MlflowClient

    run_dir, client = tmp_path / "run", MlflowClient(store)
    begin(run_dir, "csv", "offline")  # nothing of it is there yet
    go_on(run_dir, {"total_timesteps": 256, "logger": ["csv", "mlflow"], "mlflow.experiment": "late"})
    one, before = tracked.kept_id(run_dir, "mlflow") or "none", learnt(rows_of(run_dir))
    assert len(before) == 8
    assert learnt(tracking.mlflow_rows(store, one)) == before
    assert client.get_experiment_by_name("late") is not None
    go_on(run_dir, {"total_timesteps": 288, "lr": 0.02})  # which holds from the end on
    before, found = learnt(tracking.mlflow_rows(store, one)), client.get_run(one).data
    assert (len(before), found.params["lr"], found.tags["resumed.lr"]) == (9, "0.003", "0.02")
    first = min((run_dir / "checkpoints").glob("step_*.pt"))
    go_on(first, {"lr": 0.01, "logger": ["csv", "mlflow"]})  # the checkpoint is of before
    other = tracked.kept_id(run_dir, "mlflow") or "none"
    assert learnt(tracking.mlflow_rows(store, one)) == before
    assert learnt(tracking.mlflow_rows(store, other)) == learnt(rows_of(run_dir)) != before
    assert (client.get_run(other).data.params["lr"], problems_of(run_dir)) == ("0.01", [])


@needs_mlflow
@pytest.mark.slow
def test_runs_that_begin_at_once_make_one_database(tmp_path: Path, store: str) -> None:
    code = """
import sys; from pathlib import Path
from ppo_cli.config import TrainConfig
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.mlflow import MlflowLogger
print(flush=True)
sys.stdin.readline()
MlflowLogger(Path(sys.argv[1])).start(RunInfo(TrainConfig(), Path(sys.argv[1]), 1, 1))
"""
    known = environment() | {"PYTHONPATH": str(HERE.parent), "MLFLOW_TRACKING_URI": store}
    folders = [tmp_path / name for name in ("one", "other")]
    started = []
    for folder in folders:
        folder.mkdir()
        words = [sys.executable, "-c", code, str(folder)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(words, env=known, text=True, stdin=pipe, stdout=pipe, stderr=pipe))
    for process in started:  # all have imported what they need
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert None not in [tracked.kept_id(folder, "mlflow") for folder in folders]


@needs_wandb
@needs_mlflow
@pytest.mark.usefixtures("alone")
def test_without_a_network_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ppo_cli.loggers import wandb as logger

    nowhere = "http://127.0.0.1:9"
    known = {"MLFLOW_TRACKING_URI": nowhere, "WANDB_BASE_URL": nowhere, "WANDB_API_KEY": KEY}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logger, "PATIENCE", 3.0)
    run_dir = tmp_path / "run"
    begin(run_dir, "csv,wandb,mlflow", "online")
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "finished"
    problems = problems_of(run_dir)
    assert [problem.partition(":")[0] for problem in problems] == [
        "WandbLogger failed and is off from here on",
        "MlflowLogger failed and is off from here on",
    ]
    assert not [problem for problem in problems if "\n" in problem]
    assert len(rows_of(run_dir)) == 7


@needs_wandb
def test_nobody_is_asked_for_a_login(tmp_path: Path) -> None:
    code = """
import sys; from pathlib import Path
from ppo_cli.config import TrainConfig, WandbConfig
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.wandb import WandbLogger
folder = Path(sys.argv[1])
logger = WandbLogger(folder)
try:
    logger.start(RunInfo(TrainConfig(wandb=WandbConfig(mode="online")), folder, 1, 1))
finally:
    logger.close({})
"""
    ours, theirs = pty.openpty()  # a terminal, where wandb would ask
    known = {"HOME": str(tmp_path), "PYTHONPATH": str(HERE.parent)}
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment() | known,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):  # which Linux raises where nobody holds the other end
        while said_now := os.read(ours, 4096):
            said += said_now
    assert started.wait(60) == 1
    assert b"No API key configured" in said
    assert b"Enter your choice" not in said


# what needs no tracker


def test_a_missing_package_is_told_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    (tmp_path / "wandb").mkdir()  # as runs elsewhere leave it
    for name, packages in hub.PACKAGES.items():
        monkeypatch.delitem(sys.modules, name, raising=False)
        with pytest.raises(ConfigError, match=f"{name} needs a package that is missing") as caught:
            preflight(TrainConfig(logger=["csv", name]))
        assert caught.value.problems[0].fix == f"pip install {packages}"


def test_a_tracker_needs_csv_and_plain_tags() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(TrainConfig(logger=["wandb"], mlflow=MlflowConfig(tags={"a": [1]})))
    assert [problem.fix for problem in caught.value.problems] == [
        "mlflow.tags.a=<a text or a number>",
        "logger=[csv,wandb]",
    ]


def test_where_a_run_is_shown_is_no_part_of_what_it_is() -> None:
    shown = TrainConfig(wandb=WandbConfig("p", "e", ["t"], "offline"), mlflow=MlflowConfig("u", "e", {"a": 1}))
    assert fingerprint(shown) == fingerprint(TrainConfig())
    usual = {key: value for key, value, _ in walk(TrainConfig())}
    assert sum(value != usual[key] for key, value, _ in walk(shown)) == 7


def test_a_run_that_goes_on_may_be_shown_elsewhere(tmp_path: Path) -> None:
    summary = {"config": to_plain(TrainConfig()), "status": "finished", "step": 5}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    saved = find_saved(tmp_path, {"wandb.project": "other", "mlflow.tags.team": "red"})
    assert (saved.finished, saved.changes) == (True, {})
    assert (saved.config.wandb.project, saved.config.mlflow.tags) == ("other", {"team": "red"})


def test_a_requeued_command_finds_its_run_and_shows_it_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_dir = Path("outputs") / "CartPole-v1" / "2026"
    run_dir.mkdir(parents=True)
    prepare()
    made = app.config_of(argv.parse(["logger=[csv,wandb]"], TrainConfig), "train", TrainConfig)
    (run_dir / "summary.json").write_text(json.dumps({"request": fingerprint(made), "config": to_plain(made)}))
    words = ["logger=[csv,wandb]", "wandb.mode=offline", "mlflow.tags={team:red}", "resume=auto"]
    found = resumption.own_run(argv.parse(words, TrainConfig))
    assert found is not None
    assert found[0] == run_dir
    saved = find_saved(*found)
    assert (saved.config.wandb.mode, saved.config.mlflow.tags, saved.changes) == ("offline", {"team": "red"}, {})


def test_a_sweep_is_the_nearest_folder_with_its_record(tmp_path: Path) -> None:
    run_dir = tmp_path / "sweep" / "deep" / "0_lr-0.1"
    run_dir.mkdir(parents=True)
    assert tracked.sweep_of(run_dir) is None
    (tmp_path / "sweep" / "multirun.yaml").touch()
    assert tracked.sweep_of(run_dir) == "sweep"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"wandb": 3}'])
def test_a_damaged_file_of_ids_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / tracked.KEPT).write_text(text)
    assert tracked.kept_id(tmp_path, "wandb") is None
    tracked.keep(tmp_path, "wandb", "abc")
    tracked.keep(tmp_path, "mlflow", "def")
    assert (tracked.kept_id(tmp_path, "wandb"), tracked.kept_id(tmp_path, "mlflow")) == ("abc", "def")


def test_an_ending_leaves_out_what_nobody_knows() -> None:
    summary = {"status": "failed", "final_return": None, "best_return": math.inf, "best_step": 3}
    assert tracked.ending(summary) == {"status": "failed", "best_return": math.inf, "best_step": 3}
