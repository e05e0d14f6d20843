"""Rows of the table of effects: which output of its stage a key of the configuration changes, and which it does not.

A new key takes one line, in the `effect_cases_*.py` of its stage, among the rows of its model:

    row("kmeans_documents", 200, 40, differs="codebooks", same="warm-up"),

The stage is then run with each of the values in place of its tiny default, and between any two of the runs every
output of `differs` must differ and every output of `same` must not. A key that says what the workflow runs with is
shown by the plan of a run: `planned` names a job and what must stand there. Where a test shows the effect already,
`shown` names it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import numpy as np
from pydantic import BaseModel

import catid2.config
from catid2.config.base import StageConfig, validate
from catid2.config.file import PipelineConfig
from catid2.runtime.errors import InputError

Settings = dict[str, Any]
Outputs = Mapping[str, object]  # by name: arrays, and numbers, texts, bytes and lists of these


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage that runs in this process, in a moment."""

    run: Callable[..., Outputs]  # takes its settings as a model, an empty folder, the seed, and the extras
    model: Any  # of its settings
    tiny: Settings
    extras: tuple[str, ...]  # keys of a row that are no settings, but say what the stage is run on

    def settings(self, changes: Settings) -> tuple[Any, Settings]:
        """Return the settings and the extras; InputError if these settings cannot be."""
        extras = {key: value for key, value in changes.items() if key in self.extras}
        own = {key: value for key, value in changes.items() if key not in self.extras}
        return validate(self.model, overlaid(self.tiny, own), self.run.__name__), extras

    def outputs(self, changes: Settings, folder: Path, seed: int = 0) -> Outputs:
        """Run the stage; one that refuses has the output "error" alone."""
        folder.mkdir(parents=True)
        try:
            config, extras = self.settings(changes)
            return {"error": ""} | dict(self.run(config, folder, seed, **extras))
        except InputError as error:
            return {"error": str(error).replace(str(folder), "")}

    def key(self, changes: Settings) -> str:
        """Return what runs of the same result have in common."""
        try:
            config, extras = self.settings(changes)
        except InputError as error:
            return str(error)
        return json.dumps([config.model_dump(mode="json"), extras], sort_keys=True)


def stage(model: Any, tiny: Settings, *extras: str) -> Callable[[Callable[..., Outputs]], Stage]:
    """Make a function a stage: of settings of a `model` whose defaults are overlaid by `tiny`."""
    return lambda run: Stage(run, model, tiny, extras)


class Row(NamedTuple):
    """What a key of a model does: by values of the key, by a plan, or by another test."""

    key: str
    values: tuple[Any, ...] = ()
    differs: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    given: Settings = {}  # noqa: RUF012 - of the stage, in all calls
    job: str = ""  # a rule and wildcards
    plan: tuple[str, ...] = ()  # what stands in its plan
    test: str = ""  # path::function


class Table(NamedTuple):
    """The rows of a model."""

    model: type[BaseModel]
    rows: list[Row]
    stage: Stage | None = None  # None where no row has values
    place: Callable[[Settings], Settings] = dict  # from keys of the model to those of the stage


class Seed(NamedTuple):
    """A stage that draws: another seed changes the outputs `differs`; the same seed gives every byte again."""

    id: str
    stage: Stage
    differs: str
    settings: Settings = {}  # noqa: RUF012 - of a NamedTuple
    script: str = ""  # that takes it as --seed


def row(key: str, *values: Any, differs: str, same: str = "", **given: Any) -> Row:
    """Return a row; `differs` and `same` name outputs, separated by commas. An error is the output "error"."""
    return Row(key, values, _names(differs), _names(same), given)


def planned(key: str, job: str, *plan: str) -> Row:
    """Return a row of a key that puts the texts `plan` into the plan of a `job`, a rule and its wildcards."""
    return Row(key, job=job, plan=plan)


def shown(key: str, test: str) -> Row:
    """Return a row of a key whose effect the test `path::function` shows."""
    return Row(key, test=test)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def below(name: str) -> Callable[[Settings], Settings]:
    """Return the `place` of a model whose settings stand under the key `name` of its stage."""
    return lambda changes: {name: changes}


def overlaid(base: Settings, changes: Settings) -> Settings:
    """Return `base` with `changes` in their places; a mapping of another `kind` replaces the old one."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        alike = isinstance(old, dict) and isinstance(value, dict)
        alike = alike and value.get("kind", old.get("kind")) == old.get("kind")
        merged[key] = overlaid(old, value) if alike else value
    return merged


def as_bytes(value: object) -> bytes:
    """Return what two outputs have in common if and only if they are the same."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    assert not (isinstance(value, list | tuple) and any(isinstance(part, np.ndarray) for part in value))
    return repr(value).encode()


# --- what there is to show


def models() -> list[type[BaseModel]]:
    """Return the models of catid2.config that no other extends: together they have all keys."""
    for module in pkgutil.iter_modules(catid2.config.__path__):
        importlib.import_module(f"catid2.config.{module.name}")
    return [PipelineConfig, *(model for model in _extended(StageConfig) if not model.__subclasses__())]


def _extended(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for extended in model.__subclasses__():
        yield extended
        yield from _extended(extended)


def keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model, but for one with a single value: it tells the models of a union apart, and is shown
    by the key that holds the union.
    """
    return [name for name, field in model.model_fields.items() if len(options(field.annotation)) != 1]


def _is_model(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def options(annotation: Any) -> tuple[Any, ...]:
    """Return what may stand under a key of which there are few values: words, flags, or kinds of a union."""
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    kinds = [_kind(part) for part in get_args(annotation) if _is_model(part)]
    return tuple(kinds) if all(kinds) else ()


def _kind(model: type[BaseModel]) -> str:
    """Return the value of the key that tells a model from the others of its union; "" if it has none."""
    for name in ("kind", "search", "source"):
        field = model.model_fields.get(name)
        if field and len(options(field.annotation)) == 1:
            return options(field.annotation)[0]
    return ""


def option_of(value: Any) -> Any:
    """Return which of the `options` a value is."""
    if isinstance(value, Mapping):
        return next((value[name] for name in ("kind", "search", "source") if name in value), None)
    return value


def every_row(tables: Iterable[Table]) -> Iterator[tuple[Table, Row]]:
    """Yield each row with its table."""
    for table in tables:
        for one in table.rows:
            yield table, one
