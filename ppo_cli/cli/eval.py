"""``ppo-eval``."""

from __future__ import annotations

from ppo_cli.cli.entry import enter


def main() -> None:
    """Evaluate a checkpoint."""
    enter("ppo-eval", _evaluate)


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
