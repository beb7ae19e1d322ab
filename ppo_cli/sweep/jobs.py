"""What a sweep is, in its folder: ``sweep.json`` says what it was asked for, each ``job.json`` what one job is."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ppo_cli.config import TrainConfig, show
from ppo_cli.errors import CheckpointError, ConfigError, Problem
from ppo_cli.launchers import LAUNCHERS, Launcher, name_of
from ppo_cli.places import shown
from ppo_cli.plain import from_plain, to_plain
from ppo_cli.runs.files import read_json, write_json
from ppo_cli.runs.folder import claim, give_up, slug
from ppo_cli.runs.names import JOB_FILE, SUMMARY_FILE, SWEEP_FILE
from ppo_cli.runs.summary import now

FORMAT = 1


@dataclass(frozen=True)
class Axis:
    """Keys that are swept together, and their values; all but zipped ones stand alone.

    Attributes:
        keys: The keys.
        texts: For each combination, a text a key, as it was typed.
        values: The same as values.
    """

    keys: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    values: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its settings as they were checked, which nothing changes any more.

    Attributes:
        number: Its place in the order of starting.
        label: What it differs in from other jobs, as one types it.
        swept: The same as values, by key.
        config: Its settings.
        folder: Where it is kept.
        from_preset: The settings, by dotted key, that nobody set but a preset.
        changes: Settings that changed after it had begun, by dotted key.
        cold: What it would compile with nothing in the cache, the same text for the same program; ``None`` for nothing.
    """

    number: int
    label: str
    swept: dict[str, Any]
    config: TrainConfig
    folder: Path
    from_preset: frozenset[str] = frozenset()
    changes: dict[str, Any] = field(default_factory=dict)
    cold: str | None = None

    def write(self) -> None:
        """Put it into its folder, which exists."""
        content = {"format": FORMAT, "number": self.number, "label": self.label, "swept": self.swept}
        content |= {"changes": self.changes, "cold": self.cold}
        content |= {"config": to_plain(self.config), "from_preset": sorted(self.from_preset)}
        write_json(self.folder / JOB_FILE, content)


def job_name(number: int, words: Iterable[str]) -> str:
    """A job's folder's name: the number keeps it apart from all others, the rest says what it is."""
    return slug("_".join([str(number), *words]))


def is_kept(value: Any) -> bool:
    """Whether a value is the same once it has been in a file."""
    return bool(json.loads(json.dumps(value)) == value)


def unkept(key: str, value: Any, file: str) -> Iterator[Problem]:
    """What of a setting, plain data, is another once it has been in a file."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                yield Problem(f"{key} has the key {show(name)}, which {file} cannot keep", "texts as keys")
            yield from unkept(f"{key}.{name}", item, file)
    elif isinstance(value, list):
        for item in value:
            yield from unkept(key, item, file)
    elif not is_kept(value):
        fix = shlex.quote(f'{key}="{show(value)}"')
        yield Problem(f"{key} holds {show(value)}, which {file} cannot keep", f"{fix}, if a text is meant")


def check_kept(config: TrainConfig) -> None:
    """See that a job's settings are the same once they have been in a file.

    Raises:
        ConfigError: names those that are not.
    """
    problems = [problem for key, value in to_plain(config).items() for problem in unkept(key, value, JOB_FILE)]
    if problems:
        raise ConfigError(problems)


def read_job(folder: Path) -> Job:
    """The job that a folder is of.

    Raises:
        CheckpointError: if that cannot be read.
    """
    content = _read(folder / JOB_FILE)
    try:
        config = from_plain(TrainConfig, content["config"])
        return Job(
            number=content["number"],
            label=content["label"],
            swept=content["swept"],
            config=config,
            folder=folder,
            from_preset=frozenset(content["from_preset"]),
            changes=content["changes"],
            cold=content["cold"],
        )
    except (KeyError, TypeError, ConfigError) as error:
        what = f"{shown(folder / JOB_FILE)} is damaged: {' '.join(str(error).split())}"
        raise CheckpointError(Problem(what, f"deleting {shown(folder)}, which takes the job out")) from error


@dataclass(frozen=True)
class SweepFolder:
    """A sweep that has a folder.

    Attributes:
        folder: The folder.
        command: The command line that began it.
        axes: What is swept.
        options: How its jobs are run, as it was asked for: by name, without those at their defaults.
        jobs: All of its jobs, by number.
        extended: The commands that went on with it and changed it.
        launcher: What starts its jobs.
        started: When it began.
    """

    folder: Path
    command: str
    axes: tuple[Axis, ...]
    options: dict[str, Any]
    jobs: tuple[Job, ...]
    extended: tuple[str, ...] = ()
    launcher: Launcher = field(default_factory=Launcher)
    started: str = field(default_factory=now)

    def write(self) -> None:
        """Put ``sweep.json`` into its folder."""
        axes = [{"keys": axis.keys, "texts": axis.texts, "values": axis.values} for axis in self.axes]
        content = {"format": FORMAT, "command": self.command, "started": self.started, "axes": axes}
        content |= {"launcher": {"name": name_of(self.launcher), "settings": asdict(self.launcher)}}
        write_json(self.folder / SWEEP_FILE, content | {"options": self.options, "extended": self.extended})


def add_jobs(jobs: Sequence[Job]) -> None:
    """Make the folders of jobs, each with what it is; the sweep's own exists."""
    for job in jobs:
        claim(job.folder)
        job.write()


def next_number(sweep: SweepFolder) -> int:
    """The number of a sweep's next job, which no folder has that looks like one, whole or not."""
    heads = [path.name.partition("_")[0] for path in sweep.folder.iterdir() if path.is_dir()]
    return 1 + max([*(job.number for job in sweep.jobs), *(int(one) for one in heads if one.isdecimal())], default=-1)


def clear_claims(folder: Path) -> None:
    """Delete the folders of jobs that were claimed, and whose maker was killed before it had said what they are."""
    for path in folder.iterdir():
        if path.is_dir() and path.name.partition("_")[0].isdecimal() and not (path / JOB_FILE).exists():
            for draft in path.glob(f".{JOB_FILE}.*.tmp"):
                draft.unlink(missing_ok=True)
            give_up(path)


def check_sweep(folder: Path) -> None:
    """See that there is a sweep in a folder.

    Raises:
        CheckpointError: if there is none.
    """
    if not (folder / SWEEP_FILE).is_file():
        what = f"{shown(folder)} holds no sweep: there is no {SWEEP_FILE} in it"
        one = f"ppo-train resume={shown(folder)}" if (folder / SUMMARY_FILE).is_file() else "resume=<a sweep's folder>"
        raise CheckpointError(Problem(what, one))


def read_sweep(folder: Path) -> SweepFolder:
    """The sweep in a folder, with all of its jobs.

    Raises:
        CheckpointError: if there is none, or a file of it cannot be read.
    """
    folder = folder.expanduser().absolute()
    check_sweep(folder)
    content = _read(folder / SWEEP_FILE)
    jobs = sorted((read_job(path.parent) for path in folder.glob(f"*/{JOB_FILE}")), key=lambda job: job.number)
    try:
        axes = tuple(
            Axis(tuple(axis["keys"]), tuple(map(tuple, axis["texts"])), tuple(map(tuple, axis["values"])))
            for axis in content["axes"]
        )
        known = content["command"], axes, content["options"], tuple(jobs), tuple(content["extended"])
        launcher = LAUNCHERS[content["launcher"]["name"]](**content["launcher"]["settings"])
        return SweepFolder(folder, *known, launcher, content["started"])
    except (KeyError, TypeError) as error:
        what = f"{shown(folder / SWEEP_FILE)} is damaged: {error!r}"
        raise CheckpointError(Problem(what, "a copy of it that is whole")) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        if content["format"] > FORMAT:
            what = f"{shown(path)} was written by a later version of ppo-cli"
            raise CheckpointError(Problem(what, "pip install -U ppo-cli"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            Problem(f"{shown(path)} cannot be read: {error}", "a copy of it that is whole")
        ) from error
    return dict(content)
