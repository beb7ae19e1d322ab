"""``python -m ppo_cli …`` is ``ppo-train …``."""

import sys

from ppo_cli.cli.train import main

sys.argv[0] = "ppo-train"
main()
