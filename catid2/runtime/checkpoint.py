"""Training state that survives a kill: a file that is replaced atomically and belongs to a fingerprint of its run.

A state consists of tensors and a JSON value. Both are in one safetensors file (the JSON in its header), because one
file can be replaced atomically and two cannot; nothing is ever unpickled. The state before the newest is kept, to
resume from if the newest gets damaged.
"""

import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from catid2.runtime import code
from catid2.runtime.errors import InputError, unreadable
from catid2.runtime.tables import read_json, write_json
from catid2.runtime.writing import aside_pattern, atomic, require_ownership

logger = logging.getLogger(__name__)

# JSON of everything that a run's result depends on; arrays and code by their sha256
Fingerprint = Mapping[str, Any]

STATE_FILE = "state.safetensors"
PREVIOUS = "previous.safetensors"  # the state before the newest
FINGERPRINT = "fingerprint.json"
_RUN = "[0-9a-f]{16}"  # name of a run's folder
_SHA256 = re.compile("[0-9a-f]{64}")


class Runs:
    """The checkpoints of a stage's runs: a folder for each run, named by its fingerprint, which is stored in it.

    A run with another setting, input, code, library or (where it matters) number of ranks starts from scratch, next to
    the checkpoints of the previous run. These are resumed if the change is undone.

    Args:
        folder: of the stage's checkpoints; created when a run begins.
        files: regular expression for the paths of a run's files and folders, relative to the run's folder; the path of
            a folder ends with "/".

    Raises:
        InputError: the folder holds other files.
    """

    def __init__(self, folder: Path, files: str):
        mark = re.escape(FINGERPRINT)
        self.folder = folder
        self._of_a_run = re.compile(f"{mark}|{aside_pattern(mark)}|{files}")
        self._own = re.compile(f"{_RUN}/({self._of_a_run.pattern})?")
        require_checkpoints_only(folder, self._own)

    def folder_of(self, fingerprint: Fingerprint) -> Path:
        """Return the folder of a run."""
        text = json.dumps(fingerprint, sort_keys=True)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def begin(self, fingerprint: Fingerprint) -> None:
        """Create the folder of a run; keep that of the last other run that saved something, and remove the rest.

        The log names what is removed and, unless this run has saved something, how the kept run differs.
        """
        require_ownership()
        run = self.folder_of(fingerprint)
        runs = sorted((path for path in self.folder.glob("*") if path.is_dir()), key=_began)
        saved = [path for path in runs if any(inside.name != FINGERPRINT for inside in path.iterdir())]
        last = next((other for other in reversed(saved) if other != run), None)
        for other in runs:
            if other not in (run, last):
                logger.info("%s: of an older run, removed", other)
                remove_checkpoints(other, self._of_a_run)
        if last and run not in saved:
            now = json.loads(json.dumps(fingerprint))  # tuples become lists, as in the file
            try:
                changed = ", ".join(differences(read_json(last / FINGERPRINT), now))
            except InputError as error:
                changed = str(error)
            logger.info("%s: kept, but of another run (%s): starting from scratch", last, changed)
        write_json(run / FINGERPRINT, fingerprint)  # always: its time stamp shows which run began last

    def remove(self) -> None:
        """Remove the checkpoints of all runs, and the folder if that empties it; called when a run is complete."""
        remove_checkpoints(self.folder, self._own)


def _began(run: Path) -> int:
    """Return when a run began; 0 if this is unknown, because a kill interrupted the removal of its folder."""
    try:
        return (run / FINGERPRINT).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Return the values in which a fingerprint differs from the one before, with dotted names for nested ones."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{difference}" for difference in differences(old, new)]
        elif old != new:
            digest = isinstance(new, str) and _SHA256.fullmatch(new)
            found.append(name if digest else f"{name}: {json.dumps(old)}, now {json.dumps(new)}")
    return found


class State(NamedTuple):
    """A training state: named tensors, and progress as JSON."""

    tensors: dict[str, Tensor]
    progress: Any


class Checkpoints:
    """The two newest states of one training run.

    Args:
        folder: of the stage; each run has its own folder in it (see Runs).
        fingerprint: everything that the run's result depends on; states of other fingerprints are ignored.

    Raises:
        InputError: the folder holds other files than training states.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint):
        name = re.escape(STATE_FILE)
        self.runs = Runs(folder, f"{name}|{re.escape(PREVIOUS)}|{aside_pattern(name)}")
        self.fingerprint = fingerprint
        self.path = self.runs.folder_of(fingerprint) / STATE_FILE
        self.previous = self.path.with_name(PREVIOUS)

    def load(self) -> State | None:
        """Begin the run (see Runs.begin) and return its newest undamaged state, on the CPU, or None.

        Damaged states are removed, which is logged.

        Raises:
            InputError: a state cannot be read at the moment.
        """
        self.runs.begin(self.fingerprint)
        for path in (self.path, self.previous):
            if path.is_file():
                try:
                    return _read(path)
                except ValueError as damage:
                    logger.warning("%s: %s, removed", path, damage)
                    path.unlink()
        return None

    def save(self, state: State) -> None:
        """Save a state as the newest; the newest so far becomes the previous one."""
        progress = json.dumps(state.progress)
        header = {"progress": progress, "sha256": _digest(state.tensors, progress)}
        with atomic(self.path) as aside:
            save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, aside, header)
            require_ownership()
            if self.path.exists():
                os.replace(self.path, self.previous)

    def remove(self) -> None:
        """Remove the states of all runs, and the folder; called when the outputs are written."""
        self.runs.remove()


def _read(path: Path) -> State:
    """Return a saved state, on the CPU.

    Raises:
        ValueError: it is damaged.
        InputError: it cannot be read at the moment, which does not mean that it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(f"not a complete checkpoint ({error})") from None
    except OSError as error:
        raise unreadable(path, error) from None
    progress = header.get("progress", "")
    if header.get("sha256") != _digest(tensors, progress):
        raise ValueError("not as it was saved (its sha256 differs)")
    return State(tensors, json.loads(progress))


def _digest(tensors: Mapping[str, Tensor], progress: str) -> str:
    """Return a sha256 of a state. safetensors has no checksum, and a flipped bit still gives a valid number."""
    ordered = sorted(tensors.items())
    shapes = [(name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in ordered]
    # As bytes, because NumPy has no bfloat16; `shapes` holds types and shapes.
    contents = [tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy() for _, tensor in ordered]
    return fingerprint({"progress": progress, "shapes": shapes}, *contents)


def require_checkpoints_only(folder: Path, own: re.Pattern[str]) -> None:
    """Raise InputError if `folder` holds anything but checkpoints; it need not exist.

    Args:
        folder: of a stage's checkpoints, which the stage removes in the end.
        own: matches the paths of the stage's files and folders, relative to `folder`; a folder's path ends with "/".
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "is not a folder", "name an empty folder")
    for path in sorted(folder.rglob("*")):
        name = _name(path, folder)
        if not own.fullmatch(name) and os.path.lexists(path):  # an older worker may still remove its own
            raise InputError(
                folder,
                f"holds files that are not checkpoints ({name!r})",
                "move them away, or name an empty folder",
            )


def remove_checkpoints(folder: Path, own: re.Pattern[str]) -> None:
    """Remove the files and folders whose paths match `own`, and `folder` itself if that empties it."""
    require_ownership()
    for path in sorted(folder.rglob("*"), reverse=True):  # the content of a folder before the folder
        if own.fullmatch(_name(path, folder)):
            _remove(path)
    if folder.is_dir():
        _remove(folder)


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() + "/" * path.is_dir()


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    elif not any(path.iterdir()):
        path.rmdir()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's parameters and buffers; a tensor with several names (tied weights) under the first."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def restore_weights(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Restore what `weights_of` returned."""
    with torch.no_grad():
        for name, tensor in weights_of(model).items():
            tensor.copy_(weights[name])


def tensors_of(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the tensors of a model and its optimiser, for `restore_tensors`."""
    tensors = {f"model.{name}": tensor.detach() for name, tensor in weights_of(model).items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in values.items()}
    return tensors


def restore_tensors(tensors: Mapping[str, Tensor], model: nn.Module, optimizer: Optimizer) -> None:
    """Restore what `tensors_of` returned; the optimiser keeps its own settings, such as the weight decay."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, key = name.split(".", 1)
        if part == "optimizer":
            index, moment = key.split(".")
            moments.setdefault(int(index), {})[moment] = tensor
    restore_weights({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, model)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def fingerprint(settings: Mapping[str, Any], *arrays: np.ndarray) -> str:
    """Return a sha256 of JSON settings and of the arrays' types, shapes and contents."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        for start in range(0, len(array), 65_536):  # a memory-mapped matrix is read in parts
            digest.update(np.ascontiguousarray(array[start : start + 65_536]).tobytes())
    return digest.hexdigest()


def code_digest(module_file: str | Path) -> dict[str, str]:
    """Return a sha256 of the code of a module and the package's modules that it imports, and the libraries' versions.

    It is part of a fingerprint, because a state of other code can have another meaning.

    Args:
        module_file: `__file__` of a module of the package.
    """
    path = Path(module_file).resolve()
    root = next(folder.parent for folder in path.parents if folder.name == code.PACKAGE)
    libraries = [name for name in ("numpy", "torch", "transformers") if name in sys.modules]
    versions = {name: sys.modules[name].__version__ for name in libraries}
    return {code.PACKAGE: code.code_digest(path.relative_to(root), root)} | versions
