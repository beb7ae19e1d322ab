"""What training on a GPU costs: gradient steps, transfers, collecting and learning."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_rows import Row, Setting, cudnn, pictures_config, w1_config
from ppo_cli.agent import learner
from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm import minibatches, objectives, ppo
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.algorithm.cuda_graph import Replayed, record_cuda
from ppo_cli.algorithm.steps import run_steps
from ppo_cli.config import NetworkConfig, PPOConfig, TrainConfig
from ppo_cli.devices import intra_op_threads, make_transfer
from ppo_cli.spec import ObsPart, Spec
from ppo_cli.training.plan import Planner
from ppo_cli.training.trainer import Trainer

MINIBATCHES = 16
PICTURE = Spec((ObsPart("", "image", (4, 84, 84), scale=1 / 255),), Spec.simple(1, 6).actions)
CNN = NetworkConfig(encoder="cnn", hidden_sizes=[512], activation="relu", shared=True)
MLP = NetworkConfig(hidden_sizes=[64, 64], shared=False)


def gradient_steps(setting: Setting) -> list[Row]:
    """One gradient step, eager and replayed, and the recording by itself: without copies in and out."""
    cases = [("64-64, batch", Spec.simple(4, 2), MLP, size) for size in (64, 4096, 32_768)]
    cases += [("CNN, batch", PICTURE, CNN, size) for size in (64, 256, 2048)]
    rows = [_step(setting, f"{name} {size}", spec, network, size) for name, spec, network, size in cases[:5]]
    if not setting.tiny and setting.cuda:
        rows.append(_step(setting, *(f"{cases[5][0]} {cases[5][3]}", *cases[5][1:])))
        for what, switches in (("cuDNN deterministic", {"deterministic": True}), ("no TF32", {"allow_tf32": False})):
            with cudnn(**switches):
                rows.append(_step(setting, f"CNN, batch 256, {what}", PICTURE, CNN, 256))
    return rows


def _step(setting: Setting, name: str, spec: Spec, network: NetworkConfig, size: int) -> Row:
    size = min(size, 16) if setting.tiny else size
    count = 2 if setting.tiny or size > 4096 else MINIBATCHES
    policy = Policy(spec, PPOConfig(network=network), setting.device, 0, 1)
    step = ppo.make_update_step(partial(policy.score, 1), objectives.clip, clip_value=False, clip_gradient=True)
    zeros = torch.zeros_like(policy.parameters)
    arguments = (LearnerState(policy.parameters, zeros, zeros), *_batches(setting, policy, count, size))
    with setting.peak() as memory:
        eager = run_steps(step)
        parts = [f"eager {setting.median_us(lambda: eager(*arguments), 9) / count:,.0f} µs"]
        if setting.cuda:
            replayed = Replayed(step, partial(record_cuda, setting.device))
            parts.append(f"replayed {setting.median_us(lambda: replayed(*arguments), 9) / count:,.0f} µs")
            assert replayed._recorded is not None
            replay = replayed._recorded[0]
            parts.append(f"the recording alone {setting.median_us(lambda: _times(replay, count), 9) / count:,.0f} µs")
    return Row("steps", name, "", ", ".join(parts) + memory[0])


def _times(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def _batches(setting: Setting, policy: Policy, count: int, size: int) -> tuple[minibatches.Minibatch, ppo.Coefficients]:
    """Random minibatches of a policy's rows."""
    shape, device = (count, size), setting.device
    if policy.row_dtype == "uint8":
        rows = torch.randint(0, 256, (*shape, policy.row_size), dtype=torch.uint8, device=device)
    else:
        rows = torch.randn(*shape, policy.row_size, device=device)
    old, advantages, returns = (torch.randn(shape, device=device) for _ in range(3))
    actions = torch.zeros(*shape, 1, dtype=torch.int64, device=device)
    means = torch.full(shape, 1.0 / size, device=device)
    sizes = (torch.full((count,), size, device=device) for size in (3e-6, 1e-5))
    fixed = torch.tensor((0.2, 0.8, 1.2, 0.0, 0.5, 0.01, 0.5), device=device)
    batches = minibatches.Minibatch(rows, actions, old * 0.1 - 1.0, old, advantages, returns, means)
    return batches, ppo.Coefficients(*sizes, *fixed)


def transfers(setting: Setting) -> list[Row]:
    """Observations to the device and actions back, by pinned memory and plainly."""
    rows = []
    shapes = ((8, 4), (4096, 4), (8, 28_224), (128, 28_224), (1024, 28_224))
    for envs, columns in shapes:
        dtype = torch.uint8 if columns > 4 else torch.float32
        array = torch.ones(envs, columns, dtype=dtype).numpy()
        transfer = make_transfer(setting.device)
        with torch.inference_mode():
            pinned = setting.median_us(partial(transfer, array), 50)
            plain = setting.median_us(partial(torch.from_numpy(array).to, setting.device), 50)
        rate = array.nbytes / pinned / 1e3
        found = f"pinned {pinned:,.0f} µs ({rate:.1f} GB/s), plain {plain:,.0f} µs"
        rows.append(Row("transfers", f"{envs} × {columns} {array.dtype} to the device", "", found))
    for envs in (8, 4096):
        actions = torch.zeros(envs, 1, dtype=torch.int64, device=setting.device)
        found = f"{setting.median_us(lambda some=actions: some.cpu().numpy(), 50):,.0f} µs"  # type: ignore[misc]
        rows.append(Row("transfers", f"{envs} × 1 int64 from the device", "", found))
    return rows


def w1(setting: Setting) -> list[Row]:
    """W1 with more and more environments: minibatches that grow with them, and a fixed rollout with small ones."""
    rows = []
    for envs in (2, 4) if setting.tiny else (8, 512, 4096):
        grown = {"num_envs": envs, "buffer_size": 256 * envs, "batch_size": 8 * envs}
        rows += _trained(setting, "w1", f"{envs} × 256, batch {8 * envs}", w1_config, grown)
    for envs in () if setting.tiny else (512, 4096):
        fixed = {"num_envs": envs, "buffer_size": 16_384, "batch_size": 64, "epochs": 2}
        rows += _trained(setting, "w1", f"{envs} × {16_384 // envs}, batch 64, 2 epochs", w1_config, fixed)
    return rows


def pictures(setting: Setting) -> list[Row]:
    """The network of Atari games on random pictures; also with more rows at once than memory is spent on by default."""
    small: dict[str, Any] = {"buffer_size": 32, "batch_size": 16, "epochs": 1} if setting.tiny else {}
    rows = _trained(setting, "atari", "8 × 128, batch 256", pictures_config, small)
    if setting.tiny or not setting.cuda:
        return rows
    many = {"num_envs": 64, "buffer_size": 64 * 128, "batch_size": 2048}
    rows += _trained(setting, "atari", "64 × 128, batch 2048", pictures_config, many, on_cpu=False)
    before = learner.AT_ONCE
    learner.AT_ONCE = 2**28
    try:
        for name, changes in (("8 × 128, batch 256", small), ("64 × 128, batch 2048", many)):
            name += f", {learner.AT_ONCE // 2**20} MiB at once"
            rows += _trained(setting, "atari", name, pictures_config, changes, on_cpu=False)
    finally:
        learner.AT_ONCE = before
    return rows


def _trained(
    setting: Setting,
    part: str,
    name: str,
    make: Callable[..., TrainConfig],
    changes: dict[str, Any],
    on_cpu: bool = True,
) -> list[Row]:
    """Iterations on the CPU, and on the device eager and recorded."""
    ways = [("CPU", "cpu", False)] if on_cpu and not (setting.quick and changes.get("num_envs", 8) > 512) else []
    if setting.cuda:
        ways += [("eager", str(setting.device), False), ("recorded", str(setting.device), True)]
    rows = []
    for way, device, compiled in ways:
        config = make(device=device, compile=compiled, total_timesteps=10**9, **changes)
        rows.append(Row(part, f"{name}, {way}", "", _iterations(setting, config, f"{part}{name}{way}")))
    return rows


def _iterations(setting: Setting, config: TrainConfig, name: str) -> str:
    """What an iteration of a run takes, the median of some after the first."""
    folder = setting.folder / name.replace(" ", "").replace(",", "-")
    folder.mkdir()
    plan = Planner().plan(config)
    took: dict[str, list[float]] = {"collect": [], "fill_in": [], "learn": []}
    with setting.peak() as memory, intra_op_threads(plan.config.threads):
        trainer = Trainer(plan, folder, [])
        for owner, part in ((trainer.collector, "collect"), (trainer.agent.learner, "fill_in")):
            setattr(owner, part, _timed(setting, getattr(owner, part), took[part]))
        trainer.agent.learner.learn = _timed(setting, trainer.agent.learner.learn, took["learn"])  # type: ignore[method-assign]
        trainer.collector.begin_stretch()
        for _ in range(2 if setting.tiny or setting.quick else 4):
            trainer.iterate()
        trainer.close({})
    collect, fill_in, learn = (statistics.median(times[1:]) for times in took.values())
    rows, steps = config.buffer_size, config.epochs * -(-config.buffer_size // config.batch_size)
    found = f"{rows / (collect + fill_in + learn):>9,.0f} steps/s: {collect / rows * config.num_envs * 1e6:,.0f} µs a "
    found += (
        f"vector step, values {fill_in * 1e3:,.1f} ms, learning {learn * 1e3:,.0f} ms = {learn / steps * 1e6:,.0f} "
    )
    return found + "µs a gradient step" + (memory[0] if config.device != "cpu" else "")


def _timed(setting: Setting, call: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        setting.wait()
        began = time.perf_counter()
        result = call(*arguments)
        setting.wait()
        times.append(time.perf_counter() - began)
        return result

    return timed
