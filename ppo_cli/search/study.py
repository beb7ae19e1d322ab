"""Optuna's study in a file: proposes settings, and is told what came of them."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_cli.errors import CheckpointError, Problem
from ppo_cli.places import shown
from ppo_cli.runs.files import read_file
from ppo_cli.search.space import Dimension
from ppo_cli.search_config import SearchConfig

if TYPE_CHECKING:
    import optuna

JOURNAL, NAME, SETTINGS, REASON = "study.journal", "search", "settings", "reason"
CREATE_TRIAL, SET_USER_ATTR = 4, 8
"""Operations of Optuna's journal, by its numbers."""
NEEDS = {"gp": ("scipy", "scipy"), "cma": ("cmaes", "cmaes")}
"""The package that a sampler needs beside Optuna."""


def missing(search: SearchConfig) -> list[Problem]:
    """What keeps a search from being made as it was asked for."""
    if importlib.util.find_spec("optuna") is None:
        return [Problem(f"search={search.name} needs the package optuna", "pip install 'ppo-cli[search]'")]
    package, extra = NEEDS.get(search.sampler, (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        return [Problem(f"search.sampler={search.sampler} needs the package {package}", f"pip install {extra}")]
    return []


class _Alone:
    """In the place of a lock: the sweep's own keeps everybody else out, and dies with its process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Study:
    """A study in a journal, of which this process is the only writer.

    Args:
        path: The journal.
        search: How is searched.
        space: What.
        at_once: How many trials run at a time, for the sampler to keep them apart.

    Raises:
        CheckpointError: if there is a journal that cannot be read.
    """

    def __init__(self, path: Path, search: SearchConfig, space: Sequence[Dimension], at_once: int) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._search, self._several = search, at_once > 1
        self._distributions = {one.key: one.distribution() for one in space}
        mend(path)
        lock: Any = _Alone()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that journals are new
                storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))
                self._study = optuna.create_study(
                    storage=storage, study_name=NAME, direction=search.direction, load_if_exists=True
                )
        except (KeyError, TypeError, ValueError, AssertionError, optuna.exceptions.OptunaError) as error:
            raise _damaged(path, " ".join(str(error).split()) or repr(error)) from error

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All trials, by number."""
        return self._study.get_trials(deepcopy=False)

    def ask(self, fixed: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """The next trial's number, and what was drawn for it.

        The sampler is made anew for each trial, from its number: so it does not matter how often the search was
        stopped before.

        Args:
            fixed: What is to be drawn, where that is known; only these settings are then part of the trial.
        """
        number = len(self.trials)
        distributions = self._distributions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if fixed is not None:
                distributions = {key: distributions[key] for key in fixed}
                self._study.enqueue_trial(dict(fixed))
            self._study.sampler = _sampler(self._search, number, self._several)
            trial = self._study.ask(distributions)
        return trial.number, trial.params

    def keep(self, number: int, settings: Mapping[str, Any]) -> None:
        """Write down what a trial runs with; before that it has not begun."""
        self._trial(number).set_user_attr(SETTINGS, dict(settings))

    def report(self, number: int, value: float, step: int) -> None:
        """Write down how a trial stands at a step of its own, once."""
        if step not in self.trials[number].intermediate_values:
            self._trial(number).report(value, step)

    def tell(self, number: int, state: str, value: float | None = None, reason: str | None = None) -> None:
        """Write down what came of a trial: ``finished`` with its value, ``pruned`` or ``failed``."""
        from optuna.trial import TrialState

        if reason is not None:
            self._trial(number).set_user_attr(REASON, reason)
        known = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.tell(number, value, known[state])

    def importance(self) -> dict[str, float] | None:
        """How much of the difference between good trials and all is due to each setting; ``None`` if too few tell."""
        import optuna

        known = [one for one in self.trials if one.state.is_finished() and one.value is not None]
        values = {one.value for one in known if one.value is not None and math.isfinite(one.value)}
        if len(self._distributions) < 2 or len(values) < 4:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = optuna.importance.get_param_importances(
                    self._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
                )
        except (ValueError, RuntimeError, ZeroDivisionError):
            return None
        shares = {key: float(share) for key, share in found.items()}
        return shares if shares and all(map(math.isfinite, shares.values())) else None

    def _trial(self, number: int) -> optuna.trial.Trial:
        import optuna

        return optuna.trial.Trial(self._study, self.trials[number]._trial_id)


def _sampler(search: SearchConfig, number: int, several: bool) -> optuna.samplers.BaseSampler:
    import numpy as np  # which --cfg job does without
    from optuna import samplers

    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if search.sampler == "random":
        return samplers.RandomSampler(seed)
    if search.sampler == "gp":
        return samplers.GPSampler(seed=seed)
    if search.sampler == "cma":
        return samplers.CmaEsSampler(seed=seed)
    return samplers.TPESampler(seed=seed, constant_liar=several)


def mend(path: Path) -> None:
    """Take back what a killed process had not finished: half a line, or a trial that had not got all of its settings.

    Raises:
        CheckpointError: if a line before the end cannot be read.
    """
    try:
        content = read_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from error
    whole = content[: content.rfind(b"\n") + 1]
    begun, begun_at, at = False, 0, 0
    for place, line in enumerate(whole.splitlines(keepends=True), 1):
        try:
            entry = json.loads(line)
            operation = entry["op_code"]
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, f"line {place} is no record of Optuna's") from error
        if operation == CREATE_TRIAL:
            begun, begun_at = True, at
        elif operation == SET_USER_ATTR and SETTINGS in entry.get("user_attr", {}):
            begun = False
        at += len(line)
    keep = begun_at if begun else len(whole)
    if keep < len(content):
        os.truncate(path, keep)


def _damaged(path: Path, why: str) -> CheckpointError:
    what = f"{shown(path)} cannot be read: {why}"
    return CheckpointError(Problem(what, "a copy of it that is whole, or a search of its own"))
