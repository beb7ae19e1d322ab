"""What a checkpoint holds of an agent, and the way back from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor

from ppo_cli.agent.learner import Learner
from ppo_cli.algorithm.adam import LearnerState
from ppo_cli.config import ContinuousConfig, NetworkConfig, PPOConfig, show
from ppo_cli.errors import CheckpointError, ConfigError, Problem, UserError
from ppo_cli.networks.actor_critic import make_network
from ppo_cli.plain import from_plain, to_plain
from ppo_cli.runs.checkpoint import checked_section, checked_tensor
from ppo_cli.spec import Shapes, Spec

Built = TypeVar("Built")

SECTIONS = ("config", "spec", "parameters", "first_moment", "second_moment", "updates", "normalizers", "streams")
"""What the state of an agent consists of."""


def _dims(spec: Spec) -> str:
    """The sizes of a spec as the agent's constructor calls them."""
    choices = spec.num_options if spec.action_dtype == "int64" else spec.action_size
    return f"state_dim={spec.obs_size}, action_dim={choices}"


def _told(spec: Spec) -> str:
    """A spec in one line."""
    parts = [(part.kind, part.shape, part.counts) for part in spec.observations]
    actions = [(part.kind, part.counts or (part.size,)) for part in spec.actions]
    mask = f", masks from {spec.mask}" if spec.mask else ""
    told = [" ".join(str(item) for item in part if item != ()) for part in (*parts, *actions)]
    return f"{', '.join(told[: len(parts)])} → {', '.join(told[len(parts) :])}{mask}"


def state_dict(learner: Learner) -> dict[str, Any]:
    """Everything about an agent as plain data and CPU tensors."""
    state, policy = learner.state, learner.policy
    named = policy.network.named
    return {
        "config": to_plain(learner.config),
        "spec": dataclasses.asdict(policy.spec),
        "parameters": _on_cpu(named(state.parameters)),
        "first_moment": _on_cpu(named(state.first_moment)),
        "second_moment": _on_cpu(named(state.second_moment)),
        "updates": learner.updates,
        "normalizers": {name: _on_cpu(part.state_dict()) for name, part in policy.normalizers._asdict().items()},
        "streams": {name: stream.get_state() for name, stream in _streams(learner).items()},
    }


def _streams(learner: Learner) -> dict[str, torch.Generator]:
    return {"action": learner.policy.action_stream, "shuffle": learner.shuffle_stream}


def load_state_dict(learner: Learner, saved: dict[str, Any]) -> None:
    """Take over all that :func:`state_dict` holds but settings and spaces, which must be alike.

    Raises:
        CheckpointError: if anything is missing or has another shape or type.
    """
    shapes, device = learner.policy.network.shapes, learner.policy.device
    flat = [
        torch.cat([part.reshape(-1) for part in _checked_parameters(saved, name, shapes)]).to(device)
        for name in ("parameters", "first_moment", "second_moment")
    ]
    learner.set_state(LearnerState(*flat))
    learner.updates = saved.get("updates", -1)
    if type(learner.updates) is not int or not 0 <= learner.updates < 2**53:
        raise CheckpointError(Problem("the checkpoint does not say how often it was updated", "another"))
    _load_normalizers(learner, saved)
    streams = _streams(learner)
    section = checked_section(saved.get("streams"), "streams", streams)
    for name, stream in streams.items():
        tensor = checked_tensor(section, name, tuple(stream.get_state().shape), torch.uint8, section="streams")
        try:
            stream.set_state(tensor)
        except RuntimeError as error:
            raise CheckpointError(Problem(f"the checkpoint's {name} stream: {error}", "another")) from error


def _load_normalizers(learner: Learner, saved: dict[str, Any]) -> None:
    normalizers = learner.policy.normalizers._asdict()
    sections = checked_section(saved.get("normalizers"), "normalizers", normalizers)
    for name, part in normalizers.items():
        expected = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in part.state_dict().items()}
        section = checked_section(sections[name], f"normalizers: {name}", expected)
        if "discounted" in expected and isinstance(section["discounted"], Tensor):
            # one sum per environment of that run, whose number need not be ours
            expected["discounted"] = ((section["discounted"].numel(),), torch.float64)
        least = {"count": 0.0, "var": 0.0}
        part.load_state_dict(
            {
                key: checked_tensor(section, key, *form, section=f"normalizers: {name}", least=least.get(key))
                for key, form in expected.items()
            }
        )


def check_same_kind(config: PPOConfig, spec: Spec, saved_config: PPOConfig, saved_spec: Spec) -> None:
    """See that an agent may become the saved one.

    Raises:
        CheckpointError: if the spaces' sizes differ, or the file names a module that this agent does not.
    """
    theirs, ours = saved_config.network.module, config.network.module
    if theirs != ours:  # importing it would be running code that a file names
        what = f"the checkpoint's network is {theirs}, and this agent's {ours}"
        raise CheckpointError(Problem(what, "an agent with the same network.module"))
    theirs, ours = saved_config.objective, config.objective
    if ":" in theirs and theirs != ours:  # likewise
        what = f"the checkpoint's objective is {theirs}, and this agent's {ours}"
        raise CheckpointError(Problem(what, "an agent with the same objective"))
    if _dims(saved_spec) != _dims(spec):
        what = f"the checkpoint is of an agent with {_dims(saved_spec)}, and this one has {_dims(spec)}"
        raise CheckpointError(Problem(what, f"PPOAgent({_dims(saved_spec)})"))


def check_same_function(config: PPOConfig, spec: Spec, saved_config: PPOConfig, saved_spec: Spec) -> None:
    """See that the saved parameters mean the same here.

    Raises:
        CheckpointError: if the spaces or the network differ, or what their inputs and outputs mean.
    """
    names = ["normalize_obs", "normalize_reward", "normalize_value"]
    names += [f"network.{item.name}" for item in fields(NetworkConfig) if item.name != "sequence_length"]
    names += [f"continuous.{item.name}" for item in fields(ContinuousConfig) if item.name != "resample_every"]
    pairs = [(name, attrgetter(name)(saved_config), attrgetter(name)(config)) for name in names]
    problems = [
        Problem(
            f"init_from: the checkpoint has {name}={show(saved)}, and this run {show(mine)}", f"{name}={show(saved)}"
        )
        for name, saved, mine in pairs
        if saved != mine
    ]
    if not saved_spec.same_spaces(spec):
        what = f"init_from: the checkpoint's spaces are {_told(saved_spec)}, and this run's {_told(spec)}"
        problems.append(Problem(what, "a checkpoint of this environment"))
    elif config.normalize_obs and saved_spec.measured_as(spec) != saved_spec:
        what = "init_from: the checkpoint is of a version that did not standardise whole numbers, as this run does"
        problems.append(Problem(what, "resume=<its run>, or a new run without init_from"))
    if problems:
        raise CheckpointError(problems)


def copy_function(source: Learner, target: Learner) -> None:
    """Give ``target`` the parameters and the statistics of ``source``, and nothing else."""
    target.set_state(target.state._replace(parameters=source.policy.parameters))
    own_parts, parts = target.policy.normalizers, source.policy.normalizers
    own_parts.observation.load_state_dict(parts.observation.state_dict())
    own_parts.value.load_state_dict(parts.value.state_dict())
    parts.reward.begin_episodes()
    own_parts.reward.load_state_dict(parts.reward.state_dict())


def read_description(state: dict[str, Any]) -> tuple[PPOConfig, Spec]:
    """Settings and spaces of a saved agent.

    Raises:
        CheckpointError: if they do not fit their definitions.
    """
    checked_section(state, "agent", SECTIONS)
    try:
        config = from_plain(PPOConfig, state["config"])
        spec = Spec.from_plain(state["spec"])
    except ConfigError as error:
        raise CheckpointError(error.problems) from error
    except Exception as error:  # in whatever way a description is none, it is the file's
        what = f"the checkpoint does not describe its agent ({type(error).__name__}: {str(error)[:200]})"
        raise CheckpointError(Problem(what, "another")) from error
    return config, spec


def buildable(config: PPOConfig, spec: Spec, saved: dict[str, Any], build: Callable[[], Built]) -> Built:
    """What ``build`` makes, if the file holds as many parameters as the network that it describes has.

    A few words can describe a network that no memory holds.

    Raises:
        CheckpointError: if it does not, or nothing can be built.
    """
    section = saved["parameters"]
    held = (
        sum(part.numel() for part in section.values() if isinstance(part, Tensor)) if isinstance(section, dict) else 0
    )
    try:
        if spec.num_options > held:  # each choice has a column of parameters; making the head goes through them all
            raise ValueError(f"{spec.num_options} choices with {held} parameters")
        _checked_parameters(saved, "parameters", make_network(spec, config).shapes)
        return build()
    except UserError:
        raise
    except Exception as error:  # likewise; and room for buffer_size transitions may be more than there is
        what = f"the agent that the checkpoint describes cannot be built ({type(error).__name__}: {str(error)[:200]})"
        raise CheckpointError(Problem(what, "another")) from error


def _checked_parameters(state: dict[str, Any], name: str, shapes: Shapes) -> list[Tensor]:
    section = checked_section(state[name], name, shapes)
    least = 0.0 if name == "second_moment" else None
    return [
        checked_tensor(section, key, shape, torch.float32, section=name, least=least) for key, shape in shapes.items()
    ]


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # a view would drag the whole flat vector into the file with it
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
