"""What to know of compared runs before believing the comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ppo_cli.report.options import ReportConfig
from ppo_cli.report.reading import Run
from ppo_cli.report.records import MOST_CHARACTERS, OWN
from ppo_cli.report.settings import EVALUATION, UNLEARNT, differing

MOST_NAMED = 3


def notes(runs: Sequence[Run], keys: Sequence[str], told: ReportConfig) -> Iterator[str]:
    """One line each.

    Args:
        runs: The runs of a section.
        keys: The settings that make groups.
        told: The options.
    """
    own = [run for run in runs if run.program == OWN]
    if len(own) < len(runs):
        yield (
            f"{_runs(len(runs) - len(own))} of other programs: what they left tells neither whether they finished nor "
            "how they were evaluated."
        )
    others = [key for key in differing(own) if key not in keys]
    idle = [key for key in others if key in UNLEARNT]
    if idle:
        yield f"Runs differ in {', '.join(idle)}, which does not change what is learnt; they are not told apart by it."
    measured = [key for key in others if key in EVALUATION]
    if measured:
        yield f"Runs differ in {', '.join(measured)}: their evaluations are of unlike precision or kind."
    if told.by:
        pooled = [key for key in others if key not in UNLEARNT | EVALUATION]
        if pooled:
            yield f"Groups were asked for by {', '.join(keys)} alone, and pool runs that differ in {', '.join(pooled)}."
    if told.anyway:
        yield f"Compared in spite of differences in {', '.join(told.anyway)}, as asked for."
    early = sum(run.stopped_at_target for run in runs)
    if early:
        yield (
            f"{_runs(early)} stopped at target_return: their final scores are those of a lucky moment, and their areas "
            "count as if they had kept them."
        )
    changed = [run for run in runs if _changes(run.facts.get("resumed"))]
    if changed:
        yield f"{_runs(len(changed))} changed settings on the way ({_names(changed)}) and count by the last ones."
    yield from _of_their_making(runs)
    for run in [run for run in runs if run.notes][:MOST_NAMED]:
        yield f"{run.folder}: {'; '.join(run.notes)}."


def _of_their_making(runs: Sequence[Run]) -> Iterator[str]:
    unlike = [package for package, found in versions(runs).items() if len(found) > 1]
    if unlike:
        yield f"Runs were made with different versions of {', '.join(unlike)}."
    found = commits(runs)
    if len(found) > 1:
        yield f"Runs were made at {len(found)} different commits."
    troubled = [run for run in runs if run.facts.get("problems") or run.facts.get("skipped_updates")]
    if troubled:
        yield f"{_runs(len(troubled))} had problems that their summary.json tells ({_names(troubled)})."


def versions(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Versions that runs were made with, by package."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        kept = run.facts.get("versions")
        for package, version in kept.items() if isinstance(kept, dict) else ():
            found.setdefault(str(package)[:MOST_CHARACTERS], {})[str(version)[:MOST_CHARACTERS]] = None
    return {package: tuple(sorted(values)) for package, values in found.items()}


def commits(runs: Sequence[Run]) -> tuple[str, ...]:
    """Commits that runs were made at."""
    found = (run.facts.get("git_commit") for run in runs)
    return tuple(sorted({str(commit)[:MOST_CHARACTERS] for commit in found if commit}))


def _changes(resumed: Any) -> bool:
    entries = resumed if isinstance(resumed, list) else []
    return any(isinstance(one, dict) and one.get("changes") for one in entries)


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"


def _names(runs: Sequence[Run]) -> str:
    more = f" and {len(runs) - MOST_NAMED} more" * (len(runs) > MOST_NAMED)
    return ", ".join(str(run.folder) for run in runs[:MOST_NAMED]) + more
