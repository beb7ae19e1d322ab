"""What one gradient step costs, eager and compiled, and what compiling costs: the constants of ``acceleration.COSTS``.

``python -m benchmarks.update_cost``. For the cost of compiling with nothing cached, set TORCHINDUCTOR_CACHE_DIR to an
empty folder.
"""

from __future__ import annotations

import time
from functools import partial

import torch

from ppo_cli import ppo
from ppo_cli.acceleration import accelerated
from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.policy import Policy
from ppo_cli.specs import Spec

SIZES = ([64, 64], [256, 256])
BATCH, STEPS, ROUNDS = 64, 300, 5


def main() -> None:
    """Measure each size, eager and compiled, on one thread."""
    torch.set_num_threads(1)
    print(f"{'hidden sizes':>14}  {'eager µs':>9}  {'compiled µs':>11}  {'saved ms':>8}  {'first call s':>12}")
    for sizes in SIZES:
        network = NetworkConfig(hidden_sizes=sizes, shared=False)
        policy = Policy(Spec.simple(8, 4), PPOConfig(network=network), torch.device("cpu"), 0, 1)
        step = ppo.make_update_step(partial(policy.score, 1), clip_value=False, clip_gradient=True)
        _, eager = _time(step, policy)
        first, compiled = _time(accelerated(step, compiled=True), policy)
        print(f"{sizes!s:>14}  {eager:9.0f}  {compiled:11.0f}  {(eager - compiled) / 1000:8.2f}  {first:12.1f}")


def _time(step: ppo.UpdateStep, policy: Policy) -> tuple[float, float]:
    """Seconds of the first call, and the median round's microseconds a step."""
    first_moment, second_moment = torch.zeros_like(policy.parameters), torch.zeros_like(policy.parameters)
    state = ppo.LearnerState(policy.parameters, first_moment, second_moment)
    zeros = torch.zeros(BATCH)
    batch = ppo.Minibatch(
        torch.randn(BATCH, policy.spec.obs_size),
        torch.zeros(BATCH, 1, dtype=torch.int64),
        zeros - 1.0,
        zeros,
        torch.randn(BATCH),
        torch.randn(BATCH),
        torch.full((BATCH,), 1.0 / BATCH),
    )
    coefficients = ppo.Coefficients(*torch.tensor((3e-4, 1e-5, 0.8, 1.2, 0.0, 0.5, 0.01, 0.5)).unbind())
    began = time.perf_counter()
    step(state, batch, coefficients)
    first = time.perf_counter() - began
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(STEPS):
            state, _ = step(state, batch, coefficients)
        rounds.append((time.perf_counter() - began) / STEPS * 1e6)
    return first, sorted(rounds)[ROUNDS // 2]


if __name__ == "__main__":
    main()
