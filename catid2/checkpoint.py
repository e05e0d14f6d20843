"""Training state that survives a kill: one file, replaced whole, tied to what it was trained on.

A state is tensors and a JSON value. Both lie in one safetensors file (the JSON in its header), because one
file can be replaced atomically and two cannot; nothing is ever unpickled.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from catid2.artifacts import atomic

logger = logging.getLogger(__name__)


class State(NamedTuple):
    """A training state: named tensors, and progress that is JSON."""

    tensors: dict[str, Tensor]
    progress: Any


class Checkpoints:
    """The newest state of one training run, in a folder of its own.

    Args:
        folder: created when the first state is saved.
        fingerprint: of everything the run's result depends on; a state with another one is not taken up.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.folder = folder
        self.path = folder / "state.safetensors"
        self.fingerprint = fingerprint

    def load(self) -> State | None:
        """Return the saved state on the CPU, or None where there is none that fits; the log says which."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata()
                if header.get("fingerprint") != self.fingerprint:
                    logger.info("%s: made with other settings or inputs, starting anew", self.path)
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except SafetensorError as error:
            logger.warning("%s: not a whole checkpoint (%s), starting anew", self.path, error)
            return None
        return State(tensors, json.loads(header["progress"]))

    def save(self, state: State) -> None:
        """Replace the saved state."""
        header = {"fingerprint": self.fingerprint, "progress": json.dumps(state.progress)}
        with atomic(self.path) as aside:
            save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, aside, header)

    def remove(self) -> None:
        """Remove the folder; called when the outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(settings: Mapping[str, Any], *arrays: np.ndarray) -> str:
    """Return a sha256 of JSON settings and of the arrays' types, shapes and contents."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        for start in range(0, len(array), 65_536):  # a memory-mapped matrix is read in parts
            digest.update(np.ascontiguousarray(array[start : start + 65_536]).tobytes())
    return digest.hexdigest()
