"""Anything one can type and any file one can be sent: a result or one clear message, nothing else and nothing run."""

from __future__ import annotations

import copy
import io
import math
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from ppo_cli.agent.agent import PPOAgent
from ppo_cli.config import EnvConfig, EvalConfig, NetworkConfig, TrainConfig, show, walk
from ppo_cli.devices import resolve_device
from ppo_cli.envs.inspect import read_spec
from ppo_cli.errors import UserError
from ppo_cli.hydra_ext import argv
from ppo_cli.hydra_ext.compose import Loader, checked, loader, prepare, reusing
from ppo_cli.plain import to_plain
from ppo_cli.runs.checkpoint import load_checkpoint, save_checkpoint
from ppo_cli.training.evaluate import run_eval
from ppo_cli.training.preflight import preflight
from ppo_cli.validation import validate

assert toys.TOYS
EXAMPLES = settings.default.max_examples

# --- a checkpoint that someone sends --------------------------------------------------------------------------------

_PROCESSES = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn", "ctypes.dlopen"}
_STARTED: list[str] = []
sys.addaudithook(lambda event, _: _STARTED.append(event) if event in _PROCESSES else None)


@cache
def small_checkpoint() -> bytes:
    """A run's checkpoint with a bit of everything, as small as it gets."""
    config = TrainConfig(
        env=EnvConfig(id="Both-v0"),
        network=NetworkConfig(hidden_sizes=[2]),
        buffer_size=8,
        batch_size=8,
        num_envs=2,
        normalize_obs=True,
        normalize_reward=True,
    )
    agent = PPOAgent.from_spec(read_spec(config.env), config, seed=0, num_envs=2)
    evaluation = {"seed": 1, "deterministic": True, "returns": [3.0, 3.0], "lengths": [3, 3]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "small.pt")
        save_checkpoint(
            path, agent.state_dict(), {"config": to_plain(config), "progress": {}, "evaluation": evaluation}
        )
        return path.read_bytes()


def payload_of(content: bytes) -> dict[str, Any]:
    payload: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return payload


def saved(payload: Any) -> bytes:
    file = io.BytesIO()
    torch.save(payload, file)
    return file.getvalue()


def repacked(content: bytes, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with its entries changed and their checksums right."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", method) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return file.getvalue()


def clear(error: UserError) -> str:
    """The message, which says what is wrong and what to do, in words that a person reads."""
    assert error.problems
    assert all(problem.what.strip() and problem.fix.strip() for problem in error.problems)
    return str(error)


def use(path: Path, content: bytes) -> list[str]:
    """Give a file to all who read one; returns what they say against it."""
    path.write_bytes(content)
    agent = PPOAgent.from_spec(read_spec(EnvConfig(id="Both-v0")), payload_config(), seed=0)
    readers: list[Callable[[], object]] = [
        lambda: run_eval(EvalConfig(checkpoint=str(path), seed="run")),
        lambda: agent.load_weights(load_checkpoint(path)["agent"]),
        lambda: agent.load(path),
    ]
    said = []
    _STARTED.clear()
    for read in readers:
        try:
            read()
        except UserError as error:
            said.append(clear(error))
    action, log_prob, value = agent.get_action([0.5])
    assert action in (0, 1)
    assert math.isfinite(log_prob)
    assert not math.isnan(value)
    assert not _STARTED
    return said


@cache
def payload_config() -> TrainConfig:
    from ppo_cli.plain import from_plain

    config: TrainConfig = from_plain(TrainConfig, payload_of(small_checkpoint())["run"]["config"])
    return config


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "sent.pt"


def test_the_checkpoint_that_is_spoilt_below_is_a_good_one(place: Path) -> None:
    assert use(place, small_checkpoint()) == []


SIGNATURES = [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"\x80\x02", b".", b"(", b"R", b"h\x00"]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "write", "insert", "cut", "remove", "repeat", "move"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.one_of(st.sampled_from(SIGNATURES), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, edits: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, where, length, fresh in edits:
        start = int(where * len(content))
        end = min(len(content), start + 1 + int(length * 64))
        head, piece, tail = content[:start], content[start:end], content[end:]
        match kind:
            case "flip":
                piece = bytes(byte ^ fresh[0] for byte in piece[:1]) + piece[1:]
            case "write":
                piece = fresh + piece[len(fresh) :]
            case "insert":
                piece = fresh + piece
            case "cut":
                tail = b""
            case "remove":
                piece = b""
            case "repeat":
                piece *= 1 + int(length * 10)
            case "move":
                head, piece, tail = head + tail, b"", piece
        content = head + piece + tail
    return content


@given(edits=EDITS)
@settings(max_examples=EXAMPLES)
def test_bytes_of_the_file(place: Path, edits: list[tuple[str, float, float, bytes]]) -> None:
    use(place, edited(small_checkpoint(), edits))


@given(edits=EDITS)
@settings(max_examples=EXAMPLES)
def test_bytes_of_the_pickle_under_a_right_checksum(place: Path, edits: list[tuple[str, float, float, bytes]]) -> None:
    use(
        place,
        repacked(small_checkpoint(), lambda name, old: edited(old, edits) if name.endswith("data.pkl") else old),
    )


@given(edits=EDITS, which=st.integers(0, 20))
@settings(max_examples=EXAMPLES // 3)
def test_bytes_of_the_tensors_under_a_right_checksum(
    place: Path, edits: list[tuple[str, float, float, bytes]], which: int
) -> None:
    kept = [edit for edit in edits if edit[0] in ("flip", "write")]

    def change(name: str, old: bytes) -> bytes:
        return edited(old, kept)[: len(old)] if name.endswith(f"data/{which}") else old

    use(place, repacked(small_checkpoint(), change))


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a payload something can be replaced."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        yield from nodes(item, (*path, key))


PATHS = list(nodes(payload_of(small_checkpoint())))


def replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any], delete: bool) -> Any:
    key, *rest = path
    keys = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list | tuple) else []
    )
    if key not in keys:
        return value
    items = {each: value[each] for each in keys}
    if rest:
        items[key] = replaced(items[key], tuple(rest), change, delete)
    elif delete:
        del items[key]
    else:
        items[key] = change(items[key])
    return items if isinstance(value, dict) else type(value)(items.values())


def odd_tensors() -> list[Any]:
    one = torch.ones(3)
    return [
        torch.zeros(0),
        torch.tensor(1.0),
        torch.tensor(float("nan"), dtype=torch.float64),
        torch.ones(2, 3),
        torch.ones(1).expand(2, 2),
        one[::2],
        one.to(torch.complex64),
        one.to(torch.bfloat16),
        one.to_sparse(),
        one.to("meta"),
        torch.nn.Parameter(one),
        one.clone().requires_grad_(),
    ]


NUMBERS = [0, 1, -1, 3, 2**31, 2**63, -(2**63), 10**300, 0.0, -0.5, 1e-300, 1e308, math.nan, math.inf, -math.inf]
TEXTS = ["", "x", "\0", "\ud800", "a" * 10_000, "os:system", "CartPole-v1", "Walk-v0", "gsde", "lstm", "cnn", "null"]
CONTAINERS = [[], {}, (), [1], ["x"], [None], {"x": 1}, {1: 2}, [[1, 2], [3]], {"id": "CartPole-v1"}, list(range(999))]
NEW = [None, True, False, *NUMBERS, *TEXTS, *CONTAINERS, set(), b"bytes", bytearray(3), complex(1, 2)]


def wrong_numbers(old: Any) -> list[Any]:
    """Values that fit what was there, all but for one thing."""
    if type(old) is torch.Tensor and old.dtype in (torch.float32, torch.float64, torch.uint8) and old.is_contiguous():
        spoilt = [old.clone(), old.clone(), old.clone(), old.clone()]
        for tensor, number in zip(spoilt, (math.nan, math.inf, -1.0, 1e38), strict=True):
            if tensor.is_floating_point():
                tensor.fill_(number)
            else:
                tensor.zero_()
        return [*spoilt, old.double(), old.reshape(-1), old[None], old.T if old.ndim == 2 else old.long()]
    if isinstance(old, int | float) and not isinstance(old, bool) and abs(old) < 1e100:
        return [old + 1, -old, old * 10**6, float(old), str(old)]
    return [[old], str(old)]


@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(PATHS), st.sampled_from(["new", "near", "near", "tensor", "delete"]), st.integers(0, 99)
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=EXAMPLES)
def test_anything_in_the_place_of_anything(place: Path, changes: list[tuple[tuple[Any, ...], str, int]]) -> None:
    payload: Any = payload_of(small_checkpoint())
    for path, kind, index in changes:

        def fresh(old: Any, kind: str = kind, index: int = index) -> Any:
            choices = {"new": NEW, "tensor": odd_tensors(), "near": wrong_numbers(old)}[kind]
            choice = choices[index % len(choices)]
            return copy.deepcopy(choice) if kind == "new" else choice

        payload = replaced(payload, path, fresh, kind == "delete")
    use(place, saved(payload))


@pytest.mark.parametrize("tensor", [0, 3], ids=["empty", "matrix"])
def test_a_tensor_in_the_place_of_anything(place: Path, tensor: int) -> None:
    for path in PATHS:
        if path:
            payload = replaced(payload_of(small_checkpoint()), path, lambda _: odd_tensors()[tensor], False)
            use(place, saved(payload))


@pytest.mark.parametrize("section", [(), ("agent",), ("agent", "config"), ("agent", "config", "network"),
                                     ("agent", "parameters"), ("agent", "first_moment"), ("agent", "normalizers"),
                                     ("agent", "normalizers", "value"), ("agent", "streams"),
                                     ("run", "config")])  # fmt: skip
def test_keys_too_many_and_too_few_are_named(place: Path, section: tuple[str, ...]) -> None:
    for delete in (False, True):
        payload = payload_of(small_checkpoint())
        inner: Any = payload
        for key in section:
            inner = inner[key]
        name = sorted(inner)[0] if delete and section else "strange"
        if delete and section:
            del inner[name]
        else:
            inner["strange"] = 1
        said = use(place, saved(payload))
        assert any(name in message for message in said)


@pytest.mark.parametrize(("number", "message"), [(math.nan, "NaN"), (math.inf, "NaN or infinity")])
@pytest.mark.parametrize("section", ["parameters", "first_moment"])
def test_numbers_of_a_run_that_diverged_are_named(place: Path, section: str, number: float, message: str) -> None:
    payload = payload_of(small_checkpoint())
    payload["agent"][section]["policy.bias"][0] = number
    said = use(place, saved(payload))
    assert len(said) == 3
    assert all(f"{section}: policy.bias holds {message}" in one for one in said)


def test_a_module_that_only_the_agents_part_names_is_not_imported(tmp_path: Path, place: Path) -> None:
    payload = payload_of(small_checkpoint())
    payload["agent"]["config"]["network"]["module"] = "antigravity:Class"
    sys.modules.pop("antigravity", None)
    said = use(place, saved(payload))
    assert len(said) == 3
    assert "antigravity" not in sys.modules


# --- hostile files --------------------------------------------------------------------------------------------------


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def calls(trace: Path) -> dict[str, Any]:
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.ones(1).untyped_storage(), dtype=torch.float32, _internal=True
    )
    rebuild = torch._utils._rebuild_tensor_v2
    touch = f"open({str(trace)!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {trace}"),
        "eval": Call(eval, touch),
        "exec": Call(exec, touch),
        "getattr": Call(getattr, trace, "touch"),
        "Path.touch": Call(Path.touch, trace),
        "Popen": Call(subprocess.Popen, ["touch", str(trace)]),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(Path.touch, trace))),
        "torch.load": Call(torch.load, io.BytesIO(b"")),
        "torch.hub": Call(torch.hub.load, "someone/something", "model"),
        "NumPy's array": np.ones(3),
        "NumPy's number": np.float64(1),
        "NumPy's object array": np.array([Call(Path.touch, trace)], dtype=object),
        "a whole module": torch.nn.Linear(2, 2),
        "a terabyte of bytes": Call(bytearray, 10**12),
        "a terabyte of a tensor": Call(torch.FloatTensor, 10**12),
        "a tensor without elements": Call(
            torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (10**6,) * 2, (1, 1), False
        ),
        "one element 10**12 times": Call(rebuild, storage, 0, (10**6, 10**6), (0, 0), False, OrderedDict()),
        "more elements than bytes": Call(rebuild, storage, 0, (10**6,), (1,), False, OrderedDict()),
        "a place outside": Call(rebuild, storage, 10**9, (1,), (1,), False, OrderedDict()),
        "a place before": Call(rebuild, storage, -4, (1,), (1,), False, OrderedDict()),
    }


KINDS = list(calls(Path("trace")))


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_pickles_are_refused(tmp_path: Path, kind: str) -> None:
    trace = tmp_path / "executed"
    try:
        content = saved(payload_of(small_checkpoint()) | {"run": calls(trace)[kind]})
    except (pickle.PicklingError, TypeError):
        pytest.skip("cannot even be written")
    trace.unlink(missing_ok=True)
    said = use(tmp_path / "sent.pt", content)
    assert len(said) == 3
    assert not trace.exists()
    assert all("nothing in it was executed" in one for one in said)


def bombs() -> dict[str, bytes]:
    """Small files that would become large, or hang, or overflow a stack."""
    good = small_checkpoint()

    def pickled(data: bytes) -> bytes:
        return repacked(good, lambda name, old: data if name.endswith("data.pkl") else old)

    laugh = b"\x80\x02]q\x00" + b"".join(
        b"]q" + bytes([level]) + b"(" + (b"h" + bytes([level - 1])) * 10 + b"e" for level in range(1, 60)
    )
    keys = b"\x80\x02}" + b")" + b"".join(b"q\x00h\x00\x86" for _ in range(60))
    huge = payload_of(good)
    huge["agent"]["config"]["network"]["hidden_sizes"] = [10**6, 10**6]
    choices = payload_of(good)
    choices["agent"]["spec"]["actions"] = (
        {"name": "", "kind": "categorical", "size": 2, "counts": (10**12, 2), "low": (), "high": ()},
    )
    pixels = payload_of(good)
    pixels["agent"]["spec"]["observations"][0]["shape"] = (10**12,)
    room = payload_of(good)
    room["agent"]["config"]["buffer_size"] = 8 * 10**14
    lie = repacked(good, lambda name, old: old.replace(b"K\x02tq", b"J\xff\xff\xff\x7ftq") if "pkl" in name else old)
    zeros = saved(payload_of(good) | {"run": {"zeros": torch.zeros(10**7)}})
    return {
        "packed zeros": repacked(zeros, lambda _, old: old, zipfile.ZIP_DEFLATED),
        "lists of lists": pickled(laugh + b"."),
        "nested keys": pickled(keys + b"Ns."),
        "a deep list": pickled(b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."),
        "a deep key": pickled(b"\x80\x02})" + b"\x85" * 10**6 + b"Ns."),
        "a list of itself": pickled(b"\x80\x02]q\x00h\x00a."),
        "a text that is not there": pickled(b"\x80\x02X\xff\xff\xff\xff."),
        "a large network": saved(huge),
        "a trillion choices": saved(choices),
        "a trillion numbers": saved(pixels),
        "room for a quadrillion transitions": saved(room),
        "a storage larger than its bytes": lie,
    }


READ = """
import resource, sys
from pathlib import Path
from ppo_cli import PPOAgent
from ppo_cli.runs.checkpoint import load_checkpoint
from ppo_cli.errors import CheckpointError

held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 400 * 2**20,) * 2)
for path in sys.argv[1:]:
    try:
        PPOAgent.from_state_dict(load_checkpoint(Path(path))["agent"])
    except CheckpointError as error:
        print(Path(path).name, len(str(error)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory as Linux does")
def test_bombs_are_refused_within_bounded_memory(tmp_path: Path) -> None:
    files = []
    for name, content in bombs().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    answer = subprocess.run(
        [sys.executable, "-c", READ, *map(str, files)], capture_output=True, text=True, timeout=200, check=False
    )
    assert answer.stderr == ""
    answers = [line.rpartition(" ") for line in answer.stdout.splitlines()]
    assert [name for name, _, _ in answers] == [file.name for file in files]
    assert all(int(length) < 2000 for _, _, length in answers)


# --- a command line -------------------------------------------------------------------------------------------------

TYPED = """
    null true false nan inf -inf 0 1 -1 2 7 64 0.5 1e-3 1e5 1e400 -0.0 1_000 0x10 [] [1] [64,64] [0] [1.5]
    [a,b] [[1],[2]] [null] {} {a:1} {a:{b:[1]}} [{RescaleAction:{min_action:-1}}] [csv] [csv,wandb] abc a,b
    1,2 'quoted' " ' \\ ] [ { } ( ) = == : a:b a=b @ # % & ~ ~nobody/x + * ? ! $ ${ ${} ${seed} ${nothing}
    ${oc.env:HOME} ${oc.env:NOTHING} ${lr $${x} \\${x} ??? int(3) float(x) str(1) range(1,4) choice(1,2)
    glob(*) shuffle(1,2) sort(3,1) extend_list(1) interval(0,1) tag(a,1) json_str(1) ü 日本 🦜 auto cpu cuda
    cuda:99 mps cpu:3 meta lstm gru beta gsde squashed cnn impala tuned default CartPole-v1 CartPole-v0
    CartPole Both-v0 toys:Both-v0 a/b ../x / /dev/null /proc/x nosuch:Class run human async native sync
"""
LITERALS = ["", "a b", "\t", "\n", "\x00", "\x1b[31m", "\ud800", "\u202e", "x" * 300, "9" * 30, "9" * 400, "9" * 5000]
LITERALS += TYPED.split()
VALUES = st.one_of(
    st.sampled_from(LITERALS),
    st.sampled_from(LITERALS),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=6),
    st.lists(st.sampled_from(LITERALS), max_size=3).map(lambda items: f"[{','.join(items)}]"),
)
GROUPS = ["env", "network", "continuous", "hyperparameters", "preset", "hydra", "hydra/launcher", "hydra.run.dir"]
GROUPS += ["hydra.job.chdir", "env@x", "env/x", "_self_", "env.kwargs.x", "env.kwargs.a.b"]
STRANGE = [
    "network.memory",
    "network.memory_size",
    "memory",
    "lrr",
    "learning_rate",
    "network.dropout",
    "lr.x",
    "a.b.c",
    "",
    ".",
    "..",
    "ü",
    "hidden dim",
    "0",
    "seed@x",
]


def keys_of(kind: type[Any]) -> list[str]:
    return [key for key, _, _ in walk(kind())]


def fitting(key: str, default: Any, item: Any) -> list[str]:
    """Values that a setting takes, and those just beside them."""
    bounds = [item.metadata[name] for name in ("gt", "ge", "le") if item.metadata[name] is not None]
    near = [show(bound + step) for bound in bounds for step in (-1, 0, 1, 0.5)]
    return [show(default), *(item.metadata["choices"] or ()), *near]


def words_of(kind: type[Any]) -> st.SearchStrategy[list[str]]:
    """Command lines: for each setting what fits it, what nearly does and what never did."""
    typical = [f"{key}={value}" for key, default, item in walk(kind()) for value in fitting(key, default, item)]
    keys = st.one_of(st.sampled_from(keys_of(kind)), st.sampled_from(keys_of(kind)), st.sampled_from(GROUPS + STRANGE))
    prefixes = st.sampled_from(["", "", "", "", "", "", "+", "++", "~", "-", "--"])
    wild = st.builds(
        lambda prefix, key, sign, value: f"{prefix}{key}{sign}{value}",
        prefixes,
        keys,
        st.sampled_from(["=", "=", "=", "=", "=", "=", "=", "", "==", " = ", ":=", "@x="]),
        VALUES,
    )
    return st.lists(st.one_of(st.sampled_from(typical), wild), min_size=1, max_size=4)


@pytest.fixture
def loaders() -> Iterator[dict[str, Loader]]:
    """Compositions from scratch, and those that a sweep reuses."""
    prepare()
    with loader("train") as load:
        yield {"fresh": load, "reused": reusing(TrainConfig, load)}


def answered(body: Callable[[], Any]) -> Any:
    """What ``body`` returns, or ``None`` where it says clearly what is wrong."""
    try:
        return body()
    except UserError as error:
        clear(error)
        return None


SMALL_ENOUGH = {"num_envs": 64, "frame_stack": 16, "buffer_size": 10_000, "recurrent_size": 128, "hidden_sizes": 128}


def is_cheap(config: TrainConfig) -> bool:
    """Whether building its agent takes no time worth the mention."""
    for key, value, _ in walk(config):
        limit = SMALL_ENOUGH.get(key.rpartition(".")[2])
        if limit is not None and value is not None and np.max(value) > limit:
            return False
    ids = ("CartPole-v1", "Both-v0", "toys:Both-v0")
    return config.env.id in ids and not config.env.wrappers and len(config.network.hidden_sizes) < 4


def train_with(load: Loader, words: list[str]) -> TrainConfig:
    line = argv.parse(words, TrainConfig)
    config: TrainConfig = checked(TrainConfig, load, line.overrides)
    validate(config)
    if is_cheap(config):
        preflight(config)
    return config


@given(words=words_of(TrainConfig))
@settings(max_examples=EXAMPLES)
def test_whatever_is_typed_after_ppo_train(
    loaders: dict[str, Loader], tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    answered(lambda: train_with(loaders["reused"], words))


@given(words=words_of(TrainConfig))
@settings(max_examples=EXAMPLES // 4)
def test_whatever_is_typed_after_ppo_train_composed_from_scratch(loaders: dict[str, Loader], words: list[str]) -> None:
    answered(lambda: train_with(loaders["fresh"], words))


@given(config=st.builds(dict, **{key.replace(".", "__"): st.sampled_from(NEW) for key in keys_of(TrainConfig)}))
@settings(max_examples=EXAMPLES // 3)
def test_whatever_a_library_user_puts_into_a_config(config: dict[str, Any]) -> None:
    made = TrainConfig()
    for key, value in list(config.items())[:]:
        *groups, name = key.split("__")
        setattr(getattr(made, groups[0]) if groups else made, name, value)
    answered(lambda: validate(made))


@given(words=words_of(EvalConfig))
@settings(max_examples=EXAMPLES // 4)
def test_whatever_is_typed_after_ppo_eval(words: list[str]) -> None:
    def evaluated() -> None:
        line = argv.parse(words, EvalConfig)
        chosen = [word for word in line.overrides if word.startswith(("env=", "network="))]
        prepare(None, {key: value for key, _, value in (word.partition("=") for word in chosen)})
        with loader("eval") as load:
            config = checked(EvalConfig, load, [word for word in line.overrides if word not in chosen])
        resolve_device(config.device)
        run_eval(config)

    answered(evaluated)
