"""Searches: what is drawn, what is given up, what stops and goes on, and what holds at the end."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searching import CONFIG, SPACE, Instant, Stopped, Writes, begin, facts, go_on, straight

from ppo_cli.cli.searches import show_search
from ppo_cli.config import NetworkConfig, TrainConfig
from ppo_cli.errors import CheckpointError, RunError
from ppo_cli.hydra_ext.searches import names
from ppo_cli.hydra_ext.task import SearchRecord
from ppo_cli.modules import modules_to_name
from ppo_cli.runs.lock import locked
from ppo_cli.search import run
from ppo_cli.search.folder import Base, SearchFolder, preset_values
from ppo_cli.search.scores import Medians, by_place
from ppo_cli.search.space import Dimension, fitted
from ppo_cli.search.study import JOURNAL, Study, mend
from ppo_cli.search_config import SearchConfig
from ppo_cli.sweep.engine import Ended
from ppo_cli.sweep.extend import with_settings
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.view import JobView

pytest.importorskip("optuna")
SEARCH = SearchConfig("optuna", trials=8, seeds=2, startup=2, top=2, fresh_seeds=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole") / "search"
    begin(folder, SEARCH)
    with pytest.MonkeyPatch.context() as patch:
        outcome = go_on(folder, Instant(), patch)
    assert outcome.finalists[0].whole
    return facts(folder)


class TestSpace:
    """What is drawn fits."""

    @pytest.mark.parametrize("buffers", [(1024, 2048, 4096), (512,), ()])
    @given(data=st.data())
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_what_divides_divides(self, data: st.DataObject, buffers: tuple[int, ...]) -> None:
        space = [Dimension("batch_size", (32, 64, 512)), Dimension("num_envs", (1, 8, 24))]
        space.append(
            Dimension("buffer_size", buffers) if buffers else Dimension("buffer_size", (), 600, 5000, None, whole=True)
        )
        drawn = {
            one.key: data.draw(st.sampled_from(one.choices) if one.choices else st.integers(600, 5000)) for one in space
        }
        found = fitted(space, drawn, TrainConfig())
        assert found["buffer_size"] % found["batch_size"] == found["buffer_size"] % found["num_envs"] == 0
        for one in space:
            assert one.drawn(found[one.key]) is not None

    def test_what_fits_stays(self) -> None:
        space = [Dimension("batch_size", (64, 96)), Dimension("lr", (), 1e-5, 1e-2)]
        assert fitted(space, {"batch_size": 96, "lr": 0.001}, TrainConfig(buffer_size=960)) == {
            "batch_size": 96,
            "lr": 0.001,
        }
        assert fitted(space, {"batch_size": 96, "lr": 0.001}, TrainConfig())["batch_size"] == 64

    def test_a_sequence_divides_the_batch_where_there_are_sequences(self) -> None:
        space = [Dimension("network.sequence_length", (10, 16))]
        drawn = {"network.sequence_length": 10}
        assert fitted(space, drawn, TrainConfig()) == drawn
        recurrent = TrainConfig(network=NetworkConfig(recurrent="lstm"))
        assert fitted(space, drawn, recurrent) == {"network.sequence_length": 16}

    def test_values_of_ranges(self) -> None:
        whole = Dimension("epochs", (), 2, 10, 2, whole=True)
        assert [whole.drawn(one) for one in (2, 3, 10, 12, True, "4")] == [2, None, 10, None, None, None]
        assert list(whole.nearest(4)) == [4, 2, 6, 8, 10]
        assert Dimension("lr", (), 1e-5, 1e-2, None, log=True).drawn(1e-3) == 1e-3


class TestPruning:
    """The median rule, by hand."""

    def test_a_curve_is_compared_by_its_best_so_far(self) -> None:
        medians = Medians(SearchConfig("optuna", startup=3, warmup=0.2), 10)
        others = [{place: 10.0 * place for place in range(1, 11)}] * 3
        assert medians.below({1: -5.0, 2: 100.0, 3: 0.0}, others) is None  # 1 is within the first fifth; 100 was there
        assert medians.below({2: 20.0, 3: 29.0}, others) == (3, 30.0)
        assert medians.below({10: 0.0}, others) is None  # nothing left to save
        assert medians.below({3: 0.0}, others[:2]) is None  # too few
        assert Medians(SearchConfig("optuna", pruner="none"), 10).below({3: 0.0}, others * 3) is None

    def test_means_are_compared_in_the_direction_of_the_search(self) -> None:
        steps = SearchConfig("optuna", metric="steps", threshold=1.0, startup=3)
        assert Medians(SearchConfig("optuna", startup=3), 10).worse(1.0, [1.0, 2.0, 3.0]) == 2.0
        assert Medians(steps, 10).worse(1.0, [1.0, 2.0, 3.0]) is None
        assert Medians(steps, 10).worse(math.inf, [1.0, 2.0, 3.0]) == 2.0

    def test_places_do_not_depend_on_the_length_of_iterations(self) -> None:
        config = TrainConfig(total_timesteps=1000, eval_every=100)
        assert by_place([(128, 1.0), (256, 2.0), (1024, 9.0)], config) == {1: 1.0, 2: 2.0, 10: 9.0}
        assert by_place([(30, math.nan), (100, 5.0)], config) == {1: 5.0}


class TestGoingOn:
    """A search that was stopped anywhere is the search that was not."""

    def test_it_comes_to_an_end(self, whole: dict[str, Any]) -> None:
        states = [trial["state"] for trial in whole["trials"]]
        assert len(states) == SEARCH.trials
        assert {"finished", "pruned"} == set(states)
        assert [len(one["seeds"]) for one in whole["finals"]] == [3, 3]
        held = [one["held"] for one in whole["finals"]]
        assert held == sorted(held, reverse=True)
        assert whole["best"] == whole["finals"][0]["trial"]

    @pytest.mark.parametrize("after", [0, 3, 11, 29, 50, 77, 95])
    def test_stopped_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any], after: int
    ) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        with pytest.raises(Stopped):
            go_on(folder, Instant(stop_after=after), monkeypatch)
        go_on(folder, Instant(), monkeypatch)
        assert facts(folder) == whole

    def test_stopped_all_the_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        for _ in range(100):
            try:
                go_on(folder, Instant(stop_after=7), monkeypatch)
            except Stopped:
                continue
            break
        assert facts(folder) == whole
        assert len(list(folder.glob("*_trial-*"))) == len({path.name.partition("_")[0] for path in folder.glob("*_*")})

    def test_stopped_at_any_write(self, tmp_path: Path) -> None:
        """Between an ask and its settings, a claim and its job, a run's end and what it means, wherever."""
        search = SearchConfig("optuna", trials=5, seeds=2, startup=2, top=1, fresh_seeds=2)

        def once(folder: Path, stop_after: int | None = None) -> int:
            with pytest.MonkeyPatch.context() as patch:
                writes = Writes(patch, stop_after)
                go_on(folder, Instant(), patch)
            return writes.count

        begin(tmp_path / "whole", search)
        count, whole = once(tmp_path / "whole"), facts(tmp_path / "whole")
        assert {trial["state"] for trial in whole["trials"]} == {"finished", "pruned"}
        for after in [*range(4, count, 16), count - 1]:
            folder = tmp_path / str(after)
            begin(folder, search)
            with pytest.raises(Stopped):
                once(folder, after)
            once(folder)
            assert facts(folder) == whole, after
            jobs = [json.loads((path / "job.json").read_text())["swept"] for path in folder.glob("*_trial-*")]
            assert len({(job["trial"], job["seed"]) for job in jobs}) == len(jobs)
            assert not list(folder.rglob(".*.tmp"))

    def test_a_run_that_its_dead_parent_left_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
    ) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        with pytest.raises(Stopped):
            go_on(folder, Instant(stop_after=5), monkeypatch)
        left = folder / "0_trial-0_seed-0"
        monkeypatch.setattr("ppo_cli.sweep.scheduler.LOOK_AT_OTHERS_EVERY", 0.0)

        class Later(Instant):
            def poll(self, seconds: float) -> Sequence[Ended]:
                holding.close()  # it has saved at last
                return super().poll(seconds)

        with ExitStack() as holding:
            holding.enter_context(locked(left))
            engine = Later()
            go_on(folder, engine, monkeypatch)
        assert engine.started[0] == left.name
        assert facts(folder) == whole

    @pytest.mark.parametrize(("retries", "state"), [(0, "failed"), (1, "finished")])
    def test_stopped_in_another_try(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int, state: str
    ) -> None:
        begin(tmp_path / "search", SearchConfig("optuna", trials=2, seeds=1, top=1, fresh_seeds=1))
        asked = []

        def failing(job: Job) -> str | None:
            asked.extend([job] if job.swept["trial"] else [])
            if len(asked) > 2:  # as the first try failed and said why
                raise Stopped
            return "broke" if asked else None

        with pytest.raises(Stopped):
            go_on(tmp_path / "search", Instant(failing=failing), monkeypatch, retries=1)
        outcome = go_on(tmp_path / "search", Instant(), monkeypatch, retries=retries)
        assert outcome.trials[1].state == state

    def test_the_journal_was_cut_in_a_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
    ) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        with pytest.raises(Stopped):
            go_on(folder, Instant(stop_after=40), monkeypatch)
        with (folder / JOURNAL).open("ab") as file:
            file.write(b'{"op_code":4,"worker_id":"abc","stu')
        go_on(folder, Instant(), monkeypatch)
        assert facts(folder) == whole

    def test_several_at_a_time_lose_none_and_make_none_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        for after in (13, 8, 21, 5):
            with pytest.raises(Stopped):
                go_on(folder, Instant(3, stop_after=after), monkeypatch)
        go_on(folder, Instant(3), monkeypatch)
        trials = facts(folder)["trials"]
        assert [trial["number"] for trial in trials] == list(range(SEARCH.trials))
        assert all(trial["state"] in ("finished", "pruned") for trial in trials)
        runs = [(json.loads((path / "job.json").read_text())["swept"]) for path in folder.glob("*_trial-*")]
        assert len({(run["trial"], run["seed"]) for run in runs}) == len(runs)

    def test_more_trials(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]) -> None:
        folder = tmp_path / "search"
        begin(folder, SearchConfig("optuna", trials=5, seeds=2, startup=2, top=2, fresh_seeds=3))
        go_on(folder, Instant(), monkeypatch)
        go_on(folder, Instant(), monkeypatch, SEARCH)
        assert facts(folder)["trials"] == whole["trials"]
        assert facts(folder)["finals"] == whole["finals"]

    def test_a_journal_that_is_no_journal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        (folder / JOURNAL).write_text("not JSON\n" * 3)
        with pytest.raises(CheckpointError, match="line 1 is no record"):
            go_on(folder, Instant(), monkeypatch)
        (folder / JOURNAL).write_text("")

    def test_a_journal_of_another_search(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "search"
        begin(folder, SEARCH)
        go_on(folder, Instant(), monkeypatch)
        (folder / JOURNAL).unlink()
        with pytest.raises(CheckpointError, match="knows 0 trials"):
            go_on(folder, Instant(), monkeypatch)


def test_an_ask_that_was_cut_off_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    study = Study(path, SEARCH, SPACE, 1)
    number, _ = study.ask()
    study.keep(number, {"lr": 1e-3})
    whole = path.read_bytes()
    study.ask()
    asked = path.read_bytes()
    for end in range(len(whole) + 1, len(asked) + 1):
        path.write_bytes(asked[:end])
        mend(path)
        assert path.read_bytes() == whole


def test_what_fails_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "search"
    begin(folder, SEARCH)

    def failing(job: Job) -> str | None:
        return "ran out of memory" if job.swept["trial"] == 1 else None

    outcome = go_on(folder, Instant(failing=failing), monkeypatch)
    assert (outcome.trials[1].state, outcome.trials[1].reason) == ("failed", "ran out of memory")
    assert len(outcome.trials) == SEARCH.trials
    assert outcome.finalists[0].whole
    assert "FAIL" in {one.state.name for one in Study(folder / JOURNAL, SEARCH, SPACE, 1).trials}


def test_too_many_failures_end_it_and_what_still_runs_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "search", SearchConfig("optuna", trials=8, seeds=1, top=1, fresh_seeds=1))
    engine = Instant(2, failing=lambda job: "broke" if job.swept["trial"] == 1 else None)
    outcome = go_on(tmp_path / "search", engine, monkeypatch, fail_fast=1)
    assert [trial.state for trial in outcome.trials] == ["finished", "failed"]
    assert not outcome.finalists


@pytest.mark.parametrize("when", ["in a run", "between two runs", "on fresh seeds"])
def test_in_the_last_picture_after_ctrl_c_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    engine, shown = Instant(), []

    class Shown:
        def update(self, views: Sequence[JobView], note: str = "") -> None:
            shown.append([view.state for view in views])

        def close(self) -> None:
            pass

    class Asked:
        at_once = False

        @property
        def signal(self) -> int | None:
            (*_, last) = engine.started or [""]
            over = list(tmp_path.glob("search/*/attempts.json"))
            asked = {"in a run": last, "between two runs": over, "on fresh seeds": "seed-1000" in last}[when]
            return signal.SIGINT if asked else None

    monkeypatch.setattr(run, "make_display", lambda *_: Shown())
    monkeypatch.setattr(run, "stoppable", lambda: nullcontext(Asked()))
    begin(tmp_path / "search", SearchConfig("optuna", trials=2, seeds=2, top=1, fresh_seeds=2))
    assert go_on(tmp_path / "search", engine, monkeypatch).sweep.signal == signal.SIGINT
    assert shown[-1] == (["interrupted"] if when == "on fresh seeds" else ["interrupted", "waiting"])


def test_what_is_told_where_something_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = SearchConfig("optuna", trials=3, seeds=1, top=2, fresh_seeds=2)

    def told(name: str, failing: Callable[[Job], bool]) -> tuple[int, str]:
        begin(tmp_path / name, search)
        engine = Instant(failing=lambda job: "broke" if failing(job) else None)
        outcome = go_on(tmp_path / name, engine, monkeypatch)
        capsys.readouterr()
        return show_search(SearchRecord(outcome, [], [])), capsys.readouterr().out

    code, out = told("all", lambda _: True)
    assert (code, "no trial came to its end" in out, "search.trials=6" in out, "go on with it" in out) == (1, 1, 1, 0)
    code, out = told("one final", lambda job: job.config.seed == 1001 and job.swept["trial"] == 2)
    assert (code, "search.trials=6" in out, "go on with it" in out) == (0, 1, 1)
    assert "trial 2 failed with fresh seed 1001: broke" in out
    code, out = told("all finals", lambda job: job.config.seed == 1001)
    assert (code, "search.trials=6" in out, "go on with it" in out) == (1, 0, 1)


def test_what_went_wrong_beside_the_training_is_told_as_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = SearchConfig("optuna", trials=3, seeds=1, top=1, fresh_seeds=1)
    for name, numbers in (("one", [1]), ("several", [1, 3])):
        begin(tmp_path / name, search)
        engine = Instant(problems=lambda job, own=numbers: ["no server"] if job.number in own else [])
        outcome = go_on(tmp_path / name, engine, monkeypatch)
        assert show_search(SearchRecord(outcome, [], [])) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " met with a problem: no server" in line]
    where = "(problems in summary.json, {}/1_trial-1_seed-0)"
    assert all(line.startswith("job 1 (trial=1 lr=") for line in lines)
    assert [line.partition("no server")[2] for line in lines] == [
        f" {where.format(tmp_path / 'one')}",
        f", and so did 1 more {where.format(tmp_path / 'several')}",
    ]


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = SearchConfig("optuna", trials=3, seeds=1, top=1, fresh_seeds=1)
    begin(tmp_path / "search", search)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ppo_cli.search.study.Study.tell", full)
        with pytest.raises(RunError, match="cannot be written: No space left on device"):
            go_on(tmp_path / "search", Instant(), patch)
    assert go_on(tmp_path / "search", Instant(), monkeypatch).finalists[0].whole


def test_of_equals_the_one_that_was_believed_in_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path / "search", SearchConfig("optuna", trials=3, seeds=1, top=3, fresh_seeds=2))

    def curve(job: Job) -> list[float]:
        return [500.0 if job.config.seed else 100.0 + job.swept["trial"]] * 10

    outcome = go_on(tmp_path / "search", Instant(curve=curve), monkeypatch)
    assert [one.trial.number for one in outcome.finalists] == [2, 1, 0]


def test_one_that_stopped_at_its_target_is_compared_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(CONFIG, target_return=90.0)
    search = SearchConfig("optuna", trials=4, seeds=1, startup=3, top=1, fresh_seeds=1)
    begin(tmp_path / "search", search, config=config)

    def curve(job: Job) -> list[float]:
        late = [10.0, 20.0, 30.0, 40.0, 50.0, 55.0, 60.0, 65.0, 70.0, 75.0]
        return late if job.swept["trial"] == 3 else [10.0, 20.0, 30.0, 40.0, 90.0]

    outcome = go_on(tmp_path / "search", Instant(curve=curve), monkeypatch)
    assert outcome.trials[3].reason == "below 90, the median of others, at step 500"
    last = Study(tmp_path / "search" / JOURNAL, search, SPACE, 1).trials[0].intermediate_values
    assert {place: last[place] for place in range(5, 10)} == dict.fromkeys(range(5, 10), 90.0)


def test_settings_that_cannot_be_composed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "search"
    # 7 divides no buffer, and nothing else is searched that could move.
    begin(folder, SEARCH, (Dimension("batch_size", (7, 64)), Dimension("lr", (), 1e-5, 1e-2)))
    outcome = go_on(folder, Instant(), monkeypatch)
    assert all(trial.settings["batch_size"] == 64 for trial in outcome.trials)
    begin(tmp_path / "other", SEARCH, (Dimension("batch_size", (7,)),))
    outcome = go_on(tmp_path / "other", Instant(), monkeypatch)
    assert [trial.state for trial in outcome.trials] == ["failed"] * SEARCH.trials
    assert "batch_size=7 does not divide" in str(outcome.trials[0].reason)
    assert not outcome.finalists


def test_the_preset_is_trial_0_and_among_the_finalists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "search"
    own = {"lr": 1e-5, "network.hidden_sizes": [64, 64], "epochs": 1}  # of these sizes the space knows nothing
    begin(folder, SearchConfig("optuna", trials=4, seeds=1, top=1, fresh_seeds=2), preset=own)
    outcome = go_on(folder, Instant(), monkeypatch)
    assert outcome.trials[0].settings == own
    assert [one.trial.preset for one in outcome.finalists] == [False, True]
    first = Study(folder / JOURNAL, SEARCH, SPACE, 1).trials[0]
    assert first.params == {"lr": 1e-5, "epochs": 1}


def test_a_preset_says_nothing_of_arguments_that_it_does_not_have() -> None:
    space = [Dimension("env.kwargs.gravity", (), 1.0, 9.0), Dimension("target_kl", (0.01, None)), Dimension("lr", (1,))]
    assert preset_values(space, TrainConfig(lr=0.5)) == {"target_kl": None, "lr": 0.5}


def test_all_modules_that_are_searched_are_named(tmp_path: Path) -> None:
    space = (
        Dimension("callbacks", (["a:A"], ["b:B"])), Dimension("env.wrappers", (["a:W"],)),
        Dimension("network.module", ("a:N", None)), Dimension("objective", ("clip", "a:O")),
        Dimension("reward_transform", ("a:R",)),
    )  # fmt: skip
    found = SearchFolder(tmp_path, SEARCH, space, (Base({}, CONFIG, frozenset()),), None)
    for one in space:
        for value in one.choices:
            assert modules_to_name(with_settings(CONFIG, {one.key: value})).keys() <= names(found)


@pytest.mark.parametrize(
    ("metric", "threshold", "expected"),
    [("final", None, 100.0), ("best", None, 100.0), ("area", None, 55.0), ("steps", 50.0, 500.0), ("time", 50.0, 5.0)],
)
def test_what_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, threshold: float | None, expected: float
) -> None:
    search = SearchConfig("optuna", trials=2, seeds=1, metric=metric, threshold=threshold, top=1, fresh_seeds=2)
    begin(tmp_path / "search", search)

    def curve(job: Job) -> list[float]:
        scale = 1.0 if job.swept["trial"] else 0.1
        return [scale * 10 * (place + 1) for place in range(10)]

    outcome = go_on(tmp_path / "search", Instant(curve=curve), monkeypatch)
    assert outcome.trials[1].value == pytest.approx(expected)
    assert outcome.finalists[0].trial.number == 1
    if metric == "steps":
        assert outcome.trials[0].value == math.inf  # it never got there


def test_one_evaluation_a_run_has_no_area_and_its_finals_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path / "search", SearchConfig("optuna", trials=1, seeds=1, metric="area", top=1, fresh_seeds=1))
    outcome = go_on(tmp_path / "search", Instant(curve=lambda _: [5.0]), monkeypatch)
    assert outcome.report is not None
    assert (outcome.report.score, outcome.report.searches[0].finals[0].held) == ("final", 5.0)


def test_same_settings_run_on_fresh_seeds_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = SearchConfig("optuna", trials=6, seeds=1, top=5, fresh_seeds=1, pruner="none")
    begin(tmp_path / "search", search, (Dimension("epochs", (1, 2)),))
    outcome = go_on(tmp_path / "search", Instant(), monkeypatch)
    assert sorted(one.trial.settings["epochs"] for one in outcome.finalists) == [1, 2]


def test_curves_of_seeds_count_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that is good with its first seed alone is given up after its second."""
    search = SearchConfig("optuna", trials=5, seeds=3, startup=3, top=1, fresh_seeds=1)
    begin(tmp_path / "search", search)

    def curve(job: Job) -> list[float]:
        lucky = job.swept["trial"] == 4
        return [float(1000 if lucky and not job.config.seed else -1000 if lucky else place) for place in range(10)]

    outcome = go_on(tmp_path / "search", Instant(curve=curve), monkeypatch)
    last = outcome.trials[4]
    assert (last.state, len(last.runs)) == ("pruned", 2)
    assert last.reason == "0 after 2 seeds, and the median of others is 9"


def test_good_settings_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = SearchConfig("optuna", trials=30, seeds=1, top=3, fresh_seeds=3)
    begin(tmp_path / "search", search, config=CONFIG)
    outcome = go_on(tmp_path / "search", Instant(curve=straight), monkeypatch)
    best = outcome.finalists[0].trial.settings
    assert 3e-4 < best["lr"] < 3e-3
    assert best["epochs"] > 6
    shares = facts(tmp_path / "search")["importance"]
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares, key=lambda key: shares[key]) == "network.hidden_sizes"  # which changes nothing here


def test_who_never_reaches_the_threshold_does_not_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = SearchConfig("optuna", trials=2, seeds=1, metric="steps", threshold=1e6, top=1, fresh_seeds=2)
    begin(tmp_path / "search", search)
    outcome = go_on(tmp_path / "search", Instant(), monkeypatch)
    assert outcome.finalists[0].whole
    assert not outcome.finalists[0].can_win
    assert not (tmp_path / "search" / "best.yaml").exists()
    assert facts(tmp_path / "search")["finals"][0]["scores"] == ["never", "never"]
