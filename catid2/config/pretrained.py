"""Settings of `fetch_model`: a pretrained model by its name on the Hugging Face hub, and the folder of its files."""

import re
from pathlib import Path
from urllib.parse import quote

from pydantic import Field

from catid2.config.base import StageConfig
from catid2.runtime.errors import InputError

MODELS = "resources/models"  # fetched ones
RECORD = "fetched.json"  # next to the files of a fetched model: which they are
_HUB_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)


class PretrainedModel(StageConfig):
    """A model that the settings name: a model of the hub, or a folder."""

    name: str = Field(min_length=1, description="name on the Hugging Face hub, or a folder")
    revision: str = Field("main", min_length=1, description="branch, tag or commit of a model on the hub")

    @property
    def on_hub(self) -> bool:
        """Whether the model is on the hub: the name is no existing folder and no path such as ./models/mt5."""
        return _HUB_NAME.fullmatch(self.name) is not None and not Path(self.name).is_dir()

    @property
    def key(self) -> str:
        """Name and revision as the name of a folder, so that two revisions of a model have two folders."""
        return f"{self.name}@{quote(self.revision, safe='')}"

    @property
    def folder(self) -> str:
        """The folder that jobs read: the user's own, or the one that `fetch_model` fills."""
        return f"{MODELS}/{self.key}" if self.on_hub else self.name

    def require_folder(self, where: str = "") -> None:
        """Raise InputError if the named folder does not exist.

        Args:
            where: the place of the configuration that names it, if known.
        """
        if not self.on_hub and not Path(self.name).is_dir():
            remedy = "correct the path, or name a model of the hub as OWNER/NAME"
            raise InputError(
                where or self.name, f"no folder {self.name}" if where else "no such folder", remedy
            )
