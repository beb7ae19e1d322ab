"""What a run leaves on disk and on screen: CSV, TensorBoard, curves, live display, plain lines."""

from __future__ import annotations

import csv
import io
import logging
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ppo_cli.config import TrainConfig
from ppo_cli.loggers.base import RunInfo
from ppo_cli.loggers.console import BLOCKS, LiveDisplay, block_chart
from ppo_cli.loggers.csv import CsvLogger
from ppo_cli.loggers.curves import CurvesLogger, smooth, thousands
from ppo_cli.loggers.hub import make_loggers
from ppo_cli.loggers.lines import LOGGER, PlainLines, run_logging, terminal_can_repaint
from ppo_cli.loggers.metrics import COLUMNS, METRICS, Metrics
from ppo_cli.loggers.tensorboard import TensorBoardLogger
from ppo_cli.loggers.text import Pace, duration, number

SUMMARY = {"status": "finished", "step": 24_576, "final_return": 180.0, "best_return": 201.0, "best_step": 20_480}


def make_run(run_dir: Path, **settings: object) -> RunInfo:
    config = TrainConfig(**settings)  # type: ignore[arg-type]
    return RunInfo(config, run_dir, total_timesteps=12 * config.buffer_size, num_parameters=9155)


def make_row(iteration: int, **values: float | None) -> Metrics:
    """A row in which every metric has a value of its own, but for those given."""
    row: Metrics = {name: iteration + index / 7 for index, name in enumerate(COLUMNS)}
    row |= {"iteration": iteration, "step": 2048 * iteration, "time/elapsed": 10.0 * iteration}
    return row | {name.replace("__", "/"): value for name, value in values.items()}


def empty_row(iteration: int) -> Metrics:
    """A row as before anything is known."""
    return dict.fromkeys(COLUMNS) | {"iteration": iteration, "step": 2048 * iteration}


# CSV


def test_csv_rows_are_on_disk_at_once_and_read_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(path)
    logger.start(make_run(tmp_path))
    row = make_row(1, train__approx_kl=0.1 + 0.2, train__policy_loss=math.nan, eval__episode_return_mean=None)
    logger.log(row)
    with path.open(newline="") as file:
        header, cells = csv.reader(file)
    assert tuple(header) == COLUMNS
    back = dict(zip(header, cells, strict=True))
    assert back["train/approx_kl"] == "0.30000000000000004"
    assert back["step"] == "2048"
    assert back["eval/episode_return_mean"] == ""
    assert math.isnan(float(back["train/policy_loss"]))
    known = [name for name in COLUMNS if name not in ("train/policy_loss", "eval/episode_return_mean")]
    assert [float(back[name]) for name in known] == [row[name] for name in known]
    logger.close(SUMMARY)


# TensorBoard


@pytest.fixture
def event_folder(tmp_path: Path) -> Path:
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    logger.start(make_run(tmp_path, lr=1e-3, normalize_obs=True))
    logger.log(make_row(1, rollout__episode_return_mean=None, eval__episode_return_mean=None))
    logger.log(make_row(2, rollout__episode_return_mean=17.5, eval__episode_return_mean=19.25))
    logger.close(SUMMARY)
    return tmp_path / "tensorboard"


def test_tensorboard_finds_the_curves(event_folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(event_folder)).Reload()
    assert set(events.Tags()["tensors"]) | set(events.Tags()["scalars"]) >= set(COLUMNS) - {"iteration", "step"}
    (point,) = events.Scalars("rollout/episode_return_mean")
    assert (point.step, point.value) == (4096, 17.5)
    assert [point.step for point in events.Scalars("train/approx_kl")] == [2048, 4096]


def hparams_plugin(folder: Path) -> tuple[Any, Any]:
    """What TensorBoard's HParams reads a folder of runs with."""
    from tensorboard import context
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    provider = MultiplexerDataProvider(EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload(), str(folder))
    return context.RequestContext(), Context(TBContext(data_provider=provider))


def session_groups(folder: Path) -> list[Any]:
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.list_session_groups import Handler

    statuses = list(api_pb2.Status.values())
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=10, allowed_statuses=statuses)
    found = hparams_plugin(folder)
    return list(Handler(*found, "", request).run().session_groups)


def test_tensorboard_finds_the_hyperparameters(event_folder: Path) -> None:
    (group,) = session_groups(event_folder.parent)
    settings = group.hparams
    assert settings["lr"].number_value == 1e-3
    assert settings["normalize_obs"].bool_value is True
    assert settings["network.hidden_sizes"].string_value == "[64,64]"
    assert settings["env.id"].string_value == "CartPole-v1"
    assert "target_kl" not in settings
    assert not [key for key in settings if key.startswith(("wandb", "mlflow"))]
    shown = {metric.name.tag: metric.value for metric in group.metric_values}
    assert (shown["eval/episode_return_mean"], shown["rollout/episode_return_mean"]) == (19.25, 17.5)


def test_tensorboard_compares_the_runs_of_a_sweep_by_what_differs(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.get_experiment import Handler

    for seed, lr in enumerate((1e-3, 1e-4)):
        logger = TensorBoardLogger(tmp_path / str(seed) / "tensorboard")
        logger.start(make_run(tmp_path, lr=lr, seed=seed, normalize_obs=seed == 1))
        logger.log(make_row(1, eval__episode_return_mean=10.0 + seed))
        logger.close(SUMMARY)
    found = hparams_plugin(tmp_path)
    experiment = Handler(*found, "", api_pb2.GetExperimentRequest()).run()
    # which the page shows first, in its table and its parallel coordinates
    assert {info.name for info in experiment.hparam_infos if info.differs} == {"lr", "seed", "normalize_obs"}
    # and of the metrics, the first five
    assert "eval/episode_return_mean" in [info.name.tag for info in experiment.metric_infos][:5]
    groups = {group.hparams["lr"].number_value: group for group in session_groups(tmp_path)}
    values = {lr: {value.name.tag: value.value for value in group.metric_values} for lr, group in groups.items()}
    assert [values[lr]["eval/episode_return_mean"] for lr in (1e-3, 1e-4)] == [10.0, 11.0]


def test_each_iteration_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    logger.start(make_run(tmp_path))
    logger.log(make_row(1))
    assert len(EventAccumulator(str(tmp_path)).Reload().Scalars("train/entropy")) == 1
    logger.close(SUMMARY)


# Imports


def imported(code: str, tmp_path: Path) -> set[str]:
    """Modules that a fresh interpreter has after ``code``; a real TensorFlow or torch would break it."""
    for name in ("tensorflow", "torch"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] if "pyplot" not in name else name for name in done.stdout.split()}


def test_loggers_cost_nothing_before_they_are_used(tmp_path: Path) -> None:
    assert not imported("import ppo_cli.loggers", tmp_path) & {"rich", "matplotlib", "tensorboard", "numpy"}


def test_a_whole_run_loads_neither_tensorflow_nor_torch_nor_pyplot(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ppo_cli.loggers.base import RunInfo; from ppo_cli.loggers.hub import *; "
        f"folder = Path({str(tmp_path)!r}); loggers = make_loggers(TrainConfig(), folder, False); "
        "run = RunInfo(TrainConfig(), folder, 10, 10); [logger.start(run) for logger in loggers]; "
        f"[logger.close({SUMMARY!r}) for logger in loggers]"
    )
    modules = imported(code, tmp_path)
    assert {"matplotlib", "tensorboard"} <= modules
    assert "matplotlib.pyplot" not in modules
    assert (tmp_path / "curves.png").exists()


# Live display


def picture(display: LiveDisplay, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, height=24, record=True)
    console.print(display)
    return console.export_text()


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def display(tmp_path: Path, clock: list[float]) -> Iterator[LiveDisplay]:
    """A started display that shows nothing by itself."""
    shown = LiveDisplay(Console(file=io.StringIO(), width=80), clock=lambda: clock[0])
    shown.start(make_run(Path("outputs/CartPole-v1/2026-01-02_03-04-05_abcdef01")))
    yield shown
    shown.close(SUMMARY)


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_display_fits_and_tells_everything(display: LiveDisplay, width: int) -> None:
    for iteration in range(1, 7):
        display.log(
            make_row(
                iteration,
                rollout__episode_return_mean=25.0 * iteration,
                eval__episode_return_mean={3: 210.5, 5: 190.5}.get(iteration),
                time__steps_per_second=5210.4,
                train__approx_kl=0.0123,
                train__clip_fraction=0.125,
                train__policy_loss=-0.0042,
                time__collect=4.0,
                time__update=5.0,
                time__evaluate=1.0,
            )
        )
    text = picture(display, width)
    lines = text.splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) == width
    flat = re.sub(r"\s+", " ", text)
    for part in (
        "CartPole-v1 · seed 0", "50%", "12,288 of 24,576 steps", "5,210 steps/s", "0:01:00 elapsed", "0:01:00 left",
        "return 150.0", "evaluation 190.5", "best 210.5", "policy loss -0.0042", "approx. KL 0.0123",
        "clip fraction 0.125", "collect", " 40%", " 10%", "9,155 parameters",
    ):  # fmt: skip
        assert part in flat
    assert "outputs/CartPole-v1/2026-01-02_03-04-05_abcdef01" in text
    assert "█" in text


@pytest.mark.parametrize("width", [44, 60, 80, 120])
def test_a_metric_keeps_its_distance_from_its_name(display: LiveDisplay, width: int) -> None:
    small = {"train__policy_loss": -1.2e-5, "train__explained_variance": -3.4e-9, "train__lr": 2.5e-7}
    display.log(make_row(3, rollout__episode_length_mean=12_345.0, **small))
    lines = picture(display, width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for cell in ("policy loss -1.20e-05", "expl. variance -3.40e-09", "learning rate 2.50e-07", "length 12,345.0"):
        assert f" {cell} " in text


def test_the_live_display_before_the_first_episode_and_with_nothing_known(display: LiveDisplay) -> None:
    assert "no episode finished yet" in picture(display, 80)
    display.log(empty_row(1))
    text = picture(display, 80)
    assert "no episode finished yet" in text
    assert re.search(r"approx\. KL +– ", text)


def test_the_live_display_survives_numbers_that_are_none(display: LiveDisplay) -> None:
    display.log(make_row(1, rollout__episode_return_mean=5.0, eval__episode_return_mean=7.0))
    diverged = [name for name in COLUMNS if name.startswith(("rollout/", "train/", "eval/"))]
    display.log(make_row(2) | dict.fromkeys(diverged, math.nan))
    text = picture(display, 80)
    assert re.search(r"value loss +nan", text)
    assert re.search(r"best +7\.0", text)


def test_the_clock_goes_on_while_an_iteration_takes_long(display: LiveDisplay, clock: list[float]) -> None:
    clock[0] += 7
    assert "0:00:07 elapsed" in picture(display, 80)
    for iteration in (1, 2):
        display.log(make_row(iteration))
    clock[0] += 5
    text = picture(display, 80)
    assert "0:00:25 elapsed" in text
    assert "0:01:35 left" in text


def test_a_long_folder_is_folded_not_cut(tmp_path: Path) -> None:
    folder = Path("/a" + "/folder-with-a-name" * 8)
    shown = LiveDisplay(Console(file=io.StringIO(), width=80))
    shown.start(make_run(folder))
    text = picture(shown, 80)
    shown.close(SUMMARY)
    assert str(folder) in re.sub(r"\s", "", text)


def test_messages_appear_above_the_panel_and_a_last_picture_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output = io.StringIO()
    shown = LiveDisplay(Console(file=output, width=80, height=30, force_terminal=True))
    heard = io.StringIO()
    root_handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(root_handler)
    try:
        with run_logging(tmp_path, to_stdout=False):
            shown.start(make_run(tmp_path))
            LOGGER.warning("evaluation took [bold]long[/bold]")
            LOGGER.info("a line for the file")
            shown.log(make_row(1, rollout__episode_return_mean=42.0))
            shown.close(SUMMARY | {"status": "interrupted"})
            LOGGER.warning("after the display")
    finally:
        logging.getLogger().removeHandler(root_handler)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert "evaluation took [bold]long[/bold]" in text
    assert "a line for the file" not in text
    last = text[text.rindex("╭") :]
    assert "42.0" in last
    assert "interrupted" in last
    assert "left" not in last
    assert heard.getvalue() == "after the display\n"
    log = (tmp_path / "train.log").read_text()
    assert "WARNING evaluation took" in log
    assert "INFO a line for the file" in log


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 4, ["", ""]),
        ([3.0], 3, ["   ", "▁▁▁"]),
        ([0.0, 15.0], 2, [" █", "▁█"]),
        ([0.0, 0.0, 15.0, 15.0], 2, [" █", "▁█"]),
        ([0.0, 15.0], 3, [" ▁█", "▁██"]),
    ],
)
def test_block_chart(values: list[float], width: int, expected: list[str]) -> None:
    # two lines of eight levels: 0 is level 1 and 15 is level 16; 7.5 between them is 8.5, rounded to the even 8, and 1
    assert block_chart(values, width, 2) == expected


def test_block_chart_keeps_its_size_for_any_number_of_values() -> None:
    for count in (1, 2, 59, 60, 61, 1000):
        lines = block_chart([math.sin(index) for index in range(count)], 60, 4)
        assert [len(line) for line in lines] == [60] * 4
        assert set("".join(lines)) <= set(BLOCKS)


# Plain lines


def progress_of(tmp_path: Path, rows: list[Metrics], **settings: object) -> list[str]:
    run = make_run(tmp_path, **settings)
    logger = PlainLines(run.config)
    with run_logging(tmp_path, to_stdout=False):
        logger.start(run)
        for row in rows:
            logger.log(row)
        logger.close(SUMMARY)
    return [line.split(" INFO ")[1] for line in (tmp_path / "train.log").read_text().splitlines()]


def test_a_plain_line_first_every_n_iterations_and_last(tmp_path: Path) -> None:
    about, *lines = progress_of(tmp_path, [make_row(i) for i in range(1, 13)], log_every=10_000, buffer_size=2048)
    assert about.startswith("CartPole-v1 · seed 0 · cpu · 9,155 parameters")
    # 10,000 steps are five iterations of 2,048, rounded up
    assert [line.split()[1].split("/")[0] for line in lines] == ["2,048", "10,240", "20,480", "24,576"]


def test_the_last_line_is_not_repeated(tmp_path: Path) -> None:
    lines = progress_of(tmp_path, [make_row(i) for i in range(1, 6)], log_every=10_000)
    assert len([line for line in lines if line.startswith("step 10,240/")]) == 1


def test_a_rollout_that_goes_past_the_budget_is_told_as_all_of_it(tmp_path: Path) -> None:
    *_, last = progress_of(tmp_path, [make_row(13)], log_every=1)
    assert last.startswith("step 26,624/24,576 (100%)")


def test_what_a_plain_line_says(tmp_path: Path) -> None:
    values = {
        "rollout__episode_return_mean": 143.21, "train__approx_kl": 0.0123, "train__explained_variance": 0.831,
        "train__entropy": 0.552, "time__steps_per_second": 5210.4,
    }  # fmt: skip
    rows = [
        empty_row(1),
        make_row(2, eval__episode_return_mean=201.04),
        make_row(3, eval__episode_return_mean=None, **values),
        make_row(4, eval__episode_return_mean=None, **values),
    ]
    _, first, _, third, fourth = progress_of(tmp_path, rows, log_every=1)
    assert first == "step 2,048/24,576 (8%) · return – · kl – · ev – · entropy – · – steps/s"
    rest = "kl 0.012 · ev 0.83 · entropy 0.55 · 5,210 steps/s"
    assert third == f"step 6,144/24,576 (25%) · return 143.2 · {rest} · 0:01:30 left"
    assert fourth == f"step 8,192/24,576 (33%) · return 143.2 · {rest} · 0:01:20 left"


def test_an_evaluation_between_two_lines_is_in_the_next(tmp_path: Path) -> None:
    rows = [make_row(i, eval__episode_return_mean=201.04 if i == 3 else None) for i in range(1, 11)]
    _, first, fifth, tenth = progress_of(tmp_path, rows, log_every=10_000)
    assert "eval" not in first
    assert "eval 201.0" in fifth
    assert "eval" not in tenth


# Where messages go


@pytest.fixture
def root_messages() -> Iterator[io.StringIO]:
    """What a caller's own logging, set up for warnings, gets to see."""
    heard = io.StringIO()
    handler, root = logging.StreamHandler(heard), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    yield heard
    root.removeHandler(handler)
    root.setLevel(level)


def speak() -> None:
    log = logging.getLogger("ppo_cli.anywhere")
    log.debug("a debug message")
    log.info("an info message")
    log.warning("a warning")


def test_on_stdout_messages_appear_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], root_messages: io.StringIO
) -> None:
    with run_logging(tmp_path, to_stdout=True):
        speak()
    assert capsys.readouterr().out == "an info message\na warning\n"
    assert root_messages.getvalue() == ""
    assert "DEBUG a debug message" in (tmp_path / "train.log").read_text()


def test_otherwise_the_callers_logging_sees_what_it_always_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], root_messages: io.StringIO
) -> None:
    with run_logging(tmp_path, to_stdout=False):
        speak()
    assert root_messages.getvalue() == "a warning\n"
    assert capsys.readouterr().out == ""
    assert len((tmp_path / "train.log").read_text().splitlines()) == 3


@pytest.mark.parametrize("to_stdout", [True, False])
def test_logging_is_as_before_after_a_run(tmp_path: Path, to_stdout: bool) -> None:
    before = LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)
    with pytest.raises(KeyError), run_logging(tmp_path, to_stdout=to_stdout):
        raise KeyError
    assert (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)) == before


def test_a_reader_that_left_does_not_disturb_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with run_logging(tmp_path, to_stdout=True):
        speak()
    assert capsys.readouterr().err == ""
    assert "a warning" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize(
    ("is_terminal", "term", "encoding", "expected"),
    [
        (True, "xterm-256color", "utf-8", True),
        (True, None, "utf-8", True),
        (False, "xterm-256color", "utf-8", False),
        (True, "dumb", "utf-8", False),
        (True, "xterm", "latin-1", False),
    ],
)
def test_which_terminals_get_the_live_display(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, term: str | None, encoding: str, expected: bool
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert terminal_can_repaint() is expected


@pytest.mark.parametrize("variable", ["JPY_PARENT_PID", "COLAB_RELEASE_TAG"])
def test_what_a_notebook_shows_of_a_command_is_no_such_terminal(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm-color")
    monkeypatch.setenv(variable, "1")
    assert not terminal_can_repaint()


@pytest.mark.parametrize("stream", [None, io.TextIOWrapper(io.BytesIO(), encoding="ascii")])
def test_in_a_script_messages_do_not_need_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: io.TextIOWrapper | None
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    assert not terminal_can_repaint()
    with run_logging(tmp_path, to_stdout=True):
        LOGGER.info("return – · …")
    assert capsys.readouterr().err == ""
    assert stream is None or stream.buffer.getvalue() == b"return - - ...\n"  # type: ignore[attr-defined]


# Curves


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [make_row(1)],
        [empty_row(1), empty_row(2)],
        [make_row(1, rollout__episode_return_mean=None)],
        [make_row(i, train__value_loss=math.inf) for i in range(1, 60)],
    ],
    ids=["none", "one", "empty", "evaluation only", "many"],
)
def test_curves_are_a_whole_picture_for_any_run(tmp_path: Path, rows: list[Metrics]) -> None:
    from matplotlib.image import imread

    logger = CurvesLogger(tmp_path / "curves.png")
    logger.start(make_run(tmp_path, target_return=475.0))
    for row in rows:
        logger.log(row)
    logger.close(SUMMARY | {"best_return": None, "best_step": None})
    image = imread(tmp_path / "curves.png")
    assert image.shape == (1125, 1995, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_run_that_never_started_leaves_no_picture(tmp_path: Path) -> None:
    for logger in make_loggers(TrainConfig(), tmp_path, terminal=True):
        logger.close(SUMMARY)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def half(figure: Figure, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    (tmp_path / "curves.png").write_bytes(b"old")
    logger = CurvesLogger(tmp_path / "curves.png")
    logger.start(make_run(tmp_path))
    with pytest.raises(OSError, match="disk full"):
        logger.close(SUMMARY)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_smoothing_keeps_constants_and_lessens_noise() -> None:
    import numpy as np

    np.testing.assert_allclose(smooth(np.full(100, 3.0)), 3.0)
    wiggle = np.tile([1.0, -1.0], 50)
    assert np.abs(smooth(wiggle)).max() < 0.5
    assert len(smooth(wiggle)) == 100


# Texts


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (None, 3, "–"), (math.nan, 3, "nan"), (-math.inf, 3, "-inf"), (0.0, 3, "0.000"), (0.5, 2, "0.50"),
        (1234.56, 1, "1,234.6"), (2.5e-5, 4, "2.50e-05"), (-3e7, 1, "-3.00e+07"), (5210.4, 0, "5,210"),
    ],
)  # fmt: skip
def test_number(value: float | None, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (90061, "1 d 1:01:01"), (-3, "0:00:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (5000, "5,000"), (20_000, "20k"), (-20_000, "−20k"), (1.5e6, "1.5M"), (2e9, "2B")],
)
def test_thousands(value: float, text: str) -> None:
    assert thousands(value) == text


def test_the_remaining_time_follows_the_last_iterations() -> None:
    pace = Pace(total_timesteps=10_000, window=3)
    assert pace.remaining() is None
    for step, elapsed in [(1000, 500.0), (2000, 501.0), (3000, 502.0), (4000, 504.0)]:
        pace.add({"step": step, "time/elapsed": elapsed})
    # the last three rows: 2,000 steps in 3 s; 6,000 are left
    assert pace.remaining() == pytest.approx(9.0)


# Selection and documentation


@pytest.mark.parametrize(
    ("logger", "terminal", "names"),
    [
        (["csv", "tensorboard"], True, ["LiveDisplay", "PlainLines", "CsvLogger", "TensorBoardLogger", "CurvesLogger"]),
        (["csv"], False, ["PlainLines", "CsvLogger", "CurvesLogger"]),
        (["tensorboard"], False, ["PlainLines", "TensorBoardLogger", "CurvesLogger"]),
        ([], False, ["PlainLines", "CurvesLogger"]),
    ],
)
def test_make_loggers(tmp_path: Path, logger: list[str], terminal: bool, names: list[str]) -> None:
    loggers = make_loggers(TrainConfig(logger=logger), tmp_path, terminal)
    assert [type(item).__name__ for item in loggers] == names


def test_every_metric_is_explained_in_the_documentation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    first_table = page.split("| metric |")[1].split("\n\n")[0].splitlines()[2:]
    documented = [[cell.strip() for cell in line.strip("|").split("|")] for line in first_table]
    assert documented == [[f"`{metric.name}`", metric.meaning, metric.healthy] for metric in METRICS]
