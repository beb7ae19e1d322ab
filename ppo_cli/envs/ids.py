"""Which environment ids Gymnasium knows, and what to type instead of one that it does not.

Nothing here makes an environment or imports torch, so a typo is answered at once.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from ppo_cli.envs.families import import_error, import_family, name_of, package_of, registered
from ppo_cli.errors import Problem

_ID = re.compile(r"^(?:(?P<module>[\w.]+):)?(?P<name>(?:[\w-]+/)*[\w.-]+?)(?:-v(?P<version>\d+))?$")

_BY_FILE = re.compile(r"^(?:\./)?(?P<path>\w[\w/]*)\.py:(?P<name>.+)$")


def is_registered(env_id: str) -> bool:
    """Whether Gymnasium can make this id; the module of ``module:Id`` is imported to find out."""
    match = _ID.match(env_id)
    if match is None or (match["module"] and import_error(match["module"])):
        return False
    import_family(env_id)
    return registered(env_id) is not None


def known_ids(beginning: str = "") -> list[str]:
    """Every id that Gymnasium knows, those of a family among them if ``beginning`` names it."""
    import gymnasium

    import_family(beginning)
    return sorted(env_id for env_id in gymnasium.registry if env_id.startswith(beginning))


def newer_version(env_id: str) -> str | None:
    """The registered id that replaces a registered one of an older version."""
    match = _ID.match(env_id)
    newest = _versions(match["name"])[-1:] if match is not None else []
    return newest[0] if newest and newest[0] != name_of(env_id) else None


def unknown_id(env_id: str) -> Problem:
    """What to say of an id for which :func:`is_registered` is false."""
    import gymnasium

    match = _ID.match(env_id)
    by_file = _BY_FILE.match(env_id)
    if by_file is not None and import_error(f"{by_file['path']}.py".replace("/", ".")) is not None:
        fix = f"env={by_file['path'].replace('/', '.')}:{by_file['name']}"
        return Problem(f"env={env_id}: a module goes by its name, without .py", fix)
    if match is None:
        return Problem(f"env={env_id} is not an environment id", "env=CartPole-v1, or env=module:Name-v0")
    error = import_error(match["module"]) if match["module"] else None
    if error is not None:
        return _no_module(f"env={env_id}", match["module"], error)
    prefix = f"env={match['module']}:" if match["module"] else "env="
    versions = _versions(match["name"])
    if versions:
        known = ", ".join(versions)
        reason = f"has no version {match['version']}" if match["version"] else "needs its version"
        return Problem(f"env={env_id}: {match['name']} {reason}; there is {known}", prefix + versions[-1])
    package, install = package_of(env_id)
    if package and import_error(package) is not None:
        return Problem(f"env={env_id}: the package that has it is not installed", install)
    names = {re.sub(r"-v\d+$", "", known) for known in gymnasium.registry}
    close = _closest(match["name"], names)
    if close:
        right = _versions(close)[-1]
        what = f"env={env_id}: no environment of that name is registered. Did you mean {right}?"
        return Problem(what, prefix + right)
    return Problem(
        f"env={env_id}: no environment of that name is registered",
        f"{prefix}<one of those that {match['module']} registers>"
        if match["module"]
        else f"env=CartPole-v1, or env=module:{env_id} with the module that registers it",
    )


def _versions(name: str) -> list[str]:
    """All registered ids of a name, oldest version first."""
    import gymnasium

    namespace, _, bare = name.rpartition("/")
    specs = [spec for spec in gymnasium.registry.values() if (spec.namespace or "", spec.name) == (namespace, bare)]
    return [spec.id for spec in sorted(specs, key=lambda spec: -1 if spec.version is None else spec.version)]


def _closest(name: str, known: set[str]) -> str | None:
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else None


def _no_module(typed: str, module: str, error: BaseException) -> Problem:
    top = module.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name in (top, module):
        return Problem(
            f"{typed}: there is no module {module!r}, neither installed nor in {Path.cwd()}",
            f"install the package that has it, or start in the folder that holds {top}.py",
        )
    return Problem(
        f"{typed}: importing {module!r} raised {type(error).__name__}: {error}",
        f'python -c "import {module}", which shows where',
    )
