"""Which module may import which: the arrows of the developer page, kept."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ppo_cli"

ROOMS = [  # from the ground up; a module imports from its own room and those before it
    "errors metrics folders specs seeding ppo",
    "config",
    "archive files devices checkpoint buffer recurrence normalization",
    "store record progress",
    "lock signals resumption health",
    "heads",
    "categorical continuous",
    "distributions encoders",
    "networks",
    "policy compilation acceleration",
    "learner",
    "agent",
    "env_ids spaces envs workers backends vector video loggers",
    "evaluator episodes",
    "trainer",
    "preflight",
    "run",
    "hydra_ext",
    "cli",
    "__init__ __main__",
]
FLOOR = {name: floor for floor, room in enumerate(ROOMS) for name in room.split()}

EDGES = {  # who may import what lies outside
    "hydra": {"hydra_ext", "cli"},
    "omegaconf": {"hydra_ext", "cli"},
    "gymnasium": {"spaces", "envs", "env_ids", "workers", "backends", "vector", "hydra_ext"},
    "envpool": {"backends"},
    "tensorboard": {"loggers", "cli"},
    "matplotlib": {"loggers", "cli"},
    "rich": {"loggers", "cli", "hydra_ext"},
    "imageio": {"video"},
}
STANDARD_LIBRARY_ONLY = {"config", "errors", "metrics", "folders", "specs"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, but for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_module_has_its_room() -> None:
    assert {room(path) for path in MODULES} == set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        package, *inside = name.split(".")
        if package == "ppo_cli" and inside and inside[0] in FLOOR:
            assert FLOOR[inside[0]] <= FLOOR[own], f"{own} imports {name}"
        elif package in EDGES:
            assert own in EDGES[package], f"{own} imports {name}"
        if own in STANDARD_LIBRARY_ONLY:
            assert package in sys.stdlib_module_names | {"ppo_cli"}, f"{own} imports {name}"


def test_the_configuration_needs_neither_torch_nor_hydra_nor_gymnasium() -> None:
    code = "import sys, ppo_cli, ppo_cli.config, ppo_cli.metrics; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "hydra", "omegaconf", "gymnasium", "rich", "matplotlib"} & set(loaded)


def test_the_agent_needs_neither_gymnasium_nor_hydra() -> None:
    code = "import sys; from ppo_cli import PPOAgent; PPOAgent(4, 2); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded
    assert not {"hydra", "omegaconf", "gymnasium", "rich", "matplotlib", "tensorboard"} & set(loaded)
