"""The documentation keeps its word: tables are current, links lead somewhere, commands and Python work as shown."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ppo_cli.cli import words as plain_words
from ppo_cli.config import EvalConfig, TrainConfig, walk
from ppo_cli.hydra_ext import argv
from ppo_cli.hydra_ext.compose import checked, loader, prepare
from ppo_cli.report.options import ReportConfig, RunsConfig

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")} | {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/**/*.md"))
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {"ppo-train": ("train", TrainConfig), "ppo-eval": ("eval", EvalConfig)}
PLAIN = {"ppo-report": ReportConfig, "ppo-runs": RunsConfig}
"""Commands without Hydra, and their options."""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return [text for found, text in FENCE.findall(PAGES[page]) if found == language]


def commands(page: str) -> list[str]:
    """Every command of ours that a page shows, in a block or in a line, with something in the place of `<a path>`."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    lines += re.findall(r"`(ppo-(?:train|eval|report|runs) [^`]*)`", FENCE.sub("", PAGES[page]))
    shown = [re.sub(r"(checkpoint|init_from)=<[^>]*>", r"\1=some-path", line) for line in lines]
    ours = (*COMMANDS, *PLAIN)
    return [line for line in shown if line.startswith(ours) and not re.search(r"[<…$]", line)]


def write_files(page: str, folder: Path) -> None:
    """Write the files that a page shows: each block whose first line is a comment with a file's name."""
    for text in blocks(page, "yaml") + blocks(page, "python"):
        path = folder / re.split(r"[#:\s]+", text.partition("\n")[0])[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.partition("\n")[2], encoding="utf-8")


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_of_each(words: list[str]) -> list[str]:
    """The first job's overrides of a sweep."""
    parsed = OverridesParser.create().parse_overrides(words)
    return [
        f"{override.key_or_group}={next(override.sweep_string_iterator())}" if override.is_sweep_override() else word
        for override, word in zip(parsed, words, strict=True)
    ]


@pytest.mark.parametrize("name", ["docs/configuration.md", "docs/developer.md", "docs/report.md"])
def test_generated_tables_are_current(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    page = PAGES[name]
    assert runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))["render"](page) == page, "run: make docs"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", PAGES[page]))
    for target in targets:
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@pytest.fixture
def users_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the pages show, as the working directory."""
    for page in ("docs/configuration.md", "docs/environments.md", "docs/extending.md"):
        write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page in PAGES for command in dict.fromkeys(commands(page))]
)
@pytest.mark.usefixtures("users_files")
def test_command_is_accepted(page: str, command: str) -> None:
    program, *words = shlex.split(command, comments=True)
    if {"--help", "--version", "--completion"} & set(words):
        return
    if "ALE/" in command:  # ids that are known only where the package is installed
        pytest.importorskip("ale_py")
    if program in PLAIN:
        plain_words.parse([word for word in words if word != "--json"], PLAIN[program], program)
        return
    config_name, kind = COMMANDS[program]
    line = argv.parse(words, kind)
    overrides = first_of_each(line.overrides) if line.multirun else line.overrides
    if kind is EvalConfig:  # where env= and network= are no config groups
        overrides = [word for word in overrides if not word.startswith(("env=", "network="))]
    try:
        prepare(line.user_dir)
        with loader(config_name) as load:
            checked(kind, load, overrides)
    finally:
        prepare()


def test_tour_shows_all_commands() -> None:
    assert {command.split()[0] for command in commands("README.md")} == {*COMMANDS, *PLAIN}


def test_names_in_the_table_are_settings() -> None:
    table = PAGES["docs/names.md"].partition("| here |")[2].partition("\n\n")[0].splitlines()[2:]
    ours = {name for row in table for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert len(ours) > 15
    assert ours <= {key for key, _, _ in walk(TrainConfig())} | {"env"}


def test_readmes_notebook_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(blocks("README.md", "python")[1].replace("51_200", "2_048"), names)
    assert names["result"].status == "finished"
    assert (names["result"].run_dir / "eval.json").is_file()
