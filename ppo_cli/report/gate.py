"""The gate: whether new runs are worse than old ones, for a machine to stop at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ppo_cli.errors import ConfigError, Problem
from ppo_cli.report.comparing import scores_of, seeds_to_decide
from ppo_cli.report.model import Gate, Section
from ppo_cli.report.options import ReportConfig
from ppo_cli.report.settings import name_of
from ppo_cli.report.tests_of_means import deciding_p, holm, permutation_tests, welch_test
from ppo_cli.report.verdict import gate_sentence


def gated(sections: Sequence[Section], told: ReportConfig) -> list[Section]:
    """Sections with their gates, whose p-values are adjusted for all of them together.

    Each gate tests, on one side, that the new runs' mean is at least that of the old ones less the margin.

    Raises:
        ConfigError: if there is none, or one that could never shut with so few seeds.
    """
    places = [(section, pair.first, pair.second) for section in sections for pair in section.pairs]
    if not places:
        raise ConfigError(Problem("no new group has the settings of an old one", "by=<the settings that both have>"))
    alpha = told.alpha
    scores = [
        (scores_of(section.groups[new].seeds), scores_of(section.groups[old].seeds)) for section, new, old in places
    ]
    tests = permutation_tests([(new + told.margin, old) for new, old in scores], less=True)
    welch = [welch_test(new + told.margin, old) for new, old in scores]
    least = iter(holm([test.smallest for test in tests if test is not None]))
    for (left, right), test in zip(scores, tests, strict=True):
        if test is None or next(least) > alpha:
            what = f"fail_if=worse could never fail: {len(left)} new against {len(right)} old seeds decide nothing"
            needed = seeds_to_decide(len(places), alpha, less=True)
            raise ConfigError(Problem(what, f"{needed} or more seeds on either side"))
    own = [
        deciding_p(new + told.margin, old, test, one, less=True)
        for (new, old), test, one in zip(scores, tests, welch, strict=True)
        if test is not None and one is not None
    ]
    adjusted = holm(own)
    gates: dict[str, list[Gate]] = {}
    for (section, new, old), raw, p in zip(places, own, adjusted, strict=True):
        name = name_of(section.groups[new].settings)
        gates.setdefault(section.env, []).append(Gate(name, new, old, raw, p, p <= alpha))
    return [_with_gates(section, tuple(gates.get(section.env, ())), told) for section in sections]


def _with_gates(section: Section, gates: tuple[Gate, ...], told: ReportConfig) -> Section:
    said = []
    for gate in gates:
        pair = section.pair(gate.first, gate.second)
        assert pair is not None
        said.append(gate_sentence(gate, section.groups, pair, told))
    return dataclasses.replace(section, gates=gates, sentences=(*said, *section.sentences))
