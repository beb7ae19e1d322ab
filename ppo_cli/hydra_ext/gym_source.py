"""``env=<any Gymnasium id>``: a Hydra config source that answers for environments without a YAML file."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from ppo_cli.envs.ids import is_registered, known_ids
from ppo_cli.hydra_ext.files import BY_PATH

_GROUP = "env/"


class GymSource(ConfigSource):
    """Configs ``env/<id>`` with nothing but that id, for every id that Gymnasium knows."""

    @staticmethod
    def scheme() -> str:
        """The scheme of the search path entry."""
        return "gym"

    def available(self) -> bool:
        """There is no place that could be missing."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Only ``env`` is a group here."""
        return config_path.strip("/") == "env"

    def is_config(self, config_path: str) -> bool:
        """Whether the path names an environment that Gymnasium knows."""
        return config_path.startswith(_GROUP) and is_registered(_env_id(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        """The config of one environment: its id."""
        config = OmegaConf.create({"id": _env_id(config_path)})
        return ConfigResult(provider=self.provider, path=self.full_path(), config=config, header={"package": None})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Every registered id, for completion and ``glob(…)``."""
        if not self.is_group(config_path) or results_filter is ObjectType.GROUP:
            return []
        return known_ids()


class PpoSearchPath(SearchPathPlugin):
    """Presets by their paths first, the user's ``--config-dir`` next, then ``conf/``, Gymnasium's ids last."""

    user_dir: Path | None = None
    """Set from the command line. Hydra itself would put this folder last, where it could not override anything."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put these places around Hydra's own."""
        if self.user_dir is not None:
            path = f"file://{self.user_dir.absolute()}"
            search_path.prepend(provider="user", path=path, anchor=SearchPathQuery(provider="main"))
        search_path.prepend(provider="preset", path=BY_PATH)
        search_path.append(provider="gymnasium", path="gym://")


def _env_id(config_path: str) -> str:
    return config_path.removeprefix(_GROUP).removesuffix(".yaml")
