"""Runs of other programs in a report, from the files that they leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import BUDGET, make_run
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from ppo_cli.errors import ConfigError
from ppo_cli.report.build import build
from ppo_cli.report.model import Report, Section
from ppo_cli.report.options import ReportConfig

STEPS = [250, 500, 750, 1000]


def report(*words: Path, **told: object) -> Report:
    return build([str(word) for word in words], ReportConfig(**told), "ppo-report …")


def only(*words: Path, **told: object) -> Section:
    (section,) = report(*words, **told).sections
    return section


def progress(folder: Path, score: float, column: str = "rollout/ep_rew_mean") -> Path:
    """What Stable-Baselines3's csv logger leaves: rows of a rollout, and others of an evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"time/time_elapsed,{column},time/total_timesteps,train/entropy_loss,eval/mean_reward"]
    for step in STEPS:
        lines += [f"{step // 100},{score * step / 1000},{step},-0.5,", f",,{step},,{score * step / 1000 + 1}"]
    (folder / "progress.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def monitor(path: Path, rewards: list[float], length: int, env: str | None = "CartPole-v1", start: float = 0.0) -> None:
    """What its Monitor leaves: a line an episode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "#" + json.dumps({"t_start": start, "env_id": env}) + "\nr,l,t\n"
    rows = "".join(f"{reward},{length},{number + 1}\n" for number, reward in enumerate(rewards))
    path.write_text(head + rows, encoding="utf-8")


def events(folder: Path, tags: dict[str, list[float]]) -> Path:
    """An event file."""
    folder.mkdir(parents=True)
    writer = EventFileWriter(str(folder))
    for tag, values in tags.items():
        for step, value in zip(STEPS, values, strict=True):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=1e9 + step / 10, step=step, summary=summary))
    writer.close()
    return folder


class TestPrograms:
    """Each program's files."""

    def test_ours_against_stable_baselines3_in_one_command(self, tmp_path: Path) -> None:
        for seed in range(5):
            make_run(tmp_path / "ours" / str(seed), 100.0 + seed, seed)
            folder = progress(tmp_path / "sb3" / f"seed_{seed}", 50.0 + seed)
            monitor(folder / "0.monitor.csv", [1.0] * 4, 250)
        section = only(tmp_path / "ours", tmp_path / "sb3")
        assert section.metric == "eval/episode_return_mean"
        assert [(group.name, group.mean) for group in section.groups] == [
            ("program=ppo-cli", 102.0),
            ("program=Stable-Baselines3", 53.0),
        ]
        assert [seed.seed for seed in section.groups[1].seeds] == [0, 1, 2, 3, 4]
        assert section.pairs[0].verdict == "better"
        assert "5 runs of other programs" in section.notes[0]

    def test_entropy_is_turned_round(self, tmp_path: Path) -> None:
        progress(tmp_path / "CartPole-v1_1", 10.0)
        assert only(tmp_path).groups[0].diagnostics["train/entropy"].middle == pytest.approx([0.5] * 4)

    def test_monitors_of_several_environments(self, tmp_path: Path) -> None:
        monitor(tmp_path / "run" / "0.monitor.csv", [1.0, 3.0], 100, start=10.0)
        monitor(tmp_path / "run" / "1.monitor.csv", [5.0, 7.0], 100, start=10.5)
        (seed,) = only(tmp_path, metric="rollout/episode_return_mean").groups[0].seeds
        assert seed.steps == (100.0, 200.0, 300.0, 400.0)
        assert seed.values == (1.0, 3.0, 3.0, 4.0)  # episodes in the order they ended in: 1, 5, 3, 7
        assert seed.seconds == (0.0, 0.5, 1.0, 1.5)

    def test_training_returns_are_of_the_last_hundred_episodes(self, tmp_path: Path) -> None:
        monitor(tmp_path / "run" / "monitor.csv", [0.0] * 100 + [1.0] * 100, 10)
        (seed,) = only(tmp_path, metric="rollout/episode_return_mean", last=0).groups[0].seeds
        assert (seed.final, seed.values[149]) == (1.0, 0.5)

    def test_evaluations_of_rl_zoo(self, tmp_path: Path) -> None:
        folder = tmp_path / "logs" / "ppo" / "CartPole-v1_3"
        monitor(folder / "0.monitor.csv", [1.0] * 10, 100)
        np.savez(folder / "evaluations.npz", timesteps=[500, 1000], results=[[1.0, 3.0], [5.0, 7.0]])
        (folder / "CartPole-v1").mkdir()
        (folder / "CartPole-v1" / "args.yml").write_text("!!python/object:os.system\n", encoding="utf-8")
        found = report(tmp_path)
        (group,) = found.sections[0].groups
        assert (group.mean, group.seeds[0].seed, found.left_out) == (6.0, 3, ())

    def test_cleanrl(self, tmp_path: Path) -> None:
        tags = {"charts/episodic_return": [0.0, 2.0, 4.0, 6.0], "losses/approx_kl": [0.1] * 4}
        for seed in range(2):
            events(tmp_path / "runs" / f"CartPole-v1__ppo_fast__{seed}__1700000000", tags)
        section = only(tmp_path)
        (group,) = section.groups
        assert (section.env, section.metric) == ("CartPole-v1", "rollout/episode_return_mean")
        assert [seed.seed for seed in group.seeds] == [0, 1]
        assert group.seeds[0].values == (0.0, 1.0, 2.0, 3.0)  # the mean of all episodes so far
        assert group.seeds[0].seconds == pytest.approx((0.0, 25.0, 50.0, 75.0))
        assert "train/approx_kl" in group.diagnostics

    @pytest.mark.parametrize("tag", ["test/returns_stat/mean", "test/reward", "eval/mean_reward"])
    def test_evaluations_in_tensorboard(self, tmp_path: Path, tag: str) -> None:
        events(tmp_path / "PPO_1", {tag: [1.0, 2.0, 3.0, 4.0]})
        section = only(tmp_path, env="CartPole-v1")
        assert (section.metric, section.groups[0].mean) == ("eval/episode_return_mean", 4.0)

    def test_a_plain_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "Pendulum-v1_2.csv"
        path.write_text("step,return,note\n500,1,a\n1000,2,b\n", encoding="utf-8")
        section = only(path)
        assert (section.env, section.groups[0].mean, section.groups[0].seeds[0].seed) == ("Pendulum-v1", 2.0, 2)
        path.write_text("step,loss\n500,1\n1000,5\n", encoding="utf-8")
        assert only(path, metric="loss").groups[0].mean == 5.0


class TestRefused:
    """What cannot be told or compared."""

    def test_an_environment_that_nobody_says(self, tmp_path: Path) -> None:
        progress(tmp_path / "run", 1.0)
        with pytest.raises(ConfigError, match="does not say its environment; env=<id> says it"):
            report(tmp_path)
        assert only(tmp_path, env="CartPole-v1").groups[0].mean == 2.0

    def test_another_length(self, tmp_path: Path) -> None:
        progress(tmp_path / "CartPole-v1_1", 1.0)
        make_run(tmp_path / "ours", budget=2 * BUDGET)
        with pytest.raises(ConfigError, match=r"end at 1,000 to 2,000 steps.*anyway=\[budget\]"):
            report(tmp_path)
        assert len(only(tmp_path, anyway=["budget"]).groups) == 2

    def test_no_returns(self, tmp_path: Path) -> None:
        progress(tmp_path / "CartPole-v1_1", 1.0)
        events(tmp_path / "b", {"loss": [1.0] * 4})
        (left,) = report(tmp_path).left_out
        assert left.reason == "has no returns under a known name; there are loss"

    @pytest.mark.parametrize("name", ["progress.csv", "0.monitor.csv", "evaluations.npz", "events.out.tfevents.1"])
    @given(junk=st.binary(max_size=200))
    @settings(max_examples=40, deadline=None)
    def test_never_a_traceback(self, tmp_path_factory: pytest.TempPathFactory, name: str, junk: bytes) -> None:
        base = tmp_path_factory.mktemp("runs")
        progress(base / "CartPole-v1_1", 1.0)
        (base / "bad").mkdir()
        (base / "bad" / name).write_bytes(junk)
        (left,) = report(base).left_out
        assert (left.folder.name, left.state in ("broken", "foreign")) == ("bad", True)

    @pytest.mark.parametrize(
        "content",
        [
            "#[1]\nr,l,t\n1,2,3\n",
            '#{"t_start": null}\nr,l,t\n1,2,3\n',
            "#{}\nr,l,t\n1,nan,3\n",
            "#{}\nr,l,t\n1,inf,3\n",
        ],
    )
    def test_monitors_that_hold_something_else(self, tmp_path: Path, content: str) -> None:
        progress(tmp_path / "CartPole-v1_1", 1.0)
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "0.monitor.csv").write_text(content, encoding="utf-8")
        (left,) = report(tmp_path).left_out
        assert (left.folder.name, left.state in ("broken", "foreign")) == ("bad", True)

    @pytest.mark.parametrize("line", ["#[1]", "#{"])
    def test_a_monitor_whose_first_line_is_damaged(self, tmp_path: Path, line: str) -> None:
        progress(tmp_path / "CartPole-v1_1", 1.0)
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "monitor.csv").write_text(f"{line}\nr,l,t\n1,2,3\n")
        (left,) = report(tmp_path, env="CartPole-v1").left_out
        assert "the first line of monitor.csv is no JSON object" in left.reason

    @pytest.mark.parametrize("line", ["#{}\n", ""])
    def test_a_monitor_that_says_nothing_of_itself(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "monitor.csv").write_text(f"{line}r,l,t\n1,2,3\n7,2,4\n")
        assert only(tmp_path, env="CartPole-v1").groups[0].seeds[0].score == 4.0

    def test_a_run_that_diverged_is_not_scored_by_what_it_was_before(self, tmp_path: Path) -> None:
        for name, last in (("CartPole-v1_1", 7.0), ("CartPole-v1_2", np.nan)):
            (tmp_path / name).mkdir()
            returns = [[1.0, 3.0], [5.0, last]]
            np.savez(tmp_path / name / "evaluations.npz", timesteps=[500, 1000], results=returns)
        found = report(tmp_path)
        assert [seed.seed for group in found.sections[0].groups for seed in group.seeds] == [1]
        (left,) = found.left_out
        assert left.folder.name == "CartPole-v1_2"

    def test_evaluations_at_no_step(self, tmp_path: Path) -> None:
        progress(tmp_path / "CartPole-v1_1", 1.0)
        (tmp_path / "CartPole-v1_2").mkdir()
        np.savez(tmp_path / "CartPole-v1_2" / "evaluations.npz", timesteps=[np.inf, np.nan], results=[[1.0], [2.0]])
        (left,) = report(tmp_path).left_out
        assert left.folder.name == "CartPole-v1_2"

    @pytest.mark.parametrize("name", ["progress.csv", "0.monitor.csv", "evaluations.npz"])
    @given(place=st.floats(0, 1), length=st.integers(0, 30), junk=st.binary(max_size=10))
    @settings(max_examples=60, deadline=None)
    def test_nor_from_damaged_files(
        self, tmp_path_factory: pytest.TempPathFactory, name: str, place: float, length: int, junk: bytes
    ) -> None:
        base = tmp_path_factory.mktemp("runs")
        make_run(base / "good")
        bad = base / "CartPole-v1_2"
        if name == "progress.csv":
            progress(bad, 3.0)
        elif name == "0.monitor.csv":
            monitor(bad / name, [1.0] * 10, 100)
        else:
            bad.mkdir()
            np.savez(bad / name, timesteps=[500, 1000], results=[[1.0, 3.0], [5.0, 7.0]])
        content = (bad / name).read_bytes()
        start = int(place * len(content))
        (bad / name).write_bytes(content[:start] + junk + content[start + length :])
        found = report(base, anyway=["budget"])
        used = sum(len(group.seeds) for section in found.sections for group in section.groups)
        assert used + len(found.left_out) == 2
