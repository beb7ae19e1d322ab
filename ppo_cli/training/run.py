"""One training run from configuration to result: what ``ppo-train`` does, for notebooks and scripts too."""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ppo_cli.config import AS_ASKED, TrainConfig
from ppo_cli.devices import intra_op_threads
from ppo_cli.envs.ids import is_registered, unknown_id
from ppo_cli.errors import ConfigError, Problem, RunError, UserError, notes
from ppo_cli.loggers.hub import make_loggers
from ppo_cli.loggers.lines import run_logging, terminal_can_repaint
from ppo_cli.places import kept_folder, shown
from ppo_cli.runs.checkpoint import find_checkpoint
from ppo_cli.runs.folder import claim, new_run_dir
from ppo_cli.runs.formats import told
from ppo_cli.runs.lock import locked
from ppo_cli.runs.resume import Saved, find_saved
from ppo_cli.runs.summary import Record, fingerprint, now
from ppo_cli.seeding import kept_globals
from ppo_cli.signals import stoppable
from ppo_cli.training.announcement import announce
from ppo_cli.training.callbacks import Callback
from ppo_cli.training.history import rows_so_far, seconds_so_far
from ppo_cli.training.plan import Plan, Planner
from ppo_cli.training.preflight import check_writable, preflight
from ppo_cli.training.result import TrainResult
from ppo_cli.training.trainer import Trainer

log = logging.getLogger("ppo_cli")


def train(
    config: TrainConfig,
    run_dir: Path | None = None,
    *,
    command: str | None = None,
    show: bool = True,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Train, and keep everything about it in a folder.

    Args:
        config: What to train.
        run_dir: An empty folder for the run; by default a new one under ``config.output_dir``.
        command: The command line, for the record.
        show: Show progress: a live display in a terminal, plain lines elsewhere.
        callbacks: Who is called as it goes on, besides those that ``config.callbacks`` names.

    Raises:
        ConfigError: if the configuration does not fit; nothing is left on disk.
        RunError: if the run broke; its folder has what it had come to, and the traceback in ``train.log``.
    """
    if config.resume is not None:
        raise ConfigError(Problem(f"train() begins a run, and resume={config.resume} asks to go on", "resume(run)"))
    _check_id(config.env.id)
    if run_dir is None:
        check_writable(Path(config.output_dir), f"output_dir={config.output_dir}")
    else:
        check_writable(run_dir, f"run_dir={run_dir}")
    plan = preflight(config)
    run_dir = run_dir or new_run_dir(config.output_dir, config.env.id)
    claim(run_dir)
    result = train_planned(plan, run_dir.absolute(), command, show, callbacks)
    return dataclasses.replace(result, run_dir=run_dir)


def _check_id(env_id: Any) -> None:
    """See that an environment is known by the whole of its id, as the command does where it reads ``env=``.

    Gymnasium takes CartPole for the newest version, whichever that is, and says so at each construction. Runs that
    began so go on and are evaluated.

    Raises:
        ConfigError: if it is not.
    """
    with kept_folder():  # the module of an id may go elsewhere
        if isinstance(env_id, str) and not is_registered(env_id):
            raise ConfigError(unknown_id(env_id), "Unknown environment")


def train_planned(
    plan: Plan, run_dir: Path, command: str | None = None, show: bool = True, callbacks: Sequence[Callback] = ()
) -> TrainResult:
    """As :func:`train`, after the preflight has made the plan and ``run_dir``, an absolute path, was claimed."""
    about = {"request": fingerprint(plan.asked), "started": now(), "command": command or shlex.join(sys.argv)}
    with locked(run_dir):
        return _run(Job(plan, run_dir, {**about, "resumed": []}, None, tuple(callbacks)), show)


def resume(
    run: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    *,
    command: str | None = None,
    show: bool = True,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Go on with a run in its own folder, from its newest scheduled checkpoint that can be read, else from the start.

    With the same packages on the same machine the result equals that of a run that was never stopped, bit for bit.

    Args:
        run: The run's folder, or one of its ``step_….pt`` files to go on from.
        changes: Settings by dotted key that differ from now on. A module of the user's that the run's settings name
            must be named here too, or it is not imported.
        command: The command line, for the record.
        show: As for :func:`train`.
        callbacks: As for :func:`train`; what they knew comes from the checkpoint.

    Raises:
        ConfigError: if there is no such run, or a change does not fit; the folder is as it was.
        RunError: if another process is at it, or the run broke.
    """
    saved = find_saved(run, dict(changes or {}))
    if saved.finished:
        return _as_it_was(saved)
    check_writable(saved.run_dir, f"resume={saved.run_dir}")
    planner = Planner()
    _preflight(saved, planner)
    typed, run = saved.run_dir, Path(run).expanduser().absolute()  # an environment of the run's may go elsewhere
    with locked(typed.absolute()):
        saved = find_saved(run, dict(changes or {}))  # as whoever had the lock before has left it
        if saved.finished:
            return dataclasses.replace(_as_it_was(saved), run_dir=typed)
        plan = _preflight(saved, planner)
        resumption = {
            "time": now(),
            "step": saved.progress.step,
            "best_step": saved.progress.best_step,
            "command": command or shlex.join(sys.argv),
            "changes": saved.changes,
        }
        about = {**saved.about, "resumed": [*saved.about["resumed"], resumption]}
        if saved.changes:
            about["request"] = None  # it is no longer the run that its first command asked for
        result = _run(Job(plan, saved.run_dir, about, saved, tuple(callbacks)), show)
    return dataclasses.replace(result, run_dir=typed)


def _preflight(saved: Saved, planner: Planner) -> Plan:
    """The plan of a run that goes on; weights that it began with are in its checkpoint."""
    config = dataclasses.replace(saved.config, init_from=None) if saved.content else saved.config
    plan = preflight(config, planner)
    config = dataclasses.replace(plan.config, init_from=saved.config.init_from)
    before = [key for key, reason in plan.reasons.items() if reason == AS_ASKED and key not in saved.changes]
    reasons = {**plan.reasons, **dict.fromkeys(before, "as the run began")}
    return dataclasses.replace(plan, config=config, reasons=reasons)


class Job(NamedTuple):
    """A run that is about to begin, or to go on."""

    plan: Plan
    run_dir: Path
    about: dict[str, Any]  # what its record says of its beginning
    saved: Saved | None  # where it goes on from
    callbacks: tuple[Callback, ...]


def _as_it_was(saved: Saved) -> TrainResult:
    """The result of a run that was finished before."""
    final, best, best_step = (saved.summary.get(name) for name in ("final_return", "best_return", "best_step"))
    return TrainResult(saved.run_dir, "finished", saved.summary["step"], final, best, best_step, untouched=True)


def _run(job: Job, show: bool) -> TrainResult:
    live = show and terminal_can_repaint()
    try:
        with run_logging(job.run_dir, to_stdout=show and not live):
            log.info("%s", " · ".join(job.plan.lines()))
            if job.saved is not None:
                for warning in job.saved.passed_over:
                    log.warning("%s", warning)
                came_from = "" if job.saved.path is None else f" from {shown(job.saved.path)}"
                log.info("resumed at step %d%s", job.saved.progress.step, came_from)
                if job.saved.content is not None and (news := told(job.saved.content["format_version"])):
                    log.info("%s", news)
            return _watched(job, live)
    except OSError as error:  # of the log
        place = Path(error.filename or job.run_dir)
        what = f"{shown(place)} cannot be written: {error.strerror or error}"
        raise RunError(Problem(what, "a folder that can be written, with room")) from error


def _watched(job: Job, live: bool) -> TrainResult:
    """Train; the traceback of whatever breaks goes into ``train.log`` alone, and the person gets one message."""
    try:
        with intra_op_threads(job.plan.config.threads), kept_globals(), kept_folder():
            return _train(job, live)
    except Exception as error:
        log.debug("the run failed", exc_info=True)
        if isinstance(error, UserError):
            raise
        what = f"{type(error).__name__}: {error}{notes(error)}"
        raise RunError(Problem(what, f"reading the traceback in {shown(job.run_dir / 'train.log')}")) from error


def _make_trainer(job: Job, live: bool) -> tuple[Trainer, float | None]:
    """The trainer of a run, and the seconds that the run took before; ``None`` where nothing tells."""
    plan, run_dir, _, saved, callbacks = job
    content = None if saved is None else saved.content
    init_from: Path | None = None
    if content is None and plan.config.init_from is not None:
        init_from = find_checkpoint(plan.config.init_from, key="init_from")
    history = [] if saved is None else rows_so_far(run_dir, saved)
    before = 0.0 if saved is None else seconds_so_far(saved, history)
    loggers = make_loggers(plan.config, run_dir, live, changed=saved is not None and bool(saved.changes))
    trainer = Trainer(plan, run_dir, loggers, init_from, content, history, before or 0.0, callbacks)
    trainer.problems += [] if saved is None else saved.problems
    return trainer, before


def _train(job: Job, live: bool) -> TrainResult:
    began = time.perf_counter()
    plan, run_dir, about, saved, _ = job
    config = plan.config
    record = Record(run_dir, config, about)  # which looks for a repository here, before an environment goes elsewhere
    trainer, before = _make_trainer(job, live)
    timed_from = 0 if saved is None or before is not None else saved.progress.step

    def facts() -> dict[str, Any]:
        seconds = (before or 0.0) + time.perf_counter() - began
        return {
            "total_timesteps": trainer.total_timesteps,
            **dataclasses.asdict(trainer.progress),
            "final_return": trainer.final_return,
            "stop_reason": trainer.stop_reason,
            "problems": list(trainer.problems),
            "wall_time": seconds,
            "steps_per_second": (trainer.progress.step - timed_from) / seconds,
        }

    status = "failed"
    with stoppable(trainer.interrupt) as asked:
        try:
            if saved is not None:
                saved.rewind()  # now that the checkpoint has turned out to fit
            record.write("running", facts())
            announce(plan, trainer.total_timesteps, None if saved is None else set(saved.changes))
            trainer.run(lambda: _unwritten(record, "running", facts()))
            over = trainer.used_up or trainer.stop_reason is not None
            stopped = asked.signal is not None and not over
            if trainer.unsaved is None:  # or there is something left to do: resuming makes the last stretch again
                status = "interrupted" if stopped else "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            unwritten = _unwritten(record, status, facts())
            known = len(trainer.problems)
            trainer.close({"status": status, **facts()})  # which may take a while, and find new problems
            if len(trainer.problems) > known:
                unwritten = _unwritten(record, status, facts())
    if (lost := trainer.unsaved or unwritten) is not None:
        what = f"the run ended at step {trainer.progress.step:,}, but its last records could not be written: {lost}"
        raise RunError(Problem(what, f"making room, then resume={shown(run_dir)}"))
    progress = trainer.progress
    return TrainResult(
        run_dir,
        status,
        progress.step,
        trainer.final_return,
        progress.best_return,
        progress.best_step,
        asked.signal if stopped else None,
    )


def _unwritten(record: Record, status: str, facts: dict[str, Any]) -> OSError | None:
    """Write the summary; what kept it from being written, for that must not hide what ended the run."""
    try:
        record.write(status, facts)
    except OSError as error:
        log.error("summary.json could not be written: %s", error)
        return error
    return None
