"""``--help`` and ``--version``, answered from the dataclasses alone so that they are there at once."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from typing import Any

from ppo_cli.cli import completion
from ppo_cli.config import EvalConfig, PPOConfig, TrainConfig, show, walk
from ppo_cli.report.options import ReportConfig, RunsConfig
from ppo_cli.search_config import SearchConfig
from ppo_cli.streams import plain
from ppo_cli.sweep_config import SweepConfig

_TRAIN = """\
ppo-train: train PPO on a Gymnasium environment.

Usage:
  ppo-train [key=value …]             one run
  ppo-train -m key=a,b key=c,d …      a sweep: one run for every combination
  ppo-train -m search=optuna …        a search for settings, whose winner runs again on fresh seeds
  ppo-train resume=<run folder>       go on with a run that was stopped
  ppo-train -m resume=<sweep folder>  go on with a sweep; more values, such as seed=5,6, add jobs

Examples:
  ppo-train env=CartPole-v1 lr=1e-4
  ppo-train env=LunarLander-v3 total_timesteps=200000 seed=3
  ppo-train network=mlp 'network.hidden_sizes=[128,128]' network.activation=relu
  ppo-train -m lr=1e-3,1e-4 'seed=range(5)' n_jobs=4
  ppo-train -m search=optuna search_space=ppo env=my_module:MyEnv-v0 search.trials=40
  ppo-train env=my_module:MyEnv-v0 env.kwargs.size=5
  ppo-train resume=outputs/CartPole-v1/2026-01-31_12-00-00_0123abcd
"""

_TRAIN_GROUPS = """\
Groups (what stands behind each: --cfg job):
  env=…              any id that Gymnasium knows; classic control, LunarLander-v3, LunarLanderContinuous-v3,
                     BipedalWalker-v3, nine MuJoCo robots (-v5), ALE/Pong-v5 and ALE/Breakout-v5 have presets
  preset=…           mujoco or atari, for others of their kind, or the path of a file of yours with any settings
  network=…          auto, mlp, cnn, impala, lstm, gru, cnn_lstm, cnn_gru, or module:Class of yours
  continuous=…       auto (as the preset has it), gaussian, squashed, beta, gsde
  hyperparameters=…  tuned: the defaults below, changed by the environment's preset if it has one
                     default: the defaults below as they are
  wandb=…, mlflow=…  default, or a file of yours that says where runs are shown
  search=…           with -m: optuna; search_space=ppo searches the usual settings, or a file of yours does
"""

_EVAL = """\
ppo-eval: play complete episodes with a checkpoint and tell how it did.

Usage:
  ppo-eval checkpoint=<run folder or file> [key=value …]

Examples:
  ppo-eval checkpoint=outputs/CartPole-v1/2026-01-31_12-00-00_0123abcd
  ppo-eval checkpoint=outputs/CartPole-v1/2026-01-31_12-00-00_0123abcd/checkpoints/last.pt seed=run
  ppo-eval checkpoint=model.pt deterministic=false video=true
"""

_REPORT = """\
ppo-report: compare runs, and say whether the difference is real.

Usage:
  ppo-report RUN… [key=value …]   runs, sweeps, folders of them, and patterns in quotes

Examples:
  ppo-report outputs/CartPole-v1
  ppo-report outputs/multirun/2026-01-31_12-00-00_0123abcd by=lr threshold=475
  ppo-report 'new/*' against='old/*' fail_if=worse
"""

_RUNS = """\
ppo-runs: list runs and sweeps, and delete those that are named.

Usage:
  ppo-runs [FOLDER…] [key=value …]   below outputs/ where none is named
  ppo-runs delete RUN…               after asking

Examples:
  ppo-runs env=CartPole-v1 state=failed
  ppo-runs outputs/Pendulum-v1 since=7d --json
  ppo-runs delete outputs/CartPole-v1/2026-01-31_12-00-00_0123abcd
"""

_SHORT_FLAGS = """\
Flags:
  -h, --help         this text
  --version          the version
"""

_FLAGS = """\
Flags:
  -h, --help         this text
  --version          the version
  --cfg job          print the composed configuration instead of running
  --config-dir DIR   look for configuration files in DIR first
  --config-name NAME start from another configuration than the packaged one
  --completion SHELL print what makes bash, zsh or fish complete settings: eval "$({command} --completion bash)"
  --hydra-help       everything else that Hydra offers
"""


def answers(command: str, argv: list[str]) -> bool:
    """Print the help, the version or what completes words if the command line asks for it, and say whether it did."""
    if "-sc" in argv or "--shell-completion" in argv:
        return False
    if "--help" in argv or "-h" in argv:
        text = _HELP[command]()
        _print(within(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)
        return True
    if argv[:1] == [completion.ASK]:
        completion.answer(command, argv[1:])
        return True
    for shell in completion.SCRIPTS:
        if argv in (["--completion", shell], [f"--completion={shell}"]):
            _print(completion.script(shell))
            return True
    if "--version" in argv:
        from importlib.metadata import version

        _print(f"{command} {version('ppo-cli')}\n")
        return True
    return False


def train_help() -> str:
    """Everything that ``ppo-train`` takes."""
    config = TrainConfig()
    algorithm = {key for key, _, _ in walk(PPOConfig())}
    rows = _rows(config)
    sections = {
        "Run": [row for row in rows if row[0] not in algorithm and "." not in row[0]],
        "Algorithm": [row for row in rows if row[0] in algorithm and "." not in row[0]],
        "Network": [row for row in rows if row[0].startswith("network.")],
        "Continuous actions": [row for row in rows if row[0].startswith("continuous.")],
        "Environment": [row for row in rows if row[0].startswith("env.")],
        "Weights & Biases": [row for row in rows if row[0].startswith("wandb.")],
        "MLflow": [row for row in rows if row[0].startswith("mlflow.")],
    }
    sections["Sweeps, with -m, in no run's settings"] = _rows(SweepConfig())
    rows = [(f"search.{key}", value, meaning) for key, value, meaning in _rows(SearchConfig()) if key != "name"]
    sections["Searches, with -m search=optuna, in no run's settings"] = rows
    return "\n".join([_TRAIN, _TRAIN_GROUPS, *_sections(sections), _FLAGS.replace("{command}", "ppo-train")])


def eval_help() -> str:
    """Everything that ``ppo-eval`` takes."""
    rows = [(key, show(value) or "(needed)", item.metadata["meaning"]) for key, value, item in walk(EvalConfig())]
    return "\n".join([_EVAL, *_sections({"Settings": rows}), _FLAGS.replace("{command}", "ppo-eval")])


def report_help() -> str:
    """Everything that ``ppo-report`` takes."""
    return "\n".join([_REPORT, *_sections({"Options": _rows(ReportConfig())}), _SHORT_FLAGS])


def runs_help() -> str:
    """Everything that ``ppo-runs`` takes."""
    flags = f"{_SHORT_FLAGS}  --json             all that is known of the runs, for programs\n"
    return "\n".join([_RUNS, *_sections({"Options": _rows(RunsConfig())}), flags])


_HELP = {"ppo-train": train_help, "ppo-eval": eval_help, "ppo-report": report_help, "ppo-runs": runs_help}


def _rows(config: Any) -> list[tuple[str, str, str]]:
    return [(key, show(value), item.metadata["meaning"]) for key, value, item in walk(config)]


def _sections(sections: dict[str, list[tuple[str, str, str]]]) -> list[str]:
    rows = [row for section in sections.values() for row in section]
    key_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [
        f"{title} (key, default, meaning):\n"
        + "".join(f"  {key:<{key_width}}  {value:<{value_width}}  {meaning}\n" for key, value, meaning in section)
        for title, section in sections.items()
    ]


NARROWEST = 20


def within(text: str, width: int) -> str:
    """A text in lines of up to ``width``, each broken below where its last column begins; commands stay whole."""
    return "\n".join(_broken(line, width) for line in text.split("\n"))


def _broken(line: str, width: int) -> str:
    column = re.match(r".*\S {2,}", line) or re.match("(?!  ppo-) *", line)
    indent = column.end() if column else width
    if len(line) <= width or width - indent < NARROWEST:
        return line
    parts = textwrap.wrap(line[indent:], width - indent, break_long_words=False, break_on_hyphens=False)
    return line[:indent] + f"\n{' ' * indent}".join(parts)


def _print(text: str) -> None:
    sys.stdout.write(plain(text, sys.stdout.encoding))
