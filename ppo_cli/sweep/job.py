"""The contract of a job, on every engine: run this folder, or go on with it, and say how it ended."""

from __future__ import annotations

import dataclasses
import signal
import traceback
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ppo_cli.errors import ConfigError, UserError
from ppo_cli.modules import check_modules_named, modules_again
from ppo_cli.runs.summary import now, read_summary
from ppo_cli.signals import SIGNALLED
from ppo_cli.sweep.attempts import OUT_OF_MEMORY, Attempt, read_attempts, record
from ppo_cli.sweep.engine import BROKEN, UNFIT
from ppo_cli.sweep.jobs import Job, read_job
from ppo_cli.sweep.view import FAILED, INTERRUPTED
from ppo_cli.training.preflight import preflight
from ppo_cli.training.result import TrainResult
from ppo_cli.training.run import resume, train_planned

_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "bad_alloc")


def run_or_resume(folder: Path, named: Collection[str], command: str) -> int:
    """Run a job, or go on with it, in this process, and write down how that ended.

    Args:
        folder: The job's folder, an absolute path.
        named: Keys of its settings whose modules, which are the user's, were named in this command.
        command: The command line, for the record.

    Returns:
        The process's exit status: 0 for a job that is finished, now or before; 128 and the signal's number for one
        that a signal stopped; 2 where its settings do not fit; 1 for whatever else kept it from its end.
    """
    started, number = now(), len(read_attempts(folder))
    state, reason, code = FAILED, None, BROKEN
    try:
        result = _trained(read_job(folder), named, command)
        state = result.status
        code = 0 if result.signal is None else SIGNALLED + result.signal
    except KeyboardInterrupt:
        state, code = INTERRUPTED, SIGNALLED + signal.SIGINT
    except ConfigError as error:
        reason, code = told(error), UNFIT
    except SystemExit as error:
        reason = f"ended by sys.exit with status {error.code}"
    except Exception as error:  # whatever it is, it is this job's alone
        reason = told(error)
        if not isinstance(error, UserError):
            traceback.print_exc()
    step = int((read_summary(folder) or {}).get("step") or 0)
    with suppress(OSError):  # without room for it, the exit status says what it can
        record(folder, number, Attempt(started, now(), code, state, reason, step))
    return code


def _trained(job: Job, named: Collection[str], command: str) -> TrainResult:
    again = modules_again(job.config, named)
    check_modules_named(job.config, again)
    if read_summary(job.folder) is not None:
        return resume(job.folder, {**job.changes, **again}, command=command, show=False)
    plan = preflight(job.config)
    reasons = {**plan.reasons, "threads": "as the sweep was checked"}  # what was left open has been settled since
    plan = dataclasses.replace(plan, from_preset=job.from_preset, reasons=reasons)
    return train_planned(plan, job.folder, command, show=False)


def told(error: BaseException) -> str:
    """What an error says, in one line."""
    causes, cause = [error], error.__cause__
    while cause is not None and len(causes) < MOST_CAUSES:
        causes, cause = [*causes, cause], cause.__cause__
    if any(isinstance(one, MemoryError) or any(sign in str(one) for sign in _NO_MEMORY) for one in causes):
        return OUT_OF_MEMORY
    if isinstance(error, UserError):
        return "; ".join(" ".join(problem.what.split()) for problem in error.problems)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


MOST_CAUSES = 10
