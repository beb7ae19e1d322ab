"""What submitit runs where Slurm has put a job: the job, and at its time limit the way back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ppo_cli.signals import SIGNALLED
from ppo_cli.sweep.errand import Errand, do
from ppo_cli.sweep.jobs import read_job
from ppo_cli.sweep.requeue import give_up, is_in_vain, mark_requeued, note_return
from ppo_cli.sweep.stopping import stoppable
from ppo_cli.sweep.view import FAILED, INTERRUPTED

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


class Task:
    """What submitit calls, again each time that a job comes back.

    submitit's handler of its signal puts a job back into the queue and ends the process at once. So the signal is taken
    here first, and that handler called once the job has saved and stopped.
    """

    def __call__(self, errand: Errand) -> str:
        """Run the job or go on with it; returns the state that it is left in."""
        make_room = _make_room()
        put_back = signal.getsignal(make_room)
        if int(os.environ.get("SLURM_RESTART_COUNT") or 0):
            note_return(errand.folder)
            if is_in_vain(errand.folder):
                return _gave_up(errand)
        with stoppable(above_all=True) as asked:
            state = do(errand, asked)
        if state != INTERRUPTED or asked.signal is None:
            return state
        if asked.signal != make_room and not _is_preempted():
            sys.exit(SIGNALLED + asked.signal)
        mark_requeued(errand.folder)
        return _gave_up(errand) if is_in_vain(errand.folder) else _back_into_queue(errand, put_back, make_room)

    def checkpoint(self, errand: Errand) -> DelayedSubmission:
        """The same again: all that has changed is in the job's folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, errand)


def _make_room() -> int:
    """The signal by which submitit has Slurm announce that a job is to make room."""
    import submitit

    return int(getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}"))


def _is_preempted() -> bool:
    """Whether Slurm wants the place for another job; then SIGTERM means what submitit's signal means.

    A job that ends by itself in the time that it is given for that is not put back into the queue by Slurm.
    """
    job_id = os.environ.get("SLURM_JOB_ID")
    if job_id is None:
        return False
    try:
        told = subprocess.run(["scontrol", "show", "job", "-o", job_id], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    found = dict(word.split("=", 1) for word in told.stdout.split() if "=" in word)
    return found.get("JobState") == "RUNNING" and found.get("PreemptTime", "None") != "None"


def _back_into_queue(errand: Errand, put_back: Any, make_room: int) -> str:
    """End this process, with another to follow; returns only if there is to be none."""
    from submitit.core.utils import UncompletedJobError

    try:
        put_back(make_room, None)
    except UncompletedJobError:
        give_up(errand.folder, "came to its time limit more often than hydra.launcher.max_num_timeout allows")
    return FAILED


def _gave_up(errand: Errand) -> str:
    every = read_job(errand.folder).config.checkpoint_every
    told = "null makes none" if every is None else f"{every} takes longer than a job may run"
    give_up(errand.folder, f"made room twice in a row without a new checkpoint (checkpoint_every={told})")
    return FAILED
