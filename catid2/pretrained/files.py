"""The files of a pretrained model: which of them loading reads, and what identifies them."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from catid2.config.pretrained import RECORD, PretrainedModel
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json

# Kinds of weights in order of preference: the first file that is there, and the shards that an index stands for.
WEIGHTS = {
    "model.safetensors": None,
    "model.safetensors.index.json": r"[^/]*\.safetensors",
    "pytorch_model.bin": None,
    "pytorch_model.bin.index.json": r"[^/]*-\d+-of-\d+\.bin",
}
_CONFIG_AND_TOKENIZER = re.compile(
    r"(config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|modules)\.json|vocab\.txt|merges\.txt"
    r"|[^/]*\.model"
)
# A layer after the transformer, of sentence-transformers.
_MODULE = re.compile(r"(\d+_\w+)/(config\.json|model\.safetensors|pytorch_model\.bin)")


def files_to_read(names: Iterable[str]) -> list[str]:
    """Return the files of a model that loading reads, sorted: config, tokenizer, one set of weights, modules.

    Args:
        names: the names of all its files, relative to its folder.
    """
    names = set(names)
    read = {name for name in names if _CONFIG_AND_TOKENIZER.fullmatch(name)}
    first = next((name for name in WEIGHTS if name in names), None)
    if first:
        shards = WEIGHTS[first]
        read |= {first} | {name for name in names if shards and re.fullmatch(shards, name)}
    for name in names:
        if match := _MODULE.fullmatch(name):
            module, file = match.groups()
            if file != "pytorch_model.bin" or f"{module}/model.safetensors" not in names:
                read.add(name)
    return sorted(read)


def files_in(folder: Path) -> list[str]:
    """Return the files in a model's folder that loading reads, relative to it."""
    paths = [*folder.glob("*"), *folder.glob("*/*")]
    return files_to_read(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def in_its_folder(name: object) -> bool:
    """Return whether `name` is directly in the model's folder (checked because a model may come from anyone)."""
    return isinstance(name, str) and name != ".." and Path(name).name == name


def folder_to_read(model: PretrainedModel) -> Path:
    """Return the folder to load a model from: the user's own, or the fetched one below the working directory.

    Raises:
        InputError: there is no such folder, or the model was not fetched.
    """
    folder = Path(model.folder)
    if model.on_hub and not (folder / RECORD).is_file():
        what = f"no folder, and a model of the hub that is not in {folder}"
        command = f"python scripts/fetch_model.py --config '{model.model_dump_json()}' --output {folder}"
        raise InputError(model.name, what, f"on a machine with a network run {command}")
    model.require_folder()
    return folder


def identity(folder: Path) -> str:
    """Return the identity of a model's files: the commit that they were fetched from, or a SHA-256 over them.

    Raises:
        InputError: the files were fetched and have changed since.
    """
    sums = {name: file_sha256(folder / name) for name in files_in(folder)}
    if (folder / RECORD).is_file():
        record = read_json(folder / RECORD)
        fetched = {name: file["sha256"] for name, file in record["files"].items()}
        for name in sorted(sums.keys() | fetched.keys()):
            if sums.get(name) != fetched.get(name):
                what = f"not as it was fetched from {record['name']}"
                remedy = f"remove {RECORD} there: then the model is fetched again, or is a folder of your own"
                raise InputError(folder / name, what, remedy)
        return record["commit"]
    digest = hashlib.sha256()
    for name, sha256 in sums.items():
        digest.update(f"{name}:{sha256}\n".encode())
    return digest.hexdigest()
