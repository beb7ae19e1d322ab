"""``ppo-eval``."""

from __future__ import annotations

import sys

from ppo_cli.cli import help as own_help
from ppo_cli.streams import steady_streams


def main() -> None:
    """Evaluate a checkpoint."""
    steady_streams()
    argv = sys.argv[1:]
    if own_help.answers("ppo-eval", argv):
        return
    # Hydra, rich and the rest are slow to import; asking for help should not wait for them.
    from ppo_cli.cli.frame import guarded

    sys.exit(guarded(lambda: _evaluate(argv)))


def _evaluate(argv: list[str]) -> int:
    from ppo_cli.cli import results
    from ppo_cli.config import EvalConfig
    from ppo_cli.errors import ConfigError, Problem
    from ppo_cli.hydra_ext import app
    from ppo_cli.hydra_ext import argv as words

    line = words.parse(argv, EvalConfig)
    # conf/env and conf/network make config groups of these for Hydra, but here they are plain values.
    chosen = [word for word in line.overrides if word.startswith(("env=", "network="))]
    line.overrides = [word for word in line.overrides if word not in chosen]
    app.start(line, {key: value for key, _, value in (word.partition("=") for word in chosen)})
    if line.shows:
        app.hydra_main(line, "eval", lambda _: None, EvalConfig)
        return 0
    if line.multirun:
        loop = 'for run in outputs/CartPole-v1/*; do ppo-eval checkpoint="$run"; done'
        raise ConfigError(Problem("ppo-eval evaluates one checkpoint at a time", loop))
    config = app.config_of(line, "eval", EvalConfig)
    if not config.checkpoint:
        raise ConfigError(Problem("no checkpoint was named", f"ppo-eval {results.example_checkpoint()}"))

    from ppo_cli.training.evaluate import run_eval

    results.show_evaluation(run_eval(config))
    return 0
