"""The rooms of the package and the floors they stand on: what the map of ``docs/developer.md`` is made of.

``tests/test_architecture.py`` holds the imports against it, and ``make docs`` writes it into the page, with every
module and the first line of what it says of itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "ppo_cli"
GROUND, ROOF = "ground", "roof"
"""The modules that stand in no folder: those that everything may import, and those that nothing does."""

FLOORS: tuple[tuple[str, ...], ...] = (
    (GROUND,),
    ("algorithm", "networks"),
    ("runs", "envs"),
    ("agent", "loggers"),
    ("training", "report"),
    ("sweep",),
    ("search",),
    ("hydra_ext",),
    ("cli",),
    (ROOF,),
)
"""From the ground up. A room imports from those below it and from itself; those of one floor do not know each other."""

ROOF_MODULES = ("__init__", "__main__")


def modules() -> dict[str, Path]:
    """Every module by its dotted name within the package; the ``__init__`` of a folder is its room's own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        *folders, name = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(folders if folders and name == "__init__" else [*folders, name])] = path
    return found


def room(module: str) -> str:
    """The room that a module, by its dotted name within the package, stands in."""
    first, *rest = module.split(".")
    if rest or (PACKAGE / first).is_dir():
        return first
    return ROOF if first in ROOF_MODULES else GROUND


def floor(name: str) -> int:
    """The floor that a room stands on."""
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def imports(path: Path) -> set[str]:
    """Every name that a file imports anywhere, but for type checkers alone."""
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


def inside(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    known = modules()
    found = set()
    for name in imports(path):
        package, _, rest = name.partition(".")
        while package == "ppo_cli" and rest:
            if rest in known:
                found.add(rest)
                break
            rest = rest.rpartition(".")[0]
    return found


def told(path: Path) -> str:
    """The first line of what a module says of itself."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def table() -> str:
    """The map as Markdown: the roof first, every module once."""
    lines = ["| room | module | what it is |", "|---|---|---|"]
    for rooms in reversed(FLOORS):
        for name in rooms:
            lines += _rows(name)
    return "\n".join(lines) + "\n"


def _rows(name: str) -> Iterator[str]:
    own = {module: path for module, path in modules().items() if room(module) == name}
    for module, path in own.items():
        title = f"**{name}**" if module in (name, next(iter(own))) else ""
        link = path.relative_to(PACKAGE.parent).as_posix()
        shown = path.relative_to(PACKAGE / name if name in own else PACKAGE).as_posix()
        yield f"| {title} | [`{shown}`](../{link}) | {told(path)} |"
