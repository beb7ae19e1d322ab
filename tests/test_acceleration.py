"""Threads and the compiled gradient step: chosen by fixed facts, and the same numbers whichever was chosen."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.agent.learner import UpdateResult
from ppo_cli.algorithm.compiled import Compiled
from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.devices import intra_op_threads
from ppo_cli.spec import Spec
from ppo_cli.training.auto import choose_compile, choose_threads

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

# threads


@pytest.mark.parametrize(
    ("wanted", "work", "batch_size", "threads"),
    [
        (3, 64 * 64, 64, 3),
        ("auto", 64 * 64, 64, 1),
        ("auto", 256 * 256, 64, 1),  # 4,194,304
        ("auto", 64 * 64, 2048, 2),  # 8,388,608
        ("auto", 4_000_000, 2, 2),  # 8,000,000 exactly
        ("auto", 3_999_999, 2, 1),
        ("auto", 4_000_000, 5, 5),
        ("auto", 4_000_000, 60, 6),
    ],
)
def test_threads_follow_the_largest_product(
    monkeypatch: pytest.MonkeyPatch, wanted: int | str, work: int, batch_size: int, threads: int
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    chosen, reason = choose_threads(wanted, work, batch_size)
    assert chosen == threads
    assert ("as asked" in reason) == (wanted != "auto")
    assert ("multiplications" in reason) == (wanted == "auto" and threads > 1)


def test_threads_are_set_inside_the_block_only() -> None:
    before = torch.get_num_threads()
    with intra_op_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), intra_op_threads(before + 2):
        raise KeyError
    assert torch.get_num_threads() == before


# whether to compile


def test_a_recurrent_layer_costs_and_saves_more() -> None:
    assert choose_compile("auto", CPU, 20_000, sequence=1)[0] is False
    assert choose_compile("auto", CPU, 20_000, sequence=32)[0] is True


def test_a_gpu_always_records() -> None:
    assert choose_compile("auto", CUDA, 1)[0] is True


@pytest.mark.parametrize(
    ("wanted", "updates", "compiled", "reason"),
    [
        (True, 1, True, "as asked"),
        (False, 10**9, False, "as asked"),
        ("auto", 1000, False, "1,000 updates save about 1 s, not clearly more than the 24 s that compiling costs"),
        ("auto", 45_000, False, "45,000 updates save about 36 s, not clearly more than the 24 s that compiling costs"),
        ("auto", 45_001, True, "45,001 updates save about 36 s, clearly more than the 24 s that compiling costs"),
    ],
)
def test_compiling_follows_the_number_of_updates(
    monkeypatch: pytest.MonkeyPatch, wanted: bool | str, updates: int, compiled: bool, reason: str
) -> None:
    monkeypatch.setattr("ppo_cli.training.auto.shutil.which", lambda name: f"/usr/bin/{name}")
    assert choose_compile(wanted, CPU, updates) == (compiled, reason)


def test_without_a_compiler_nothing_is_compiled_and_one_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_cli.training.auto.shutil.which", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    line = "there is no C++ compiler here (g++), so the gradient step is not compiled"
    for wanted in (True, "auto"):
        assert choose_compile(wanted, CPU, 10**9) == (False, line)
    assert choose_compile(False, CPU, 10**9) == (False, "as asked")
    assert choose_compile(True, CUDA, 1) == (True, "as asked")


def test_the_compiler_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiled, reason = choose_compile(True, CPU, 1)
    assert not compiled
    assert "(no-such-compiler)" in reason


# the compiled step

TANH = PPOConfig(network=NetworkConfig(hidden_sizes=[12, 12]), batch_size=16, epochs=2)
RELU = PPOConfig(
    network=NetworkConfig(hidden_sizes=[12, 12], activation="relu", shared=False),
    batch_size=16, epochs=2, value_clip=0.1, max_grad_norm=None, normalize_value=False,
)  # fmt: skip


def pair(config: PPOConfig) -> list[PPOAgent]:
    """The same agent with and without a compiled step."""
    spec = Spec.simple(3, 4)
    return [PPOAgent.from_spec(spec, config, seed=0, num_envs=2, compiled=compiled) for compiled in (False, True)]


def update(agent: PPOAgent, seed: int) -> UpdateResult:
    """Learn from a random rollout of 40 rows of which 37 are real: the last minibatch of three is short."""
    draw = np.random.default_rng(seed)
    for step in range(20):
        weights = np.ones(2) if step not in (5, 9, 13) else np.array([0.0, 1.0])
        ends = draw.random((2, 2)) < 0.1
        agent.memory.append(
            draw.normal(size=(2, 3)), draw.integers(4, size=(2, 1)), draw.normal(size=2), *(ends & [[True], [False]]),
            weights=weights,
        )  # fmt: skip
    agent.memory.next_observations = draw.normal(size=(2, 3)).astype(np.float32)
    return agent.learn()


def assert_alike(eager: PPOAgent, compiled: PPOAgent, seed: int) -> None:
    """One update of each, from the same parameters."""
    before = eager.policy.parameters.clone()
    results = update(eager, seed), update(compiled, seed)
    np.testing.assert_allclose(*results, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(compiled.learner.state, eager.learner.state, rtol=0.0, atol=1e-5)
    assert (eager.policy.parameters - before).abs().max() > 1e-4


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no compiler")


@pytest.mark.slow
@needs_compiler
def test_compiled_steps_equal_eager_ones_each_for_its_own_network_and_are_compiled_once() -> None:
    (tanh, fast_tanh), (relu, fast_relu) = agents = pair(TANH), pair(RELU)
    assert_alike(tanh, fast_tanh, seed=1)
    assert_alike(relu, fast_relu, seed=1)
    programs = [program_of(agent) for _, agent in agents]
    assert programs[0] is not programs[1]
    for number, agent in enumerate(agents):
        for member in agent:
            member.learner.lr, member.learner.clip_ratio = 1e-3, 0.05
            member.config.entropy_coef, member.config.value_coef = 0.1, 0.9
        assert_alike(*agent, seed=number + 2)
    assert [program_of(agent) for _, agent in agents] == programs
    # from the same state, the same bits
    state = fast_tanh.state_dict()
    update(fast_tanh, seed=9)
    once = fast_tanh.policy.parameters
    fast_tanh.load_state_dict(state)
    update(fast_tanh, seed=9)
    assert torch.equal(fast_tanh.policy.parameters, once)


def program_of(agent: PPOAgent) -> object:
    steps = agent.learner._update_steps
    assert isinstance(steps, Compiled)
    assert steps.works
    return steps._steps
