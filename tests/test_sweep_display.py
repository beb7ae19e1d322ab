"""What is shown of a sweep: the live table, plain lines, the time left, and the groups over seeds at its end."""

from __future__ import annotations

import io
import logging
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ppo_cli.cli.frame import console as console_on
from ppo_cli.cli.sweeps import groups_table, next_steps, show_groups, show_listed, spread
from ppo_cli.config import TrainConfig
from ppo_cli.loggers.repaint import SteadyLive
from ppo_cli.sweep.columns import Signs, folded, headings
from ppo_cli.sweep.display import busy, make_display
from ppo_cli.sweep.grouped import best_job, group_over_seeds
from ppo_cli.sweep.jobs import Job
from ppo_cli.sweep.lines import EVERY, SweepLines
from ppo_cli.sweep.remaining import remaining
from ppo_cli.sweep.table import LiveTable, picture
from ppo_cli.sweep.view import STATES, JobView, counts, done, percent, steps_per_second, told

FOLDER = Path("outputs/multirun/2026-11-26_06-00-00")
UTF8, ASCII = Signs("utf-8"), Signs("ascii")


def test_what_takes_seconds_is_said_in_a_terminal_and_wiped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for moves, expected in ((False, ""), (True, "checking the jobs …|\r\x1b[K")):
        monkeypatch.setattr("ppo_cli.sweep.display.cursor_moves", lambda moves=moves: moves)
        with busy("checking the jobs"):
            print("|" if moves else "", end="")
        assert capsys.readouterr().out == expected


def make_view(number: int = 0, state: str = "waiting", **facts: object) -> JobView:
    """A job of a sweep over two learning rates and any number of seeds."""
    swept = facts.pop("swept", {"lr": (3e-4, 1e-3)[number % 2], "seed": number // 2})
    assert isinstance(swept, dict)
    label = " ".join(f"{key}={told(value)}" for key, value in swept.items())
    plain: dict[str, object] = {"reason": None, "step": 0, "total": 1000, "returns": (), "elapsed": 0.0}
    plain |= {"steps_per_second": None, "final_return": None, "best_return": None, "folder": FOLDER / f"{number}"}
    return JobView(number=number, label=label, swept=swept, state=state, **(plain | facts))  # type: ignore[arg-type]


def a_hundred() -> list[JobView]:
    """Four jobs that run, two that failed, 30 that are through and 64 that wait."""
    going: dict[str, object] = {"step": 500, "returns": (1.0, 5.0, 9.0), "elapsed": 5.0, "steps_per_second": 120.0}
    through: dict[str, object] = {"step": 1000, "returns": (1.0, 9.0), "elapsed": 10.0}
    views = [make_view(n, "finished", final_return=100.0 + n, best_return=110.0, **through) for n in range(30)]
    views += [make_view(n, "failed", reason="RuntimeError: the wheel fell off", step=10) for n in (30, 31)]
    views += [make_view(n, "running", **going) for n in range(32, 36)]
    return views + [make_view(n) for n in range(36, 100)]


def lines_of(views: list[JobView], width: int, height: int, signs: Signs = UTF8, note: str = "") -> list[str]:
    return [line.plain for line in picture(views, FOLDER, 4, note, signs, width, height)]


# The live table


def test_a_hundred_jobs_at_80_by_24() -> None:
    lines = lines_of(a_hundred(), 80, 24, note="waiting for memory")
    assert len(lines) <= 24
    assert max(map(cell_len, lines)) <= 80
    assert lines[0] == str(FOLDER)
    assert lines[1].split()[-1] == "34%"  # 32,000 steps of jobs that are over and 2,000 of those that run, of 100,000
    assert lines[2] == "100 jobs · 4 running · 2 failed · 64 waiting · 30 finished"
    assert lines[3] == "480 steps/s · 0:02:45 left"
    assert " ".join(lines[5].split()) == "job lr seed state progress return curve steps/s left"
    first = [line.split() for line in lines[6:12]]
    assert [row[:4] for row in first] == [
        ["32", "0.0003", "16", "running"],
        ["33", "0.001", "16", "running"],
        ["34", "0.0003", "17", "running"],
        ["35", "0.001", "17", "running"],
        ["30", "0.0003", "15", "failed"],
        ["31", "0.001", "15", "failed"],
    ]
    assert first[0][5:7] == ["50%", "9.0"]
    assert first[0][-1] == "0:00:05"
    assert " ".join(first[4][4:]) == "RuntimeError: the wheel fell off"
    assert lines[12].split()[:2] == ["29", "0.001"]  # the best of those that are through
    shown = len(lines) - 2 - 12
    assert lines[-2] == f"  …  64 waiting · {30 - shown} finished"
    assert lines[-1] == "waiting for memory"


def test_a_larger_screen_shows_more() -> None:
    small, large = lines_of(a_hundred(), 80, 24), lines_of(a_hundred(), 200, 50)
    assert len(small) < len(large) <= 50
    assert " ".join(large[5].split()) == "job lr seed state progress return curve best step steps/s elapsed left"
    assert max(map(cell_len, large)) <= 200


def test_jobs_that_all_fit_keep_their_order() -> None:
    views = [make_view(0, "finished", final_return=1.0, step=1000), make_view(1, "running"), make_view(2)]
    rows = lines_of(views, 80, 24)[-3:]
    assert [row.split()[0] for row in rows] == ["0", "1", "2"]
    assert rows[2].split() == ["2", "0.0003", "1", "waiting"]


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 200])
def test_what_tells_jobs_apart_is_whole_at_any_width(width: int) -> None:
    paths = [f"/data/terrains/with/a/long/name/rough_terrain_number_{n}.npz" for n in range(3)]
    views = [make_view(n, "running", swept={"env.kwargs.file": path, "lr": 1e-3}) for n, path in enumerate(paths)]
    lines = lines_of(views, width, 60)
    assert max(map(cell_len, lines)) <= width
    together = "".join(line.strip() for line in lines)
    assert all(path in together for path in paths)
    assert sum("running" in line and "jobs" not in line for line in lines) >= 3


def test_signs_that_take_two_places() -> None:
    views = [make_view(n, "running", swept={"网络": "层" * 4 * n, "seed": n}) for n in range(2)]
    heading, *rows = lines_of(views, 60, 20)[-3:]
    starts = [heading.index("state"), *(row.index("running") for row in rows)]
    assert [cell_len(line[:start]) for line, start in zip((heading, *rows), starts, strict=True)] == [21] * 3
    assert max(cell_len(line) for line in (heading, *rows)) <= 60


def test_a_long_reason_is_cut_to_one_line() -> None:
    (row,) = lines_of([make_view(0, "failed", reason="no\nway " * 50)], 80, 24)[-1:]
    assert cell_len(row) == 80
    assert row.endswith("…")
    assert "no\\nway" in row


def test_ascii_where_there_are_no_blocks() -> None:
    text = "\n".join(lines_of(a_hundred(), 80, 24, ASCII, note="waits – for memory"))
    assert text.isascii()
    assert "###" in text
    assert "100 jobs - 4 running - 2 failed" in text
    assert "?" not in text


def test_curves() -> None:
    assert UTF8.curve([0.0, 7.0, math.nan, math.inf], 2) == "▁█"
    assert ASCII.curve([0.0, 7.0], 2) == "_#"
    assert UTF8.curve([math.nan], 3) == "   "
    assert len(UTF8.curve([-1.7e308, 1.7e308], 8)) == 8


def test_headings_are_short_where_that_is_enough() -> None:
    assert headings(["lr", "env.kwargs.a", "network.a", "env.kwargs.b"]) == ["lr", "env.kwargs.a", "network.a", "b"]


def test_values_as_one_types_them() -> None:
    assert [told(value) for value in (None, True, 1e-3, "mlp", [64, [1, None]], {"a": False})] == [
        "null", "true", "0.001", "mlp", "[64,[1,null]]", "{a:false}",
    ]  # fmt: skip
    assert told("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"


def test_folded_loses_nothing() -> None:
    assert list(folded("one two three", 7)) == ["one two", "three"]
    assert list(folded("abcdefgh ij", 4)) == ["abcd", "efgh", "ij"]
    assert list(folded("one two · three", 8, " · ")) == ["one two", "three"]


def test_a_thousand_jobs_cost_little() -> None:
    views = [view for copy in range(10) for view in (replace(v, number=v.number + 100 * copy) for v in a_hundred())]
    began = time.perf_counter()
    assert len(lines_of(views, 80, 24)) == 24
    assert time.perf_counter() - began < 0.5


# The live display around it


def test_the_live_table_shows_and_leaves_its_last_picture() -> None:
    output = io.StringIO()
    table = LiveTable(FOLDER, 4, Console(file=output, width=80, height=24, force_terminal=True, color_system=None))
    table.update([make_view(0, "running")])
    logging.getLogger("ppo_cli").warning("a warning above it")
    table.update([make_view(0, "finished", final_return=12.5, step=1000)])
    table.close()
    text = output.getvalue()
    assert "a warning above it" in text
    assert text.rindex("12.5") > text.index("running")
    assert text.endswith("\x1b[?25h")  # the cursor is there again


def test_a_display_that_never_showed_anything_can_be_closed() -> None:
    output = io.StringIO()
    LiveTable(FOLDER, 4, Console(file=output, force_terminal=True)).close()
    assert output.getvalue() == ""


def test_a_change_of_size_wipes_the_screen() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, height=24, force_terminal=True)
    with SteadyLive(Text("picture"), console=console, auto_refresh=False) as live:
        live.refresh()
        assert "\x1b[2J" not in output.getvalue()
        console.size = (40, 24)  # type: ignore[assignment]
        live.refresh()
        assert output.getvalue().count("\x1b[2J\x1b[H") == 1
        live.refresh()
        assert output.getvalue().count("\x1b[2J") == 1


@pytest.mark.parametrize(
    ("terminal", "encoding", "kind"),
    [(True, "utf-8", LiveTable), (True, "cp1252", LiveTable), (False, "utf-8", SweepLines)],
)
def test_which_display(monkeypatch: pytest.MonkeyPatch, terminal: bool, encoding: str, kind: type) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    assert type(make_display(FOLDER, 2)) is kind


# Plain lines


def test_lines_when_jobs_start_and_end_and_now_and_then() -> None:
    stream, clock = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), [0.0]
    lines = SweepLines(FOLDER, 2, stream, clock=lambda: clock[0])
    going: dict[str, object] = {"step": 500, "elapsed": 5.0, "steps_per_second": 90.0}
    before = make_view(0, "finished", final_return=1.0)
    lines.update([before, make_view(1), make_view(2, step=200)])
    lines.update([before, make_view(1, "running"), make_view(2, "running")], "slow")
    clock[0] = EVERY
    views = [before, make_view(1, "running", **going), make_view(2, "running", **going)]
    lines.update(views, "slow")
    lines.update(views, "slow")
    through = make_view(1, "finished", step=1000, final_return=7.25, best_return=9.0, elapsed=61.0)
    lines.update([before, through, make_view(2, "failed", step=512, reason="ended by os._exit with status 3")])
    lines.close()
    stream.seek(0)
    assert stream.read().splitlines() == [
        f"3 jobs: 2 waiting, 1 finished, 2 at a time · {FOLDER}",
        "job 1 (lr=0.001 seed=0) started",
        "job 2 (lr=0.0003 seed=1) goes on",
        "slow",
        "66% · 2 running · 1 finished · 180 steps/s · 0:00:05 left",
        "job 1 (lr=0.001 seed=0) finished at step 1,000 · return 7.2 · best 9.0 · 0:01:01",
        "job 2 (lr=0.0003 seed=1) failed at step 512: ended by os._exit with status 3",
    ]


def test_lines_say_what_the_encoding_can_and_nothing_where_nobody_reads() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    SweepLines(FOLDER, 2, stream).update([make_view(0, "running", swept={"network": "größer"})])
    stream.seek(0)
    assert stream.read().splitlines()[1] == "job 0 (network=gr??er) started"
    stream.close()
    for gone in (stream, None):
        SweepLines(FOLDER, 2, gone).update([make_view(0, "running")])
    left = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    lines = SweepLines(FOLDER, 2, left)
    left.close()
    lines.update([make_view(0, "running")])


# Numbers of the whole sweep


def test_the_time_left_is_that_of_a_schedule() -> None:
    fast: dict[str, object] = {"step": 500, "elapsed": 5.0}  # 100 steps a second, 5 s to go
    assert remaining([make_view(0), make_view(1)], 2) is None
    assert remaining([make_view(0, "running", **fast)], 2) == 5.0
    # Two places: 5 + 10 s in each, then one more job for 10 s.
    views = [make_view(n, "running", **fast) for n in (0, 1)] + [make_view(n) for n in (2, 3, 4)]
    assert remaining(views, 2) == 25.0
    assert remaining(views, 3) == 15.0
    # One that has not begun to tell its speed takes the others'; one that is to go on has less before it.
    assert remaining([make_view(0, "running", **fast), make_view(1, "running")], 2) == 10.0
    assert remaining([make_view(0, "running", **fast), make_view(1, step=900)], 1) == 6.0
    # Between two jobs, those that have ended tell.
    assert remaining([make_view(0, "finished", step=1000, elapsed=20.0), make_view(1)], 1) == 20.0
    assert remaining([make_view(0, "finished"), make_view(1, "failed")], 1) == 0.0


def test_how_much_is_done() -> None:
    views = [make_view(0, "failed", step=10), make_view(1, "running", step=500), make_view(2), make_view(3, "finished")]
    assert done(views) == 0.625
    assert counts(views) == ["1 running", "1 failed", "1 waiting", "1 finished"]
    assert [percent(share) for share in (0.0, 0.999, 1.0)] == ["0%", "99%", "100%"]
    running = [make_view(n, "running", steps_per_second=speed) for n, speed in enumerate((100.0, None, 50.0))]
    assert steps_per_second([*running, make_view(3, "finished", steps_per_second=7.0)]) == 150.0


# Groups over seeds


def through(number: int, value: float | None, **facts: object) -> JobView:
    return make_view(number, "finished", step=1000, final_return=value, **facts)


def test_groups_by_all_but_the_seed_best_first() -> None:
    views = [through(0, 1.0), through(1, 10.0), through(2, 2.0), through(3, 20.0), through(4, 6.0)]
    better, worse = group_over_seeds(views)
    assert (better.settings, better.returns, better.mean) == ({"lr": 1e-3}, (10.0, 20.0), 15.0)
    assert better.std == pytest.approx(math.sqrt(50.0))  # (25 + 25) / (2 − 1)
    assert (worse.settings, worse.mean) == ({"lr": 3e-4}, 3.0)
    assert worse.std == pytest.approx(math.sqrt(7.0))  # (4 + 1 + 9) / (3 − 1)


def test_only_those_that_finished_count() -> None:
    views = [
        through(0, 4.0),
        make_view(2, "failed", final_return=400.0),
        make_view(4, "interrupted", final_return=400.0),
        through(6, None),
        make_view(8, "pruned", final_return=400.0),
    ]
    (group,) = group_over_seeds(views)
    assert group.returns == (4.0,)
    assert group.std is None
    assert len(group.jobs) == 5


def test_values_that_equal_each_other_are_not_the_same_setting() -> None:
    values = (1, 1.0, True, [64], {"a": [64]})
    views = [through(n, float(n), swept={"x": value, "seed": 0}) for n, value in enumerate(values)]
    assert [group.settings["x"] for group in group_over_seeds(views)] == list(reversed(values))


def test_groups_without_a_mean_come_last() -> None:
    returns = (math.nan, -math.inf, None, 3.0)
    views = [through(n, value, swept={"lr": n}) for n, value in enumerate(returns)]
    assert [group.settings["lr"] for group in group_over_seeds(views)] == [3, 1, 0, 2]


def test_the_best_job() -> None:
    assert best_job([make_view(0)]) is None
    bests = (-7.0, -3.0, math.nan)
    views = [through(n, 1.0, best_return=best) for n, best in enumerate(bests)]
    found = best_job(views)
    assert found is not None
    assert found.number == 1


def told_at_the_end(
    monkeypatch: pytest.MonkeyPatch, views: list[JobView], encoding: str = "utf-8", named: tuple[str, ...] = ()
) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    show_groups(views, FOLDER, named, named)
    stream.seek(0)
    return stream.read()


def test_what_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    views = [through(0, 1.0), through(1, 10.0, best_return=30.0), through(2, 3.0), through(3, 20.0, best_return=25.0)]
    views.append(make_view(4, "failed", step=512, reason="killed by SIGKILL (out of memory, perhaps)"))
    text = told_at_the_end(monkeypatch, views, named=("env=mine:Env",))
    assert f"5 jobs in {FOLDER}: 1 failed, 4 finished\n" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [["0.001", "15.00 ± 7.07", "2", "30.00", "1"], ["0.0003", "2.00 ± 1.41", "2 of 3", "–", ""]]
    reason = "failed at step 512: killed by SIGKILL (out of memory, perhaps)"
    assert f"job 4 (lr=0.0003 seed=2) {reason} ({FOLDER / '4'})\n" in text
    assert [line.strip() for line in text.splitlines()[-2:]] == [
        f"evaluate the best  ppo-eval checkpoint={FOLDER}/1 env=mine:Env",
        f"go on with it  ppo-train -m resume={FOLDER} env=mine:Env",
    ]


def test_one_job_that_differs_in_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    show_listed([Job(0, "", {}, TrainConfig(), FOLDER)])
    assert capsys.readouterr().out.endswith("\n1 job; nothing was started\n")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    lines = SweepLines(FOLDER, 1, stream)
    lines.update([make_view(swept={})])
    lines.update([make_view(0, "running", swept={})])
    stream.seek(0)
    assert stream.read().splitlines() == [f"1 job: 1 waiting, 1 at a time · {FOLDER}", "job 0 started"]
    text = told_at_the_end(monkeypatch, [make_view(0, "failed", swept={}, reason="why", step=5)])
    assert f"\n1 job in {FOLDER}: 1 failed\n" in text
    assert f"\njob 0 failed at step 5: why ({FOLDER / '0'})\n" in text


def test_a_job_that_lost_a_tracker_is_told_of_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "problem" not in told_at_the_end(monkeypatch, [through(0, 1.0), through(1, 1.0)])
    lost = [through(n, 1.0, problems=("MlflowLogger failed: no table", "another")) for n in (1, 2, 3)]
    text = told_at_the_end(monkeypatch, [through(0, 1.0), *lost])
    first = "job 1 (lr=0.001 seed=0) met with a problem: MlflowLogger failed: no table, and so did 2 more"
    assert f"{first} (problems in summary.json, {FOLDER / '1'})\n" in text
    assert "and so did" not in told_at_the_end(monkeypatch, lost[:1])


def test_what_to_type_next_is_what_there_is(tmp_path: Path) -> None:
    assert next_steps([through(0, 1.0), make_view(1, "pruned")], tmp_path, (), ()) == {}
    (tmp_path / "results.csv").touch()
    assert set(next_steps([through(0, 1.0)], tmp_path, (), ())) == {"results"}
    assert set(next_steps([make_view(0, "interrupted")], tmp_path, (), ())) == {"results", "go on with it"}


def test_one_seed_has_no_spread_and_no_n(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told_at_the_end(monkeypatch, [through(0, 1.0, swept={"lr": 1e-3})])
    assert "±" not in text
    assert " n " not in text
    assert spread(group_over_seeds([through(0, 1.0)])[0]) == "1.00"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_end_in_plainer_encodings(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    text = told_at_the_end(monkeypatch, [through(0, 1.0), through(2, 3.0)], encoding)
    assert ("2.00 +- 1.41" if encoding == "ascii" else "2.00 ± 1.41") in text
    assert "?" not in text


def test_the_end_table_at_80_columns_keeps_settings_and_returns_whole() -> None:
    path = "/data/terrains/with/a/long/name/rough_terrain_number_3.npz"
    views = [through(n, 123.45 + n, swept={"env.kwargs.file": path, "lr": 1e-3, "seed": n}) for n in range(3)]
    out = Console(file=io.StringIO(), width=80, record=True)
    out.print(groups_table(group_over_seeds(views), out))
    lines = out.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    columns = zip(*(line.split("│")[1:-1] for line in lines if line.startswith("│")), strict=True)
    first = ["".join(cell.strip() for cell in column) for column in columns]
    assert path in first
    assert "124.45 ± 1.00" in first


# Anything at all

FLOATS = st.none() | st.floats()
TEXTS = st.text(max_size=30)
VIEWS = st.lists(
    st.builds(
        JobView,
        number=st.integers(0, 10**6),
        label=TEXTS,
        swept=st.dictionaries(TEXTS, FLOATS | TEXTS | st.lists(st.integers()), max_size=3),
        state=st.sampled_from(STATES),
        reason=st.none() | TEXTS,
        step=st.integers(0, 10**12),
        total=st.integers(0, 10**12),
        returns=st.lists(st.floats(), max_size=9).map(tuple),
        steps_per_second=FLOATS,
        final_return=FLOATS,
        best_return=FLOATS,
        folder=TEXTS.map(lambda text: FOLDER / text.replace("\0", "")),
        elapsed=st.floats(0, 1e9),
        problems=st.lists(TEXTS, max_size=2).map(tuple),
    ),
    max_size=6,
)


SIZES = st.tuples(st.integers(20, 200), st.integers(5, 50))


@given(views=VIEWS, size=SIZES, note=TEXTS, signs=st.sampled_from([UTF8, ASCII]))
def test_any_jobs_fit_any_screen(views: list[JobView], size: tuple[int, int], note: str, signs: Signs) -> None:
    width, height = size
    lines = lines_of(views, width, height, signs, note)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    out = Console(file=io.StringIO(), width=width, record=True)
    for line in picture(views, FOLDER, 4, note, signs, width, height):
        out.print(line)
    assert len(out.export_text().splitlines()) == len(lines)


@given(views=VIEWS)
def test_any_jobs_can_be_told(views: list[JobView]) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="ppo_cli.plainer")
    lines = SweepLines(FOLDER, 2, stream)
    lines.update([])
    lines.update(views)
    out = console_on(stream, longest=200)
    out.print(groups_table(group_over_seeds(views), out))
