"""``preset=<path>``: a file that trains what it says, and the files that are written to be used so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from composing import composed, refused
from console import Train, run
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from test_conf import write

from ppo_cli.cli.completion import candidates
from ppo_cli.config import ContinuousConfig, EnvConfig, NetworkConfig, TrainConfig, walk
from ppo_cli.errors import ConfigError
from ppo_cli.hydra_ext import files, schema
from ppo_cli.plain import from_plain, to_plain
from ppo_cli.report.settings import UNLEARNT
from ppo_cli.search.preset import LEFT_OUT, is_left_out, write_preset
from ppo_cli.sweep.jobs import read_sweep

GLOBAL = "# @package _global_\n"
BEST = """\
env:
  id: Pendulum-v1
  kwargs: {g: 5.0}
lr: 0.01
network: {hidden_sizes: [8]}
continuous: {distribution: beta}
"""
SAID = TrainConfig(
    env=EnvConfig(id="Pendulum-v1", kwargs={"g": 5.0}),
    lr=0.01,
    network=NetworkConfig(hidden_sizes=[8]),
    continuous=ContinuousConfig(distribution="beta"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# what is composed


@pytest.mark.parametrize("header", ["", GLOBAL])
@pytest.mark.parametrize("name", ["best.yaml", "a/b/best.yaml", "a/best", "a (1),b=c/bést d.yaml", "a/best.yml"])
def test_a_file_alone_says_what_is_trained(folder: Path, name: str, header: str) -> None:
    write(folder, {name: header + BEST})
    for path in (name, str(folder / name)):
        assert composed(f"preset={path}") == SAID
        assert {"env.id", "env.kwargs.g", "lr", "network.hidden_sizes"} <= files.from_preset()
        assert "gamma" not in files.from_preset()


@pytest.mark.parametrize(
    ("typed", "change"),
    [
        ("lr=0.5", {"lr": 0.5}),
        ("network=lstm", {"network": NetworkConfig(hidden_sizes=[8], recurrent="lstm")}),
        ("continuous=gaussian", {"continuous": ContinuousConfig()}),
        ("env.kwargs.x=3", {"env": EnvConfig(id="Pendulum-v1", kwargs={"g": 5.0, "x": 3})}),
        ("env=Acrobot-v1", {"env": EnvConfig(id="Acrobot-v1", kwargs={"g": 5.0})}),
        ("env=CartPole-v1", {"env": EnvConfig(id="CartPole-v1", kwargs={"g": 5.0})}),
        ("env.id=Acrobot-v1", {"env": EnvConfig(id="Acrobot-v1", kwargs={"g": 5.0})}),
        ("hyperparameters=tuned", {}),
    ],
)
def test_what_is_typed_wins_wherever_it_stands(folder: Path, typed: str, change: dict[str, Any]) -> None:
    write(folder, {"best.yaml": BEST})
    assert composed("preset=best.yaml", typed) == composed(typed, "preset=best.yaml") == replace(SAID, **change)
    key = typed.partition("=")[0]
    assert {"env": "env.id"}.get(key, key) not in files.from_preset()


def test_nothing_of_the_environments_own_files_mixes_in(folder: Path) -> None:
    other = "id: CartPole-v1\nmax_episode_steps: 7\nkwargs: {z: 1}\n"
    tuned = GLOBAL + "gamma: 0.5\n"
    own = {f"c/env/{name}.yaml": other.replace("CartPole-v1", name) for name in ("CartPole-v1", "Pendulum-v1")}
    own |= {f"c/preset/tuned/{name}.yaml": tuned for name in ("CartPole-v1", "Pendulum-v1")}
    write(folder, {"best.yaml": BEST, "lr.yaml": "lr: 0.01\n", **own})
    assert composed("--config-dir=c", "preset=best.yaml") == SAID
    chosen = EnvConfig(id="CartPole-v1", kwargs={"g": 5.0, "z": 1}, max_episode_steps=7)
    assert composed("--config-dir=c", "preset=best.yaml", "env=CartPole-v1") == replace(SAID, env=chosen)
    usual = EnvConfig(kwargs={"z": 1}, max_episode_steps=7)  # the file has none of its own
    assert composed("--config-dir=c", "preset=lr.yaml") == TrainConfig(lr=0.01, env=usual)


def test_an_environments_listed_defaults_take_nothing_back(folder: Path) -> None:
    write(folder, {"best.yaml": "env: {id: Acrobot-v1, frame_stack: 3, max_episode_steps: 9}\n"})
    env = EnvConfig(id="CartPole-v1", frame_stack=3, max_episode_steps=9)
    assert composed("preset=best.yaml", "env=CartPole-v1").env == env


def test_trackers_and_places_may_be_said_too(folder: Path) -> None:
    text = "wandb: {project: mine}\nlogger: [csv]\noutput_dir: there\nseed: 4\nresume: null\n"
    write(folder, {"x.yaml": text})
    config = composed("preset=x.yaml")
    assert (config.wandb.project, config.logger, config.output_dir, config.seed) == ("mine", ["csv"], "there", 4)
    assert composed("preset=x.yaml", "wandb.project=other").wandb.project == "other"
    assert composed("preset=x.yaml", "wandb=default").wandb.project == "ppo-cli"


def test_names_of_presets_stay_names(folder: Path) -> None:
    before = {name: composed(f"preset={name}") for name in ("mujoco", "tuned/Acrobot-v1")}
    write(folder, {"mujoco": BEST, "tuned/Acrobot-v1": BEST, "mujoco.yaml": BEST, "tuned/CartPole-v1": BEST})
    assert before == {name: composed(f"preset={name}") for name in before}
    assert composed("preset=mujoco.yaml") == SAID
    assert composed().env.id == "CartPole-v1"


def test_old_names_and_files_of_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {"x/old.yaml": "network: {memory: gru}\n"})
    assert composed("preset=x/old.yaml").network.recurrent == "gru"
    write(folder, {"x/best.yaml": BEST, "x/more.yaml": "defaults: [x/best.yaml, _self_]\nlr: 0.5\n"})
    assert composed("preset=x/more.yaml") == replace(SAID, lr=0.5)
    write(folder, {"x/more.yaml": "defaults: [x/bst.yaml, _self_]\nlr: 0.5\n"})
    assert refused("preset=x/more.yaml").fix == "preset=x/best.yaml"
    write(folder, {"mine.yaml": "defaults: [/preset/atari, _self_]\nlr: 0.5\n"})
    config = composed("preset=mine.yaml")
    assert (config.lr, config.env.frame_stack, config.env.wrappers) == (0.5, 4, ["AtariPreprocessing"])
    assert "x/old.yaml is called" in (told := capsys.readouterr().err) or not told  # once in a process


def test_in_a_files_defaults_list(folder: Path) -> None:
    text = GLOBAL + "defaults:\n  - override /preset: best.yaml\n"
    write(folder, {"best.yaml": BEST, "c/experiment/x.yaml": text + "gamma: 0.5\n"})
    assert composed("--config-dir=c", "+experiment=x") == replace(SAID, gamma=0.5)
    write(folder, {"c/experiment/y.yaml": text + "  - override /env: Acrobot-v1\n"})
    assert composed("--config-dir=c", "+experiment=y") == replace(SAID, env=EnvConfig("Acrobot-v1", {"g": 5.0}))
    write(folder, {"c/experiment/z.yaml": text + "env: {id: Acrobot-v1}\n"})
    assert refused("--config-dir=c", "+experiment=z").what.startswith("env=Pendulum-v1 was chosen, and a file changes")


# what is refused


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("lrr: 0.1", "b/x.yaml: 'lrr' is not a setting of ppo-train. Did you mean lr?", "lr=0.1"),
        ("lr: much", "b/x.yaml: lr=much is not a number", "lr=0.0003"),
        ("env: {id: Pendlum-v1}", "b/x.yaml: env=Pendlum-v1: no environment of that name", "env=Pendulum-v1"),
        ("env: Pendulum-v1", "b/x.yaml: env=Pendulum-v1 is not a group", "env: {id: Pendulum-v1}"),
        ("network: lstm", "b/x.yaml: network=lstm is not a group", "defaults: [/network/lstm@network,"),
        ("env:", "b/x.yaml: env=null is not a group", "env: and its settings below"),
        ("lr: 0.1\nlr: 0.2", "b/x.yaml, line 2: found duplicate key lr", "one of the two lines"),
        ("- lr", "b/x.yaml holds a list", "YAML"),
        ("# nothing", "b/x.yaml holds no settings", "another file"),
        ("# @package env\nid: X", "b/x.yaml: a preset's settings belong to the root", "# @package _global_"),
        ("# @package\nlr: 0.1", "b/x.yaml: Expected header format", "# @package _global_"),
        ("defaults: [override /network: lstm]\nlr: 1", "b/x.yaml: its defaults cannot override network", "network:"),
    ],
)
def test_what_is_wrong_in_it_is_told_with_its_name(folder: Path, text: str, what: str, fix: str) -> None:
    write(folder, {"b/x.yaml": text})
    problem = refused("preset=b/x.yaml")
    assert problem.what.startswith(what)
    assert problem.fix.startswith(fix)


def test_what_is_typed_is_not_its_fault(folder: Path) -> None:
    write(folder, {"x.yaml": "lr: much\n"})
    assert refused("preset=x.yaml", "lr=more").what == "lr=more is not a number"


@pytest.mark.parametrize(
    ("typed", "what", "fix"),
    [
        ("s/bst.yaml", "there is no such file", "s/best.yaml"),
        ("s/2026-11-26/best.yml", "there is no such file", "s/2026-11-26/best.yaml"),
        ("s/2026-11-25/best.yaml", "there is no such file", "s/2026-11-26/best.yaml"),
        ("s/2026-11-26/other.yaml", "there is no such file", "s/2026-11-26/best.yaml"),
        ("a(1).yaml", "there is no such file", "<the path of a file that is there>"),
        ("s/2026-11-26", "is a folder, and a preset is a file", "s/2026-11-26/best.yaml"),
        ("s/run", "is a folder, and a preset is a file", "s/run/.hydra/config.yaml"),
        ("mujoco.yaml", "there is no such file", "mujoco"),
        ("mujco", "is none of atari, mujoco", "mujoco"),
        ("tuned/Acrbot-v1", "is none of tuned/Acrobot-v1", "tuned/Acrobot-v1"),
        ("x" * 300 + ".yaml", "there is no such file", "<the path of a file that is there>"),
        ("/dev/null", "is no file of settings", "<a file in YAML>"),
        ("a${b}.yaml", "cannot hold ${", ""),
    ],
)
def test_a_path_that_is_none_is_told_with_what_is_near(folder: Path, typed: str, what: str, fix: str) -> None:
    write(folder, dict.fromkeys(("s/best.yaml", "s/2026-11-26/best.yaml", "s/run/.hydra/config.yaml"), BEST))
    problem = refused(f"preset={typed}")
    assert what in problem.what
    assert problem.fix == f"preset={fix}" or not fix


# at the command


def test_shown_completed_and_refused_by_the_command(folder: Path) -> None:
    write(folder, {"s/best.yaml": BEST, "s/notes.txt": ""})
    shown = run(folder, "ppo-train", "--cfg", "job", "preset=s/best.yaml", "network=lstm")
    plain = yaml.safe_load(shown.out)
    assert (plain["env"]["id"], plain["env"]["kwargs"]) == ("Pendulum-v1", {"g": 5.0})
    assert (plain["network"]["recurrent"], plain["lr"]) == ("lstm", 0.01)
    answer = run(folder, "ppo-train", "preset=s/bst.yaml")
    assert (answer.code, "try preset" in answer.words or "preset=s/best.yaml" in answer.words) == (2, True)
    assert [*candidates(TrainConfig, [], "preset=s")] == ["preset=s/"]
    assert [*candidates(TrainConfig, [], "preset=s/")] == ["preset=s/best.yaml"]
    assert [*candidates(TrainConfig, ["-m"], "preset=mujoco,s/b")] == ["preset=mujoco,s/best.yaml"]
    assert [*candidates(TrainConfig, [], "preset=m")] == ["preset=mujoco"]


SMALL = (
    "total_timesteps: 256\nbuffer_size: 128\nbatch_size: 64\nepochs: 1\nthreads: 1\neval_every: null\nlogger: [csv]\n"
)


def test_a_sweep_over_files_and_seeds(folder: Path, here: Train) -> None:
    write(
        folder, {"a.yaml": SMALL + "lr: 0.5\nenv: {id: Acrobot-v1, kwargs: {}}\n", "b/b.yaml": SMALL + "gamma: 0.5\n"}
    )
    answer = here("-m", "preset=a.yaml,b/b.yaml", "seed=range(1000,1001)", "hydra.sweep.dir=s")
    assert answer.code == 0, answer.err
    one, other = read_sweep(folder / "s").jobs
    assert (one.config.env.id, one.config.lr, one.config.seed) == ("Acrobot-v1", 0.5, 1000)
    assert (other.config.env.id, other.config.lr, other.config.gamma) == ("CartPole-v1", 3e-4, 0.5)
    assert {"env.id", "lr"} <= one.from_preset
    assert not {"env.id", "lr"} & other.from_preset
    assert other.label == "preset=b/b.yaml seed=1000"


def test_a_run_of_a_file_goes_on_by_itself(folder: Path, here: Train) -> None:
    write(folder, {"x.yaml": SMALL + "env: {id: Acrobot-v1}\n"})
    assert here("preset=x.yaml", "resume=auto").code == 0
    (run_dir,) = (folder / "outputs" / "Acrobot-v1").iterdir()
    assert here("preset=x.yaml", "resume=auto").code == 0
    assert [*(folder / "outputs" / "Acrobot-v1").iterdir()] == [run_dir]
    write(folder, {"x.yaml": SMALL + "env: {id: Acrobot-v1}\nlr: 0.5\n"})
    assert here("preset=x.yaml", "resume=auto").code == 0
    assert len([*(folder / "outputs" / "Acrobot-v1").iterdir()]) == 2


# what is written


def kept(config: TrainConfig) -> dict[str, Any]:
    return {key: value for key, value, _ in walk(config) if not is_left_out(key)}


def test_what_is_left_out_is_not_learnt_from() -> None:
    assert {"seed"} == LEFT_OUT - UNLEARNT
    assert {"device", "threads", "compile", "vector_backend", "eval_every", "checkpoint_every"} == UNLEARNT - LEFT_OUT
    assert {key for key, _, _ in walk(TrainConfig())} > LEFT_OUT


def test_it_reads_as_a_person_would_write_it(folder: Path) -> None:
    config = replace(SAID, seed=7, threads=1, gamma=0.999, target_kl=1e-5, logger=["csv"], output_dir="there")
    config.wandb.project = "mine"
    config.env.wrappers = [{"RescaleAction": {"min_action": -1}}, "m:W"]
    write_preset(folder / "best.yaml", config, ["Trial 3 of 40", "@held 500.0\x07, on 5 seeds\nof 1000"])
    assert (folder / "best.yaml").read_text(encoding="utf-8") == (
        "# @package _global_\n"
        "# Trial 3 of 40\n"
        "# @held 500.0 , on 5 seeds\n"
        "# of 1000\n"
        "env:\n"
        "  id: Pendulum-v1\n"
        "  kwargs:\n"
        "    g: 5.0\n"
        "  wrappers: [{RescaleAction: {min_action: -1}}, 'm:W']\n"
        "network:\n"
        "  hidden_sizes: [8]\n"
        "continuous:\n"
        "  distribution: beta\n"
        "lr: 0.01\n"
        "gamma: 0.999\n"
        "target_kl: 1.0e-05\n"
        "threads: 1\n"
    )
    assert kept(composed("preset=best.yaml")) == kept(config)
    write_preset(folder / "best.yaml", TrainConfig(), ["@package x"])
    assert (folder / "best.yaml").read_text() == "# @package _global_\n#\n# @package x\nenv:\n  id: CartPole-v1\n"
    assert kept(composed("preset=best.yaml")) == kept(TrainConfig())
    assert [path.name for path in folder.iterdir()] == ["best.yaml"]


def test_what_no_file_can_hold_is_refused_and_nothing_written(folder: Path) -> None:
    odd = {"a": (1, 2), "b": "???", "c": ["\ud800"], "d": {None: 1}}
    with pytest.raises(ConfigError) as caught:
        write_preset(folder / "best.yaml", TrainConfig(env=EnvConfig(kwargs=odd)))
    assert [problem.what.partition(" ")[0] for problem in caught.value.problems] == [
        "env.kwargs.a",
        "env.kwargs.b",
        "env.kwargs.c[0]",
        "env.kwargs.d",
    ]
    assert not [*folder.iterdir()]


ODD_TEXTS = ["", "1", "1e-3", "0x1f", "1_000", ".5", "+.inf", "nan", ".nan", "null", "~", "true", "No", "ON", "y", "="]
ODD_TEXTS += [
    "${lr}",
    r"\${lr}",
    r"\\${",
    "${",
    "a$",
    "$",
    "a: b",
    "a #b",
    "- a",
    "[a",
    "{a: 1}",
    "é\u2028\x85\ufeff😀",
]
ODD_TEXTS += ["'", '"', "\\", "a\nb\n", " a ", "2026-01-31", "12:30:45", "!!str x", "&a", "*a", "%x", "@x", "<<", "a:"]
TEXTS = st.sampled_from(ODD_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter("???".__ne__)
SCALARS = (
    TEXTS | st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=True)
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(), inner, max_size=3),
    max_leaves=6,
)
KWARGS = st.dictionaries(TEXTS.filter(lambda key: key not in ("id", "max_episode_steps", "disable_env_checker")), DATA)
POSITIVE = st.floats(1e-12, 1e12)
OPTIONAL = st.none() | POSITIVE


@st.composite
def configs(draw: st.DrawFn) -> TrainConfig:
    size = draw(st.sampled_from([1, 2, 4, 64]))
    env = EnvConfig(
        id=draw(st.sampled_from(["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])),
        kwargs=draw(KWARGS),
        max_episode_steps=draw(st.none() | st.integers(1, 10**9)),
        wrappers=draw(st.lists(TEXTS | st.dictionaries(TEXTS, DATA, min_size=1, max_size=1), max_size=2)),
        frame_stack=draw(st.none() | st.integers(2, 8)),
        restart_crashed=draw(st.booleans()),
    )
    network = NetworkConfig(
        encoder=draw(st.sampled_from(["auto", "mlp"])),
        hidden_sizes=draw(st.lists(st.integers(1, 512), min_size=1, max_size=3)),
        shared=draw(st.booleans()),
        recurrent=draw(st.sampled_from([None, "lstm", "gru"])),
        module=draw(st.none() | TEXTS),
    )
    continuous = ContinuousConfig(
        distribution=draw(st.sampled_from(["gaussian", "beta"])),
        initial_log_std=draw(st.floats(-5, 5)),
        resample_every=draw(st.none() | st.integers(1, 9)),
    )
    return TrainConfig(
        env=env,
        network=network,
        continuous=continuous,
        lr=draw(POSITIVE),
        gamma=draw(st.floats(0, 1)),
        value_clip=draw(OPTIONAL),
        max_grad_norm=draw(OPTIONAL),
        buffer_size=64 * size,
        batch_size=size,
        epochs=draw(st.integers(1, 10**6)),
        normalize_value=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63 - 1)),
        threads=draw(st.sampled_from(["auto", 1, 4])),
        compile=draw(st.sampled_from(["auto", True, False])),
        device=draw(st.sampled_from(["cpu", "cuda:1"])),
        vector_backend=draw(st.sampled_from(["auto", "sync"])),
        total_timesteps=draw(st.integers(1, 10**12)),
        eval_every=draw(st.none() | st.integers(1, 10**9)),
        eval_deterministic=draw(st.booleans()),
        checkpoint_every=draw(st.sampled_from(["auto", None, 5])),
        init_from=draw(st.none() | TEXTS),
        callbacks=draw(st.lists(TEXTS.filter(bool), max_size=2)),
        callback_kwargs=draw(st.dictionaries(TEXTS, DATA, max_size=2)),
        reward_transform=draw(st.none() | TEXTS),
        reward_kwargs=draw(st.dictionaries(TEXTS, DATA, max_size=2)),
        output_dir=draw(st.sampled_from(["outputs", "there"])),
        log_every=draw(st.integers(1, 9)),
        logger=draw(st.sampled_from([["csv"], ["csv", "tensorboard"]])),
    )


@given(config=configs())
def test_what_is_written_reads_as_the_same(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> None:
    path = tmp_path_factory.getbasetemp() / "best.yaml"
    write_preset(path, config, ["of a test"])
    said, header = files.load_file(path)
    merged = OmegaConf.merge(to_plain(TrainConfig()), said)
    found, problems = schema.build(TrainConfig, OmegaConf.to_container(merged, resolve=True, throw_on_missing=True))
    assert (problems, header) == ([], {"package": "_global_"})
    assert repr(kept(found)) == repr(kept(config))


@settings(max_examples=10)
@given(config=configs())
def test_what_is_written_composes_to_the_same(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> None:
    path = tmp_path_factory.getbasetemp() / "composed.yaml"
    write_preset(path, config)
    found = composed(f"preset={path}")
    assert repr(kept(found)) == repr(kept(config))
    usual = {key: value for key, value, _ in walk(TrainConfig()) if is_left_out(key)}
    assert {key: value for key, value, _ in walk(found) if is_left_out(key)} == usual


def test_odd_texts_stay_texts(folder: Path) -> None:
    kwargs = {text: [text, {text: text}, {"a": text}] for text in ODD_TEXTS} | {f"a{text}": text for text in ODD_TEXTS}
    write_preset(folder / "best.yaml", TrainConfig(env=EnvConfig(kwargs=kwargs)))
    assert composed("preset=best.yaml").env.kwargs == kwargs


def test_a_run_of_what_was_written_has_the_same_bits(folder: Path, here: Train) -> None:
    words = "total_timesteps=1024 buffer_size=256 batch_size=64 epochs=2 lr=0.002 network.hidden_sizes=[16] seed=1000"
    evaluated = "eval_every=512 eval_episodes=2 env.kwargs.sutton_barto_reward=true logger=csv hydra.run.dir=first"
    answer = here("env=CartPole-v1", "hyperparameters=default", *words.split(), *evaluated.split())
    assert answer.code == 0, answer.err
    config = from_plain(TrainConfig, json.loads((folder / "first/summary.json").read_text())["config"])
    write_preset(folder / "best.yaml", config)
    assert here("preset=best.yaml", "seed=1000", "hydra.run.dir=again").code == 0
    first, again = (learnt(folder / name / "metrics.csv") for name in ("first", "again"))
    assert len(first) > 4
    assert first == again


def learnt(path: Path) -> list[list[str]]:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    return [[cell for name, cell in zip(rows[0], row, strict=True) if not name.startswith("time/")] for row in rows]
