"""``report.html``: what stands in it, that names are no markup, and that a browser shows it as it should."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import sys
import time
from array import array
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import make_run, make_sweep

from ppo_cli.report.build import build
from ppo_cli.report.model import Curve
from ppo_cli.report.options import ReportConfig
from ppo_cli.report.page.charts import Arrays, packed, thinned
from ppo_cli.report.page.dots import by_group, by_setting
from ppo_cli.report.page.render import as_html
from ppo_cli.report.scores import DIAGNOSTICS

GOOD, BAD = [100.0, 102, 104, 106, 108], [50.0, 52, 54, 56, 58]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'{{ 7 * 7 }}"
VOID = {"meta", "link", "input", "br", "img"}


def page(*words: Path | str, **told: Any) -> str:
    return as_html(build([str(word) for word in words], ReportConfig(**told), "ppo-report …"))


class Reader(HTMLParser):
    """Reads a page as a browser does, and sees that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + text)
        elif text.strip() and self._open[-1] != "style":
            self.words.append(" ".join(text.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def data_of(text: str) -> Any:
    (found,) = (script for attributes, script in Reader(text).scripts if attributes.get("id") == "data")
    return json.loads(found)


def unpacked(kept: list[Any]) -> list[float]:
    """Numbers as the script reads them."""
    if len(kept) < 3 or not isinstance(kept[2], str):
        return kept
    least, step, text = kept
    levels = array("H", base64.b64decode(text))
    if sys.byteorder == "big":
        levels.byteswap()
    return [least + step * level for level in levels]


def sweep_of_three(folder: Path) -> None:
    """Three groups; the last ends early, and one run has failed."""
    for lr, height, end in ((1e-2, 400.0, 1000), (1e-3, 300.0, 1000), (1e-4, 100.0, 400)):
        for seed in range(5):
            curve = [height * (1 - math.exp(-row / 5)) + 7 * math.sin(row * (seed + 1)) for row in range(end // 50)]
            make_run(folder / f"{lr}_{seed}", curve[-1], seed, lr=lr, curve=curve, budget=end)
    make_run(folder / "failed", 1.0, 9, lr=1e-2, status="failed")


class TestText:
    """The file itself."""

    def test_all_sections_are_there(self, tmp_path: Path) -> None:
        sweep_of_three(tmp_path / "runs")
        read = Reader(page(tmp_path / "runs", anyway=["budget"], threshold=200))
        for title in (
            "Curves", "Groups", "How often a seed of the row beats one of the column", "Seeds", "Performance profile",
            "Settings that differ", "Scores by setting", "Diagnostics", "Left out", "Made by", "Before believing it",
        ):  # fmt: skip
            assert title in read.words, title
        assert any("wins: it is better than each of the 2 others" in words for words in read.words)
        assert "not reached (0 of 5)" in read.words
        assert "ppo-train env=CartPole-v1 seed=4" in read.words
        assert any(words.startswith("failed at step") for words in read.words)

    def test_the_policy_allows_its_own_scripts_and_nothing_else(self, tmp_path: Path) -> None:
        read = Reader(page(make_sweep(tmp_path / "sweep", {1e-3: GOOD, 1e-4: BAD})))
        (policy,) = (
            meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy is not None
        rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
        assert rules["default-src"] == ["'none'"]
        assert rules["img-src"] == ["data:"]
        run = [script for attributes, script in read.scripts if attributes.get("type") != "application/json"]
        hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run]
        assert rules["script-src"] == [f"'sha256-{one}'" for one in hashes]
        assert len(run) == 2

    def test_nothing_is_loaded_from_anywhere(self, tmp_path: Path) -> None:
        read = Reader(page(make_run(tmp_path / "a")))
        assert not any(attributes.get("src") for _, attributes in read.elements)
        assert {link["href"] for link in read.all("link")} == {"data:,"}
        assert all((anchor["href"] or "").startswith("#") for anchor in read.all("a"))

    def test_names_are_no_markup(self, tmp_path: Path) -> None:
        for seed in range(2):
            for place, activation in enumerate((EVIL, "tanh")):
                facts = {"command": EVIL, "versions": {EVIL: EVIL}, "git_commit": EVIL}
                folder = tmp_path / f"<b>{place}{seed}"
                make_run(folder, 9.0 + place + seed, seed, env=EVIL, network__activation=activation, facts=facts)
        make_run(tmp_path / "<script>failed", env=EVIL, status="failed")
        text = page(tmp_path)
        read = Reader(text)
        assert len(read.scripts) == 3
        assert not read.all("img")
        assert not read.all("b")
        assert any(EVIL in words for words in read.words)
        assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
        assert any(EVIL[:50] in name for name in data_of(text)["sections"][0])
        assert "49" not in [words for words in read.words if "script" in words]

    def test_each_environment_has_a_section(self, tmp_path: Path) -> None:
        for env in ("CartPole-v1", "Acrobot-v1"):
            make_sweep(tmp_path / env, {1e-3: GOOD, 1e-4: BAD}, env=env)
        read = Reader(page(tmp_path))
        assert {anchor["href"] for anchor in read.all("a")} >= {"#section-0", "#section-1", "#again"}
        assert [one["id"] for one in read.all("section")] == ["section-0", "section-1", "again"]

    def test_charts_say_in_words_what_they_show(self, tmp_path: Path) -> None:
        sweep_of_three(tmp_path)
        read = Reader(page(tmp_path, anyway=["budget"]))
        charts = [one for one in read.all("div") if one.get("class") == "plot"]
        assert len(charts) == 3
        for one in charts:
            assert one["tabindex"] == "0"
            assert "Arrow keys move" in (one["aria-label"] or "")
        assert "lr=0.01" in (charts[0]["aria-label"] or "")
        pictures = [one for one in read.all("svg") if one.get("role") == "img"]
        assert pictures
        assert all(one["aria-label"] for one in pictures)

    def test_other_programs_runs(self, tmp_path: Path) -> None:
        make_run(tmp_path / "own")
        (tmp_path / "other.csv").write_text("step,return\n500,1\n1000,2\n", encoding="utf-8")
        text = page(tmp_path / "own", tmp_path / "other.csv", env="CartPole-v1")
        charts = data_of(text)["charts"]
        assert [one is None for one in charts["0-diagnostic-0"]["views"][0]["groups"]] == [False, True]
        assert len(charts["0-curves"]["views"]) == 1  # nothing tells the other's wall time
        assert "None" not in Reader(text).words

    def test_one_run(self, tmp_path: Path) -> None:
        read = Reader(page(make_run(tmp_path / "a", rows=1)))
        assert "There is nothing to compare it with: no setting differs but the seed." in read.words
        assert "Performance profile" not in read.words

    def test_numbers_at_their_very_ends(self, tmp_path: Path) -> None:
        make_run(tmp_path / "a", 9e69, 10**300, lr=1e-3)
        make_run(tmp_path / "b", -9e69, 1, lr=1e-4)
        assert "1000 steps" in " ".join(Reader(page(tmp_path)).words).replace(",", "")

    def test_a_gate_that_is_shut(self, tmp_path: Path) -> None:
        make_sweep(tmp_path / "new", {1e-3: BAD})
        make_sweep(tmp_path / "old", {1e-3: GOOD})
        read = Reader(page(tmp_path / "new", against=[str(tmp_path / "old")], fail_if="worse"))
        assert any(one.get("class") == "verdict shut" for one in read.all("div"))

    def test_two_hundred_runs_are_less_than_a_megabyte(self, tmp_path: Path) -> None:
        draw = np.random.default_rng(0)
        columns = ["step", "time/elapsed", "eval/episode_return_mean", *DIAGNOSTICS]
        for number in range(200):
            env, lr, seed = f"SomeEnvironment{number % 4}-v1", 1 / (1 + number // 4 % 10), number // 40
            facts = {"command": f"ppo-train env={env} lr={lr} {'x' * 90}"}
            folder = make_run(tmp_path / str(number), 1.0, seed, env=env, lr=lr, budget=1_000_000, facts=facts)
            at = np.linspace(1e6 / 300, 1e6, 300)
            rows = np.column_stack([at.round(), np.sort(draw.random(300)), *draw.normal(200, 30, (6, 300))])
            text = [",".join(columns), *(",".join(map(str, row)) for row in rows.tolist())]
            (folder / "metrics.csv").write_text("\n".join(text), encoding="utf-8")
        text = page(tmp_path, threshold=200)
        assert len(text.encode()) < 1_000_000
        assert len(data_of(text)["charts"]) == 4 * (2 + len(DIAGNOSTICS))

    def test_so_many_groups_are_cut_short_in_words(self, tmp_path: Path) -> None:
        for number in range(50):
            make_run(tmp_path / str(number), float(number), rows=3, lr=1 / (1 + number))
        text = page(tmp_path)
        assert "The best 40 of 50 groups are drawn; the table has all." in text
        assert "The best 20 of 50 groups." in text
        assert len(data_of(text)["sections"][0]) == 40


class TestData:
    """What the script draws."""

    def test_curves_are_those_of_the_report(self, tmp_path: Path) -> None:
        report = build([str(make_sweep(tmp_path / "s", {1e-3: GOOD, 1e-4: BAD}))], ReportConfig(), "")
        data = data_of(as_html(report))
        arrays = [unpacked(kept) for kept in data["arrays"]]
        view = data["charts"]["0-curves"]["views"][0]
        assert [arrays[group["middle"]][-1] for group in view["groups"]] == pytest.approx([104, 54])
        at, values, seed = view["groups"][1]["seeds"][2]
        assert arrays[at] == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
        assert arrays[values] == pytest.approx(list(report.sections[0].groups[1].seeds[2].values), abs=1e-3)
        assert seed == "2"
        assert [view["kind"] for view in data["charts"]["0-curves"]["views"]] == ["steps", "time"]

    def test_equal_lists_are_kept_once(self) -> None:
        arrays = Arrays()
        assert [arrays.add(one, exact=True) for one in ((1.0, 2.5), (3.0,), (1.0, 2.5))] == [0, 1, 0]
        assert arrays.kept == [[1, 2.5], [3]]
        assert arrays.add((1.0, 2.5)) == 2

    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
    def test_packed_numbers_are_as_good_as_the_eye(self, values: list[float]) -> None:
        found = unpacked(json.loads(json.dumps(packed(values), allow_nan=False)))
        span = max(values) - min(values)
        assert len(found) == len(values)
        assert found == pytest.approx(values, abs=span / 100_000 if math.isfinite(span) else 0, rel=1e-9)

    @pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 1000])
    def test_thinning_keeps_both_ends(self, count: int) -> None:
        kept = thinned(count, 20)
        assert (kept[0], kept[-1]) == (0, count - 1)
        assert len(kept) == min(count, 20)

    def test_dots_lie_where_their_scores_are(self, tmp_path: Path) -> None:
        report = build(
            [str(make_sweep(tmp_path / "s", {1e-3: [0.0, 100.0], 1e-4: [25.0, 75.0]}))], ReportConfig(last=0), ""
        )
        picture = by_group(report.sections[0], 0.95)
        low, high = ({text: x for x, text in picture.ticks}[mark] for mark in ("0", "100"))
        places = {dot.title: dot.x for dot in picture.dots}
        assert places["seed 0: 0"] == low
        assert places["seed 1: 75.0"] == pytest.approx(low + 0.75 * (high - low), abs=0.1)

    def test_panels_lay_numbers_out_by_their_size(self, tmp_path: Path) -> None:
        make_sweep(tmp_path / "s", {1e-2: [1.0], 1e-3: [2.0], 1e-4: [3.0]})
        (panel,) = by_setting(build([str(tmp_path)], ReportConfig(), "").sections[0])
        first, second, third = (x for x, _ in panel.labels)
        assert [text for _, text in panel.labels] == ["0.0001", "0.001", "0.01"]
        assert second - first == pytest.approx(third - second, abs=0.2)

    def test_labels_of_panels_do_not_touch(self, tmp_path: Path) -> None:
        for number in range(30):
            make_run(tmp_path / str(number), seed=number % 2, gamma=0.9 + number // 2 / 300)
        (panel,) = by_setting(build([str(tmp_path)], ReportConfig(), "").sections[0])
        assert [text for _, text in panel.labels][:2] == ["0.9", "0.91"]
        assert all(b - a > 6 * (len(one) + len(two)) / 2 for (a, one), (b, two) in pairwise(panel.labels))
        assert len(panel.bars) == 15

    def test_no_panel_repeats_the_picture_of_two_groups(self, tmp_path: Path) -> None:
        make_sweep(tmp_path / "s", {1e-3: GOOD, 1e-4: BAD})
        assert not list(by_setting(build([str(tmp_path)], ReportConfig(), "").sections[0]))


def test_a_curve_of_one_point(tmp_path: Path) -> None:
    report = build([str(make_run(tmp_path / "a", rows=1))], ReportConfig(), "")
    assert report.sections[0].groups[0].curve == Curve((1000.0,), (100.0,), (100.0,), (100.0,))
    assert data_of(as_html(report))["charts"]["0-curves"]["views"][0]["groups"][0]["at"] == 0


needs_browser = pytest.mark.skipif(browser.find() is None, reason="no Chromium here; Debian's package is chromium")

CANVAS = """(key) => {
  const canvas = document.querySelector(`figure[data-chart="${key}"] canvas`);
  if (!canvas) return {};
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data, found = {};
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] < 250) continue;
    const colour = `${pixels[at]},${pixels[at + 1]},${pixels[at + 2]}`;
    found[colour] = (found[colour] || 0) + 1;
  }
  return found;
}"""


def coloured(shown: browser.Browser, key: str, colour: str) -> int:
    """How many pixels of a chart have just this colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    found: dict[str, int] = shown.run(f"({CANVAS})({json.dumps(key)})")
    return found.get(f"{red},{green},{blue}", 0)


def box(shown: browser.Browser, selector: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of an element in the window."""
    code = "const one = document.querySelector(%s); one.scrollIntoView({block: 'center'}); "
    code += "const {left, top, width, height} = one.getBoundingClientRect(); return [left, top, width, height];"
    left, top, width, height = shown.run(f"(() => {{ {code % json.dumps(selector)} }})()")
    return left, top, width, height


def tip(shown: browser.Browser, pattern: str) -> None:
    """Wait until what stands beside the cursor of the curves is like this."""
    code = "(document.querySelector('.tip:not([hidden])')?.innerText ?? '').replace(/\\s+/g, ' ').trim()"
    end = time.monotonic() + browser.PATIENCE
    while not re.fullmatch(pattern, told := shown.run(code)):
        assert time.monotonic() < end, told
        time.sleep(0.02)


BLUE, VERMILION, DARK_BLUE = "#0072b2", "#d55e00", "#4aa8e8"
OVER = 'figure[data-chart="0-curves"] .u-over'
DRAWN = "document.querySelector('figure[data-chart=\"0-curves\"] canvas') !== null"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    sweep_of_three(folder / "runs")
    path = folder / "report.html"
    path.write_text(page(folder / "runs", anyway=["budget"], threshold=200), encoding="utf-8")
    return path


@pytest.fixture
def shown(program: browser.Browser, written: Path) -> Iterator[browser.Browser]:
    """The page, freshly opened; afterwards nobody has complained, and nothing else was asked for."""
    program.requests.clear()
    program.complaints.clear()
    program.open(written)
    program.until(DRAWN)
    yield program
    program.run("1")
    assert program.complaints == []
    assert {request for request in program.requests if not request.startswith("data:")} == {written.as_uri()}


@needs_browser
class TestBrowser:
    """The page in headless Chromium."""

    def test_curves_are_drawn(self, shown: browser.Browser) -> None:
        assert coloured(shown, "0-curves", BLUE) > 200
        assert coloured(shown, "0-curves", VERMILION) > 100
        assert shown.run("document.documentElement.scrollWidth <= innerWidth")

    def test_every_chart_is_drawn_when_it_is_reached(self, shown: browser.Browser) -> None:
        for key in ("0-profile", "0-diagnostic-0"):
            box(shown, f'figure[data-chart="{key}"]')
            shown.until(f"document.querySelector('figure[data-chart=\"{key}\"] canvas') !== null")
            shown.until(f"Object.keys(({CANVAS})('{key}')).length > 20")

    def test_hover_tells_each_group_and_which_has_ended(self, shown: browser.Browser) -> None:
        left, top, width, height = box(shown, OVER)
        shown.mouse("mouseMoved", left + 0.2 * width, top + height / 2)
        tip(shown, r"step \d+( lr=\S+ total_timesteps=\d+ [\d.]+ [\d.]+ to [\d.]+){3}")
        shown.mouse("mouseMoved", left + 0.9 * width, top + height / 2)
        tip(shown, r"step 900 .* lr=0.0001 total_timesteps=400 ended at step 400")
        shown.mouse("mouseMoved", left - 60, top - 60)
        shown.until("document.querySelector('.tip').hidden")

    def test_dragging_zooms_and_all_shows_all(self, shown: browser.Browser) -> None:
        left, top, width, height = box(shown, OVER)
        shown.mouse("mouseMoved", left + 0.5 * width, top + 50)
        shown.mouse("mousePressed", left + 0.5 * width, top + 50)
        shown.mouse("mouseMoved", left + 0.8 * width, top + 60)
        shown.mouse("mouseReleased", left + 0.8 * width, top + 60)
        shown.mouse("mouseMoved", left + 2, top + height / 2)
        tip(shown, r"step 5[05]0 .*")
        shown.run("document.querySelector('.all').click()")
        shown.mouse("mouseMoved", left + 3, top + height / 2)
        tip(shown, "step 50 .*")

    def test_the_height_follows_what_is_shown(self, shown: browser.Browser) -> None:
        for box_of in ('[data-place="1"]', '[data-place="2"]', ".seeds", ".bands"):
            shown.run(f"document.querySelector('{box_of}').click()")
        shown.run("document.querySelector('.plot').focus()")
        shown.press("End")
        for _ in range(2):
            shown.press("+", "+")
        tall = """(() => {
          const canvas = document.querySelector('figure[data-chart="0-curves"] canvas');
          const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data, rows = [];
          for (let at = 0; at < pixels.length; at += 4) {
            if (pixels[at] === 0 && pixels[at + 1] === 114 && pixels[at + 2] === 178) rows.push(at / 4 / canvas.width);
          }
          return (Math.max(...rows) - Math.min(...rows)) / canvas.height;
        })()"""
        shown.until(f"{tall} > 0.6")

    def test_keys_move_and_zoom(self, shown: browser.Browser) -> None:
        shown.run("document.querySelector('.plot').focus()")
        shown.press("ArrowRight")
        shown.press("ArrowRight")
        tip(shown, "step 100 .*")
        assert shown.run("document.querySelector('.live').textContent").startswith("step 100; lr=0.01")
        shown.press("End")
        tip(shown, "step 1,000 .*")
        shown.press("+", "+")
        shown.press("Home")
        tip(shown, r"step [5-9]\d\d .*")
        shown.press("Escape")
        tip(shown, "")

    def test_wall_time(self, shown: browser.Browser) -> None:
        shown.run(
            "(() => { const one = document.querySelector('.view'); one.value = '1'; "
            "one.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )
        shown.run("document.querySelector('.plot').focus()")
        shown.press("End")
        tip(shown, "10.0 seconds .*")

    def test_groups_can_be_hidden(self, shown: browser.Browser) -> None:
        shown.run("document.querySelector('.legend [data-place=\"0\"]').click()")
        shown.until(f"!({CANVAS})('0-curves')['0,114,178']")
        assert coloured(shown, "0-curves", VERMILION) > 100
        shown.run("document.querySelector('.plot').focus()")
        shown.press("End")
        tip(shown, r"step 1,000 lr=0.001 [^=]+=1000 [^=]+ lr=0.0001 [^=]+=400 ended at step 400")

    def test_every_column_of_every_table_sorts_both_ways(self, shown: browser.Browser) -> None:
        column = """(table, at) => {
          const head = table.tHead.rows[0].cells[at];
          head.querySelector("button").click();
          const cells = [...table.tBodies[0].rows].map((row) => row.cells[at]);
          return [head.getAttribute("aria-sort"), cells.map((cell) => cell.dataset.n === undefined
            ? (cell.dataset.t === undefined ? null : cell.textContent) : Number(cell.dataset.n))];
        }"""
        every = "[...document.querySelectorAll('table.sortable')]"
        counts = shown.run(f"{every}.map((table) => table.tHead.rows[0].cells.length)")
        assert counts == [11, 7, 9, 4, 3, 3]
        for table, count in enumerate(counts):
            for at in range(count):
                ways = dict(shown.run(f"({column})({every}[{table}], {at})") for _ in range(2))
                assert set(ways) == {"ascending", "descending"}
                assert ways["ascending"] != ways["descending"] or len(set(ways["ascending"])) == 1
                for way, found in ways.items():
                    known = [value for value in found if value is not None]
                    assert found == known + [None] * (len(found) - len(known))
                    if known and str(known[0]).startswith("lr="):
                        known = [float(text.split("=")[1].split()[0]) for text in known]
                    assert known == sorted(known, reverse=way == "descending")

    def test_a_key_sorts_too(self, shown: browser.Browser) -> None:
        shown.run("document.querySelectorAll('table.sortable thead button')[2].focus()")
        shown.press("Enter", "\r")
        assert shown.run("document.querySelectorAll('table.sortable thead th')[2].ariaSort") == "descending"

    def test_dark(self, shown: browser.Browser, written: Path) -> None:
        light = shown.run("getComputedStyle(document.body).backgroundColor")
        shown.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
        )  # while it is open: charts are drawn anew
        shown.until(f"({CANVAS})('0-curves')['74,168,232'] > 100")
        assert coloured(shown, "0-curves", DARK_BLUE) > 100
        assert shown.run("getComputedStyle(document.body).backgroundColor") != light

    def test_a_narrow_window(self, shown: browser.Browser) -> None:
        with browser.resized(shown, 390, 800):
            shown.until(
                "document.documentElement.scrollWidth <= 390 && document.querySelector('.uplot').clientWidth < 390"
            )

    def test_names_are_no_markup(self, shown: browser.Browser, tmp_path: Path, written: Path) -> None:
        for seed in range(2):
            for activation in (EVIL, "tanh"):
                make_run(tmp_path / f"{len(activation)}{seed}", 9.0 + seed, seed, network__activation=activation)
        path = tmp_path / "report.html"
        path.write_text(page(tmp_path), encoding="utf-8")
        shown.open(path)
        shown.until(DRAWN)
        shown.run("document.querySelector('.plot').focus()")
        shown.press("End")
        tip(shown, "step 1,000 .*<img src=x.*")
        assert shown.run("document.querySelectorAll('img, script').length") == 3
        assert {request for request in shown.requests if not request.startswith("data:")} == {
            path.as_uri(),
            written.as_uri(),
        }
        shown.requests[:] = [written.as_uri()]

    def test_one_run(self, shown: browser.Browser, tmp_path: Path, written: Path) -> None:
        make_run(tmp_path / "a", rows=1)
        path = tmp_path / "report.html"
        path.write_text(page(tmp_path / "a"), encoding="utf-8")
        shown.open(path)
        shown.until(DRAWN)
        shown.until(f"({CANVAS})('0-curves')['0,114,178'] > 20")
        shown.requests[:] = [written.as_uri()]
