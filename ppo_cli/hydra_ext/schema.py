"""The dataclasses of ``config.py`` as Hydra's schema, and back from Hydra's plain values to the dataclasses.

The schema is plain data: what may be typed without a ``+``. It leaves the types open, because OmegaConf stops at the
first value that does not fit and turns ``epochs=1.5`` into 1, and the keys of files, because it stops at the first of
those too; :func:`build` and ``validation.validate`` name all of them at once.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from hydra.core.config_store import ConfigStore

from ppo_cli.config import EvalConfig, TrainConfig, show, type_hints
from ppo_cli.errors import Problem
from ppo_cli.hydra_ext.files import in_file, with_place
from ppo_cli.hydra_ext.keys import unknown_key
from ppo_cli.plain import to_plain

SWEEPER = {"_target_": "hydra_plugins.ppo_cli_plugin.PpoSweeper", "params": None}


def register(eval_modules: dict[str, str] | None = None) -> None:
    """Put the schemas, the sweeper and ppo-eval's ``env`` and ``network`` where ``conf/`` refers to them."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=to_plain(TrainConfig()))
    store.store(name="eval_schema", node=to_plain(EvalConfig()))
    store.store(name="eval_modules", node=eval_modules or {})
    store.store(group="hydra/sweeper", name="ppo", node=SWEEPER)


def build(kind: type[Any], plain: Any) -> tuple[Any, list[Problem]]:
    """Turn a composed config into its dataclass.

    Returns:
        The config, in which whatever did not fit kept its default, and what is wrong with the keys. Values are left
        for :func:`ppo_cli.validation.validate`.
    """
    return _build(kind, plain, "", kind)


def _build(kind: type[Any], plain: Any, prefix: str, root: type[Any]) -> tuple[Any, list[Problem]]:
    config = kind()
    if not isinstance(plain, dict):
        key = prefix.rstrip(".")
        given = f"{key}={show(plain)}"
        return config, [in_file(key, Problem(f"{given} is not a group of settings", f"the same without {given}"))]
    hints = type_hints(kind)
    problems = [_unknown(f"{prefix}{key}", value, root) for key, value in plain.items() if key not in hints]
    for name, hint in hints.items():
        if name not in plain:
            what = f"{prefix}{name} was removed, and every setting is needed"
            problems.append(Problem(what, f"the same without ~{prefix}{name}"))
        elif dataclasses.is_dataclass(hint):
            value, inner = _build(typing.cast("type[Any]", hint), plain[name], f"{prefix}{name}.", root)
            setattr(config, name, value)
            problems += inner
        else:
            setattr(config, name, fit(plain[name], hint))
    return config, problems


def _unknown(key: str, value: Any, root: type[Any]) -> Problem:
    return with_place(key, value, unknown_key(key, show(value), root))


def fit(value: Any, hint: Any) -> Any:
    """Write a value as its setting's type where that loses nothing: ``1e5`` is a whole number, ``1`` a number."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if typing.get_origin(hint) is list:
        item_hint = typing.get_args(hint)[0]
        if isinstance(value, str) and value and item_hint in (str, Any):
            return [value]  # logger=csv
        return [fit(item, item_hint) for item in value] if isinstance(value, list) else value
    if isinstance(value, str):
        value = _read(value, kinds)
    if isinstance(value, float) and float not in kinds and int in kinds and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and float in kinds and abs(value) < 2**1023:  # beyond that there are no floats
        return float(value)
    if isinstance(value, int | float) and str in kinds and int not in kinds:
        return str(value)
    return value


def _read(text: str, kinds: tuple[Any, ...]) -> Any:
    """What a text says where no text is wanted: ``${oc.env:SLURM_ARRAY_TASK_ID}`` comes to one, whatever it holds."""
    word = text.strip()
    if bool in kinds and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if types.NoneType in kinds and str not in kinds and word == "null":
        return None
    if int not in kinds and float not in kinds:
        return text
    try:
        return int(word)
    except ValueError:
        pass
    try:
        number = float(word)
    except ValueError:
        return text
    if float in kinds:
        return number
    return int(number) if number.is_integer() else text


def fitted(kind: type[Any], key: str, value: Any) -> Any:
    """A value as :func:`build` would write it for a dotted key; of a key that does not exist, as it is."""
    hint: Any = kind
    for part in key.split("."):
        hint = type_hints(hint).get(part) if dataclasses.is_dataclass(hint) else None
    return fit(value, hint)
