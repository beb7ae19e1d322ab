"""Write the generated tables of the pages: settings, presets, and the map of the package.

``make docs`` runs it; ``tests/test_docs.py`` fails where a page is out of date.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from dataclasses import Field
from pathlib import Path
from typing import Any

import rooms
from omegaconf import OmegaConf

from ppo_cli.config import EvalConfig, PPOConfig, TrainConfig, old_names, show, walk
from ppo_cli.launchers import Ray, Slurm
from ppo_cli.report.options import ReportConfig, RunsConfig
from ppo_cli.search_config import SearchConfig
from ppo_cli.sweep_config import SweepConfig
from ppo_cli.training.effects import EFFECTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / name for name in ("clusters.md", "configuration.md", "developer.md", "report.md")]
PRESETS = ROOT / "conf" / "preset" / "tuned"

KINDS = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text", type(None): "`null`"}


def main() -> None:
    """Bring the pages up to date."""
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")


def render(page: str) -> str:
    """A page with its tables made anew: each stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    for name, table in tables().items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if begin not in page:
            continue
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


def tables() -> dict[str, str]:
    """Every generated table by its name."""
    algorithm = {key for key, _, _ in walk(PPOConfig()) if "." not in key}
    rows = {key: _row(TrainConfig, key, value, item) for key, value, item in walk(TrainConfig())}
    sections = {
        "run": [row for key, row in rows.items() if "." not in key and key not in algorithm],
        "algorithm": [row for key, row in rows.items() if key in algorithm],
        "network": [row for key, row in rows.items() if key.startswith("network.")],
        "continuous": [row for key, row in rows.items() if key.startswith("continuous.")],
        "environment": [row for key, row in rows.items() if key.startswith("env.")],
        "sweep": [_row(SweepConfig, key, value, item) for key, value, item in walk(SweepConfig())],
        "search": [
            (f"`search.{key}`", *_row(SearchConfig, key, value, item)[1:])
            for key, value, item in walk(SearchConfig())
            if key != "name"  # which search=optuna sets
        ],
        "report": [_row(ReportConfig, key, value, item) for key, value, item in walk(ReportConfig())],
        "runs": [_row(RunsConfig, key, value, item) for key, value, item in walk(RunsConfig())],
        "slurm": [_row(Slurm, key, value, item) for key, value, item in walk(Slurm())],
        "ray": [_row(Ray, key, value, item) for key, value, item in walk(Ray())],
        "wandb": [row for key, row in rows.items() if key.startswith("wandb.")],
        "mlflow": [row for key, row in rows.items() if key.startswith("mlflow.")],
        "evaluation": [_row(EvalConfig, key, value, item) for key, value, item in walk(EvalConfig())],
    }
    head = ("key", "default", "takes", "meaning")
    renamed = [(f"`{old}`", f"`{new}`") for old, new in old_names(TrainConfig).items()]
    made = {name: _table(head, section) for name, section in sections.items()}
    made["renamed"] = _table(("was called", "is called"), renamed)
    idle = [(", ".join(f"`{key}`" for key in effect.keys), effect.without) for effect in EFFECTS]
    made["effects"] = _table(("setting", "why it has none, where it has none"), idle)
    return made | {"presets": _presets(), "rooms": rooms.table()}


def _row(owner: type[Any], key: str, value: Any, item: Field[Any]) -> tuple[str, ...]:
    for part in key.split(".")[:-1]:
        owner = typing.get_type_hints(owner)[part]
    kind = typing.get_type_hints(owner)[item.name]
    default = f"`{show(value)}`" if value != "" else "none: it is needed"
    return f"`{key}`", default, _takes(kind, item), item.metadata["meaning"]


def _takes(kind: Any, item: Field[Any]) -> str:
    """What values a setting takes, in words."""
    if isinstance(kind, types.UnionType):
        return " or ".join(_takes(part, item) for part in typing.get_args(kind))
    if typing.get_origin(kind) is list:
        (entry_kind,) = typing.get_args(kind)
        if entry_kind is Any:
            return "list"
        entry = _takes(entry_kind, item)
        return f"list of {entry}" if item.metadata["choices"] else f"list, each a {entry}"
    if typing.get_origin(kind) is dict:
        return "mapping"
    if kind is str and item.metadata["choices"]:
        own = item.metadata["own"]
        choices = (*item.metadata["choices"], *([own] if own else []))
        return ", ".join(f"`{choice}`" for choice in choices)
    return " ".join([KINDS[kind], *_range(item)]) if kind in (int, float) else KINDS[kind]


def _range(item: Field[Any]) -> Iterable[str]:
    gt, ge, le = (item.metadata[name] for name in ("gt", "ge", "le"))
    if gt is not None:
        yield f"> {gt:g}"
    if ge is not None:
        yield f"≥ {ge:g}"
    if le is not None and le < 1e15:
        yield f"and ≤ {le:g}"


def _presets() -> str:
    files = [*sorted(PRESETS.parent.glob("*.yaml")), *sorted(PRESETS.rglob("*.yaml"))]
    rows = [(f"`{_preset_name(file)}`", _preset(OmegaConf.to_container(OmegaConf.load(file)))) for file in files]
    return _table(("preset", "differs from the defaults in"), rows)


def _preset_name(file: Path) -> str:
    folder = PRESETS if file.is_relative_to(PRESETS) else PRESETS.parent
    name = file.relative_to(folder).with_suffix("").as_posix()
    return name if folder == PRESETS else f"preset={name}"


def _preset(values: Any) -> str:
    """What a preset sets, as one would type it."""
    bases = [entry.removeprefix("/preset/") for entry in values.pop("defaults", []) if entry != "_self_"]
    return " ".join([f"as `preset={base}`" for base in bases] + [f"`{k}={show(v)}`" for k, v in _flat(values).items()])


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
