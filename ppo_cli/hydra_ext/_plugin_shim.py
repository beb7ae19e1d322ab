"""Installed as ``hydra_plugins/ppo_cli_plugin.py``, the only place from which Hydra 1.3 takes a sweeper."""

from ppo_cli.hydra_ext.sweeper import Sweep


class PpoSweeper(Sweep):
    """The sweeper under the name that ``hydra.sweeper._target_`` refers to."""
