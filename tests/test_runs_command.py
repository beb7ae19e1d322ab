"""``ppo-runs``: what is listed, and that nothing is deleted but what was named."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path

import pytest
from console import run_here
from rich.console import Console
from run_folders import make_run, make_sweep

from ppo_cli.cli import runs as command
from ppo_cli.errors import ConfigError
from ppo_cli.report.catalogue import catalogue, rows, since_when, size_of
from ppo_cli.report.options import RunsConfig
from ppo_cli.runs.lock import locked


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs alone, one of which failed, a sweep of four, and a broken folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "CartPole-v1"
    make_run(folder / "2026-01-01", 11.0, facts={"started": "2026-01-01T00:00:00+00:00"})
    make_run(
        tmp_path / "outputs" / "Acrobot-v1" / "2026-03-01", -80.0, env="Acrobot-v1", status="failed", step=400,
        facts={"started": "2026-03-01T00:00:00+00:00"},
    )  # fmt: skip
    make_sweep(folder / "sweep", {1e-3: [10.0, 20.0], 1e-4: [1.0, 2.0]}, facts={"started": "2026-02-01T00:00:00+00:00"})
    (folder / "broken" / "checkpoints").mkdir(parents=True)
    (folder / "broken" / "checkpoints" / "best.pt").write_bytes(b"")
    return tmp_path / "outputs"


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run the command; its exit status, and what it printed."""
    answered = run_here(monkeypatch, capsys, command.main, "ppo-runs", *words)
    return answered.code, answered.out, answered.words


def answer(text: str) -> StringIO:
    """A terminal at which somebody types."""
    stream = StringIO(text)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    return stream


def listed(folder: Path, width: int) -> list[str]:
    """The lines of the list of all runs below a folder, in a terminal of so many columns there."""
    out = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command.show(catalogue(["."], RunsConfig()), RunsConfig(), False, out)
    assert isinstance(out.file, StringIO)
    return out.file.getvalue().splitlines()


class TestList:
    """What is shown."""

    def test_runs_and_sweeps(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, _ = run(monkeypatch, capsys)
        assert code == 0
        lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
        assert [(line[1], line[2], line[3], line[4], line[5]) for line in lines] == [
            ("Acrobot-v1", "failed", "0", "", "-80.00"),
            ("CartPole-v1", "sweep: 4 finished", "2 seeds", "lr=0.0001,0.001", "1.00 to 20.00"),
            ("CartPole-v1", "finished", "0", "lr=0.0003", "11.00"),
            ("–", "broken", "–", "", "–"),
        ]
        assert lines[2][-1] == "outputs/CartPole-v1/2026-01-01"

    def test_a_sweep_that_is_named_shows_its_jobs(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = run(monkeypatch, capsys, "outputs/CartPole-v1/sweep")
        assert out.count("finished") == 4
        assert out.count("lr=0.0001") == 2

    @pytest.mark.parametrize(
        ("words", "names"),
        [
            ([], {"2026-01-01", "2026-03-01", "sweep/0", "sweep/1", "sweep/2", "sweep/3", "broken"}),
            (["env=Acrobot-v1"], {"2026-03-01"}),
            (["state=failed"], {"2026-03-01"}),
            (["state=broken"], {"broken"}),
            (["since=2026-02-15"], {"2026-03-01"}),
            (["env=CartPole-v1", "since=2026-01-15"], {"sweep/0", "sweep/1", "sweep/2", "sweep/3"}),
            (["state=running"], set()),
        ],
    )
    def test_filters(
        self,
        outputs: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        names: set[str],
    ) -> None:
        code, out, _ = run(monkeypatch, capsys, *words, "--json")
        assert code == 0
        found = json.loads(out)
        assert {
            Path(one["folder"]).name if one["sweep"] is None else f"sweep/{Path(one['folder']).name[0]}"
            for one in found
        } == names

    def test_json_knows_everything(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, out, _ = run(monkeypatch, capsys, "state=failed", "--json")
        (one,) = json.loads(out)
        assert one["size"] == size_of(outputs / "Acrobot-v1" / "2026-03-01") > 100
        del one["size"]
        assert one == {
            "folder": "outputs/Acrobot-v1/2026-03-01", "sweep": None, "env": "Acrobot-v1", "state": "failed",
            "reason": None, "seed": 0, "settings": {}, "started": "2026-03-01T00:00:00+00:00", "step": 400,
            "budget": 1000, "final_return": -80.0, "best_return": -80.0, "wall_time": 12.5,
        }  # fmt: skip

    def test_running_is_who_holds_the_folder(self, outputs: Path) -> None:
        on = make_run(outputs / "on", status="running")
        make_run(outputs / "killed", status="running", seed=1)
        with locked(on):
            states = {one.folder.name: one.state for one in catalogue([str(outputs)], RunsConfig())}
        assert (states["on"], states["killed"]) == ("running", "interrupted")

    def test_limit(self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        _, out, _ = run(monkeypatch, capsys, "limit=1")
        assert out.count("│\n") == 1
        assert "3 older ones are not shown" in out

    def test_a_sweep_over_environments_names_what_was_swept_alone(self, tmp_path: Path) -> None:
        presets: dict[str, dict[str, object]] = {"CartPole-v1": {"network__recurrent": "lstm"}, "Acrobot-v1": {}}
        for number, (env, lr) in enumerate((env, lr) for env in presets for lr in (1e-3, 10.0)):
            make_run(tmp_path / "sweep" / str(number), env=env, lr=lr, **presets[env])
        (tmp_path / "sweep" / "sweep.json").write_text("{}", encoding="utf-8")
        make_run(tmp_path / "other", env="CartPole-v1", lr=1e-3, batch_size=32)  # differs from the sweep's
        (line,) = [line for line in listed(tmp_path, 200) if "sweep:" in line]
        assert " lr=0.001,10 │" in " ".join(line.split())

    def test_jobs_of_one_second_come_by_their_numbers(self, tmp_path: Path) -> None:
        for number in (0, 2, 10):
            make_run(tmp_path / "sweep" / f"{number}_lr", facts={"started": "2026-01-01T00:00:00+00:00"})
        (tmp_path / "sweep" / "sweep.json").write_text("{}", encoding="utf-8")
        names = [one.folder.name for one in catalogue([str(tmp_path)], RunsConfig())]
        assert names == ["10_lr", "2_lr", "0_lr"]

    def test_runs_of_one_second_come_by_their_names(self, tmp_path: Path) -> None:
        stamps = [f"2026-01-01_00-00-00_{part:08x}" for part in (5, 40, 7, 300, 6)]
        for stamp in stamps:
            make_run(tmp_path / stamp, facts={"started": "2026-01-01T00:00:00+00:00"})
        names = [one.folder.name for one in catalogue([str(tmp_path)], RunsConfig())]
        assert names == sorted(stamps, reverse=True)

    @pytest.mark.parametrize(
        ("width", "headings"),
        [
            (40, "folder"),
            (80, "state return folder"),
            (100, "state settings return folder"),
            (120, "environment state seed settings return folder"),
            (200, "began environment state seed settings return time size folder"),
        ],
    )
    def test_folders_can_be_copied_at_every_width(self, tmp_path: Path, width: int, headings: str) -> None:
        places = [f"outputs/CartPole-v1/2026-11-20_00-00-00_0123abc{number}" for number in range(2)]
        for place, lr in zip(places, (1e-3, 1e-4), strict=True):
            make_run(tmp_path / place, lr=lr, batch_size=round(1 / lr))
        head, *lines = [line for line in listed(tmp_path, width) if line[0] in "┃│"]
        assert head.split() == " ┃ ".join(["", *headings.split(), ""]).split()
        assert all(any(f"│ {place} │" in line for line in lines) for place in places)

    def test_a_sweep_says_how_it_stands_in_narrow_terminals_too(self, tmp_path: Path) -> None:
        make_sweep(tmp_path / "outputs" / "2026-11-20_00-00-00_0123abcd-and-more", {1e-3: [10.0, 20.0]})
        assert "│ sweep: 2    │ 10.00 to 20.00 │" in " ".join(listed(tmp_path, 80))

    def test_since(self) -> None:
        now = datetime(2026, 5, 10, tzinfo=timezone.utc)
        assert since_when("7d", now) == now - timedelta(days=7)
        assert since_when("90m", now) == now - timedelta(minutes=90)
        assert since_when("2026-01-31T12:00:00+00:00", now) == datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
        with pytest.raises(ConfigError, match="is no time"):
            since_when("yesterday", now)

    def test_names_of_one_file_count_once(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"x" * 1000)
        (tmp_path / "b").hardlink_to(tmp_path / "a")
        assert size_of(tmp_path) == 1000

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["nowhere"], "there is no nowhere"),
            (["stat=failed"], "Did you mean state?"),
            (["state=dead"], "is none of finished, failed"),
            (["yes=true"], "no effect without delete"),
            (["delete"], "nothing was named"),
            (["delete", "outputs", "env=x"], "takes what is named, and no filters"),
            (["--jsn"], "Did you mean --json?"),
        ],
    )
    def test_what_does_not_fit(
        self,
        outputs: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        said: str,
    ) -> None:
        code, _, err = run(monkeypatch, capsys, *words)
        assert code == 2
        assert said in err

    def test_two_thousand_runs_in_a_second(self, tmp_path: Path) -> None:
        for number in range(2000):
            make_run(tmp_path / str(number), seed=number, rows=1, lr=1 / (1 + number % 3))
        began = time.process_time()
        assert len(rows(catalogue([str(tmp_path)], RunsConfig()), jobs=False)) == 2000
        assert time.process_time() - began < 2  # twice what it may take, for machines that are busy


class TestDelete:
    """What goes, and what stays."""

    def test_after_a_yes(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", answer("y\n"))
        before = {path for path in outputs.rglob("*") if "2026-01-01" not in path.parts}
        code, out, _ = run(monkeypatch, capsys, "delete", "outputs/CartPole-v1/2026-01-01")
        assert code == 0
        assert "Deleted 1 run," in out
        assert set(outputs.rglob("*")) == before

    @pytest.mark.parametrize("typed", ["n\n", "\n", "", "yess\n"])
    def test_nothing_after_anything_else(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
    ) -> None:
        monkeypatch.setattr(sys, "stdin", answer(typed))
        before = set(outputs.rglob("*"))
        code, _, err = run(monkeypatch, capsys, "delete", "outputs/CartPole-v1/2026-01-01")
        assert code == 1
        assert "Nothing was deleted" in err
        assert set(outputs.rglob("*")) == before

    def test_nobody_to_ask(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", StringIO())
        code, _, err = run(monkeypatch, capsys, "delete", "outputs/CartPole-v1/2026-01-01")
        assert code == 2
        assert "yes=true" in err
        assert (outputs / "CartPole-v1" / "2026-01-01").is_dir()

    def test_a_sweep_goes_with_its_jobs(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["outputs/CartPole-v1/sweep", "outputs/CartPole-v1/sweep/0_lr-0.001_seed-0"]
        code, out, _ = run(monkeypatch, capsys, "delete", *words, "yes=true")
        assert code == 0
        assert "Deleted 1 sweep," in out
        assert not (outputs / "CartPole-v1" / "sweep").exists()
        assert (outputs / "CartPole-v1" / "2026-01-01").is_dir()

    def test_what_links_lead_to_stays(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        away = make_run(outputs.parent / "away", seed=8)
        (outputs / "CartPole-v1" / "sweep" / "linked").symlink_to(away)
        (outputs / "CartPole-v1" / "2026-01-01" / "linked").symlink_to(away)
        assert run(monkeypatch, capsys, "delete", "outputs/CartPole-v1/2026-01-01", "yes=true")[0] == 0
        assert run(monkeypatch, capsys, "delete", "outputs/CartPole-v1/sweep", "yes=true")[0] == 0
        assert not (outputs / "CartPole-v1" / "sweep").exists()
        assert (away / "summary.json").is_file()

    @pytest.mark.parametrize(
        ("what", "said"),
        [
            ("outputs", "is neither a run nor a sweep"),
            ("outputs/CartPole-v1", "is neither a run nor a sweep"),
            ("outputs/CartPole-v1/2026-01-01/summary.json", "is neither a run nor a sweep"),
            ("outputs/nothing", "there is no"),
            ("link", "is a link"),
            ("around", "holds other runs too"),
        ],
    )
    def test_what_is_refused_leaves_everything(
        self,
        outputs: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        what: str,
        said: str,
    ) -> None:
        (outputs.parent / "link").symlink_to(outputs / "CartPole-v1" / "2026-01-01")
        make_run(make_run(outputs.parent / "around") / "inner", seed=1)
        before = set(outputs.parent.rglob("*"))
        code, _, err = run(monkeypatch, capsys, "delete", "outputs/CartPole-v1/2026-01-01", what, "yes=true")
        assert code == 2
        assert said in err
        assert set(outputs.parent.rglob("*")) == before

    @pytest.mark.parametrize("name", ["2026-01-01", "sweep"])
    def test_what_is_running_stays(
        self, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
    ) -> None:
        folder = outputs / "CartPole-v1" / name
        busy = folder if name != "sweep" else next(folder.glob("3_*"))
        with locked(busy):
            code, _, err = run(monkeypatch, capsys, "delete", folder, "outputs/Acrobot-v1/*", "yes=true")
            assert code == 2
            assert "is running" in err
        assert (busy / "summary.json").is_file()
        assert (outputs / "Acrobot-v1" / "2026-03-01" / "summary.json").is_file()
