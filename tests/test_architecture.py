"""Which module may import which: the arrows of the developer page, kept."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
import rooms

ROOT = Path(__file__).parents[1]

EDGES = {  # who may import what lies outside
    "hydra": {"hydra_ext", "cli"},
    "omegaconf": {"hydra_ext", "cli"},
    "gymnasium": {"envs", "hydra_ext.gym_source"},
    "envpool": {"envs.backends"},
    "tensorboard": {"loggers", "report.events"},
    "matplotlib": {"loggers", "report"},
    "jinja2": {"report.page.render"},
    "markupsafe": {"report.page.render"},
    "rich": {"loggers", "report", "cli", "sweep.table", "sweep.columns"},
    "imageio": {"envs.video"},
    "wandb": {"loggers"},
    "mlflow": {"loggers"},
}
STANDARD_LIBRARY_ONLY = {
    "config",
    "renames",
    "validation",
    "plain",
    "errors",
    "loggers.metrics",
    "runs.folder",
    "spec",
    "setting",
    "trackers",
    "places",
    "cli.completion",
}
MODULES = rooms.modules()


def test_every_module_has_its_room() -> None:
    named = {name for floor in rooms.FLOORS for name in floor}
    assert {rooms.room(module) for module in MODULES} == named


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    own = rooms.room(module)
    for name in rooms.inside(MODULES[module]):
        other = rooms.room(name)
        assert other == own or rooms.floor(other) < rooms.floor(own), f"{module} imports {name}"
    for name in rooms.imports(MODULES[module]):
        package = name.partition(".")[0]
        if package in EDGES:
            assert {own, module} & EDGES[package], f"{module} imports {name}"
        if module in STANDARD_LIBRARY_ONLY:
            assert package in sys.stdlib_module_names | {"ppo_cli"}, f"{module} imports {name}"


def test_no_two_modules_need_each_other() -> None:
    needs = {module: rooms.inside(path) - {module} for module, path in MODULES.items()}
    while free := [module for module, others in needs.items() if not others & needs.keys()]:
        for module in free:
            del needs[module]
    assert not needs, f"a circle among {', '.join(needs)}"


def test_a_newcomer_reads_less_than_a_thousand_lines() -> None:
    page = (ROOT / "docs" / "developer.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d\. .*?\(\.\./(\S+)\)", page, re.MULTILINE)
    assert steps[0] == "README.md"
    assert len(steps) == 4
    assert sum(len((ROOT / step).read_text(encoding="utf-8").splitlines()) for step in steps) < 1000


def test_the_configuration_needs_neither_torch_nor_hydra_nor_gymnasium() -> None:
    code = "import sys, ppo_cli, ppo_cli.config, ppo_cli.loggers.metrics; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "hydra", "omegaconf", "gymnasium", "rich", "matplotlib"} & set(loaded)


def test_the_agent_needs_neither_gymnasium_nor_hydra() -> None:
    code = "import sys; from ppo_cli import PPOAgent; PPOAgent(4, 2); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded
    assert not {"hydra", "omegaconf", "gymnasium", "rich", "matplotlib", "tensorboard"} & set(loaded)


LONGEST_FILE, LONGEST_FUNCTION = 300, 60


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_a_sitting_and_a_function_a_screen(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name
