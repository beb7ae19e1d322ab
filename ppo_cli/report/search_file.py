"""``search.json``: read whatever is in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ppo_cli.report.records import BEYOND, MOST_CHARACTERS, MOST_STEPS, UnusableError, text
from ppo_cli.report.searches import INTERRUPTED, METRICS, RUNNING, STATES, Final, Search, Space, Trial
from ppo_cli.runs.files import read_json
from ppo_cli.runs.lock import is_locked
from ppo_cli.runs.names import SEARCH_FILE
from ppo_cli.streams import printable

FORMAT = 1


class _WrongError(Exception):
    """What part of the file is not what it should be."""


def read_search(folder: Path) -> Search | None:
    """The search of a folder; ``None`` if it is no search's.

    Raises:
        UnusableError: if the file is damaged or of a later version (``broken``), or somebody else's (``foreign``).
    """
    try:
        content = read_json(folder / SEARCH_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnusableError("broken", f"{SEARCH_FILE} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableError("broken", f"{SEARCH_FILE} is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UnusableError("broken", f"{SEARCH_FILE} is empty or cut off, and no JSON") from error
    if not isinstance(content, dict) or not {"format", "trials", "space"} & content.keys():
        raise UnusableError("foreign", f"{SEARCH_FILE} is not of ppo-train's searches")
    kept = content.get("format")
    if isinstance(kept, int) and not isinstance(kept, bool) and kept > FORMAT:
        raise UnusableError("broken", f"{SEARCH_FILE} was written by a later version (format {str(kept)[:20]})")
    try:
        if kept != FORMAT or isinstance(kept, bool):
            raise _WrongError("format")
        return _search(folder, content)
    except _WrongError as error:
        raise UnusableError("broken", f"{SEARCH_FILE} is damaged: {error} is missing or wrong") from error
    except RecursionError as error:
        raise UnusableError("broken", f"{SEARCH_FILE} is damaged: it is nested too deep") from error


def _search(folder: Path, content: dict[str, Any]) -> Search:
    running = is_locked(folder)
    trials = [_trial(one, running) for one in _list(content, "trials")]
    if len({trial.number for trial in trials}) < len(trials):
        raise _WrongError("number of trials")
    shares = {} if content.get("importance") is None else _dict(content, "importance")
    best = content.get("best")
    made = content.get("preset_file")
    return Search(
        folder=folder,
        metric=_one_of(content, "metric", METRICS),
        maximize=_one_of(content, "direction", ("maximize", "minimize")) == "maximize",
        threshold=_number(content.get("threshold"), "threshold"),
        column=_text(content.get("column"), "column"),
        seeds=_whole(content, "seeds"),
        asked=_whole(content, "asked"),
        running=running,
        space={printable(key): _space(one) for key, one in _dict(content, "space").items()},
        trials=tuple(sorted(trials, key=lambda trial: trial.number)),
        importance={printable(key): _share(one) for key, one in shares.items()} or None,
        finals=tuple(_final(one) for one in (_list(content, "finals") if "finals" in content else ())),
        best=None if best is None else _whole(content, "best"),
        preset_file=None if made is None else _text(made, "preset_file"),
    )


def _space(content: Any) -> Space:
    if not isinstance(content, dict):
        raise _WrongError("space")
    if "choices" in content:
        return Space(None, None, False, tuple(map(_typed, _list(content, "choices"))))
    low, high = (_number(content.get(name), "space") for name in ("low", "high"))
    if low is None or high is None or low > high or (content.get("log") and low <= 0):
        raise _WrongError("space")
    return Space(low, high, content.get("log") is True, ())


def _trial(content: Any, running: bool) -> Trial:
    if not isinstance(content, dict):
        raise _WrongError("trials")
    state = _one_of(content, "state", STATES)
    reason = content.get("reason")
    return Trial(
        number=_whole(content, "number"),
        state=INTERRUPTED if state == RUNNING and not running else state,
        value=_limit(content.get("value"), "value"),
        preset=content.get("preset") is True,
        settings={printable(key): _typed(value) for key, value in _dict(content, "settings").items()},
        reason=None if reason is None else _text(reason, "reason"),
        scores=tuple(_limit(score, "scores") for score in _list(content, "scores")),
        steps=_whole(content, "steps"),
        seconds=_number(content.get("seconds"), "seconds") or 0.0,
    )


def _final(content: Any) -> Final:
    if not isinstance(content, dict):
        raise _WrongError("finals")
    believed, held = (_limit(content.get(name), name) for name in ("believed", "held"))
    return Final(
        trial=_whole(content, "trial"),
        believed=believed,
        held=held,
        interval=None,
        difference=None if believed is None or held is None or math.inf in (believed, held) else held - believed,
        seeds=tuple(_whole({"seeds": seed}, "seeds") for seed in _list(content, "seeds")),
        scores=tuple(_limit(score, "scores") for score in _list(content, "scores")),
        folders=tuple(map(str, _list(content, "folders"))),
    )


def _typed(value: Any) -> str:
    return text(value)[:MOST_CHARACTERS]


def _number(value: Any, name: str) -> float | None:
    """A number; ``None`` for what cannot be reckoned with, as for nothing."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongError(name)
    return float(value) if abs(value) < BEYOND else None


NEVER = "never"
"""In the place of a number: that a threshold was not reached."""


def _limit(value: Any, name: str) -> float | None:
    """A number, or infinity, which stands for a threshold that was never reached."""
    return math.inf if value == NEVER else _number(value, name)


def _share(value: Any) -> float:
    found = _number(value, "importance")
    if found is None or not 0 <= found <= 1.001:
        raise _WrongError("importance")
    return found


def _whole(content: dict[str, Any], name: str) -> int:
    value = _number(content.get(name), name)
    if value is None or not 0 <= value < MOST_STEPS or not value.is_integer():
        raise _WrongError(name)
    return int(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _WrongError(name)
    return printable(value[:MOST_CHARACTERS])


def _one_of(content: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    for one in known:
        if content.get(name) == one:
            return one
    raise _WrongError(name)


def _list(content: dict[str, Any], name: str) -> list[Any]:
    found = content.get(name)
    if not isinstance(found, list):
        raise _WrongError(name)
    return found


def _dict(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise _WrongError(name)
    return found
