"""What reads observations: pictures in either order, categories, several parts at once, a module of one's own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from torch import Tensor
from torch.nn import functional

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.agent.policy import Policy
from ppo_cli.algorithm.normalization import make_normalizers
from ppo_cli.config import NetworkConfig, PPOConfig
from ppo_cli.envs.spaces import Codec, describe
from ppo_cli.errors import ConfigError
from ppo_cli.networks.actor_critic import ActorCritic
from ppo_cli.networks.distributions import make_head
from ppo_cli.networks.encoders import AllParts, Impala, NatureCNN, Numbers, OneHot, make_encoder
from ppo_cli.networks.user_module import UserModule
from ppo_cli.spec import ActionPart, ObsPart, Spec

CPU = torch.device("cpu")
CHOICES = (ActionPart("", "categorical", 1, (3,)),)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec_of(*parts: ObsPart) -> Spec:
    return Spec(parts, CHOICES)


def image(*shape: int) -> ObsPart:
    return ObsPart("", "image", shape, scale=1 / 255)


def weights_of(encoder: Any) -> list[Tensor]:
    generator = stream(1)
    return [torch.randn(shape, generator=generator) * 0.2 for shape in encoder.shapes.values()]


def pictures(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=stream(2), dtype=torch.uint8)


# pictures


@pytest.mark.parametrize("kind", ["cnn", "impala"])
@pytest.mark.parametrize(("height", "width", "colours"), [(36, 44, 3), (48, 40, 1), (40, 36, 9)])
def test_the_order_of_an_images_axes_does_not_change_its_features(
    kind: str, height: int, width: int, colours: int
) -> None:
    config = NetworkConfig(encoder=kind)
    last = pictures(2, height, width, colours)
    first = last.permute(0, 3, 1, 2)
    of_last = make_encoder(spec_of(image(height, width, colours)), config, 1)
    of_first = make_encoder(spec_of(image(colours, height, width)), config, 1)
    assert of_last.shapes == of_first.shapes
    parameters = weights_of(of_last)
    features = of_last(parameters, last.flatten(1))
    assert features.shape == (1, 2, of_last.width)
    assert features.std() > 0
    torch.testing.assert_close(features, of_first(parameters, first.flatten(1)))


@pytest.mark.parametrize("kind", ["cnn", "impala"])
def test_stacked_pictures_are_read_as_channels_in_either_order(kind: str) -> None:
    config = NetworkConfig(encoder=kind)
    last = pictures(2, 4, 36, 40, 3)  # stack, height, width, colours
    first = last.permute(0, 1, 4, 2, 3)
    joined = first.flatten(1, 2)
    parameters = weights_of(make_encoder(spec_of(image(12, 36, 40)), config, 1))
    expected = make_encoder(spec_of(image(12, 36, 40)), config, 1)(parameters, joined.flatten(1))
    for stacked in (last, first):
        encoder = make_encoder(spec_of(image(*stacked.shape[1:])), config, 1)
        torch.testing.assert_close(encoder(parameters, stacked.flatten(1)), expected)


def test_a_grey_picture_without_a_colour_axis_is_read() -> None:
    grey = pictures(2, 40, 36)
    encoder, with_axis = (make_encoder(spec_of(image(*shape)), NetworkConfig(), 1) for shape in [(40, 36), (1, 40, 36)])
    assert isinstance(encoder, NatureCNN)
    parameters = weights_of(encoder)
    torch.testing.assert_close(encoder(parameters, grey.flatten(1)), with_axis(parameters, grey.flatten(1)))


def test_the_cnn_is_three_plain_convolutions_of_a_picture_scaled_once() -> None:
    picture = pictures(2, 3, 44, 36)
    encoder = make_encoder(spec_of(image(3, 44, 36)), NetworkConfig(), 2)
    parameters = weights_of(encoder)
    features = encoder(parameters, picture.flatten(1))
    assert features.shape == (2, 2, encoder.width)
    for trunk in range(2):
        hidden = picture.float() / 255
        for layer, stride in enumerate((4, 2, 1)):
            weight, bias = parameters[2 * layer][trunk], parameters[2 * layer + 1][trunk]
            hidden = functional.conv2d(hidden, weight, bias, stride).relu()
        torch.testing.assert_close(features[trunk], hidden.flatten(1), rtol=1e-4, atol=1e-4)


def test_the_impala_network_has_its_fifteen_convolutions_and_residual_ways() -> None:
    picture = pictures(2, 9, 11, 3)
    encoder = make_encoder(spec_of(image(9, 11, 3)), NetworkConfig(encoder="impala"), 1)
    assert isinstance(encoder, Impala)
    assert len(encoder.shapes) == 30
    assert encoder.width == 32 * 2 * 2  # 9 → 5 → 3 → 2, 11 → 6 → 3 → 2
    parameters = [part * 0.3 for part in weights_of(encoder)]
    weights = [part[0] for part in parameters]
    hidden = picture.permute(0, 3, 1, 2).float() / 255
    for stage in range(3):
        layers = list(zip(weights[10 * stage : 10 * stage + 10 : 2], weights[10 * stage + 1 :: 2], strict=False))
        (weight, bias), *blocks = layers
        hidden = functional.max_pool2d(functional.conv2d(hidden, weight, bias, padding=1), 3, 2, 1)
        for block in (blocks[:2], blocks[2:]):
            inner = hidden
            for weight, bias in block:
                inner = functional.conv2d(inner.relu(), weight, bias, padding=1)
            hidden = hidden + inner
    features = encoder(parameters, picture.flatten(1))
    assert features.max() > 0.1
    torch.testing.assert_close(features[0], hidden.relu().flatten(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", [image(5, 4, 3), image(5, 4), image(3, 5, 4)], ids=str)
def test_a_small_picture_is_read_as_numbers_scaled_once(part: ObsPart) -> None:
    encoder = make_encoder(spec_of(part), NetworkConfig(), 2)
    assert isinstance(encoder, Numbers)
    picture = pictures(2, part.size)
    torch.testing.assert_close(encoder([], picture), picture.float()[None] / 255)


def test_a_large_picture_is_read_as_numbers_where_that_is_wanted() -> None:
    encoder = make_encoder(spec_of(image(48, 48, 3)), NetworkConfig(encoder="mlp"), 1)
    assert isinstance(encoder, Numbers)
    assert encoder.width == 48 * 48 * 3


def test_auto_takes_convolutions_from_the_size_that_they_need() -> None:
    for shape in [(36, 90, 3), (90, 36, 3), (3, 36, 90), (4, 36, 36, 3)]:
        encoder = make_encoder(spec_of(image(*shape)), NetworkConfig(), 1)
        assert isinstance(encoder, NatureCNN)
        assert encoder.width > 0
        smaller = make_encoder(spec_of(image(*(35 if side == 36 else side for side in shape))), NetworkConfig(), 1)
        assert isinstance(smaller, Numbers)


@pytest.mark.parametrize("shape", [(35, 90, 3), (3, 90, 35), (4, 5)])
def test_a_picture_too_small_for_the_cnn_is_a_clear_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError) as raised:
        make_encoder(spec_of(image(*shape)), NetworkConfig(encoder="cnn"), 1)
    (problem,) = raised.value.problems
    side = min(side for side in shape if side != 3)
    assert f"needs images of 36 pixels a side, and here they are {side}" in problem.what
    assert problem.fix == "network.encoder=impala"
    make_encoder(spec_of(image(*shape)), NetworkConfig(encoder="impala"), 1)


@pytest.mark.parametrize("order", [(48, 40, 3), (3, 48, 40)])
def test_pictures_stay_bytes_up_to_the_network(order: tuple[int, ...]) -> None:
    observations = Box(0, 255, order, np.uint8)
    spec = describe("Env-v0", Dict(eye=observations, action_mask=MultiBinary(3)), Discrete(3))
    config = PPOConfig(NetworkConfig(hidden_sizes=[8]), buffer_size=8, batch_size=8, normalize_obs=True)
    agent = PPOAgent.from_spec(spec, config, seed=0, num_envs=2)
    assert agent.memory.columns
    rows = np.random.default_rng(0).integers(256, size=(2, spec.obs_size)).astype(np.uint8)
    agent.memory.append(rows, np.zeros((2, 1), np.int64), 0.0, 0.0, 0.0)
    assert agent.memory["observations"].dtype == np.uint8
    np.testing.assert_array_equal(agent.memory["observations"][0], rows)
    assert agent.policy.compose(rows, None, None) is rows
    assert agent.policy.prepare(torch.from_numpy(rows)).dtype == torch.uint8
    assert agent.policy.act(rows, None).actions.shape == (2, 1)


# categories


@pytest.mark.parametrize(
    ("space", "shown", "ones"),
    [
        (Discrete(4, start=-1), [-1, 0, 2], [[0], [1], [3]]),
        (
            MultiDiscrete([3, 1, 2], start=[5, 0, -1]),
            [[5, 0, -1], [7, 0, 0], [6, 0, -1]],
            [[0, 3, 4], [2, 3, 5], [1, 3, 4]],
        ),
        (
            MultiDiscrete(np.array([[2, 3]]), start=np.array([[1, 2]])),
            [[[1, 2]], [[2, 4]], [[1, 3]]],
            [[0, 2], [1, 4], [0, 3]],
        ),
    ],
    ids=str,
)
def test_categories_become_ones_in_their_places(space: Space[Any], shown: list[Any], ones: list[list[int]]) -> None:
    spec = describe("Env-v0", space, Discrete(3))
    rows = Codec(spec, space, Discrete(3)).pack(np.array(shown), {})
    encoder = make_encoder(spec, NetworkConfig(), 2)
    assert isinstance(encoder, OneHot)
    assert encoder.width == sum(spec.observations[0].counts)
    features = encoder([], torch.from_numpy(rows))
    assert [row.nonzero().flatten().tolist() for row in features[0]] == ones
    assert features.unique().tolist() == [0.0, 1.0]


# several parts


EYE = ObsPart("eye", "image", (36, 40, 3), scale=1 / 255)
SPEED = ObsPart("speed", "numbers", (2,), measured=True)
GEAR = ObsPart("gear", "categories", (2,), counts=(3, 4))
MASK = ObsPart("action_mask", "mask", (3,))
FLAGS = ObsPart("flags", "numbers", (2,))
ROW = torch.cat(
    (
        torch.randn(4, 2, generator=stream(3)) * 50,
        torch.tensor([[0.0, 3.0], [2.0, 0.0], [1.0, 1.0], [2.0, 3.0]]),
        pictures(4, EYE.size).float(),
        torch.tensor([[1.0, 0.0, 1.0]]).expand(4, -1),
        torch.tensor([[0.0, 1.0]]).expand(4, -1),
    ),
    1,
)
PARTS = Spec((SPEED, GEAR, EYE, MASK, FLAGS), CHOICES, "info")


@pytest.mark.parametrize("trunks", [1, 2])
def test_every_part_is_read_by_its_own_and_the_mask_by_none(trunks: int) -> None:
    encoder = make_encoder(PARTS, NetworkConfig(), trunks)
    assert isinstance(encoder, AllParts)
    parameters = weights_of(encoder)
    features = encoder(parameters, ROW)
    assert next(iter(encoder.shapes)) == "eye.conv0.weight"
    cnn = NatureCNN(EYE, trunks)
    gears = functional.one_hot(ROW[:, 2].long(), 3), functional.one_hot(ROW[:, 3].long(), 4)
    one = torch.cat((ROW[:, :2], *gears), 1)
    eye = cnn(parameters, ROW[:, 4 : 4 + EYE.size])
    both = [torch.cat((one, eye[trunk], ROW[:, -2:]), 1) for trunk in range(trunks)]
    assert encoder.width == both[0].shape[1]
    torch.testing.assert_close(features, torch.stack(both))
    other = ROW.clone()
    other[:, -5:-2] = 1 - other[:, -5:-2]
    assert torch.equal(encoder(parameters, other), features)


def test_two_pictures_are_read_by_parameters_of_their_own() -> None:
    encoder = make_encoder(spec_of(EYE, replace(EYE, name="ear/0")), NetworkConfig(), 1)
    assert len(encoder.shapes) == 12
    parameters = weights_of(encoder)
    picture = pictures(2, EYE.size)
    left, right = encoder(parameters, torch.cat((picture, picture), 1))[0].chunk(2, 1)
    assert not torch.allclose(left, right)
    torch.testing.assert_close(left, NatureCNN(EYE, 1)(parameters[:6], picture)[0])
    torch.testing.assert_close(right, NatureCNN(EYE, 1)(parameters[6:], picture)[0])


@pytest.mark.parametrize("recurrent", [None, "lstm"])
@pytest.mark.parametrize("shared", [True, False])
def test_the_policy_alone_sees_what_the_whole_network_sees(recurrent: str | None, shared: bool) -> None:
    config = NetworkConfig(hidden_sizes=[8], shared=shared, recurrent=recurrent, recurrent_size=4)
    network = ActorCritic(PARTS, partial(make_head, PARTS, PPOConfig().continuous), config)
    parameters = network.unflatten(network.init(stream()))
    rows = torch.cat((ROW, torch.zeros(4, 1 + network.state_size)), 1) if recurrent else ROW
    outputs, values, states = network.forward(parameters, rows)
    assert outputs.shape == (4, 3)
    assert torch.isfinite(values).all()
    assert (states is None) == (recurrent is None)
    assert outputs[:, 1].unique().tolist() == [-1e8]
    if recurrent is None:
        torch.testing.assert_close(network.policy(network.acting(parameters), rows), outputs)


@pytest.mark.parametrize("recurrent", [None, "gru"])
def test_where_there_is_nothing_but_a_mask_it_is_what_is_seen(recurrent: str | None) -> None:
    spec = describe("Env-v0", Dict(action_mask=MultiBinary(40)), Discrete(40))
    policy = Policy(spec, PPOConfig(NetworkConfig(hidden_sizes=[8], recurrent=recurrent)), CPU, 0, 2)
    rows = np.eye(2, 40).astype(spec.obs_dtype)
    acted = policy.act(policy.compose(rows, None, None), policy.noise(1, 2)[0])
    assert acted.actions.tolist() == [[0], [1]]
    values = policy.forward(torch.from_numpy(policy.compose(rows, None, None))).values
    assert values[0] != values[1]


# a module of one's own


@pytest.mark.parametrize("trunks", [1, 2])
def test_a_module_of_ones_own_reads_the_whole_row_for_each_trunk(trunks: int) -> None:
    config = NetworkConfig(module="toys:Mirror")
    encoder = make_encoder(spec_of(SPEED, replace(SPEED, name="more")), config, trunks)
    assert isinstance(encoder, UserModule)
    assert encoder.width == 5
    assert encoder.shapes == {"inner.weight": (trunks, 5, 4), "inner.bias": (trunks, 5)}
    parameters = weights_of(encoder)
    rows = torch.randn(3, 4 + 7, generator=stream(5))  # what memory adds to a row is none of its business
    features = encoder(parameters, rows)
    for trunk in range(trunks):
        expected = functional.linear(rows[:, :4], parameters[0][trunk], parameters[1][trunk]).abs()
        torch.testing.assert_close(features[trunk], expected)


def test_a_module_of_ones_own_draws_its_first_weights_from_the_stream_alone() -> None:
    encoder = make_encoder(spec_of(SPEED), NetworkConfig(module="toys:Mirror"), 2)
    assert isinstance(encoder, UserModule)
    before = torch.get_rng_state()
    first, again, other = (encoder.init(stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, shape in encoder.shapes.items():
        assert first[name].shape == shape
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])
        assert not torch.equal(first[name][0], first[name][1])
    assert first["inner.weight"].abs().max() <= 1 / 2**0.5  # torch's own range for two inputs


@pytest.mark.parametrize("recurrent", [None, "lstm"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ["Mirror", "Squares"])
def test_a_module_of_ones_own_learns(name: str, shared: bool, recurrent: str | None) -> None:
    network = NetworkConfig(
        hidden_sizes=[8], shared=shared, recurrent=recurrent, recurrent_size=4, module=f"toys:{name}"
    )
    config = PPOConfig(network, buffer_size=16, batch_size=8, epochs=1)
    agent = PPOAgent.from_spec(spec_of(SPEED), config, seed=0, num_envs=2)
    generator = np.random.default_rng(0)
    rows = agent.policy.compose(generator.normal(size=(2, 2)).astype(np.float32), None, None)
    before = agent.policy.network.named(agent.policy.parameters.clone())
    for _ in range(8):
        acted = agent.policy.act(rows, agent.policy.noise(1, 2)[0])
        agent.memory.append(rows, acted.actions, generator.normal(size=2), 0.0, 0.0)
        rows = agent.policy.compose(generator.normal(size=(2, 2)).astype(np.float32), acted.states, None)
    agent.memory.next_observations = rows
    agent.learn()
    after = agent.policy.network.named(agent.policy.parameters)
    assert all(torch.isfinite(part).all() for part in after.values())
    moved = [key for key, part in after.items() if key.startswith("encoder") and not torch.equal(part, before[key])]
    assert moved == (["encoder.inner.weight", "encoder.inner.bias"] if name == "Mirror" else [])


@pytest.mark.parametrize("encoder", ["cnn", "impala"])
def test_convolutions_need_something_to_look_at(encoder: str) -> None:
    with pytest.raises(ConfigError, match=f"network.encoder={encoder} reads pictures") as raised:
        make_encoder(spec_of(SPEED), NetworkConfig(encoder=encoder), 1)
    assert raised.value.problems[0].fix == "network.encoder=auto"
    assert make_encoder(spec_of(SPEED, image(40, 40, 3)), NetworkConfig(encoder=encoder), 1).width > 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("toys:TooNarrow", "of 4 rows it makes features of shape (4, 3), and its width is 4"),
        ("toys:Forgetful", "other features of the same rows each time"),
        ("toys:Counting", "keeps running statistics"),
        ("toys:Bare", "no torch.nn.Module"),
    ],
)
def test_a_module_with_a_fault_is_found_when_it_is_built(name: str, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_encoder(Spec.simple(5, 2), NetworkConfig(module=name), 1)
    (problem,) = raised.value.problems
    assert f"network.module={name} cannot be built" in problem.what
    assert why in problem.what


@pytest.mark.parametrize("name", ["toys:Nowhere", "no_such_module:Net", "toys:Shapeless"])
def test_a_module_that_cannot_be_built_is_a_clear_error(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_encoder(spec_of(SPEED), NetworkConfig(module=name), 1)
    (problem,) = raised.value.problems
    assert f"network.module={name} cannot be built" in problem.what
    assert "network.module=module:Class" in problem.fix


# normalisers


@pytest.mark.parametrize("memory", [0, 9])
def test_only_measurements_are_standardised(memory: int) -> None:
    row_size = PARTS.obs_size + memory
    normalizer = make_normalizers(PPOConfig(normalize_obs=True), PARTS, row_size, np.float32, 2, CPU).observation
    rows = torch.cat((ROW, torch.randn(4, memory, generator=stream(6)) * 1e6), 1)
    rows[0, -1] = -0.0 if memory else rows[0, -1]
    for part in rows.split(2):
        normalizer.update(part, torch.ones(len(part), dtype=torch.bool))
    read = normalizer(rows)
    assert read.shape == rows.shape
    measured = rows[:, :2]
    expected = (measured - measured.mean(0)) / measured.std(0, correction=0)
    torch.testing.assert_close(read[:, :2], expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(read[:, 2:].contiguous().view(torch.int32), rows[:, 2:].contiguous().view(torch.int32))
    far = rows.clone()
    far[:, :2] = 1e9
    assert normalizer(far)[:, :2].unique().tolist() == [10.0]


@pytest.mark.parametrize(
    "part",
    [image(4, 4, 3), image(36, 36), GEAR, FLAGS, ObsPart("", "image", (36, 36, 3))],
    ids=["bytes", "picture", "categories", "flags", "float picture"],
)
def test_without_measurements_nothing_is_standardised(part: ObsPart) -> None:
    spec = spec_of(part)
    normalizer = make_normalizers(PPOConfig(normalize_obs=True), spec, spec.obs_size, np.float32, 2, CPU).observation
    rows = torch.randn(3, spec.obs_size, generator=stream(7)) * 100
    normalizer.update(rows, torch.ones(3, dtype=torch.bool))
    assert torch.equal(normalizer(rows), rows)
    assert normalizer.state_dict() == {}


def test_the_examples_network_sees_a_ball_and_not_the_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    config = NetworkConfig(module="small_pictures:SmallPictures")
    encoder = make_encoder(spec_of(image(4, 42, 42)), config, 1)
    assert isinstance(encoder, UserModule)
    parameters = list(encoder.init(stream()).values())
    ground = torch.full((3, 4, 42, 42), 90.0)
    ground[:, :, 20, 20] = 140.0
    ground[1, 3, 20, 20], ground[1, 3, 24, 24] = 90.0, 140.0
    ground[2] += 30.0
    still, moved, brighter = encoder(parameters, ground.flatten(1))[0]
    assert still.shape == (encoder.width,)
    assert (still - moved).norm() > 0.1 * still.norm()
    torch.testing.assert_close(brighter, still, atol=1e-4, rtol=1e-4)
