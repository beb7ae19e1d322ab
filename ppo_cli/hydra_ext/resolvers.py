"""What ``conf/`` may compute: ``${ppo.slug:…}`` and ``${ppo.stamp:}``."""

from __future__ import annotations

import omegaconf
from omegaconf import OmegaConf

from ppo_cli.runs.folder import command_stamp, slug


def register() -> None:
    """Make the resolvers known to OmegaConf."""
    # OmegaConf before 2.4 has an older function under the name that 2.4 wants to be used.
    modern = tuple(int(part) for part in omegaconf.__version__.split(".")[:2]) >= (2, 4)
    add = OmegaConf.register_resolver if modern else OmegaConf.register_new_resolver
    for name, function in (("ppo.slug", slug), ("ppo.stamp", command_stamp)):
        if not OmegaConf.has_resolver(name):
            add(name, function)
