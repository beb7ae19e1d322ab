"""The commands themselves: help, printing, what argv becomes, and a whole run."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from console import SCRIPTS, command, environment, files_in, run

from ppo_cli.cli.help import answers, eval_help, report_help, runs_help, train_help, within
from ppo_cli.config import EvalConfig, TrainConfig, walk
from ppo_cli.hydra_ext.argv import parse, quote
from ppo_cli.hydra_ext.compose import checked, loader, prepare
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.runs.folder import new_run_dir, new_stamp, slug

SAFE = re.compile(r"[A-Za-z0-9._-]+")
TINY = ("total_timesteps=64", "buffer_size=64", "batch_size=64", "epochs=1", "eval_every=null")


def imported_by(*words: str) -> set[str]:
    """The top-level packages that a command imports."""
    script, *arguments = command(*words)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", script, *arguments],
        env=environment(), capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize("name", ["ppo-train", "ppo-eval"])
def test_help_imports_nothing_slow(name: str) -> None:
    assert not imported_by(name, "--help") & {"hydra", "omegaconf", "rich", "torch", "numpy", "gymnasium"}


def test_printing_the_config_imports_neither_torch_nor_gymnasium() -> None:
    assert not imported_by("ppo-train", "--cfg", "job") & {"torch", "gymnasium", "numpy", "matplotlib"}


@pytest.mark.parametrize("text", [train_help(), eval_help(), report_help(), runs_help()])
def test_help_fits_a_terminal_and_says_the_same(text: str) -> None:
    whole = re.compile(r"  ppo-\S+( \S+)*")  # a command is there to be copied
    assert not [line for line in within(text, 80).splitlines() if len(line) > 80 and not whole.fullmatch(line)]
    assert within(text, 80).split() == text.split()
    assert within(text, 1000) == text


def test_help_breaks_below_a_column() -> None:
    row = "  device  cpu  where tensors live: cpu, cuda or mps"
    assert within(row, 40) == "  device  cpu  where tensors live: cpu,\n               cuda or mps"


def test_help_asks_for_the_width_of_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert answers("ppo-train", ["--help"])
    assert capsys.readouterr().out == train_help()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert answers("ppo-train", ["--help"])
    assert capsys.readouterr().out == within(train_help(), 80)


@pytest.mark.parametrize(("name", "kind"), [("ppo-train", TrainConfig), ("ppo-eval", EvalConfig)])
def test_help_names_every_setting(tmp_path: Path, name: str, kind: type[Any]) -> None:
    answer = run(tmp_path, name, "--help")
    assert answer.code == 0
    for key, _, item in walk(kind()):
        assert re.search(rf"^  {re.escape(key)} .*{re.escape(item.metadata['meaning'])}$", answer.out, re.MULTILINE)


def test_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"ppo-train \d+\.\d+\S*\n", run(tmp_path, "ppo-train", "--version").out)
    assert re.fullmatch(r"ppo-eval \d+\.\d+\S*\n", run(tmp_path, "ppo-eval", "--version").out)


def test_module_is_the_training_command(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ppo_cli", "--cfg", "job", "env=Acrobot-v1", "--package", "env"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8", check=True)
    assert "id: Acrobot-v1" in done.stdout
    assert "lr:" not in done.stdout


def test_printing_leaves_nothing_behind(tmp_path: Path) -> None:
    for words in (("ppo-train", "--cfg", "job"), ("ppo-train", "--info", "searchpath"), ("ppo-eval", "--cfg", "job")):
        assert run(tmp_path, *words).code == 0
    assert not files_in(tmp_path)


def test_evals_env_is_a_plain_value(tmp_path: Path) -> None:
    assert "env: mine:Env-v0" in run(tmp_path, "ppo-eval", "env=mine:Env-v0", "--cfg", "job").out


@pytest.mark.parametrize(
    ("typed", "hydras"),
    [
        ("lr=1 -m seed=0,1", "-m lr=1 seed=0,1"),
        ("seed=1 --cfg job --package env", "--cfg job --package env seed=1"),
        ("seed=1 --info searchpath", "--info=searchpath seed=1"),
        ("env.kwargs.gravity=9", "++env.kwargs.gravity=9"),
        ("env.kwargs={gravity:9}", "++env.kwargs={gravity:9}"),
        ("env.kwargs.mode=None", "++env.kwargs.mode=null"),
        ("env.id=Acrobot-v1", "env=Acrobot-v1"),
        ("env=mine env.id=Acrobot-v1", "env=mine env.id=Acrobot-v1"),
        ("init_from=null", "init_from=null"),
        ("output_dir=a,b=[c]", "output_dir='a,b=[c]'"),
        ("-m init_from=a,b", "-m init_from='a','b'"),
        ("lr=1e-4 env=CartPole-v1", "lr=1e-4 env=CartPole-v1"),
        ("hydra.run.dir=jürgen/${env.id}", "hydra.run.dir='jürgen/${env.id}'"),
        ("hydra.run.dir='jürgen/a'", "hydra.run.dir='jürgen/a'"),
    ],
)
def test_argv_becomes_what_hydra_reads(typed: str, hydras: str) -> None:
    assert " ".join(parse(typed.split(), TrainConfig).to_hydra()) == hydras


def test_home_is_written_out_since_no_shell_does_it_after_an_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    words = ["output_dir=~/a", "hydra.run.dir=~/b", "-m", "hydra.sweep.dir=~/c"]
    assert parse(words, TrainConfig).overrides == [
        "output_dir='/home/me/a'", "hydra.run.dir=/home/me/b", "hydra.sweep.dir=/home/me/c",
    ]  # fmt: skip


def test_completion_is_left_alone() -> None:
    words = ["-sc", "query=bash"]
    assert parse(words, TrainConfig).to_hydra() == words


ODD_NAMES = [
    "a=b",
    "a,b",
    "a b",
    "[x]",
    "{y}",
    "it's",
    'say "hi"',
    "$HOME",
    "${lr}",
    r"a\${b}",
    "back\\",
    "é→",
    "null ",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_path_is_taken_literally(name: str) -> None:
    prepare()
    line = parse([f"checkpoint=runs/{name}"], EvalConfig)
    with loader("eval") as load:
        assert checked(EvalConfig, load, line.overrides).checkpoint == f"runs/{name}"
    assert quote(name).startswith("'")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CartPole-v1", "CartPole-v1"),
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("my.module:Env-v0", "my.module-Env-v0"),
        ("../..", "unnamed"),
        ("é", "unnamed"),
        ("lr=[1, 2]", "lr-1-2"),
    ],
)
def test_folder_name(text: str, name: str) -> None:
    assert slug(text) == name


def test_long_folder_names_are_cut_and_do_not_meet() -> None:
    one, other = slug("a" * 200), slug("a" * 201)
    assert one != other
    assert len(one) == len(other) == 80
    assert SAFE.fullmatch(one)


def test_runs_of_the_same_second_do_not_share_a_folder(tmp_path: Path) -> None:
    assert len({new_stamp() for _ in range(1000)}) == 1000
    assert new_run_dir(str(tmp_path), "CartPole-v1") != new_run_dir(str(tmp_path), "CartPole-v1")
    asked = command("ppo-train", "--cfg", "all", "--package", "hydra.run", "--resolve")
    started = [
        subprocess.Popen(asked, env=environment(), stdout=subprocess.PIPE, encoding="utf-8", cwd=tmp_path)
        for _ in range(2)
    ]
    folders = {process.communicate()[0] for process in started}
    assert len(folders) == 2
    for folder in folders:
        _, env, stamp = folder.rpartition("dir: ")[2].strip().split("/")
        assert env == "CartPole-v1"
        assert SAFE.fullmatch(stamp)


def test_train_then_evaluate_in_an_odd_folder(tmp_path: Path) -> None:
    odd = "my runs, a=b [1] 'é' $x"
    answer = run(tmp_path, "ppo-train", f"output_dir={odd}", *TINY)
    assert answer.code == 0, answer.err
    (run_dir,) = (tmp_path / odd / "CartPole-v1").iterdir()
    folder = run_dir.relative_to(tmp_path)
    for told in (str(folder), str(folder / "curves.png"), str(folder / "checkpoints/last.pt"), "ppo-eval"):
        assert told in answer.out
    saved = yaml.safe_load((run_dir / ".hydra/config.yaml").read_text())
    assert (saved["vector_backend"], saved["threads"], saved["compile"]) == ("native", 1, False)  # nothing is left auto
    run_config = load_checkpoint(run_dir / "checkpoints/last.pt")["run"]["config"]
    assert {key: run_config[key] for key in saved} == saved
    before = files_in(tmp_path)
    told = run(tmp_path, "ppo-eval", f"checkpoint={run_dir.relative_to(tmp_path)}", "episodes=3")
    assert told.code == 0, told.err
    assert "mean return" in told.out
    assert "95% bootstrap interval" in told.out
    assert files_in(tmp_path) - before == {run_dir / "eval.json"}


def test_named_folder_takes_one_run_and_goes_on_with_it(tmp_path: Path) -> None:
    words = ("ppo-train", *TINY, "logger=[csv]", "hydra.run.dir=mine/${seed}")
    assert run(tmp_path, *words, "resume=auto").code == 0
    before = {path: path.read_bytes() for path in files_in(tmp_path) if path.is_file()}
    again, other = run(tmp_path, *words), run(tmp_path, *words, "resume=auto", "lr=1")
    assert (again.code, other.code) == (2, 2)
    assert "mine/0 holds a run already" in again.words
    assert "mine/0 holds a run with other settings" in other.words
    assert "resume=mine/0" in again.words
    same = run(tmp_path, *words, "resume=auto")
    assert same.code == 0
    assert "finished before" in same.out
    assert {path: path.read_bytes() for path in files_in(tmp_path) if path.is_file()} == before


# outlives the few steps that it is tried out for
ENDLESS = """
import gymnasium

class Falls(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 20:
            raise RuntimeError("the wheel fell off")
        return self.observation_space.sample(), 1.0, False, False, {}

gymnasium.register("Falls-v0", entry_point=Falls)
"""


def test_run_that_breaks_is_framed_and_says_where_the_traceback_lies(tmp_path: Path) -> None:
    (tmp_path / "falls.py").write_text(ENDLESS)
    answer = run(tmp_path, "ppo-train", "env=falls:Falls-v0", *TINY, "num_envs=1")
    assert answer.code == 1
    assert answer.err.count("╭") == 1
    assert "Traceback" not in answer.out + answer.err
    assert "RuntimeError: the wheel fell off" in answer.words
    (log,) = tmp_path.glob("outputs/falls-Falls-v0/*/train.log")
    assert str(log.relative_to(tmp_path)) in answer.err
    assert "Traceback" in log.read_text()


def test_interrupted_run_says_how_to_evaluate_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("ppo-train", *TINY, "total_timesteps=100000000", "log_every=64", "compile=false"),
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step "):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted at" in out
    assert "ppo-eval checkpoint=" in out
    assert list(tmp_path.glob("outputs/CartPole-v1/*/checkpoints/last.pt"))


def test_scripts_lie_beside_the_interpreter() -> None:
    assert (SCRIPTS / "ppo-train").is_file()
    assert (SCRIPTS / "ppo-eval").is_file()
