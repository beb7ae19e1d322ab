"""``--completion``: what shells do with it, and which words it knows."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from console import SCRIPTS, environment, run

from ppo_cli.cli import completion
from ppo_cli.cli.completion import COMMANDS, candidates
from ppo_cli.config import EvalConfig, TrainConfig

SHELLS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}


def words_for(line: str) -> list[str]:
    """What could stand at the end of a line, whose beginning is the command."""
    command, *before, word = line.split(" ")
    return sorted(set(candidates(COMMANDS[command], before, word)))


def make_runs(folder: Path) -> None:
    """Two runs, a sweep of two, and a folder that is none."""
    for name in ("CartPole-v1/2026_a", "Acrobot-v1/2026_b", "multirun/2026_c/0_lr-1", "multirun/2026_c/1_lr-2"):
        (folder / name / "checkpoints").mkdir(parents=True)
        (folder / name / "summary.json").touch()
        (folder / name / "checkpoints" / "step_100.pt").touch()
        (folder / name / "checkpoints" / "best.pt").touch()
    (folder / "multirun" / "2026_c" / "multirun.yaml").touch()
    (folder / "CartPole-v1" / "notes").mkdir()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs in ``outputs``, as the current one."""
    make_runs(tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# shells


def known(folder: Path) -> dict[str, str]:
    """An environment in which our commands are found, and nothing of whoever runs the tests."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    return environment() | {"PATH": path, "HOME": str(folder), "TERM": "xterm", "PS1": "> "}


def bash(folder: Path, line: str) -> list[str]:
    """The words that bash would offer at the end of a line."""
    script = f"""
eval "$(ppo-train --completion bash)"
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}
_ppo_cli
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p {" ".join(COMMANDS)} >&2
"""
    words = ["bash", "-c", script]
    done = subprocess.run(words, cwd=folder, env=known(folder), capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [f"complete -F _ppo_cli {name}" for name in COMMANDS]
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ppo-train hyper", ["hyperparameters="]),
        ("ppo-train hyperparameters=", ["default", "tuned"]),
        ("ppo-train lr=1 -m network=mlp,ls", ["mlp,lstm"]),
        ("ppo-train network.activation=re", ["relu"]),
        ("ppo-train env=CartPole-v", ["CartPole-v0", "CartPole-v1"]),
        ("ppo-train logger=[csv,w", ["[csv,wandb"]),
        ("ppo-train 'output_dir=outputs' 'logger=[csv,w", ["logger=[csv,wandb"]),
        ('ppo-report "outputs/C', ["outputs/CartPole-v1/"]),
        ("ppo-train resume=", ["auto", "outputs/Acrobot-v1/2026_b", "outputs/CartPole-v1/2026_a",
                               "outputs/multirun/2026_c/0_lr-1", "outputs/multirun/2026_c/1_lr-2"]),
        ("ppo-eval seed=1 checkpoint=outputs/C", ["outputs/CartPole-v1/2026_a"]),
        ("ppo-eval --comp", ["--completion"]),
        ("ppo-report outputs/C", ["outputs/CartPole-v1/"]),
        ("ppo-runs state=fin", ["finished"]),
        ("ppo-train nothing=", []),
    ],
)  # fmt: skip
def test_bash_offers(here: Path, line: str, offered: list[str]) -> None:
    assert bash(here, line) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_completes(here: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    source = "ppo-train --completion fish | source" if shell == "fish" else f'eval "$(ppo-train --completion {shell})"'
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(shell, [shell, *SHELLS[shell]], known(here))
    seen = b""

    def read_until(wanted: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 60
        while wanted not in seen:
            assert time.monotonic() < end, seen
            seen += os.read(terminal, 4096)
        seen = b""

    try:
        os.write(terminal, f"{source}; echo is''_there\n".encode())
        read_until(b"is_there")
        # in the second, bash takes what follows the = for the word, and the others do not
        for typed, rest in (
            (b"ppo-train hyperparam", b"eters="),
            (b"ppo-train hyperparameters=def", b"ault"),
            (b"ppo-train 'logger=[csv,tens", b"orboard"),
        ):
            os.write(terminal, typed + b"\t")
            read_until(rest)
            os.write(terminal, b"\x15")  # Ctrl-U, which empties the line
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_a_script_is_one_of_its_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n"], input=completion.script(shell), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_that_is_none_is_refused(tmp_path: Path) -> None:
    for words in (["--completion", "ksh"], ["--completion"], ["--completion=bash", "lr=1"]):
        answer = run(tmp_path, "ppo-train", *words)
        assert answer.code == 2
        assert "--completion bash" in answer.words


# words


def test_keys_are_offered_with_their_groups_and_signs() -> None:
    assert words_for("ppo-train wandb") == ["wandb.entity=", "wandb.mode=", "wandb.project=", "wandb.tags=", "wandb="]
    assert words_for("ppo-train ++network.enc") == ["++network.encoder="]
    assert words_for("ppo-eval net") == ["network="]
    assert "resume=" not in words_for("ppo-eval ")
    assert words_for("ppo-train n_") == ["n_jobs="]
    assert words_for("ppo-train hydra/") == ["hydra/launcher="]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ppo-train compile=", ["auto", "false", "true"]),
        ("ppo-train target_kl=", ["null"]),
        ("ppo-train lr=", ["0.0003"]),
        ("ppo-train device=", ["cpu", "cuda", "mps"]),
        ("ppo-train objective=", ["clip", "spo"]),
        ("ppo-train network.recurrent=", ["gru", "lstm", "null"]),
        ("ppo-train preset=", ["atari", "mujoco"]),
        ("ppo-train logger=[tensorboard,c", ["[tensorboard,csv"]),
        ("ppo-train env.kwargs=", []),
        ("ppo-eval deterministic=", ["false", "true"]),
        ("ppo-eval render=", ["human", "null"]),
        ("ppo-eval env=", ["null"]),
        ("ppo-train hydra/launcher=submitit", ["submitit_local", "submitit_slurm"]),
        ("ppo-train n_jobs=", ["auto"]),
        ("ppo-train zip=[lr,batch", ["[lr,batch_size"]),
        ("ppo-report by=lr,batch", ["lr,batch_size"]),
        ("ppo-report fail_if=", ["null", "worse"]),
        ("ppo-report metric=eval/episode_return_m", ["eval/episode_return_mean"]),
        ("ppo-report env=CartPole-v", ["CartPole-v0", "CartPole-v1"]),
        ("ppo-runs jobs=", ["false", "true"]),
        ("ppo-train --cfg ", ["all", "hydra", "job"]),
        ("ppo-train --completion z", ["zsh"]),
    ],
)
def test_values_are_offered(line: str, offered: list[str]) -> None:
    key = line.split(" ")[-1].partition("=")
    assert words_for(line) == [f"{key[0]}={text}" if key[1] else text for text in offered]


def test_flags_are_those_of_the_command() -> None:
    assert "--multirun" in words_for("ppo-train -")
    assert words_for("ppo-eval --") == sorted(completion.FLAGS)
    assert words_for("ppo-report --") == ["--help", "--version"]
    assert "--json" in words_for("ppo-runs --")


def test_environments_are_gymnasiums_and_those_of_ones_own_files(here: Path) -> None:
    (here / "mine" / "env").mkdir(parents=True)
    (here / "mine" / "env" / "Acrobat.yaml").touch()
    assert words_for("ppo-train env=Acro") == ["env=Acrobot-v1"]
    assert words_for("ppo-train --config-dir mine env=Acro") == ["env=Acrobat", "env=Acrobot-v1"]
    assert words_for("ppo-train --config-dir mi") == ["mine/"]
    assert "env=FrozenLake-v1" in words_for("ppo-train env=Frozen")  # of which there is no file


def test_what_a_plus_adds_is_offered_with_its_files(here: Path) -> None:
    (here / "mine" / "experiment").mkdir(parents=True)
    (here / "mine" / "experiment" / "long.yaml").touch()
    (here / "mine" / "robot").mkdir()
    assert words_for("ppo-train +exp") == ["+experiment="]
    packaged = words_for("ppo-train +experiment=")
    assert "+experiment=lr_and_seeds" in packaged
    own = "ppo-train --config-dir mine"
    assert words_for(f"{own} +experiment=") == sorted([*packaged, "+experiment=long"])
    assert words_for(f"{own} +ro") == ["+robot="]
    assert words_for("ppo-train exp") == words_for("ppo-train +hydra=") == words_for("ppo-eval +exp") == []


def test_runs_are_offered_from_where_they_are_kept(here: Path) -> None:
    make_runs(here / "elsewhere")
    assert words_for("ppo-train output_dir=elsewhere resume=else")[-1] == "resume=elsewhere/multirun/2026_c/1_lr-2"
    assert words_for("ppo-train output_dir=") == ["output_dir=elsewhere/", "output_dir=outputs/"]
    inside = "outputs/CartPole-v1/2026_a/checkpoints/"
    files = [f"checkpoint={inside}best.pt", f"checkpoint={inside}step_100.pt"]
    assert words_for(f"ppo-eval checkpoint={inside}") == files
    assert words_for(f"ppo-train resume={inside}") == [f"resume={inside}step_100.pt"]
    assert words_for("ppo-train init_from=elsewhere/CartPole-v1/n") == ["init_from=elsewhere/CartPole-v1/notes/"]
    assert words_for("ppo-train init_from=elsewhere/CartPole-v1/2") == ["init_from=elsewhere/CartPole-v1/2026_a"]
    assert words_for("ppo-train resume=no/such/place/") == []
    assert words_for("ppo-train -m resume=") == ["resume=outputs/multirun/2026_c"]


def test_reports_take_any_folder(here: Path) -> None:
    assert words_for("ppo-runs out") == ["outputs/"]
    assert words_for("ppo-report lr outputs/multirun/2026_c/0") == ["outputs/multirun/2026_c/0_lr-1"]
    assert words_for("ppo-report outputs/CartPole-v1/2026_a/checkpoints/") == []
    assert words_for("ppo-report new against=outputs/A") == ["against=outputs/Acrobot-v1/"]
    assert words_for("ppo-runs del") == ["delete"]
    assert words_for("ppo-runs outputs del") == []


@pytest.mark.parametrize(("kind", "key"), [(TrainConfig, "env"), (EvalConfig, "checkpoint")])
def test_it_is_quick_and_imports_no_torch(here: Path, kind: type, key: str) -> None:
    command = "ppo-train" if kind is TrainConfig else "ppo-eval"
    code = f"""
import resource, sys
from ppo_cli.cli.help import answers
answers({command!r}, ["--complete", "{key}="])
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime, *sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *modules = done.stderr.split()
    assert done.stdout.count(f"{key}=") > 3
    assert float(seconds) < 1.0  # 0.2 where nothing else is going on
    assert not {"torch", "hydra", "omegaconf", "rich"} & set(modules)
    assert ("gymnasium" in modules) == (key == "env")
