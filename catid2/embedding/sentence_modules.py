"""The modules of a sentence-transformers model after its transformer: pooling, dense layers, normalisation.

Such a model lists its modules in modules.json. The transformer is loaded like any other. The sentence-transformers
library loads the modules after it, but only the kinds listed here, never a class that the model names. Weights are read
only as tensors (safetensors, or PyTorch's files with `weights_only`).
"""

import json
from pathlib import Path

from sentence_transformers.sentence_transformer.modules import Dense, Module, Normalize, Pooling
from torch import Tensor, nn

from catid2.pretrained.files import in_its_folder
from catid2.pretrained.loading import explained, require_content
from catid2.runtime.errors import InputError

_KINDS: dict[str, type[Module]] = {kind.__name__: kind for kind in (Pooling, Dense, Normalize)}
_REMEDY = "set pooling to mean or cls, or use another encoder"


class SentenceModules(nn.Module):
    """The modules after the transformer."""

    def __init__(self, modules: list[Module]):
        super().__init__()
        self.modules_in_order = nn.ModuleList(modules)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the vectors (B, d') of texts, from the states (B, T, d) of their tokens and the mask (B, T)."""
        features = {"token_embeddings": states, "attention_mask": mask}
        for module in self.modules_in_order:
            features = module(features)
        return features["sentence_embedding"]


def load_sentence_modules(folder: Path) -> SentenceModules:
    """Return the modules after the transformer of the model in a folder.

    Raises:
        InputError: this is not a sentence-transformers model, or a module is of another kind or cannot be read.
    """
    listed = folder / "modules.json"
    if not listed.is_file():
        raise InputError(folder, "no modules.json: not a sentence-transformers model", _REMEDY)
    with explained(folder, "modules.json"):
        entries = sorted(json.loads(listed.read_text("utf-8")), key=lambda entry: entry["idx"])
        (_, place), *modules = [(entry["type"], entry["path"]) for entry in entries]
    if place:
        raise InputError(folder, f"its transformer is in {place!r}", f"name that folder; {_REMEDY}")
    loaded = []
    for kind, path in modules:
        with explained(folder, f"its module {path!r}"):
            loaded.append(_load(folder, kind, path))
    return SentenceModules(loaded)


def _load(folder: Path, kind: str, path: str) -> Module:
    name = kind.rpartition(".")[2]
    if not in_its_folder(path):
        raise InputError(folder, f"modules.json names {path!r}, a folder outside its own", _REMEDY)
    if name not in _KINDS:
        raise InputError(folder, f"module {path!r} is a {kind}, known are {', '.join(_KINDS)}", _REMEDY)
    model = str(folder)  # the library takes no Path
    if name == "Dense":
        # The library silently replaces an activation that it does not trust by its default.
        activation = Dense.load_config(model, subfolder=path).get("activation_function", "torch.")
        if not activation.startswith("torch."):
            raise InputError(folder, f"module {path!r} has the activation {activation}", _REMEDY)
        safe = folder / path / "model.safetensors"
        require_content(safe if safe.is_file() else folder / path / "pytorch_model.bin")
    return _KINDS[name].load(model, subfolder=path)
