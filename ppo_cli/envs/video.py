"""Films of evaluation episodes, written frame by frame so that a long episode needs no more memory than a short one."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from ppo_cli.errors import ConfigError, Problem

DEFAULT_FPS = 30
_RENDERED = "video=true: render() with render_mode=rgb_array"
_RENDERS = "video=false, or an environment whose render() returns arrays"


class Film:
    """Where the films of the first ``episodes`` episodes go: ``folder/episode_<k>.mp4``.

    Raises:
        ConfigError: if imageio or its ffmpeg is missing.
    """

    def __init__(self, folder: Path, episodes: int = 3) -> None:
        try:
            import imageio_ffmpeg  # noqa: F401  (imageio notices its absence only once it writes)
            from imageio import v2
        except ModuleNotFoundError as error:
            raise ConfigError(
                Problem(f"video=true needs a package that is missing: {error.name}", 'pip install "imageio[ffmpeg]"')
            ) from error
        self._writer = v2.get_writer
        self.folder, self.episodes = folder, episodes

    def reel(self, episode: int, env: Any) -> Reel:
        """Begin the film of one episode.

        Raises:
            ConfigError: if its environment gives no pictures, and then no folder is made; or if that cannot be written.
        """
        first = _picture(env)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            what = f"video=true: {self.folder} cannot be written: {error.strerror}"
            raise ConfigError(
                Problem(what, "video=false, or a copy of the run's folder that can be written")
            ) from error
        path = self.folder / f"episode_{episode}.mp4"
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
        # macro_block_size: H.264 wants even sides; the default of 16 would rescale most environments' pictures
        fps = env.metadata.get("render_fps") or DEFAULT_FPS
        return Reel(env, self._writer(temporary, fps=fps, macro_block_size=2), temporary, path, first)


def _picture(env: Any) -> Any:
    """What an environment shows.

    Raises:
        ConfigError: if that is no picture.
    """
    try:
        picture = env.render()
    except Exception as error:  # whatever it raises, it cannot be filmed
        said = f"raises {type(error).__name__}: {error}".rstrip(": ")
        raise ConfigError(Problem(f"{_RENDERED} {said}", _RENDERS)) from error
    if not isinstance(picture, np.ndarray):
        raise ConfigError(Problem(f"{_RENDERED} gives {type(picture).__name__}, and no picture", _RENDERS))
    return picture


class Reel:
    """One episode's film; it takes its name when it is complete."""

    def __init__(self, env: Any, writer: Any, temporary: Path, path: Path, first: Any) -> None:
        self._env, self._writer, self._temporary, self._path = env, writer, temporary, path
        writer.append_data(first)

    def add(self) -> None:
        """Take a picture of the environment as it stands.

        Raises:
            ConfigError: if it gives none.
        """
        self._writer.append_data(_picture(self._env))

    def close(self) -> None:
        """End the film."""
        self._writer.close()
        self._temporary.replace(self._path)
