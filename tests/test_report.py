"""``ppo-report``: what is compared, what is refused and left out, what is said, and what is written."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from console import run_here
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_folders import BUDGET, make_run, make_sweep, write_rows

from ppo_cli.cli import report as command
from ppo_cli.errors import ConfigError
from ppo_cli.report.build import build
from ppo_cli.report.catalogue import catalogue
from ppo_cli.report.files import as_csv, as_json, write
from ppo_cli.report.markdown import as_markdown
from ppo_cli.report.model import Report, Section
from ppo_cli.report.options import ReportConfig, RunsConfig
from ppo_cli.report.table import render
from ppo_cli.runs.lock import locked

GOOD, BAD = [100.0, 102, 104, 106, 108], [50.0, 52, 54, 56, 58]


def report(*words: Path | str, **told: object) -> Report:
    return build([str(word) for word in words], ReportConfig(**told), "ppo-report …")


def only(*words: Path | str, **told: object) -> Section:
    (section,) = report(*words, **told).sections
    return section


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run the command; its exit status, and what it printed, each on one line."""
    answered = run_here(monkeypatch, capsys, command.main, "ppo-report", *words)
    return answered.code, " ".join(answered.out.split()), answered.words


class TestGroups:
    """Which runs stand together."""

    def test_runs_are_grouped_by_all_that_differs_but_the_seed(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD}))
        assert [(group.name, group.mean, len(group.seeds)) for group in section.groups] == [
            ("lr=0.001", 104.0, 5),
            ("lr=0.0001", 54.0, 5),
        ]
        assert section.differing == {"lr": ("0.001", "0.0001")}
        assert section.groups[0].worst.seed == 0
        assert section.groups[0].std == pytest.approx(np.std(GOOD, ddof=1))

    def test_what_does_not_change_learning_splits_nothing(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", seed=0, threads=1, device="cpu", compile=True, output_dir="x", logger=["csv"])
        shown = {"wandb__project": "here", "mlflow__tags": {"team": "red"}, "vector_backend": "sync"}
        make_run(tmp_path / "b", seed=1, threads=2, device="cuda", compile=False, output_dir="y", **shown)
        section = only(tmp_path)
        assert [len(group.seeds) for group in section.groups] == [2]
        assert "threads" in " ".join(section.notes)

    def test_nested_settings_and_arguments(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", network__hidden_sizes=[64], env__kwargs={"size": 5})
        make_run(tmp_path / "b", network__hidden_sizes=[64, 64], env__kwargs={"size": 5})
        assert {group.name for group in only(tmp_path).groups} == {"hidden_sizes=[64]", "hidden_sizes=[64,64]"}

    def test_by_pools_the_rest_and_says_so(self, tmp_path: Path) -> None:
        for number, (lr, epochs) in enumerate([(1e-3, 1), (1e-3, 2), (1e-4, 1), (1e-4, 2)]):
            make_run(tmp_path / str(number), lr=lr, epochs=epochs)
        section = only(tmp_path, by=["lr"])
        assert [len(group.seeds) for group in section.groups] == [2, 2]
        assert "pool runs that differ in epochs" in " ".join(section.notes)
        assert section.pooled == {"epochs": ("1", "2")}

    def test_by_what_is_the_same_in_all_runs(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD}), by=["batch_size"])
        assert section.sentences[1] == "There is nothing to compare it with: its runs do not differ in batch_size."
        assert "pool runs that differ in lr" in " ".join(section.notes)

    @pytest.mark.parametrize(
        ("by", "said"),
        [("lrr", "by=lr"), ("seed", "nothing to average"), ("env", "section of its own"), ("memory", "is no setting")],
    )
    def test_by_what_is_no_setting(self, tmp_path: Path, by: str, said: str) -> None:
        make_run(tmp_path / "a")
        if by == "memory":  # the old name of a nested setting, whose last part alone is unknown
            by = "memorys"
        with pytest.raises(ConfigError, match=said):
            report(tmp_path, by=[by])

    def test_last_parts_and_old_names_will_do(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", network__recurrent_size=8)
        make_run(tmp_path / "b", network__recurrent_size=16)
        assert len(only(tmp_path, by=["recurrent_size"]).groups) == 2
        assert len(only(tmp_path, by=["network.memory_size"]).groups) == 2

    def test_a_repeat_is_no_further_seed(self, tmp_path: Path) -> None:
        for name, score in (("a", 1.0), ("b", 2.0)):
            make_run(tmp_path / name, score, seed=0, facts={"started": f"2026-01-0{1 + (name == 'b')}T00:00:00"})
        found = report(tmp_path)
        assert [seed.score for seed in found.sections[0].groups[0].seeds] == [2.0]
        assert [(one.folder.name, one.state) for one in found.left_out] == [("a", "repeated")]

    def test_each_environment_has_a_section(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", env="CartPole-v1")
        make_run(tmp_path / "b", env="Acrobot-v1")
        assert [section.env for section in report(tmp_path).sections] == ["CartPole-v1", "Acrobot-v1"]

    def test_a_run_of_an_earlier_version(self) -> None:
        data = Path(__file__).parent / "data" / "runs_5588246"
        with pytest.raises(ConfigError, match="was interrupted at step 320 of 448"):
            report(data / "cartpole")


class TestRefused:
    """What is not compared."""

    @pytest.mark.parametrize(
        ("kind", "changed"),
        [
            ("budget", {"budget": 2000}),
            ("budget", {"target_return": 50}),
            ("evaluation", {"eval_episodes": 3}),
            ("evaluation", {"eval_deterministic": False}),
            ("env", {"env__kwargs": {"size": 3}}),
            ("env", {"env__max_episode_steps": 10}),
            ("env", {"env__wrappers": ["x:Y"]}),
        ],
    )
    def test_what_is_not_comparable_unless_told(self, tmp_path: Path, kind: str, changed: dict[str, object]) -> None:
        make_run(tmp_path / "a", 1.0)
        make_run(tmp_path / "b", 2.0, seed=1, **changed)
        with pytest.raises(ConfigError, match=rf"anyway=\[{kind}\]"):
            report(tmp_path)
        section = only(tmp_path, anyway=[kind])
        assert sum(len(group.seeds) for group in section.groups) == 2
        assert f"in spite of differences in {kind}" in " ".join(section.notes)

    def test_naming_the_difference_is_telling(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a")
        make_run(tmp_path / "b", budget=2000)
        assert {group.name for group in only(tmp_path, by=["total_timesteps"]).groups} == {
            "total_timesteps=1000",
            "total_timesteps=2000",
        }

    def test_evaluations_do_not_matter_to_training_returns(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a")
        make_run(tmp_path / "b", seed=1, eval_episodes=3)
        assert len(only(tmp_path, metric="rollout/episode_return_mean").groups[0].seeds) == 2

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"there is no .*nowhere"):
            report(tmp_path / "nowhere")
        with pytest.raises(ConfigError, match="nothing matches"):
            report(f"{tmp_path}/*/none*")
        with pytest.raises(ConfigError, match="holds no run"):
            report(tmp_path)


class TestScores:
    """What a run comes to."""

    def test_final_is_the_mean_over_the_end(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", curve=[0.0] * 17 + [10.0, 20.0, 30.0])
        for last, score in ((0.1, 25.0), (0.0, 30.0), (0.15, 20.0), (1.0, 3.0)):
            assert only(tmp_path, last=last).groups[0].mean == pytest.approx(score)

    def test_area(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", curve=[0.0, 10.0, 20.0])
        section = only(tmp_path, score="area")
        assert (section.area_from, section.area_to) == (333.0, 1000.0)
        assert section.groups[0].mean == pytest.approx(10.0, abs=0.01)

    def test_one_evaluation_a_run_has_no_area(self, tmp_path: Path) -> None:
        for seed, step in enumerate((900, 1000)):
            make_run(tmp_path / str(seed), 10.0, seed, rows=1, step=step)
        found = report(tmp_path)
        (section,) = found.sections
        assert (section.area_from, section.area_to, section.groups[0].area) == (None, None, None)
        assert "Areas are left out" in " ".join(section.notes)
        assert "Area:" not in as_markdown(found)
        assert as_csv(found).splitlines()[1].split(",")[5] == ""
        with pytest.raises(ConfigError, match="score=final"):
            report(tmp_path, score="area")

    def test_threshold(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", seed=0, curve=[1.0, 5.0, 3.0, 6.0])
        make_run(tmp_path / "b", seed=1, curve=[1.0, 2.0, 3.0, 4.0])
        group = only(tmp_path, threshold=5).groups[0]
        assert (group.reached, group.steps_to_threshold) == (1, None)
        assert [(seed.steps_to_threshold, seed.seconds_to_threshold) for seed in group.seeds] == [
            (500.0, 1.0),
            (None, None),
        ]

    def test_runs_without_evaluations_are_compared_by_training(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", 10.0)
        make_run(tmp_path / "b", 20.0, seed=1, evaluated=False)
        section = only(tmp_path)
        assert section.metric == "rollout/episode_return_mean"
        assert section.groups[0].mean == 14.0
        assert "1 of 2 runs have no evaluations" in section.notes[0]

    def test_one_that_stopped_at_its_target_keeps_what_it_reached(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", step=500, curve=[0.0, 10.0], target_return=10)
        make_run(tmp_path / "b", seed=1, curve=[0.0, 0.0, 0.0, 0.0], target_return=10)
        section = only(tmp_path, score="area")
        assert section.area_to == BUDGET
        assert section.groups[0].seeds[0].area == pytest.approx((0.5 * 10 * 250 + 10 * 500) / 750)
        assert "1 run stopped at target_return" in " ".join(section.notes)

    def test_curves_go_as_far_as_all_runs_do(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", 10.0)
        make_run(tmp_path / "b", 10.0, seed=1)
        write_rows(tmp_path / "b", [2.0, 4.0, 6.0], 300)
        curve = only(tmp_path).groups[0].curve
        assert (curve.at[0], curve.at[-1]) == (100.0, 300.0)
        assert curve.middle == pytest.approx([1.5, 3.0, 4.5])
        assert all(low <= middle <= high for low, middle, high in zip(curve.low, curve.middle, curve.high, strict=True))


class TestVerdict:
    """What is said of groups."""

    def test_a_winner(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD}))
        assert section.sentences[0] == "lr=0.001 wins: it is better than lr=0.0001, by the test."
        assert "better than lr=0.0001 by 50.0" in section.sentences[1]
        assert "5 against 5 seeds; p = 0.008: exact permutation test 0.008" in section.sentences[1]
        (pair,) = section.pairs
        assert (pair.verdict, pair.p, pair.splits, pair.improvement) == ("better", 2 / 252, 252, 1.0)

    def test_too_few_seeds(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: GOOD[:3], 1e-4: BAD[:3]}))
        assert section.pairs[0].verdict == "too few seeds"
        assert "p cannot be less than 0.10" in section.sentences[0]
        assert "at least 4 seeds of every group" in section.sentences[0]
        assert "No winner" in section.sentences[1]

    def test_undecided_with_a_forecast(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: [1.0, 2, 3, 4, 5], 1e-4: [2.0, 3, 4, 5, 6.5]}))
        (pair,) = section.pairs
        assert pair.verdict == "undecided"
        assert pair.needed is not None
        assert f"{pair.needed.likely} seeds each" in " ".join(section.sentences)

    def test_one_group_and_one_seed(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a")
        section = only(tmp_path)
        assert "one seed, which says nothing about others" in section.sentences[0]
        assert section.groups[0].mean_interval is None
        assert section.pairs == ()

    def test_one_seed_a_group(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: [2.0], 1e-4: [1.0]}))
        assert section.pairs[0].verdict == "too few seeds"
        assert "1 seed a group" in section.sentences[0]

    def test_all_scores_the_same(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: [500.0] * 5, 1e-4: [500.0] * 5}))
        assert section.pairs[0].verdict == "undecided"
        assert section.pairs[0].p == 1.0

    def test_corrected_for_all_pairs(self, tmp_path: Path) -> None:
        section = only(make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD, 1e-5: [1.0, 2, 3, 4, 5]}))
        assert [pair.p_adjusted for pair in section.pairs] == pytest.approx([6 / 252] * 3)
        assert "corrected for 3 pairs" in " ".join(section.sentences)

    def test_lost_runs_are_told(self, tmp_path: Path) -> None:
        make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD})
        make_run(tmp_path / "sweep" / "dead", seed=9, lr=1e-4, status="failed")
        section = only(tmp_path)
        assert section.groups[1].lost == {"failed": 1}
        assert "lr=0.0001: 1 of 6 runs is not counted (1 failed)." in section.sentences

    def test_unlike_spreads_are_warned_of(self, tmp_path: Path) -> None:
        section = only(
            make_sweep(tmp_path / "sweep", {1e-3: [200.0, 160, 250, 180, 220], 1e-4: [50.0, 51, 52, 50, 51]})
        )
        assert "spread far wider" in section.sentences[1]


class TestGate:
    """New runs held against old ones."""

    def sides(self, tmp_path: Path, new: list[float], old: list[float]) -> tuple[Path, Path]:
        return make_sweep(tmp_path / "new", {1e-3: new}), make_sweep(tmp_path / "old", {1e-3: old})

    @pytest.mark.parametrize(
        ("new", "old", "told", "code"),
        [
            (BAD, GOOD, [], 3),
            (GOOD, BAD, [], 0),
            (GOOD, GOOD, [], 0),
            (BAD, GOOD, ["margin=30"], 3),
            (BAD, GOOD, ["margin=60"], 0),
            (BAD[:3], GOOD[:3], [], 3),  # one-sided, 1 of 20 splits
        ],
    )
    def test_exit_status(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        new: list[float],
        old: list[float],
        told: list[str],
        code: int,
    ) -> None:
        here, there = self.sides(tmp_path, new, old)
        words = [here, f"against={there}", "fail_if=worse", "output=null", *told]
        status, out, _ = run(monkeypatch, capsys, *words)
        assert status == code
        assert ("Gate: the new runs are worse" in out) == (code == 3)

    def test_what_a_two_sided_test_cannot_decide_does_not_gainsay_the_gate(self, tmp_path: Path) -> None:
        new, old = self.sides(tmp_path, BAD[:3], GOOD[:3])
        gate, *beside = only(new, against=[str(old)], fail_if="worse").sentences
        assert gate.startswith("Gate: the new runs are worse (one-sided p = 0.05")
        assert beside[0] == "Two-sided, beside the gate: 1 comparison of new runs with old ones, none decided."
        assert beside[1].startswith("Too few seeds for a two-sided test: new against old")
        assert "Nothing can be decided" in " ".join(only(new, against=[str(old)]).sentences)

    def test_the_tool_expands_patterns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.sides(tmp_path, BAD, GOOD)
        monkeypatch.chdir(tmp_path)
        assert run(monkeypatch, capsys, "new/*", "against=old/*", "fail_if=worse", "output=null")[0] == 3

    def test_a_gate_that_could_never_shut(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        here, there = self.sides(tmp_path, BAD[:2], GOOD[:2])
        code, _, err = run(monkeypatch, capsys, here, f"against={there}", "fail_if=worse", "output=null")
        assert code == 2
        assert "could never fail: 2 new against 2 old seeds" in err
        assert "3 or more seeds" in err

    def test_the_same_settings_are_held_against_each_other(self, tmp_path: Path) -> None:
        new = make_sweep(tmp_path / "new", {1e-3: GOOD, 1e-4: BAD})
        old = make_sweep(tmp_path / "old", {1e-3: GOOD, 1e-4: GOOD})
        section = only(new, against=[str(old)], fail_if="worse")
        assert {gate.name: gate.worse for gate in section.gates} == {"lr=0.001": False, "lr=0.0001": True}
        assert len(section.pairs) == 2

    def test_what_differs_between_the_sides_alone_is_no_group(self, tmp_path: Path) -> None:
        new = make_sweep(tmp_path / "new", {1e-3: GOOD}, gamma=0.9)
        old = make_sweep(tmp_path / "old", {1e-3: BAD})
        section = only(new, against=[str(old)], fail_if="worse")
        assert [group.name for group in section.groups] == ["new", "old"]
        assert section.pooled["gamma"] == ("0.9", "0.99")

    def test_a_run_on_both_sides(self, tmp_path: Path) -> None:
        new = make_sweep(tmp_path / "new", {1e-3: GOOD})
        with pytest.raises(ConfigError, match="among the new runs and among those of against="):
            report(new, against=[str(tmp_path)])

    def test_one_side_is_empty(self, tmp_path: Path) -> None:
        new, old = make_sweep(tmp_path / "new", {1e-3: GOOD}), make_run(tmp_path / "old", status="failed")
        with pytest.raises(ConfigError, match="there is no old run of CartPole-v1"):
            report(new, against=[str(old)], fail_if="worse")


def damage(folder: Path, kind: str) -> None:
    """Break a run's folder in one of the ways that are seen."""
    record, rows = folder / "summary.json", folder / "metrics.csv"
    text = record.read_text(encoding="utf-8")
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    {
        "no record": lambda: (record.unlink(), (folder / "checkpoints" / "last.pt").touch()),
        "cut record": lambda: record.write_text(text[: len(text) // 2], encoding="utf-8"),
        "empty record": lambda: record.write_bytes(b""),
        "binary record": lambda: record.write_bytes(b"\xff\xfe\x00" + text.encode("utf-16")),
        "list": lambda: record.write_text("[1, 2]", encoding="utf-8"),
        "deep": lambda: record.write_text('{"a":' + "[" * 50_000, encoding="utf-8"),
        "no settings": lambda: record.write_text('{"status": "finished", "seed": 1, "env": "x"}', encoding="utf-8"),
        "a folder": lambda: (record.unlink(), record.mkdir()),
        "no rows": rows.unlink,
        "empty rows": lambda: rows.write_bytes(b""),
        "only a head": lambda: rows.write_text(lines[0], encoding="utf-8"),
        "binary rows": lambda: rows.write_bytes(b"\x00\xff" * 100),
        "other columns": lambda: rows.write_text("a,b\n1,2\n", encoding="utf-8"),
        "no metric": lambda: rows.write_text("step,x\n1,2\n", encoding="utf-8"),
        "all is NaN": lambda: write_rows(folder, [float("nan")] * 5, BUDGET),
        "ends in NaN": lambda: write_rows(folder, [1.0, 2.0, float("nan")], BUDGET),
        "infinite": lambda: write_rows(folder, [1.0, float("inf")], BUDGET),
    }[kind]()


KINDS = (
    "no record", "cut record", "empty record", "binary record", "list", "deep", "no settings", "a folder", "no rows",
    "empty rows", "only a head", "binary rows", "other columns", "no metric", "all is NaN", "ends in NaN", "infinite",
)  # fmt: skip


class TestLeftOut:
    """Folders that cannot be compared."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_damaged_run_is_told_and_the_rest_compared(self, tmp_path: Path, kind: str) -> None:
        make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD})
        damage(make_run(tmp_path / "sweep" / "bad", seed=9, lr=1e-3), kind)
        found = report(tmp_path)
        (left,) = found.left_out
        assert (left.folder.name, left.state) == ("bad", "broken")
        assert len(left.reason) > 10
        assert [len(group.seeds) for group in found.sections[0].groups] == [5, 5]

    @pytest.mark.parametrize(
        ("status", "state", "reason"),
        [
            ("failed", "failed", "failed at step 400 of 1,000"),
            ("interrupted", "interrupted", "was interrupted at step 400"),
            ("running", "interrupted", "was interrupted at step 400"),
            ("pruned", "pruned", "was pruned"),
            ("odd", "broken", "'odd'"),
        ],
    )
    def test_runs_that_did_not_finish(self, tmp_path: Path, status: str, state: str, reason: str) -> None:
        make_run(tmp_path / "good")
        make_run(tmp_path / "bad", seed=1, status=status, step=400)
        (left,) = report(tmp_path).left_out
        assert (left.folder.name, left.state) == ("bad", state)
        assert reason in left.reason

    def test_a_run_that_is_still_on(self, tmp_path: Path) -> None:
        make_run(tmp_path / "good")
        on = make_run(tmp_path / "on", seed=1, status="running", step=400)
        with locked(on):
            (left,) = report(tmp_path).left_out
        assert (left.state, left.reason) == ("running", "is still running, at step 400 of 1,000")

    def test_why_a_job_died(self, tmp_path: Path) -> None:
        make_run(tmp_path / "good")
        bad = make_run(tmp_path / "bad", seed=1, status="failed")
        (bad / "attempts.json").write_text(json.dumps({"attempts": [{"reason": "killed by SIGKILL"}]}))
        assert "killed by SIGKILL" in report(tmp_path).left_out[0].reason

    @pytest.mark.parametrize("begun", [True, False])
    def test_a_job_that_died_without_a_word_has_failed(self, tmp_path: Path, begun: bool) -> None:
        make_run(tmp_path / "good")
        bad = tmp_path / "bad"
        if begun:
            make_run(bad, seed=1, status="running")
        else:
            (bad / "checkpoints").mkdir(parents=True)
            (bad / "job.json").write_text("{}")
        last = {"state": "failed", "reason": "killed by SIGKILL"}
        (bad / "attempts.json").write_text(json.dumps({"attempts": [last]}))
        (left,) = report(tmp_path).left_out
        assert left.state == "failed"
        assert "killed by SIGKILL" in left.reason
        (entry,) = catalogue([str(tmp_path)], RunsConfig(state="failed"))
        assert (entry.folder.name, "killed by SIGKILL" in str(entry.reason)) == ("bad", True)

    def test_jobs_that_have_not_begun_and_foreign_folders(self, tmp_path: Path) -> None:
        make_run(tmp_path / "good")
        (tmp_path / "claimed" / "checkpoints").mkdir(parents=True)
        for folder, name in (("waiting", "job.json"), ("photos", "cat.jpg"), ("csv", "metrics.csv")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / name).write_text("x", encoding="utf-8")
        assert {one.folder.name: one.state for one in report(tmp_path).left_out} == {
            "waiting": "waiting",
            "claimed": "waiting",
            "photos": "foreign",
            "csv": "foreign",
        }

    def test_links_are_followed_and_do_not_lead_round(self, tmp_path: Path) -> None:
        make_run(tmp_path / "real" / "a")
        make_run(tmp_path / "real" / "b", seed=1)
        (tmp_path / "chosen").mkdir()
        (tmp_path / "chosen" / "a").symlink_to(tmp_path / "real" / "a")
        (tmp_path / "chosen" / "round").symlink_to(tmp_path)
        (tmp_path / "chosen" / "gone").symlink_to(tmp_path / "nowhere")
        assert len(only(tmp_path / "chosen" / "a").groups[0].seeds) == 1
        assert len(only(tmp_path / "chosen").groups[0].seeds) == 1
        assert len(only(tmp_path).groups[0].seeds) == 2

    def test_folders_that_nobody_lets_us_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_run(tmp_path / "good")
        make_run(tmp_path / "bad", seed=1)
        (tmp_path / "closed").mkdir()
        scandir, read = os.scandir, Path.read_bytes

        def shut(path: Path) -> object:
            if Path(path).name == "closed":
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        def unreadable(path: Path) -> bytes:
            if path.parent.name == "bad":
                raise PermissionError(13, "Permission denied", str(path))
            return read(path)

        monkeypatch.setattr(os, "scandir", shut)
        monkeypatch.setattr(Path, "read_bytes", unreadable)
        assert {one.folder.name: (one.state, one.reason) for one in report(tmp_path).left_out} == {
            "bad": ("broken", "summary.json cannot be read: Permission denied"),
            "closed": ("foreign", "cannot be read: Permission denied"),
        }

    def test_a_folder_whose_name_is_no_text(self, tmp_path: Path) -> None:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
        try:
            make_run(folder)
        except OSError:
            pytest.skip("this file system takes texts only")
        out = tmp_path / "report"
        list(write(report(folder), str(out)))
        assert json.loads((out / "report.json").read_text(encoding="utf-8"))["sections"]

    def test_rows_that_cannot_be_read_and_rows_that_came_twice(self, tmp_path: Path) -> None:
        folder = make_run(tmp_path / "a", curve=[1.0, 2.0, 3.0, 4.0])
        path = folder / "metrics.csv"
        head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text(head + lines[0] + "what,is,this\n" + lines[2] + "".join(lines[1:]) + "5,99", encoding="utf-8")
        found = only(tmp_path)
        assert found.groups[0].seeds[0].values == (1.0, 2.0, 3.0, 4.0)
        assert "1 row of metrics.csv could not be read" in found.notes[0]
        assert "twice or in the wrong place: 1 row of metrics.csv" in found.notes[0]

    @given(
        target=st.sampled_from(["summary.json", "metrics.csv"]),
        place=st.floats(0, 1),
        length=st.integers(0, 40),
        junk=st.binary(max_size=20),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_never_a_traceback(
        self, tmp_path_factory: pytest.TempPathFactory, target: str, place: float, length: int, junk: bytes
    ) -> None:
        """Bytes of a file replaced by others, anywhere: either the run is used, or it is left out with a reason."""
        base = tmp_path_factory.mktemp("runs")
        make_run(base / "good", seed=0)
        path = make_run(base / "bad", seed=1) / target
        content = path.read_bytes()
        start = int(place * len(content))
        path.write_bytes(content[:start] + junk + content[start + length :])
        found = report(base, threshold=50)
        used = sum(len(group.seeds) for section in found.sections for group in section.groups)
        assert used + len(found.left_out) == 2
        assert all(one.reason for one in found.left_out)

    @given(data=st.data())
    @settings(max_examples=200, deadline=None)
    def test_nor_from_odd_values(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        """A value anywhere in a record replaced by another, which JSON can hold."""
        base = tmp_path_factory.mktemp("runs")
        make_run(base / "good", seed=0)
        path = (
            make_run(base / "bad", seed=1, network__hidden_sizes=[8], facts={"resumed": [{"changes": {}}]})
            / "summary.json"
        )
        record = json.loads(path.read_text(encoding="utf-8"))
        place = record
        while True:
            key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        odd = [
            None,
            [],
            {},
            "",
            "x",
            "\ud800",
            -1,
            0,
            10**400,
            float("inf"),
            float("nan"),
            True,
            [[1]],
            {"a": {"b": 1}},
        ]
        place[key] = data.draw(st.sampled_from(odd))
        path.write_text(json.dumps(record), encoding="utf-8")
        found = report(base, threshold=50, anyway=["env", "evaluation", "budget"])
        used = sum(len(group.seeds) for section in found.sections for group in section.groups)
        assert used + len(found.left_out) == 2
        assert all(one.reason for one in found.left_out)
        as_json(found), as_csv(found), as_markdown(found), list(render(found, 80))
        assert len(catalogue([str(base)], RunsConfig())) == 2


class TestFiles:
    """What is written."""

    @pytest.fixture
    def written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
        make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD})
        make_run(tmp_path / "sweep" / "dead", seed=9, lr=1e-4, status="failed")
        monkeypatch.chdir(tmp_path)
        code, out, _ = run(monkeypatch, capsys, "sweep", "threshold=55")
        assert code == 0
        assert "lr=0.001 wins" in out
        assert "left out: 1 failed" in out
        return tmp_path / "report"

    def test_all_are_there(self, written: Path) -> None:
        assert {path.suffix for path in written.iterdir()} >= {".html", ".md", ".csv", ".json", ".png", ".svg"}

    def test_json_holds_everything(self, written: Path) -> None:
        content = json.loads((written / "report.json").read_text(encoding="utf-8"))
        (section,) = content["sections"]
        assert section["groups"][0]["mean"] == 104.0
        assert section["groups"][0]["curve"]["middle"][-1] == 104.0
        assert section["groups"][0]["diagnostics"]["train/approx_kl"]["at"]
        assert section["pairs"][0]["verdict"] == "better"
        assert content["left_out"][0]["state"] == "failed"
        assert content["commands"][0] == ["CartPole-v1", "lr=0.001", "ppo-train env=CartPole-v1 seed=0"]

    def test_csv_has_a_row_a_run(self, written: Path) -> None:
        with (written / "report.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 10
        assert (rows[0]["lr"], rows[0]["seed"], float(rows[0]["final"])) == ("0.001", "0", 100.0)

    def test_markdown(self, written: Path) -> None:
        text = (written / "report.md").read_text(encoding="utf-8")
        assert "**lr=0.001 wins: it is better than lr=0.0001, by the test.**" in text
        widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
        assert min(widths) > 2

    def test_pictures(self, written: Path) -> None:
        assert (written / "report.png").read_bytes().startswith(b"\x89PNG")
        svg = (written / "report.svg").read_text(encoding="utf-8")
        assert "lr=0.001" in svg
        assert "CartPole-v1" in svg

    def test_a_report_replaces_the_one_before(
        self, written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, capsys, "sweep")[0] == 0
        assert (written / "report.md").is_file()

    def test_somebody_elses_report_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_run(tmp_path / "a")
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "report.md").write_text("my thesis", encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        code, _, err = run(monkeypatch, capsys, "a")
        assert code == 2
        assert "report.md of somebody else's" in err
        assert (tmp_path / "report" / "report.md").read_text(encoding="utf-8") == "my thesis"

    def test_names_are_no_markup(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", env="[red]$x_1$</script>|`*", lr=1e-3)
        make_run(tmp_path / "b", env="[red]$x_1$</script>|`*", lr=1e-4, seed=1)
        list(write(report(tmp_path), str(tmp_path / "out")))
        text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
        assert r"## \[red\]$x\_1$\</script\>\|\`\*" in text
        assert "<script" not in (tmp_path / "out" / "report.svg").read_text(encoding="utf-8")


class TestCommand:
    """The command line."""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "no runs were named"),
            (["a", "outptu=x"], "Did you mean output?"),
            (["a", "--jsn"], "is nothing that ppo-report takes"),
            (["a", "level=2"], "level=2.0 must be"),
            (["a", "score=best"], "is none of final, area"),
            (["a", "threshold=high"], "is not a number or null"),
            (["a", "fail_if=worse"], "needs runs to hold the new ones against"),
            (["a", "margin=3"], "has no effect without fail_if="),
            (["a", "output="], "output= is empty"),
            (["a", "by=lr", "by=gamma"], "by= is given twice"),
            (["a", "metric=nope"], "no run here has a value of nope; a has rollout/episode_return_mean, "),
            (["a", "metric=nope"], "metric=auto"),
            (["a", "metric=train/kl"], "metric=train/approx_kl"),
            (["a", "metric=rollout/ep_rew_mean"], "metric=rollout/episode_return_mean"),
            (["a", "by=learning_rate"], "'learning_rate' is called lr here"),
        ],
    )
    def test_what_does_not_fit(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        said: str,
    ) -> None:
        make_run(tmp_path / "a")
        monkeypatch.chdir(tmp_path)
        code, _, err = run(monkeypatch, capsys, *words)
        assert code == 2
        assert said in err
        assert not (tmp_path / "report").exists()

    def test_a_folder_with_an_equals_sign(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_run(tmp_path / "lr=3")
        monkeypatch.chdir(tmp_path)
        assert run(monkeypatch, capsys, "lr=3", "output=null")[0] == 0

    @pytest.mark.parametrize("name", ["report", "runs"])
    def test_help_is_there_at_once(self, name: str) -> None:
        code = f"import sys; sys.argv = ['ppo-{name}', '-h']; from ppo_cli.cli.{name} import main; main(); "
        code += "print('LOADED', *sys.modules)"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        text, _, loaded = said.partition("LOADED")
        assert text.startswith(f"ppo-{name}: ")
        assert not {"torch", "numpy", "hydra", "omegaconf", "gymnasium", "rich", "matplotlib"} & set(loaded.split())

    def test_a_report_needs_neither_torch_nor_hydra(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a")
        code = f"import sys; sys.argv = ['ppo-report', {str(tmp_path / 'a')!r}, 'output={tmp_path / 'out'}']; "
        code += "import atexit; atexit.register(lambda: print('LOADED', *sys.modules)); "
        code += "from ppo_cli.cli.report import main; main()"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert not {"torch", "hydra", "omegaconf", "gymnasium", "tensorboard"} & set(
            said.partition("LOADED")[2].split()
        )


def test_two_hundred_runs_in_seconds(tmp_path: Path) -> None:
    for number in range(200):
        make_run(
            tmp_path / str(number), 100.0 + number % 7 + number // 10, number % 10, rows=300, lr=1 / (1 + number // 10)
        )
    began = time.process_time()
    section = only(tmp_path)
    assert len(section.groups) == 20
    assert time.process_time() - began < 6  # twice what it may take, for machines that are busy


def test_so_many_groups_are_compared_with_the_best_alone(tmp_path: Path) -> None:
    for number in range(45 * 2):
        make_run(tmp_path / str(number), 1000.0 * (number // 2) + number, number % 2, rows=2, lr=1 / (1 + number // 2))
    section = only(tmp_path)
    assert [(pair.first, pair.second) for pair in section.pairs] == [(0, place) for place in range(1, 45)]
    assert "before Holm's correction for 990 pairs" in section.sentences[0]


def test_what_no_terminal_can_show(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a", env="x\u0000\u001b[31m\ud800-v0")
    assert only(tmp_path).env == r"x\x00\x1b[31m\ud800-v0"
    assert folder.is_dir()


def test_records_that_hold_odd_things(tmp_path: Path) -> None:
    facts = {
        "started": 5,
        "wall_time": 10**400,
        "versions": [1],
        "git_commit": {},
        "resumed": 7,
        "problems": "x",
        "command": None,
    }
    make_run(tmp_path / "a", facts=facts)
    make_run(
        tmp_path / "b", seed=1, facts={"started": "0001-01-01T00:00:00+00:00", "resumed": [{"changes": {"lr": 1}}]}
    )
    section = only(tmp_path)
    assert section.groups[0].seeds[0].wall_time is None
    assert "1 run changed settings on the way" in " ".join(section.notes)
    assert "had problems" in " ".join(section.notes)


def test_a_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "a")
    monkeypatch.chdir(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ppo_cli.report.files.write_pictures", full)
    code, out, err = run(monkeypatch, capsys, "a")
    assert code == 1
    assert "CartPole-v1" in out
    assert "output=report cannot be written: No space left on device" in err
