"""Studies over grids of settings: each point of a grid becomes a method."""

import itertools
import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from catid2.config.base import StageConfig
from catid2.config.evaluate import Metric

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]


class Grid(StageConfig):
    """A method with every combination of some values."""

    method: str = Field(description="key of `methods`; its points differ from it only in `over`")
    over: dict[Key, list[Any]] = Field(
        min_length=1,
        description="values for each key of the method, such as `rqvae.alpha: [0, 0.1]`. The figure draws the "
        "values of the first key as lines if there are two keys, and as panels if there are three",
    )

    @model_validator(mode="after")
    def _values_differ(self) -> "Grid":
        for key, values in self.over.items():
            names = [value_name(value) for value in values]
            if not values or len(set(names)) < len(names):
                raise ValueError(f"over.{key} needs one value or more, each once")
        for key in self.over:
            if "." not in key and key != "view":
                raise ValueError(f"over.{key} is a whole stage; name a key of it, such as rqvae.alpha")
            if any(other.startswith(f"{key}.") for other in self.over):
                raise ValueError(f"over.{key} holds another key of the grid")
        return self

    def points(self, end: str = "") -> dict[str, dict[str, Any]]:
        """Return the values of each point by the name of its method; `end` follows the name of the grid's method."""
        lasts = [key.rsplit(".", 1)[-1] for key in self.over]
        labels = [last if lasts.count(last) == 1 else key for key, last in zip(self.over, lasts, strict=True)]
        named = {}
        for values in itertools.product(*self.over.values()):
            parts = [f"{label}{value_name(value)}" for label, value in zip(labels, values, strict=True)]
            named["-".join([self.method + end, *parts])] = dict(zip(self.over, values, strict=True))
        return named


def value_name(value: Any) -> str:
    """Return a value as part of a file name: lists are joined, characters that are not safe are removed."""
    if isinstance(value, list):
        return "_".join(map(value_name, value))
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[^A-Za-z0-9_.-]", "", text)


def nested(point: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a point nested as in a method: {"rqvae.alpha": 0} → {"rqvae": {"alpha": 0}}."""
    values: dict[str, Any] = {}
    for key, value in point.items():
        *above, last = key.split(".")
        place = values
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return values


class GridPoints(StageConfig):
    """A grid, as passed to the scripts."""

    keys: tuple[str, ...] = Field(min_length=1)  # that vary
    points: dict[str, tuple[Any, ...]] = Field(min_length=1)  # for each method, the value of each key
    # A layer whose perplexity is below this share of its codes has collapsed.
    collapse_perplexity: float = Field(0.05, ge=0, lt=1)


class GridSummary(StageConfig):
    """What a summary of grids reads of the configuration."""

    grids: tuple[GridPoints, ...] = Field(min_length=1)  # in the order of the study
    metric: Metric = "recall@10"  # by which points are stable
    stable_share: float = Field(0.9, gt=0, le=1)  # of the best value of a grid, which a stable point reaches
