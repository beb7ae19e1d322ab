"""Searches in ``ppo-report`` and ``ppo-runs``: which runs are compared, what was believed, and what held."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import browser
import pytest
from console import run_here
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import SPACE, make_run, make_search, make_sweep
from test_page import EVIL, Reader, needs_browser, page

from ppo_cli.cli import report as command
from ppo_cli.errors import ConfigError
from ppo_cli.report.believed import in_one_line, judged, rows
from ppo_cli.report.build import build
from ppo_cli.report.catalogue import catalogue
from ppo_cli.report.files import as_json, to_plain, write
from ppo_cli.report.listing import render as render_list
from ppo_cli.report.markdown import as_markdown
from ppo_cli.report.model import Report
from ppo_cli.report.options import ReportConfig, RunsConfig
from ppo_cli.report.page.render import as_html
from ppo_cli.report.page.searching import search_view
from ppo_cli.report.records import UnusableError
from ppo_cli.report.search_file import read_search
from ppo_cli.report.searches import Search
from ppo_cli.report.table import render
from ppo_cli.runs.lock import locked


def report(*words: Path | str, **told: Any) -> Report:
    return build([str(word) for word in words], ReportConfig(**told), "ppo-report …")


def only(*words: Path | str) -> Search:
    (search,) = report(*words).searches
    return search


def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    """Change what ``search.json`` says."""
    path = folder / "search.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    how(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def printed(parts: Any) -> str:
    from rich.console import Console

    console = Console(width=300, color_system=None)
    with console.capture() as taken:
        for part in parts:
            console.print(part)
    return " ".join(taken.get().split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that is over, which nobody changes."""
    folder = tmp_path_factory.mktemp("kept") / "search"
    make_search(folder)
    return folder


class TestCompared:
    """Which of its runs are compared."""

    @pytest.mark.parametrize("words", [".", "..", "*", "*_seed-*"])
    def test_its_finals_alone(self, whole: Path, words: str) -> None:
        found = report(whole.parent if words == ".." else whole if words == "." else f"{whole}/{words}")
        (section,) = found.sections
        assert {(group.name.split()[0], len(group.seeds), group.seeds[0].seed) for group in section.groups} == {
            ("trial=7", 5, 1000),
            ("trial=3", 5, 1000),
            ("trial=0", 5, 1000),
        }
        left = [one for one in found.left_out if one.state == "trial"]
        assert [(one.count, one.folder) for one in left] == [(24, whole)]
        assert left[0].reason.startswith("24 runs of its trials are left out: the search chose by their scores")
        assert re.search("left out: (. foreign, )?24 trial", printed(render(found, 200)))
        assert len(found.searches) == 1

    def test_a_link_makes_no_final_of_a_trial(self, whole: Path, tmp_path: Path) -> None:
        (tmp_path / "chosen").mkdir()
        for name in ("0_trial-0_seed-0", "24_trial-7_seed-1000"):
            (tmp_path / "chosen" / name).symlink_to(whole / name)
        found = report(tmp_path / "chosen")
        assert [seed.seed for group in found.sections[0].groups for seed in group.seeds] == [1000]
        assert [(one.state, one.count) for one in found.left_out] == [("trial", 1)]

    def test_other_runs_are_compared_as_ever(self, tmp_path: Path) -> None:
        make_search(tmp_path / "search", 4, (1,))
        make_sweep(tmp_path / "sweep", {1e-3: [1.0, 2.0]})
        (section,) = report(tmp_path).sections
        assert [group.name.split()[0] for group in section.groups] == ["trial=1", "hidden_sizes=[64,64]"]

    def test_long_names_keep_to_the_number_and_a_few_settings(self, tmp_path: Path) -> None:
        make_search(tmp_path / "search", 4, ())
        runs: list[str] = []
        for trial in (1, 2):
            name = f"9_trial-{trial}_seed-1000"
            values = {"lr": trial / 3, "gamma": 1 - trial / 7, "lam": trial / 9, "clip_ratio": 0.1 * trial}
            make_run(tmp_path / "search" / name, float(trial), 1000, epochs=trial, **values)
            runs.append(name)

        def add(content: dict[str, Any]) -> None:
            for trial, name in enumerate(runs, 1):
                one = {"trial": trial, "believed": 1.0, "held": None, "seeds": [1000], "scores": [None]}
                content["finals"].append({**one, "folders": [name]})

        change(tmp_path / "search", add)
        names = [group.name for group in report(tmp_path).sections[0].groups]
        assert [re.sub(r"=[\d.]+", "=", name) for name in names] == ["trial= lr= gamma= lam= and 2 more"] * 2
        assert "lr=0.6667 " in names[0]

    def test_the_report_of_a_search_in_its_folder_is_no_foreign_folder(self, tmp_path: Path) -> None:
        make_search(tmp_path / "search", 4, (1,))
        list(write(report(tmp_path / "search"), str(tmp_path / "search" / "report")))
        assert {one.state for one in report(tmp_path / "search").left_out} == {"trial"}

    def test_two_sides_of_searches(self, tmp_path: Path) -> None:
        make_search(tmp_path / "new", 4, (1,))
        make_search(tmp_path / "old", 4, (1,))
        found = report(tmp_path / "new", against=[str(tmp_path / "old")])
        assert [search.folder.name for search in found.searches] == ["new", "old"]
        assert len(found.sections[0].pairs) == 1


class TestWithoutFinals:
    """A search that has no finals yet."""

    def test_it_says_so_and_what_to_type(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_search(tmp_path / "a search", 8, ())
        monkeypatch.chdir(tmp_path)
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "report.json").write_text('{"ppo_report_format": 1}', encoding="utf-8")
        (tmp_path / "report" / "report.png").write_bytes(b"of an earlier one")
        answered = run_here(monkeypatch, capsys, command.main, "ppo-report", "a search")
        said = " ".join(answered.out.split())
        assert answered.code == 0
        assert "No trial has been through its fresh seeds yet; ppo-train -m 'resume=a search' goes on" in said
        assert "The best so far is trial 6, of which it believes 109.5." in said
        assert {path.suffix for path in (tmp_path / "report").iterdir()} >= {".html", ".md", ".csv", ".json"}
        assert not list((tmp_path / "report").glob("*.png"))
        assert "report.png" not in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")

    def test_one_that_is_at_work(self, tmp_path: Path) -> None:
        make_search(tmp_path, 8, ())
        change(tmp_path, lambda content: content["trials"][2].update(state="running", value=None))
        with locked(tmp_path):
            search = only(tmp_path)
        assert "the search was at work when this was made" in search.sentences[0]
        assert search.states == {"finished": 5, "pruned": 1, "failed": 1, "running": 1}
        assert only(tmp_path).states["interrupted"] == 1

    def test_it_cannot_be_held_against_anything(self, tmp_path: Path) -> None:
        make_search(tmp_path / "search", 4, ())
        make_run(tmp_path / "old")
        with pytest.raises(ConfigError, match="it has no finals on fresh seeds yet"):
            report(tmp_path / "search", against=[str(tmp_path / "old")], fail_if="worse").sections[0].gates[0]

    def test_nothing_has_begun(self, tmp_path: Path) -> None:
        make_search(tmp_path, 4, ())
        change(tmp_path, lambda content: content["trials"].clear())
        found = report(tmp_path)
        assert found.searches[0].sentences[0].startswith("No trial has been through")
        assert "History" not in Reader(as_html(found)).words
        assert "none begun" in as_markdown(found)


class TestBelieved:
    """What was believed and what held."""

    def test_in_a_sentence(self, whole: Path) -> None:
        search = only(whole)
        believed, held = search.finals[0].believed, search.finals[0].held
        assert believed is not None
        assert held is not None
        assert search.sentences[0] == (
            f"The search believed {believed:.1f} of trial 7; on 5 fresh seeds it holds {held:.1f} "
            f"(95 % interval {held - 1.2:.1f} to {held + 1.2:.1f})."
        )
        assert "Trial 7 is the best on fresh seeds, too." in search.sentences
        assert "The preset, trial 0, holds 46.0." in search.sentences
        assert "3 of 3 trials fall short of what was believed." in search.sentences

    def test_the_one_it_believed_in_is_not_the_best(self, tmp_path: Path) -> None:
        make_search(tmp_path, 12, (0, 7))

        def turn(content: dict[str, Any]) -> None:
            content["finals"][0].update(held=70.0, scores=[70.0] * 5)

        change(tmp_path, turn)
        search = only(tmp_path)
        assert search.sentences[0].startswith("The search believed ")
        assert "of trial 7" in search.sentences[0]
        assert search.sentences[1] == ("On fresh seeds trial 0 is the best: it holds 70.0, of which 66.0 was believed.")
        assert search.sentences[2] == "That is the preset, trial 0: nothing that was found is better."
        assert "1 of 2 trials falls short of what was believed." in search.sentences

    @pytest.mark.parametrize(
        ("held", "said"),
        [
            ((0.1, 0.1, 0.1), "On fresh seeds all 3 trials hold the same: none is better than another."),
            ((0.1, 0.1, 0.0), "On fresh seeds trials 7, 3 hold the same, 0.1, and are the best."),
            (("never", "never", "never"), "No trial reaches it with all fresh seeds."),
            ((5.0, 5.0, "never"), "On fresh seeds trials 7, 3 hold the same, 5, and are the best."),
        ],
    )
    def test_no_trial_is_the_best_alone(self, tmp_path: Path, held: tuple[object, ...], said: str) -> None:
        make_search(tmp_path, 12, (7, 3, 0))

        def tie(content: dict[str, Any]) -> None:
            if "never" in held:
                content.update(metric="steps", direction="minimize", threshold=1e3)
            for final, one in zip(content["finals"], held, strict=True):
                final.update(held=one, scores=[one] * 5)

        change(tmp_path, tie)
        sentences = only(tmp_path).sentences
        assert sentences[1] == said
        assert not [one for one in sentences if "is the best" in one or "holds not reached" in one]

    def test_the_table(self, whole: Path) -> None:
        (first, *_, last) = rows(only(whole))
        assert (first[0], first[1], first[5], first[6]) == ("1", "7", "−20.0", "5")
        assert last[:5] == ("3", "0 (preset)", "66.0", "46.0", "44.8 to 47.2")
        assert last[7] == "lr=1e-05 gamma=0.9 hidden_sizes=[64,64]"

    def test_less_is_better_where_time_counts(self, tmp_path: Path) -> None:
        make_search(tmp_path, 12, (7, 3))

        def minimize(content: dict[str, Any]) -> None:
            content.update(metric="time", direction="minimize", threshold=90.0)
            for final, held in zip(content["finals"], (90.0, 140.0), strict=True):
                final.update(believed=100.0 if final["trial"] == 7 else 50.0, held=held, scores=[held] * 5)

        change(tmp_path, minimize)
        search = only(tmp_path)
        first = "The search believed 0:00:50 of trial 3; on 5 fresh seeds it holds 0:02:20"
        assert search.sentences[0].startswith(first)
        assert search.sentences[1].startswith("On fresh seeds trial 7 is the best: it holds 0:01:30")
        assert "1 of 2 trials falls short of what was believed." in search.sentences
        assert rows(search)[0][5] == "−0:00:10"
        assert [trial.number for trial in search.best_so_far()] == [0]

    def test_finals_that_are_not_over(self, tmp_path: Path) -> None:
        make_search(tmp_path, 12, (7, 3))
        change(tmp_path, lambda content: content["finals"][1].update(held=80.0, scores=[80.0, None, None, None, None]))
        search = only(tmp_path)
        said = f"1 of 2 trials is not through the fresh seeds; ppo-train -m resume={tmp_path} goes on"
        assert said in " ".join(search.sentences)
        assert rows(search)[1][3:7] == ("80.0", "–", "−11.8", "1 of 5")
        change(tmp_path, lambda content: content["finals"][1].update(believed=1e3))
        assert only(tmp_path).sentences[0] == (
            "The search believed 1,000.0 of trial 3; on 1 of 5 fresh seeds it holds 80.0."
        )

    def test_what_never_reaches_the_threshold(self, tmp_path: Path) -> None:
        make_search(tmp_path, 12, (7,))

        def never(content: dict[str, Any]) -> None:
            content.update(metric="steps", direction="minimize", threshold=1e3)
            content["finals"][0].update(believed=500.0, held="never", scores=[700.0, "never", 800.0, 900.0, "never"])

        change(tmp_path, never)
        search = only(tmp_path)
        assert search.sentences[0] == ("The search believed 500.0 of trial 7; on 5 fresh seeds it is not reached by 2.")
        assert rows(search)[0][3:7] == ("not reached", "–", "–", "5")
        json.dumps(to_plain(search), allow_nan=False)
        assert "Believed and held" in Reader(page(tmp_path)).words

    def test_everywhere(self, whole: Path) -> None:
        found = report(whole)
        sentence = found.searches[0].sentences[0]
        assert sentence in printed(render(found, 200))
        assert "Importance: lr 70 %, gamma 20 %, network.hidden_sizes 10 %." in printed(render(found, 200))
        text = as_markdown(found)
        assert f"**{sentence}**" in text
        line = "| 3 | 0 (preset) | 66.0 | 46.0 | 44.8 to 47.2 | −20.0 | 5 | `lr=1e-05 gamma=0.9 hidden_sizes=[64,64]` |"
        assert line in text
        assert sentence in Reader(as_html(found)).words
        (search,) = json.loads(as_json(found))["searches"]
        assert search["finals"][2]["difference"] == -20.0
        assert search["finals"][2]["interval"].keys() == {"low", "high"}
        assert search["space"]["network.hidden_sizes"]["choices"] == ["[64,64]", "[256,256]"]
        assert (search["trials"][4]["state"], search["importance"]["lr"]) == ("pruned", 0.7)
        assert sentence in search["sentences"]

    @pytest.mark.parametrize("width", [60, 80, 120])
    def test_narrow_terminals(self, whole: Path, width: int) -> None:
        from rich.console import Console

        console = Console(width=width, color_system=None)
        with console.capture() as taken:
            for part in render(report(whole), width):
                console.print(part)
        assert max(map(len, taken.get().splitlines())) <= width
        assert "believed" in taken.get()


@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_search_really_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    pytest.importorskip("optuna")
    from searching import Instant, Stopped, begin, go_on

    from ppo_cli.search_config import SearchConfig

    begin(tmp_path / "search", SearchConfig("optuna", trials=8, seeds=2, startup=2, top=2, fresh_seeds=3))
    if stopped:
        with pytest.raises(Stopped):
            go_on(tmp_path / "search", Instant(stop_after=25), monkeypatch)
        found = report(tmp_path)
        assert found.sections == ()
        assert "goes on with the search" in found.searches[0].sentences[0]
        assert "interrupted" in found.searches[0].states
        return
    outcome = go_on(tmp_path / "search", Instant(), monkeypatch)
    found = report(tmp_path)
    (search,) = found.searches
    assert [final.held for final in search.finals] == [one.held for one in outcome.finalists]
    assert [final.trial for final in search.finals] == [one.trial.number for one in outcome.finalists]
    assert {seed.seed for group in found.sections[0].groups for seed in group.seeds} == {1000, 1001, 1002}
    assert sum(len(group.seeds) for group in found.sections[0].groups) == 6
    assert [group.mean for group in found.sections[0].groups] == pytest.approx([one.held for one in outcome.finalists])
    assert sum(search.states.values()) == 8
    assert search.space.keys() == {"lr", "network.hidden_sizes", "epochs"}
    assert len(search_view(search, 0.95).slices) == 3


ODD = [None, [], {}, "", "x", "\ud800", -1, 0, 2.5, 10**400, math.inf, math.nan, True, [[1]], {"a": {"b": 1}}]


@cache
def small() -> str:
    """What ``search.json`` says of a search of three trials, one of which has a final."""
    with tempfile.TemporaryDirectory() as folder:
        return json.dumps(make_search(Path(folder) / "search", 3, (1,), fresh=1))


def oddly(data: st.DataObject) -> dict[str, Any]:
    """The same, one value of it replaced by an odd one."""
    content: dict[str, Any] = json.loads(small())
    place: Any = content
    while True:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(st.sampled_from(ODD))
    return content


def told_of(folder: Path) -> None:
    """Read a search and make all that is made of it, or be told why not."""
    search, said = None, ("", "")
    try:
        search = read_search(folder)
    except UnusableError as error:
        said = (error.state, str(error))
    if search is None:
        assert said[0] in ("broken", "foreign")
        assert "search.json" in said[1]
        return
    search = judged(search, 0.95)
    assert search.sentences
    assert len(rows(search)) == len(search.finals)
    json.dumps(to_plain(search), allow_nan=False)
    list(in_one_line(search))
    search_view(search, 0.95)


class TestDamaged:
    """Whatever is in ``search.json`` is told in words."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "is empty or cut off"),
            ('{"format": 1, "trials": [', "is empty or cut off"),
            ("[" * 100_000, "is empty or cut off"),
            ('{"format": 2, "trials": {}}', "was written by a later version (format 2)"),
            ('{"format": "1", "trials": []}', "is damaged: format is missing or wrong"),
            ('{"format": 1, "trials": []}', "is damaged: metric is missing or wrong"),
            ('{"format": 1, "trials": [7]}', "is damaged: trials is missing or wrong"),
        ],
    )
    def test_its_runs_are_left_out(self, tmp_path: Path, text: str, said: str) -> None:
        make_run(tmp_path / "other")
        make_search(tmp_path / "search", 4, (1,))
        (tmp_path / "search" / "search.json").write_text(text, encoding="utf-8")
        found = report(tmp_path)
        (left,) = found.left_out
        assert (left.state, left.count, left.folder) == ("broken", 13, tmp_path / "search")
        assert said in left.reason
        assert "nothing tells finals from trials" in left.reason
        assert found.searches == ()
        with pytest.raises(ConfigError, match="no run here can be compared"):
            report(tmp_path / "search")

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        make_search(tmp_path, 4, (1,))
        (tmp_path / "search.json").unlink()
        (tmp_path / "search.json").mkdir()
        with pytest.raises(ConfigError, match="cannot be read"):
            report(tmp_path)
        (tmp_path / "search.json").rmdir()
        (tmp_path / "search.json").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError, match="is not UTF-8"):
            report(tmp_path)

    @pytest.mark.parametrize("text", ["[]", '{"query": "cats"}', "3"])
    def test_somebody_elses(self, tmp_path: Path, text: str) -> None:
        make_sweep(tmp_path, {1e-3: [1.0, 2.0]})
        (tmp_path / "search.json").write_text(text, encoding="utf-8")
        found = report(tmp_path)
        assert [len(group.seeds) for group in found.sections[0].groups] == [2]
        assert [(one.state, one.folder.name) for one in found.left_out] == [("foreign", "search.json")]
        told = RunsConfig()
        assert "sweep: 2 finished" in printed(render_list(catalogue([str(tmp_path)], told), told, False, 200))

    def test_numbers_of_trials_are_there_once(self, tmp_path: Path) -> None:
        make_search(tmp_path, 4, (1,))
        change(tmp_path, lambda content: content["trials"][1].update(number=0))
        with pytest.raises(UnusableError, match="number of trials"):
            read_search(tmp_path)

    @given(place=st.floats(0, 1), length=st.integers(0, 40), junk=st.binary(max_size=20))
    @settings(max_examples=100, deadline=None)
    def test_never_a_traceback(
        self, tmp_path_factory: pytest.TempPathFactory, place: float, length: int, junk: bytes
    ) -> None:
        """Bytes replaced by others, anywhere."""
        folder = tmp_path_factory.mktemp("searches")
        content = small().encode()
        start = int(place * len(content))
        (folder / "search.json").write_bytes(content[:start] + junk + content[start + length :])
        told_of(folder)

    @given(data=st.data())
    @settings(max_examples=300, deadline=None)
    def test_nor_from_odd_values(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        """A value anywhere replaced by another, which JSON can hold."""
        folder = tmp_path_factory.mktemp("searches")
        (folder / "search.json").write_text(json.dumps(oddly(data)), encoding="utf-8")
        told_of(folder)

    @given(data=st.data())
    @settings(max_examples=10, deadline=None)
    def test_nor_from_a_whole_report(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        base = tmp_path_factory.mktemp("searches")
        make_run(base / "good")
        make_search(base / "search", 3, (1,), fresh=1)
        (base / "search" / "search.json").write_text(json.dumps(oddly(data)), encoding="utf-8")
        found = report(base, anyway=["env", "evaluation", "budget"])
        used = sum(len(group.seeds) for section in found.sections for group in section.groups)
        foreign = sum(one.state == "foreign" for one in found.left_out)
        assert used + sum(one.count for one in found.left_out) - foreign == 8
        assert all(one.reason for one in found.left_out)
        as_json(found), as_markdown(found), as_html(found), printed(render(found, 80))
        told = RunsConfig()
        assert "search" in printed(render_list(catalogue([str(base)], told), told, False, 200))


class TestList:
    """``ppo-runs``."""

    def test_a_search_is_a_line(self, whole: Path) -> None:
        told = RunsConfig()
        said = printed(render_list(catalogue([str(whole)], told), told, False, 300))
        assert "search: 9 finished, 2 pruned, 1 failed of 12 trials" in said
        assert "lr=1e-05..0.01 gamma=0.9..0.999 network.hidden_sizes=[64,64],[256,256]" in said

    def test_its_jobs_stand_as_they_do(self, whole: Path) -> None:
        found = catalogue([str(whole)], RunsConfig(state="pruned"))
        assert {one.folder.name.split("_")[1] for one in found} == {"trial-4", "trial-9"}

    def test_a_job_that_was_pruned_before_it_wrote_anything(self, tmp_path: Path) -> None:
        (tmp_path / "job").mkdir()
        (tmp_path / "job" / "job.json").write_text("{}", encoding="utf-8")
        (tmp_path / "job" / "attempts.json").write_text(json.dumps({"attempts": [{"state": "pruned"}]}))
        (one,) = catalogue([str(tmp_path)], RunsConfig())
        assert (one.state, one.reason) == ("pruned", "was pruned before it began")

    def test_a_damaged_one(self, tmp_path: Path) -> None:
        make_search(tmp_path, 4, (1,))
        (tmp_path / "search.json").write_text("{", encoding="utf-8")
        told = RunsConfig()
        said = printed(render_list(catalogue([str(tmp_path)], told), told, False, 300))
        assert "search (search.json is empty or cut off, and no JSON): " in said


class TestPage:
    """What the page shows."""

    def test_all_parts_are_there(self, whole: Path) -> None:
        read = Reader(page(whole))
        for title in ("Believed and held", "History", "Importance", "Slices", "All trials (12)", "70 %", "lr (log)"):
            assert title in read.words, title
        assert any(words.startswith("PED-ANOVA: ") and "it is mostly chance" in words for words in read.words)
        assert "#search-0" in {anchor["href"] for anchor in read.all("a")}
        assert "was pruned at step 400" in read.words
        pictures = [one for one in read.all("svg") if one.get("role") == "img"]
        assert all(one["aria-label"] for one in pictures)
        assert sum("PED" not in (one["aria-label"] or "") for one in pictures) >= 5

    def test_a_search_alone_makes_a_page(self, tmp_path: Path) -> None:
        make_search(tmp_path, 8, ())
        read = Reader(page(tmp_path))
        assert {"Report", "History", "Slices"} <= set(read.words)
        assert "Believed and held" not in read.words

    def test_history_lies_where_its_values_are(self, whole: Path) -> None:
        search = only(whole)
        picture = search_view(search, 0.95).history
        assert picture is not None
        ticks = {text: y for y, text in picture.ticks}
        marks = {int(re.findall(r"\d+", mark.title)[0]): mark for mark in picture.marks}
        value = search.trials[7].value
        assert value is not None
        assert marks[7].y == pytest.approx(ticks["60"] + (value - 60) / 20 * (ticks["80"] - ticks["60"]), abs=0.2)
        assert [marks[number].kind for number in (0, 4, 11)] == ["finished", "pruned", "failed"]
        assert [number for number, mark in marks.items() if mark.preset] == [0]
        assert marks[11].y > max(y for y, _ in picture.ticks)  # it has no value
        assert marks[3].x - marks[2].x == pytest.approx(marks[8].x - marks[7].x, abs=0.2)
        heights = [float(y) for y in re.findall(r"[V ]([\d.]+)", picture.line)]
        assert heights == sorted(heights, reverse=True)
        assert heights == [marks[trial.number].y for trial in search.best_so_far()]
        assert "At the foot: trials without a value." in picture.title

    def test_slices_by_importance_logarithm_and_choice(self, whole: Path) -> None:
        lr, gamma, sizes = search_view(only(whole), 0.95).slices
        assert [one.title for one in (lr, gamma, sizes)] == ["lr (log)", "gamma", "network.hidden_sizes"]
        assert [text for _, text in lr.labels] == ["1e-05", "0.0001", "0.001", "0.01"]
        across = [x for x, _ in lr.labels]
        assert across[1] - across[0] == pytest.approx(across[3] - across[2], abs=0.2)
        assert [text for _, text in sizes.labels] == ["[64,64]", "[256,256]"]
        assert len(sizes.bars) == 2
        assert len(lr.marks) == 11  # one has no value

    def test_a_preset_outside_what_was_searched(self, tmp_path: Path) -> None:
        make_search(tmp_path, 6, (1,))

        def outside(content: dict[str, Any]) -> None:
            content["trials"][0]["settings"] = {"lr": 1.0, "gamma": None, "network.hidden_sizes": [8]}

        change(tmp_path, outside)
        lr, gamma, sizes = search_view(only(tmp_path), 0.95).slices
        assert [text for _, text in lr.labels] == ["1e-05", "0.001", "0.1"]
        (mark,) = [mark for mark in lr.marks if mark.preset]
        assert mark.x > lr.labels[-1][0]
        assert not [mark for mark in gamma.marks if mark.preset]
        assert [text for _, text in sizes.labels] == ["[64,64]", "[256,256]", "[8]"]

    def test_one_that_is_far_off_squeezes_nobody(self, tmp_path: Path) -> None:
        make_search(tmp_path, 12, (1,))
        change(tmp_path, lambda content: content["trials"][2].update(value=-1e9))
        picture = search_view(only(tmp_path), 0.95).history
        assert picture is not None
        assert next(text for _, text in picture.ticks) in ("40", "50", "60")
        assert "Values that are far worse than the rest stand at the edge." in picture.title
        (mark,) = [mark for mark in picture.marks if mark.title.startswith("trial 2:")]
        assert mark.y == max(y for y, _ in picture.ticks)

    def test_names_are_no_markup(self, tmp_path: Path) -> None:
        make_search(tmp_path / "<b>", 6, (1,))

        def spoil(content: dict[str, Any]) -> None:
            content["column"] = EVIL
            content["preset_file"] = EVIL
            content["space"][EVIL] = {"choices": [EVIL, "tanh"]}
            content["importance"][EVIL] = 0.1
            for trial in content["trials"]:
                trial["settings"][EVIL] = EVIL
                trial["reason"] = EVIL

        change(tmp_path / "<b>", spoil)
        text = page(tmp_path)
        read = Reader(text)
        assert len(read.scripts) == 3
        assert not read.all("img")
        assert not read.all("b")
        assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
        assert any(EVIL in words for words in read.words)

    def test_a_thousand_trials_are_less_than_a_megabyte(self, tmp_path: Path) -> None:
        make_search(tmp_path, 6, (1,))
        keys = {f"group.setting_{number}": {"low": 1e-5, "high": 1.0, "log": True} for number in range(8)}

        def many(content: dict[str, Any]) -> None:
            content["space"] = keys
            given = dict.fromkeys(keys, 0.123456789)
            one = content["trials"][1]
            one |= {"settings": given}
            content["trials"] = [{**one, "number": number, "value": number**0.5} for number in range(1000)]

        change(tmp_path, many)
        text = page(tmp_path)
        assert len(text.encode()) < 1_000_000
        assert "The best 200 trials." in text
        assert "And 500 more, which are in" in text


@needs_browser
def test_in_a_browser(tmp_path: Path) -> None:
    make_search(tmp_path / "search")
    path = tmp_path / "report.html"
    path.write_text(page(tmp_path / "search"), encoding="utf-8")
    table = "document.querySelector('#search-0 table.sortable')"
    with browser.Browser(tmp_path / "profile") as shown:
        shown.open(path)
        fill = "getComputedStyle(document.querySelector('#search-0 .trial.finished circle:not(.preset)')).fill"
        assert shown.run(fill) == "rgb(0, 114, 178)"
        assert shown.run("document.documentElement.scrollWidth <= innerWidth")
        assert shown.run("document.querySelectorAll('#search-0 .preset').length") == 1 + 1 + len(SPACE)
        shown.run(f"{table}.tHead.rows[0].cells[3].querySelector('button').focus()")
        shown.press("Enter", "\r")
        assert shown.run(f"{table}.tHead.rows[0].cells[3].ariaSort") == "descending"
        held = shown.run(f"[...{table}.tBodies[0].rows].map((row) => Number(row.cells[3].dataset.n))")
        assert held == sorted(held, reverse=True)
        with browser.resized(shown, 390, 800):
            shown.until("document.documentElement.scrollWidth <= 390")
        shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert shown.run(fill) == "rgb(74, 168, 232)"
        assert shown.complaints == []
        assert {request for request in shown.requests if not request.startswith("data:")} == {path.as_uri()}
