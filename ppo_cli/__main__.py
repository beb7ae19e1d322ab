"""``python -m ppo_cli …`` is ``ppo-train …``."""

import os
import sys

# With -m Python looks into the current folder first, and a random.py of the user's would be everybody's. The command
# appends that folder, for both ways to start it.
if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - sys.path holds texts
    del sys.path[0]

from ppo_cli.cli.train import main

sys.argv[0] = "ppo-train"
main()
