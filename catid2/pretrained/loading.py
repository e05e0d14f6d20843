"""Pretrained models, from a folder in any layout in which models are published.

No code of a model runs: weights are read only as tensors, from safetensors or from PyTorch's files with `weights_only`,
and a model that contains code is refused. No weight is drawn at random: a model without one of its tensors or its
vocabulary is refused, where Transformers would make one up and warn.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, normalizers
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerFast, T5Tokenizer
from transformers.utils import is_protobuf_available

from catid2.pretrained.files import WEIGHTS, in_its_folder
from catid2.runtime.errors import InputError, readable
from catid2.runtime.tables import LFS_POINTER, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_REMEDY = "fetch or make it again, or give a folder with config.json, weights and tokenizer, or a model the hub knows"


def load_config(folder: Path) -> PretrainedConfig:
    """Return the configuration of a model.

    Raises:
        InputError: it is missing, is of a kind that Transformers does not know, or needs code of the model.
    """
    with explained(folder, "config.json"):
        require_content(folder / "config.json")
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model, a fast one if possible; a SentencePiece tokenizer normalises to NFKC first.

    Raises:
        InputError: it cannot be read, or the model has no vocabulary.
    """
    with explained(folder, "its tokenizer"):
        _require_readable_vocabulary(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # Without any vocabulary Transformers makes one of the special tokens, and perhaps a space.
    if len(tokenizer) - len(tokenizer.all_special_ids) <= 1:
        raise InputError(
            folder, "no vocabulary", "put tokenizer.json, spiece.model or vocab.txt into the folder"
        )
    return _normalized(tokenizer, folder / "tokenizer.json")


def load_model(
    automatic: Any,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    optional: tuple[str, ...] = (),
) -> PreTrainedModel:
    """Return a model in float32, with every parameter read from its files.

    Args:
        automatic: the class that loads it, such as AutoModel.
        folder: folder of the model.
        tokenizer: its tokenizer; each token needs an embedding.
        optional: prefixes of the names of parameters that may be missing.

    Raises:
        InputError: weights cannot be read, are of other sizes, or are missing; or tokens have no embedding.
    """
    with explained(folder, "its weights"):
        settings, _ = PretrainedConfig.get_config_dict(folder)
        for file in _weight_files(folder, settings.get("transformers_weights")):
            require_content(file)
        model, report = automatic.from_pretrained(
            folder,
            trust_remote_code=False,
            dtype=torch.float32,
            weights_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report
        )
    _require_weights(folder, model, report, optional, tied=settings.get("tie_word_embeddings") is not False)
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        what = f"its tokenizer has {len(tokenizer)} tokens, its weights have embeddings of {rows}"
        remedy = "take tokenizer_config.json, vocabulary and weights from the same model"
        raise InputError(folder, what, remedy)
    return model


def _require_weights(
    folder: Path, model: PreTrainedModel, report: dict[str, Any], optional: tuple[str, ...], tied: bool
) -> None:
    """Raise InputError unless all weights of `model` were read from files.

    Tied weights need not be in the files. config.json of T5 1.1 and mT5 says that the output layer is not tied, but
    Transformers ties it if it is missing.
    """
    missing = {key for key in report["missing_keys"] if not key.startswith(optional)}
    output = model.get_output_embeddings()
    if not tied and output is not None and output.weight is model.get_input_embeddings().weight:
        missing.add("lm_head.weight")
    remedy = "use a complete checkpoint of this kind of model"
    if missing:
        first = min(missing)
        what = f"no weights for {len(missing)} parameters, the first is {first!r}"
        alike = [key for key in report["unexpected_keys"] if key.endswith(first) or first.endswith(key)]
        if alike:  # all names are under another prefix
            what += f", its files hold {min(alike)!r}"
        raise InputError(folder, what, remedy)
    if report["mismatched_keys"]:
        key, found, expected = min(report["mismatched_keys"])
        what = f"its tensor {key!r} has the shape {tuple(found)}, config.json asks for {tuple(expected)}"
        raise InputError(folder, what, remedy)


def _weight_files(folder: Path, explicit: str | None) -> list[Path]:
    """Return the files that weights are read from; `explicit` is the one that config.json names, if any."""
    if explicit and not in_its_folder(explicit):
        raise InputError(
            folder / "config.json", f"names {explicit!r}, a file outside its folder", "use another model"
        )
    for name in (explicit,) if explicit else WEIGHTS:
        if (folder / name).is_file():
            return _shards(folder / name) if name.endswith(".index.json") else [folder / name]
    remedy = f"put one of them there, as the model is published; these are read: {', '.join(WEIGHTS)}"
    raise InputError(folder, f"no {explicit or 'model.safetensors or pytorch_model.bin'}", remedy)


def _shards(index: Path) -> list[Path]:
    """Return the files that an index of weights names."""
    require_content(index)
    content = read_json(index)
    names = content.get("weight_map")
    if not isinstance(names, dict) or not isinstance(content.get("metadata"), dict):
        raise InputError(index, "not an index of weights", "fetch it again")
    for name in sorted(map(str, names.values())):
        if not in_its_folder(name):
            raise InputError(index, f"names {name!r}, a file outside its folder", "use another model")
        if not (index.parent / name).is_file():
            raise InputError(index.parent / name, f"no such file, but {index.name} names it", "fetch it too")
    return [index.parent / name for name in sorted(set(names.values()))]


def _require_readable_vocabulary(folder: Path) -> None:
    """Raise InputError if Transformers would read another vocabulary, or give advice that does not help."""
    if (folder / "tokenizer.json").is_file():
        require_content(folder / "tokenizer.json")
        return
    for file in sorted(folder.glob("*.model")):
        require_content(file)
        if not is_protobuf_available():
            what = "reading it takes protobuf, which is not installed"
            raise InputError(file, what, "run: pip install protobuf")
        try:
            SentencePieceProcessor(model_proto=file.read_bytes())
        except RuntimeError:
            raise InputError(file, "not a complete SentencePiece model", "fetch it again") from None
    if (folder / "vocab.txt").is_file():
        require_content(folder / "vocab.txt")


def require_content(file: Path) -> None:
    """Raise InputError if `file` of a model is missing or empty, or a pointer of git-lfs."""
    with readable(file):
        if not file.is_file():
            raise InputError(file, "no such file", _REMEDY)
        with file.open("rb") as handle:
            start = handle.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise InputError(file, "a git-lfs pointer, not the file itself", "run git lfs pull in its folder")
    if not start:
        raise InputError(file, "empty", "fetch it again")


def _normalized(tokenizer: PreTrainedTokenizerBase, file: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a SentencePiece model, changed to normalise texts to NFKC first, as SentencePiece does.

    SentencePiece replaces the longest match, for example half-width カ and its voiced sound mark together by ガ. The
    `Precompiled` normaliser of the tokenizers library works on single characters if a cluster has 6 bytes or more: the
    mark becomes a combining one, and カ with it an unknown token. The same happens to decomposed kana and Hangul.
    Models whose own rule is the identity get NFKC too: their training texts rarely had half-width and full-width forms.

    T5Tokenizer and similar classes make a new normaliser whenever they are loaded, and keep only `Precompiled`. So the
    returned tokenizer has no such class: its tokenizer.json is loaded as it is. If the model has a tokenizer.json,
    `file`, that is what it starts from.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return tokenizer  # ByT5 reads bytes, and none is unknown to it
    backend = tokenizer.backend_tokenizer
    steps = _steps(backend.normalizer)
    if not isinstance(tokenizer, T5Tokenizer) and not _has(steps, normalizers.Precompiled):
        return tokenizer
    if file.is_file():
        backend = Tokenizer.from_file(str(file))
        backend.no_padding()
        backend.no_truncation()
        steps = _steps(backend.normalizer)
    if not _has(steps, normalizers.NFKC):
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(), *steps])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )


def _has(steps: list[normalizers.Normalizer], kind: type[normalizers.Normalizer]) -> bool:
    return any(isinstance(step, kind) for step in steps)


def _steps(normalizer: normalizers.Normalizer | None) -> list[normalizers.Normalizer]:
    """Return the normalisers that a normaliser applies one after the other."""
    if normalizer is None:
        return []
    return list(normalizer) if isinstance(normalizer, normalizers.Sequence) else [normalizer]


@contextlib.contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Turn an error of Transformers in the block into one line, without its advice to trust the model's code."""
    try:
        with readable(folder):
            yield
    except InputError:
        raise
    except Exception as error:  # tokenizers, for one, raises nothing more specific
        if holds_more_than_tensors(error):
            why = f"{what} cannot be loaded: a .bin file holds more than tensors, or is incomplete, and was not read"
            raise InputError(folder, why, "fetch or make it again, or use a model with safetensors") from None
        text = str(error)
        if "trust_remote_code" in text:
            remedy = "use a model of a kind that Transformers knows"
            raise InputError(folder, "brings code of its own, which is not run", remedy) from None
        if "precompiled_charsmap" in text:  # Transformers 5.17 does not know that it may be empty
            why = "its spiece.model has no rule of normalization, and this version of Transformers wants one"
            raise InputError(folder, why, "run: pip install --upgrade transformers") from None
        reason = (text.strip() or type(error).__name__).splitlines()[0]
        if "backend tokenizer" in reason:
            reason = "no tokenizer.json, nor another vocabulary that Transformers knows for it"
        raise InputError(folder, f"{what} cannot be loaded ({reason})", _REMEDY) from None


def holds_more_than_tensors(error: Exception) -> bool:
    """Return whether PyTorch refused to read a file because the file could run code."""
    return isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error)
