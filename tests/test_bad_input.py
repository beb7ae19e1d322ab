"""Everything one can get wrong on the command line: one framed message, the right exit code, nothing left behind."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from composing import refused
from console import FRAME_BOTTOM, FRAME_TOP, Answer, Train, files_in, run

from ppo_cli.config import EvalConfig
from ppo_cli.hydra_ext.compose import parsed
from ppo_cli.hydra_ext.keys import unknown_key

TRAIN = {
    "misspelt key": ("lrr=1e-4", "Did you mean lr?", "lr=1e-4"),
    "added key": ("+foo=1", "'foo' is not a setting of ppo-train", "ppo-train --help"),
    "added group": ("+network.dropout=0.1", "'network.dropout' is not a setting", "try:"),
    "text for a number": ("lr=abc", "lr=abc is not a number", "lr=0.0003"),
    "negative": ("lr=-1", "lr=-1.0 must be above 0", "lr=0.0003"),
    "gamma above 1": ("gamma=1.5", "gamma=1.5 must be at least 0 and at most 1", "gamma=0.99"),
    "negative lam": ("lam=-0.1", "lam=-0.1 must be at least 0", "lam=0.95"),
    "nan": ("clip_ratio=nan", "clip_ratio=nan must be above 0", "clip_ratio=0.2"),
    "negative seed": ("seed=-1", "seed=-1 must be at least 0", "seed=0"),
    "no epochs": ("epochs=0", "epochs=0 must be at least 1", "epochs=10"),
    "half an epoch": ("epochs=1.5", "epochs=1.5 is not a whole number", "epochs=10"),
    "negative budget": ("total_timesteps=-5", "total_timesteps=-5 must be at least 1", "total_timesteps=500000"),
    "no environments": ("num_envs=0", "num_envs=0 must be at least 1", "num_envs=8"),
    "empty batch": ("batch_size=0", "batch_size=0 must be at least 1", "batch_size=64"),
    "batch that does not divide": ("batch_size=63", "batch_size=63 does not divide buffer_size=256", "batch_size=64"),
    "no such network": ("network=nosuch", "network=nosuch is none of auto, cnn, cnn_gru", "network=auto"),
    "no such activation": ("network.activation=foo", "none of tanh, relu, elu", "network.activation=tanh"),
    "misspelt environment": ("env=CartPol-v1", "no environment of that name", "env=CartPole-v1"),
    "old environment": ("env=LunarLander-v2", "LunarLander has no version 2", "env=LunarLander-v3"),
    "no version": ("env=CartPole", "CartPole needs its version", "env=CartPole-v1"),
    "no such module": ("env=nosuch:Env-v0", "no module 'nosuch'", "install the package"),
    "wrong id in the group": ("env.id=CartPol-v1", "no environment of that name", "env=CartPole-v1"),
    "no such device": ("device=banana", "device=banana", "device=cpu"),
    "threads as a word": ("threads=abc", "threads=abc is neither auto nor a whole number", "threads=auto"),
    "no threads": ("threads=0", "threads=0 must be at least 1", "threads=auto"),
    "half compiled": ("compile=maybe", "compile=maybe is neither auto nor true or false", "compile=auto"),
    "no such backend": ("vector_backend=nosuch", "none of auto, native, envpool", "vector_backend=auto"),
    "misspelt backend": ("vector_backend=asink", "none of auto, native, envpool", "vector_backend=async"),
    "backend that is not there": (
        "vector_backend=native env=Acrobot-v1",
        "vector_backend=native: Acrobot-v1 has no vector program",
        "vector_backend=auto",
    ),
    "unbalanced bracket": ("hidden=]", "'hidden=]' cannot be read", "network.hidden_sizes=[64,64]"),
    "letters without quotes": (
        "env.kwargs.who=jürgen",
        "env.kwargs.who=jürgen has letters that need quotes",
        "'env.kwargs.who=\"jürgen\"'",
    ),
    "no equals sign": ("seed", "'seed' is not of the form key=value", "seed=0"),
    "no name": ("+=", "'+=' names no setting", "ppo-train --help"),
    "several values": ("lr=1e-3,1e-4", "holds several values", "ppo-train -m lr=1e-3,1e-4"),
    "group as a value": ("network=5", "network takes a name", "network=auto"),
    "names that are numbers": ("preset=[1]", "preset takes a name", "preset=mujoco"),
    "no such preset": ("preset=mujco", "preset=mujco is none of atari, mujoco", "preset=mujoco"),
    "no such tuned preset": ("preset=tuned/Hoper-v5", "tuned/Hopper-v5", "preset=tuned/Hopper-v5"),
    "misspelt group": ("prset=mujoco", "Did you mean preset?", "preset=mujoco"),
    "a number for Hydra's own": ("hydra/launcher=1", "hydra/launcher takes a name", "ppo-train --info searchpath"),
    "shown, not run": ("preset=[1] --cfg job", "preset takes a name", "preset=mujoco"),
    "a sweep, shown": ("-m seed=1,2 --cfg job", "one can be shown", "the same without -m"),
    "another run, shown": ("resume=old --cfg job", "settings of its own", "cat old/.hydra/config.yaml"),
    "two folders": ("--config-dir=. --config-dir=..", "--config-dir was given twice", "one folder"),
    "two kinds of network": ("-m network=mlp,a:b", "do not go into one sweep", "network=a:b"),
    "setting below a setting": ("lr.x=1", "lr is a single value", "lr=0.0003"),
    "removed setting": ("~lr", "lr was removed", "without ~lr"),
    "reference to nothing": ("lr=${nothing}", "'nothing' not found", "lr=0.0003"),
    "Stable-Baselines3's name": ("learning_rate=3e-4", "is called lr here", "lr=3e-4"),
    "another's name, misspelt": ("learning_rte=3e-4", "Did you mean lr?", "lr=3e-4"),
    "CleanRL's name": ("update_epochs=4", "is called epochs here", "epochs=4"),
    "dashes": ("--clip-coef=0.1", "without dashes", "clip_ratio=0.1"),
    "misspelt flag": ("--multi-run", "not a flag of ppo-train", "--multirun"),
    "target without evaluations": ("target_return=1 eval_every=null", "eval_every=null", "eval_every=10000"),
    "no such config folder": ("--config-dir=nowhere", "nowhere is not a folder", "--config-dir"),
    "no such config": ("--config-name nowhere", "there is no such configuration", "--config-dir"),
    "unwritable": ("output_dir=/proc/nowhere", "cannot be written", "output_dir="),
    "output_dir is a file": ("output_dir=/dev/null", "/dev/null", "output_dir=outputs"),
    "no such weights": ("init_from=nowhere", "nowhere does not exist", "try:"),
}


LEADS_ON = {
    "an interval": ("lr=interval(1e-4,1e-2)", "holds several", "ppo-train -m search=optuna 'lr=interval(1e-4,1e-2)'"),
    "several values of Hydra's grammar": ("lr=choice(1,2)", "holds several", "ppo-train -m 'lr=choice(1,2)'"),
    "several values of an argument": ("env.kwargs.size=5,6", "env.kwargs.size=5,6 holds", "-m env.kwargs.size=5,6,"),
    "several values of a list": ("logger=csv,tensorboard", "holds several", "'logger=[csv,tensorboard]'"),
    "no such network": ("network=transformer", "cnn_lstm, gru, impala, lstm, mlp", "network=auto"),
    "what networks have in common": ("network=defaults", "the choices of network have in common", "network=auto"),
    "no word of ours": ("myrun", "'myrun' is not of the form key=value", "ppo-train --help"),
    "a module by its file": ("env=my_pkg.py:Mine-v0", "a module goes by its name, without .py", "env=my_pkg:Mine-v0"),
    "a module by its path": ("env=./my/pkg.py:Mine-v0", "a module goes by its name", "env=my.pkg:Mine-v0"),
    "a sweep's folder": ("swept", "not of the form", "-m resume=swept"),
    "a run's folder": ("my run", "not of the form", "'resume=my run'"),
    "a file": ("mine.yaml", "not of the form", "preset=mine.yaml"),
}


@pytest.mark.parametrize(("typed", "what", "fix"), LEADS_ON.values(), ids=LEADS_ON.keys())
def test_what_is_to_be_typed_instead_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, what: str, fix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("swept/sweep.json", "my run/summary.json", "mine.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    problem = refused(typed)
    assert what in problem.what
    assert fix in problem.fix


def test_the_same_of_evaluations(tmp_path: Path) -> None:
    _, found = parsed([str(tmp_path), "myrun"], EvalConfig)
    assert [problem.fix.partition(",")[0] for problem in found] == [f"checkpoint={tmp_path}", "ppo-eval --help"]
    problem = unknown_key("env.max_episode_steps", "7", EvalConfig)
    assert problem.what == "'env.max_episode_steps' is not a setting of ppo-eval, which takes it from the checkpoint"
    assert problem.fix == "ppo-eval --help, which lists them all"


def assert_framed(answer: Answer, *phrases: str) -> None:
    assert answer.code == 2
    assert answer.err.count(FRAME_TOP) == answer.err.count(FRAME_BOTTOM) == 1
    assert "→ try:" in answer.err
    assert "Traceback" not in answer.out + answer.err
    for phrase in phrases:
        assert phrase in answer.words


@pytest.mark.parametrize(("typed", "what", "fix"), TRAIN.values(), ids=TRAIN.keys())
def test_training_refuses(tmp_path: Path, here: Train, typed: str, what: str, fix: str) -> None:
    assert_framed(here(*typed.split()), what, fix)
    assert not files_in(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_one(tmp_path: Path, here: Train) -> None:
    assert_framed(here("device=cuda"), "device=cuda", "device=cpu")
    assert not files_in(tmp_path)


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    answer = run(tmp_path, "ppo-train", "lrr=1", "hidden=]", "env=CartPol-v1", "gamma=2", "network.hidden_sizes=[0]")
    assert_framed(answer, "lr=1", "hidden=]", "env=CartPole-v1", "gamma=2", "network.hidden_sizes=[0]")


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubs, here = tmp_path / "stubs", tmp_path / "here"
    stubs.mkdir()
    here.mkdir()
    (stubs / "ale_py.py").write_text("raise ModuleNotFoundError(name='ale_py')\n")  # it may be installed here
    monkeypatch.setenv("PYTHONPATH", str(stubs))
    assert_framed(run(here, "ppo-train", "env=ALE/Pong-v5"), "is not installed", "gymnasium[atari,other]")
    assert not files_in(here)


def test_spaces_that_nothing_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    answer = run(tmp_path, "ppo-train", "env=toys:Dial-v0")
    assert_framed(answer, "Unsupported environment", "actions of kind Box of int64", "env.wrappers=[module:Class]")
    assert not files_in(tmp_path)


def test_module_that_breaks(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('half written')\n")
    assert_framed(run(tmp_path, "ppo-train", "env=broken:Env-v0"), "importing 'broken' raised ValueError: half written")


def test_a_word_is_never_broken_by_the_frame(here: Train) -> None:
    long = "nowhere-" * 20
    assert long in here(f"env={long}:Env-v0").err


def test_the_users_own_full_error_gives_the_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.environment", lambda: __import__("os").environ | {"HYDRA_FULL_ERROR": "1"})
    answer = run(tmp_path, "ppo-train", "lr=abc")
    assert answer.code == 2
    assert "Traceback" in answer.err


class _Payload:
    """Unpickling this makes a file, as a hostile checkpoint would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def bad_checkpoint(kind: str, folder: Path) -> Path:
    path = folder / "bad.pt"
    if kind == "empty file":
        path.touch()
    elif kind == "folder without checkpoints":
        path.mkdir()
    elif kind == "truncated":
        torch.save({"kind": "ppo-cli checkpoint", "weights": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:1500])
    elif kind == "text":
        path.write_text("not a checkpoint\n")
    elif kind == "another PyTorch file":
        torch.save({"weights": torch.zeros(3)}, path)
    elif kind == "another version":
        torch.save({"kind": "ppo-cli checkpoint", "format_version": 999, "agent": {}, "run": None}, path)
    elif kind == "hostile":
        torch.save({"kind": "ppo-cli checkpoint", "agent": _Payload(folder / "executed")}, path)
    elif kind == "hostile pickle":
        path.write_bytes(pickle.dumps(_Payload(folder / "executed")))
    return path


CHECKPOINTS = {
    "missing": "does not exist",
    "empty file": "is empty",
    "folder without checkpoints": "holds no",
    "truncated": "bad.pt",
    "text": "no checkpoint",
    "another PyTorch file": "no ppo-cli checkpoint",
    "another version": "999",
    "hostile": "bad.pt",
    "hostile pickle": "bad.pt",
}


@pytest.mark.parametrize(("kind", "what"), CHECKPOINTS.items(), ids=CHECKPOINTS.keys())
def test_evaluation_refuses_checkpoint(tmp_path: Path, evaluate: Train, kind: str, what: str) -> None:
    path = bad_checkpoint(kind, tmp_path)
    before = files_in(tmp_path)
    assert_framed(evaluate(f"checkpoint={path}"), what)
    assert files_in(tmp_path) == before


EVAL = {
    "no checkpoint": ("", "no checkpoint was named", "ppo-eval checkpoint="),
    "empty checkpoint": ("checkpoint=", "no checkpoint was named", "ppo-eval checkpoint="),
    "misspelt key": ("checkpoint=x seedd=1", "Did you mean seed?", "seed=1"),
    "no episodes": ("checkpoint=x episodes=0", "episodes=0 must be at least 1", "episodes=100"),
    "seed as a word": ("checkpoint=x seed=often", "neither a whole number nor run", "seed=0"),
    "sweep": ("-m checkpoint=x seed=1,2", "one checkpoint at a time", "for run in"),
    "a group of training's": ("checkpoint=x +env=[1]", "env is a single value here", "env=module:Id"),
    "training's setting": ("checkpoint=x lr=1", "takes it from the checkpoint", "ppo-eval --help"),
}


@pytest.mark.parametrize(("typed", "what", "fix"), EVAL.values(), ids=EVAL.keys())
def test_evaluation_refuses(tmp_path: Path, evaluate: Train, typed: str, what: str, fix: str) -> None:
    assert_framed(evaluate(*typed.split()), what, fix)
    assert not files_in(tmp_path)
