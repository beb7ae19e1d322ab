"""What one gradient step costs, eager and compiled, and what compiling costs: the constants of ``acceleration.COSTS``.

``python -m benchmarks.update_cost``. For the cost of compiling with nothing cached, set TORCHINDUCTOR_CACHE_DIR to an
empty folder.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

import torch

from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm import adam, minibatches, objectives, ppo
from ppo_cli.algorithm.compiled import accelerated
from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.cores import usable
from ppo_cli.spec import Spec

CASES = {
    "64, 64": (NetworkConfig(hidden_sizes=[64, 64], shared=False), 1),
    "256, 256": (NetworkConfig(hidden_sizes=[256, 256], shared=False), 1),
    "64 and an LSTM, sequences of 4": (NetworkConfig(hidden_sizes=[64], recurrent="lstm"), 4),
    "64 and an LSTM, sequences of 16": (NetworkConfig(hidden_sizes=[64], recurrent="lstm"), 16),
}
BATCH, MINIBATCHES, ROUNDS = 64, 32, 9
SIZES = ((256, 64), (512, 64), (256, 256), (512, 256), (1024, 256))  # width of both layers, rows of a minibatch


def main() -> None:
    """Measure each network, eager and compiled, on one thread, and larger ones on more."""
    torch.set_num_threads(1)
    print(f"{'hidden layers':>32}  {'eager µs':>9}  {'compiled µs':>11}  {'saved ms':>8}  {'first call s':>12}")
    for name, (network, length) in CASES.items():
        policy = Policy(Spec.simple(8, 4), PPOConfig(network=network), torch.device("cpu"), 0, 1)
        evaluate = partial(policy.score, length)
        step = ppo.make_update_step(evaluate, objectives.clip, clip_value=False, clip_gradient=True)
        _, eager = _time(accelerated(step, False, MINIBATCHES), policy)
        first, compiled = _time(accelerated(step, True, MINIBATCHES), policy)
        print(f"{name:>32}  {eager:9.0f}  {compiled:11.0f}  {(eager - compiled) / 1000:8.2f}  {first:12.1f}")
    print(f"\n{'width, minibatch':>32}  {'multiplications':>15}  eager µs on 1, 2, … threads")
    for width, batch in SIZES:
        network = NetworkConfig(hidden_sizes=[width, width], shared=False)
        policy = Policy(Spec.simple(8, 4), PPOConfig(network=network), torch.device("cpu"), 0, 1)
        times = []
        for threads in [2**power for power in range(usable().bit_length())]:
            torch.set_num_threads(threads)
            step = ppo.make_update_step(partial(policy.score, 1), objectives.clip, clip_value=False, clip_gradient=True)
            times.append(_time(accelerated(step, False, MINIBATCHES), policy, batch)[1])
        print(f"{f'{width}, {batch}':>32}  {width**2 * batch:15,}  {', '.join(f'{each:,.0f}' for each in times)}")


def _time(steps: ppo.UpdateSteps, policy: Policy, batch: int = BATCH) -> tuple[float, float]:
    """Seconds of the first call, and the median round's microseconds a step."""
    first_moment, second_moment = torch.zeros_like(policy.parameters), torch.zeros_like(policy.parameters)
    state = adam.LearnerState(policy.parameters, first_moment, second_moment)
    shape = (MINIBATCHES, batch)
    batches = minibatches.Minibatch(
        torch.randn(*shape, policy.row_size),
        torch.zeros(*shape, 1, dtype=torch.int64),
        torch.zeros(shape) - 1.0,
        torch.zeros(shape),
        torch.randn(shape),
        torch.randn(shape),
        torch.full(shape, 1.0 / batch),
    )
    sizes = (torch.full((MINIBATCHES,), size) for size in (3e-4, 1e-5))
    coefficients = ppo.Coefficients(*sizes, *torch.tensor((0.2, 0.8, 1.2, 0.0, 0.5, 0.01, 0.5)))
    began = time.perf_counter()
    steps(state, batches, coefficients)
    first = time.perf_counter() - began
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        state, _ = steps(state, batches, coefficients)
        rounds.append((time.perf_counter() - began) / MINIBATCHES * 1e6)
    return first, statistics.median(rounds)


if __name__ == "__main__":
    main()
