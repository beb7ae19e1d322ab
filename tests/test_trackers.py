"""Trackers: a run is shown in each as one, also where it was killed and gone on with, and none ends the training."""

from __future__ import annotations

import csv
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
from typing import Any

import pytest
from console import SCRIPTS, environment
from wandb_server import KEY, WandbServer, wandb_server

from ppo_cli.config import TrainConfig, walk
from ppo_cli.errors import ConfigError
from ppo_cli.hydra_ext import app, argv, resumption
from ppo_cli.hydra_ext.compose import prepare
from ppo_cli.loggers import hub, tracked
from ppo_cli.plain import to_plain
from ppo_cli.runs.resume import find_saved
from ppo_cli.runs.summary import fingerprint
from ppo_cli.trackers import TRACKERS, MlflowConfig, WandbConfig
from ppo_cli.training.preflight import preflight
from ppo_cli.validation import validate

HERE = Path(__file__).parent
needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="the extra wandb is not installed")
needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="the extra mlflow is not installed")
Rows = dict[int, dict[str, float]]
"""A run's metrics by step."""

PROGRAM = """
import sys
from contextlib import nullcontext
from pathlib import Path
from resuming import Kind, config_of, signalled
from ppo_cli.config import MlflowConfig, WandbConfig
from ppo_cli.loggers.curves import CurvesLogger
from ppo_cli.training.run import resume, train

what, folder, loggers, mode, changes, ends = sys.argv[1:]
iteration, number = eval(ends)
CurvesLogger.close = lambda *_: None
if "mlflow" in loggers:
    import ppo_cli.loggers.mlflow as logger
    logger.EVERY = 0.0
if "wandb" in loggers:
    import ppo_cli.loggers.wandb as logger
    logger.PATIENCE = 5.0 if mode == "online" else logger.PATIENCE
if what == "resume":
    with signalled(iteration, number) if iteration else nullcontext():
        resume(Path(folder), eval(changes), show=False)
else:
    config = config_of(Kind("cartpole", "sync"))
    config.logger, config.wandb = loggers.split(","), WandbConfig(project="here", tags=["quick"], mode=mode)
    config.mlflow = MlflowConfig(experiment="there", tags={"team": "blue"})
    with signalled(iteration, number) if iteration else nullcontext():
        train(config, Path(folder), show=False)
"""


def act(
    what: str,
    folder: Path,
    loggers: str,
    mode: str,
    changes: dict[str, Any] | None = None,
    ends: tuple[int, int] = (0, 0),
    **variables: str,
) -> None:
    """Train or go on, in a process of its own, perhaps until the beginning of an iteration in which a signal comes."""
    words = [
        sys.executable,
        "-c",
        PROGRAM,
        what,
        str(folder),
        loggers,
        mode,
        repr(changes or {}),
        repr((ends[0], int(ends[1]))),
    ]
    known = {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", "HOME": str(folder.parent), "WANDB_SILENT": "true"}
    done = subprocess.run(words, env=environment() | known | variables, capture_output=True, text=True, timeout=240)
    expected = -signal.SIGKILL if ends[1] == signal.SIGKILL else 0
    assert done.returncode == expected, done.stdout + done.stderr


def rows_of(run_dir: Path) -> Rows:
    """What ``metrics.csv`` has."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return {int(row.pop("step")): row for row in rows}


def learnt(rows: Rows) -> Rows:
    """Without what the clock says."""
    return {step: {name: value for name, value in row.items() if "time/" not in name} for step, row in rows.items()}


def problems_of(run_dir: Path) -> list[str]:
    found: list[str] = json.loads((run_dir / "summary.json").read_text())["problems"]
    return found


# Weights & Biases


def wandb_rows(server: WandbServer, run_id: str) -> Rows:
    """What the server has of a run; every row once, and in order."""
    rows = server.runs[run_id].rows
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps))
    return {row["_step"]: {name: row[name] for name in row if not name.startswith("_")} for row in rows}


def sync(server: WandbServer, run_dir: Path) -> None:
    """``wandb sync`` of what waits in a run's folder."""
    folders = [folder for folder in (run_dir / "wandb").glob("offline-run-*") if not [*folder.glob("*.synced")]]
    known = environment() | server.variables | {"HOME": str(run_dir.parent)}
    for folder in folders:
        words = [SCRIPTS / "wandb", "sync", folder]
        subprocess.run(words, cwd=run_dir.parent, env=known, check=True, capture_output=True, timeout=120)


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """A server for Weights & Biases' client."""
    with wandb_server() as server:
        yield server


# MLflow


def mlflow_run(uri: str, run_id: str) -> tuple[Rows, Any]:
    """What MLflow's client reads of a run; of each metric, every step once and in order."""
    code = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
run = client.get_run(sys.argv[2])
histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
points = {name: [(point.step, point.value) for point in history] for name, history in histories.items()}
runs = [run.info.run_id for run in client.search_runs([run.info.experiment_id])]
about = [run.data.params, run.data.tags, run.info.status, run.info.run_name, runs,
         client.get_experiment(run.info.experiment_id).name]
print(json.dumps([points, about]))
"""
    done = subprocess.run([sys.executable, "-c", code, uri, run_id], capture_output=True, text=True, check=True)
    points, about = json.loads(done.stdout)
    rows: Rows = {}
    for name, history in points.items():
        assert [step for step, _ in history] == sorted({step for step, _ in history}), name
        for step, value in history:
            rows.setdefault(step, {})[name] = value
    return dict(sorted(rows.items())), about


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs, for it takes seconds to make one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    code = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], check=True, capture_output=True)
    return path


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> str:
    """The address of an empty database."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_store.read_bytes())
    return f"sqlite:///{path}"


# all at once


def tensorboard_steps(run_dir: Path) -> list[int]:
    """The steps that TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [point.step for point in EventAccumulator(str(run_dir / "tensorboard")).Reload().Scalars("train/entropy")]


@needs_wandb
@needs_mlflow
@pytest.mark.slow
def test_a_run_that_was_killed_and_gone_on_with_is_one_run_everywhere(
    tmp_path: Path, server: WandbServer, store: str
) -> None:
    (tmp_path / "multirun.yaml").touch()
    run_dir, everything = tmp_path / "0_seed-3", "csv,tensorboard,wandb,mlflow"
    act("train", run_dir, everything, "offline", ends=(5, signal.SIGTERM), MLFLOW_TRACKING_URI=store)
    before = {name: tracked.kept_id(run_dir, name) for name in TRACKERS}
    in_wandb, in_mlflow = (before[name] or "none" for name in TRACKERS)
    sync(server, run_dir)  # as somebody may who does not wait; then the fifth row is made again, and its end is lost
    assert [len(rows) for rows in (server.runs[in_wandb].rows, mlflow_run(store, in_mlflow)[0])] == [5, 5]
    act("resume", run_dir, everything, "offline", ends=(7, signal.SIGKILL), MLFLOW_TRACKING_URI=store)
    act("resume", run_dir, everything, "offline", MLFLOW_TRACKING_URI=store)
    sync(server, run_dir)
    assert {name: tracked.kept_id(run_dir, name) for name in TRACKERS} == before
    expected = learnt(rows_of(run_dir))
    rows, (params, tags, status, name, runs, experiment) = mlflow_run(store, in_mlflow)
    assert len(expected) == 7
    assert tensorboard_steps(run_dir) == list(expected)
    assert learnt(wandb_rows(server, in_wandb)) == expected
    assert learnt(rows) == expected
    assert (list(server.runs), runs) == ([in_wandb], [in_mlflow])
    assert problems_of(run_dir) == []

    about = server.runs[in_wandb].about
    config = json.loads(about["config"])
    assert (about["project"], about["tags"], about["groupName"]) == ("here", ["quick"], tmp_path.name)
    assert about["displayName"] == name == "0_seed-3"
    assert (config["lr"]["value"], config["network"]["value"]["hidden_sizes"]) == (0.003, [8])
    assert server.runs[in_wandb].exit_codes[-1] == 0
    assert (params["lr"], params["network.hidden_sizes"], params["env.id"]) == ("0.003", "[8]", "CartPole-v1")
    assert not [key for key in (*config, *params) if key.startswith(TRACKERS)]
    assert (tags["team"], tags["group"], tags["status"]) == ("blue", tmp_path.name, "finished")
    assert (status, experiment) == ("FINISHED", "there")


@needs_wandb
@pytest.mark.slow
def test_an_online_run_goes_on_as_itself_unless_rows_were_made_with_other_settings(
    tmp_path: Path, server: WandbServer
) -> None:
    run_dir = tmp_path / "run"
    act("train", run_dir, "csv,wandb", "online", ends=(6, signal.SIGKILL), **server.variables)
    for changes, length in ({}, 7), ({"total_timesteps": 288}, 9):
        act("resume", run_dir, "csv,wandb", "online", changes, **server.variables)
        ((one, run),) = server.runs.items()
        before = learnt(rows_of(run_dir))
        assert learnt(wandb_rows(server, one)) == before
        assert len(run.rows) == length
    assert "groupName" not in run.about
    first = min((run_dir / "checkpoints").glob("step_*.pt"))
    act("resume", first, "csv,wandb", "online", {"lr": 0.01}, **server.variables)
    other = tracked.kept_id(run_dir, "wandb")
    assert list(server.runs) == [one, other]
    assert learnt(wandb_rows(server, one)) == before
    assert learnt(wandb_rows(server, other or "none")) == learnt(rows_of(run_dir)) != before
    assert problems_of(run_dir) == []


@needs_mlflow
@pytest.mark.slow
def test_mlflow_gets_the_rows_it_lacks_and_another_run_for_rows_of_other_settings(tmp_path: Path, store: str) -> None:
    run_dir = tmp_path / "run"
    act("train", run_dir, "csv", "offline")  # nothing of it is there yet
    changes = {"total_timesteps": 256, "logger": ["csv", "mlflow"], "mlflow.experiment": "late"}
    act("resume", run_dir, "csv,mlflow", "offline", changes, MLFLOW_TRACKING_URI=store)
    one, before = tracked.kept_id(run_dir, "mlflow") or "none", learnt(rows_of(run_dir))
    rows, (*_, experiment) = mlflow_run(store, one)
    assert (learnt(rows), len(rows), experiment) == (before, 8, "late")
    changes = {"total_timesteps": 288, "lr": 0.02}  # which holds from the end on
    act("resume", run_dir, "csv,mlflow", "offline", changes, MLFLOW_TRACKING_URI=store)
    rows, (params, tags, *_) = mlflow_run(store, one)
    assert (len(rows), params["lr"], tags["resumed.lr"]) == (9, "0.003", "0.02")
    before, first = learnt(rows), min((run_dir / "checkpoints").glob("step_*.pt"))
    changes = {"lr": 0.01, "logger": ["csv", "mlflow"]}  # the checkpoint is of before
    act("resume", first, "csv,mlflow", "offline", changes, MLFLOW_TRACKING_URI=store)
    other = tracked.kept_id(run_dir, "mlflow") or "none"
    assert learnt(mlflow_run(store, one)[0]) == before
    rows, (params, *_) = mlflow_run(store, other)
    assert learnt(rows) == learnt(rows_of(run_dir)) != before
    assert (params["lr"], problems_of(run_dir)) == ("0.01", [])


@needs_wandb
@needs_mlflow
@pytest.mark.slow
def test_without_a_network_the_training_goes_on(tmp_path: Path) -> None:
    run_dir, nowhere = tmp_path / "run", "http://127.0.0.1:9"
    variables = {"MLFLOW_TRACKING_URI": nowhere, "WANDB_BASE_URL": nowhere, "WANDB_API_KEY": KEY}
    act("train", run_dir, "csv,wandb,mlflow", "online", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", **variables)
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "finished"
    problems = problems_of(run_dir)
    assert [problem.partition(":")[0] for problem in problems] == [
        "WandbLogger failed and is off from here on",
        "MlflowLogger failed and is off from here on",
    ]
    assert "connection refused" in problems[0]
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
