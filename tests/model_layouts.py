"""Small random models in the layouts in which pretrained ones are published, and what they make of a text."""

from __future__ import annotations

import functools
import io
import json
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    XLMRobertaConfig,
    XLMRobertaModel,
)

WORDS = (
    *(
        "red",
        "blue",
        "shoe",
        "lamp",
        "kettle",
        "chair",
        "desk",
        "rug",
        "dress",
        "靴",
        "椅子",
        "ガラス",
        "パンツ",
    ),
    *("アイロン", "한국", "niña", "zapatos"),
)
# As people write them: half-width and decomposed kana, full-width letters, decomposed Hangul and accents.
TEXTS = (
    "red shoe",
    "ｶﾞﾗｽ ﾊﾟﾝﾂ ｱｲﾛﾝ",
    "ｒｅｄ　lamp",
    *(unicodedata.normalize("NFD", text) for text in ("ガラス 靴", "한국 rug", "niña zapatos")),
)


class Layout(NamedTuple):
    """How a model is published. `like` is one that config/*.yaml name or that people use instead."""

    like: str
    kind: str  # t5, t5-1.1, mt5, byt5, t5-encoder, bert, mpnet, xlm-roberta
    tokenizer: str  # the file that holds the vocabulary; "": none
    weights: str  # safetensors, sharded safetensors, bin, old bin, sharded bin
    half: bool = False
    modules: str = ""  # of sentence-transformers: the file that holds the weights of its dense layer
    charsmap: str = "nmt_nfkc"  # rule of the SentencePiece model

    @property
    def generates(self) -> bool:
        """Whether it can become a retriever."""
        return self.kind in ("t5", "t5-1.1", "mt5", "byt5")


LAYOUTS = (
    Layout("google-t5/t5-base", "t5", "tokenizer.json", "safetensors"),
    Layout("google-t5/t5-base of 2020", "t5", "spiece.model", "old bin"),
    Layout("google/t5-v1_1-base", "t5-1.1", "spiece.model", "bin"),
    Layout("google/flan-t5-xl", "t5-1.1", "tokenizer.json", "sharded safetensors"),
    Layout("google/mt5-base", "mt5", "spiece.model", "bin"),
    Layout("google/mt5-xl", "mt5", "spiece.model", "sharded bin"),
    Layout(
        "mT5 without a rule of its own", "mt5", "spiece.model", "sharded safetensors", charsmap="identity"
    ),
    Layout("mT5 in half precision", "mt5", "tokenizer.json", "safetensors", half=True),
    Layout("google/byt5-base", "byt5", "", "bin"),
    Layout(
        "sentence-transformers/sentence-t5-base",
        *("t5-encoder", "spiece.model", "safetensors"),
        half=True,
        modules="pytorch_model.bin",
    ),
    Layout("sentence-t5 of today", "t5-encoder", "tokenizer.json", "bin", modules="model.safetensors"),
    Layout("google-bert/bert-base-multilingual-cased", "bert", "vocab.txt", "safetensors"),
    Layout("google-bert/bert-base of 2018", "bert", "vocab.txt", "old bin"),
    Layout(
        "sentence-transformers/all-mpnet-base-v2", "mpnet", "tokenizer.json", "safetensors", modules="none"
    ),
    Layout(
        "sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
        *("xlm-roberta", "tokenizer.json", "bin"),
        half=True,
    ),
    Layout("intfloat/multilingual-e5-base", "xlm-roberta", "sentencepiece.bpe.model", "sharded safetensors"),
)


class Published(NamedTuple):
    """A model folder, and the same model in memory."""

    layout: Layout
    folder: Path
    model: PreTrainedModel
    dense: torch.Tensor | None  # (d, d') of the sentence-transformers module

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text by SentencePiece itself, by its bytes, or word by word."""
        if self.layout.kind == "byt5":
            return [*(byte + 3 for byte in text.encode()), 1]
        if self.layout.kind in ("bert", "mpnet"):
            vocabulary = word_pieces(self.layout.kind)
            start, end = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
            unknown = vocabulary.index("[UNK]")
            words = [vocabulary.index(word) if word in vocabulary else unknown for word in text.split()]
            return [start, *words, end]
        normalized = unicodedata.normalize("NFKC", text)
        pieces = sentencepiece.SentencePieceProcessor(model_proto=spiece(self.layout)).encode(normalized)
        if (
            self.layout.kind == "xlm-roberta"
        ):  # fairseq has four special tokens before the pieces, SentencePiece three
            return [0, *(piece + 1 if piece else 3 for piece in pieces), 2]
        return [*pieces, 1]

    @torch.inference_mode()
    def vectors(self, texts: tuple[str, ...]) -> np.ndarray:
        """Return the mean of the states of each text, (N, d), through the modules if there are any."""
        encoder = self.model.get_encoder() if self.layout.generates else self.model.eval()
        rows = []
        for text in texts:
            states = encoder.eval()(input_ids=torch.tensor([self.tokens(text)])).last_hidden_state[0]
            rows.append(states.mean(0) if self.dense is None else states.mean(0) @ self.dense)
        vectors = torch.stack(rows)
        return (torch.nn.functional.normalize(vectors, dim=1) if self.layout.modules else vectors).numpy()


def publish(layout: Layout, folder: Path, seed: int = 0) -> Published:
    """Write a small random model in `layout`."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    size = _write_tokenizer(layout, folder)
    model = _model(layout.kind, size).eval()
    if layout.half:
        model = model.half()
    write_weights(folder, model, layout.weights)
    _write_config(layout, folder, model)
    return Published(
        layout, folder, model.float(), _write_modules(layout, folder) if layout.modules else None
    )


def write_weights(folder: Path, model: PreTrainedModel, form: str) -> None:
    """Write config.json and the weights of `model`."""
    model.config.save_pretrained(folder)
    state = model.state_dict()
    if form == "safetensors":
        model.save_pretrained(folder)
    elif form == "sharded safetensors":
        model.save_pretrained(folder, max_shard_size="16KB")
        assert not (folder / "model.safetensors").exists()
    elif form == "sharded bin":
        names = sorted(state)
        parts = {f"pytorch_model-0000{part + 1}-of-00002.bin": names[part::2] for part in range(2)}
        for file, keys in parts.items():
            torch.save({key: state[key] for key in keys}, folder / file)
        index = {
            "metadata": {"total_size": 0},
            "weight_map": {key: file for file in parts for key in parts[file]},
        }
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    else:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")


@functools.cache
def word_pieces(kind: str) -> tuple[str, ...]:
    """Return the lines of vocab.txt: every word is a piece."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return (*special, "<s>", "<pad>", "</s>", "<unk>", "<mask>", *WORDS)


def spiece(layout: Layout) -> bytes:
    """Return a SentencePiece model; mT5's holds the extra ids itself, T5's gets them from its tokenizer."""
    return _spiece(layout.kind, layout.charsmap)


@functools.cache
def _spiece(kind: str, rule: str) -> bytes:
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, 5)) for _ in range(400)]
    written = io.BytesIO()
    special = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    if kind == "mt5":
        special["user_defined_symbols"] = [f"<extra_id_{number}>" for number in range(99, -1, -1)]
    if kind == "xlm-roberta":
        special = {}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=230 if kind == "mt5" else 130,
        hard_vocab_limit=False,
        normalization_rule_name=rule,
        minloglevel=2,
        **special,
    )
    return written.getvalue()


def _write_tokenizer(layout: Layout, folder: Path) -> int:
    """Write the files of the tokenizer; return how many embeddings its model has."""
    settings: dict[str, Any] = {"model_max_length": 512}
    if layout.kind == "byt5":
        settings = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 125}
        settings |= {"additional_special_tokens": [f"<extra_id_{number}>" for number in range(125)]}
        settings |= {"tokenizer_class": "ByT5Tokenizer"}
    elif layout.kind == "mt5":  # as google/mt5-base has it
        settings = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 0}
        settings |= {
            "additional_special_tokens": None,
            "tokenizer_file": None,
            "name_or_path": "google/mt5-base",
        }
        settings |= {"special_tokens_map_file": "/home/somebody/.cache/torch/transformers/685ac0ca8568ec59"}
    elif layout.kind in ("bert", "mpnet"):
        settings = {"do_lower_case": False, "model_max_length": 32}
        if layout.kind == "mpnet":
            settings |= {
                "cls_token": "[CLS]",
                "sep_token": "[SEP]",
                "unk_token": "[UNK]",
                "pad_token": "[PAD]",
            }
            settings |= {"bos_token": "[CLS]", "eos_token": "[SEP]", "mask_token": "[MASK]"}
    elif layout.kind == "xlm-roberta":
        settings = {"model_max_length": 32}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if layout.kind == "byt5":
        return 384
    if layout.kind in ("bert", "mpnet"):
        source = folder / "vocab.txt"
        source.write_text("\n".join(word_pieces(layout.kind)) + "\n", encoding="utf-8")
        size = len(word_pieces(layout.kind))
    else:
        name = "sentencepiece.bpe.model" if layout.kind == "xlm-roberta" else "spiece.model"
        source = folder / name
        source.write_bytes(spiece(layout))
        size = sentencepiece.SentencePieceProcessor(model_proto=spiece(layout)).get_piece_size()
        size += {"t5": 100, "t5-1.1": 100, "t5-encoder": 100, "xlm-roberta": 2}.get(layout.kind, 0)
        size += 12  # published models have more embeddings than tokens: multiples of 128
    if layout.tokenizer == "tokenizer.json":
        _small_config(layout.kind, size).save_pretrained(folder)
        AutoTokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
        source.unlink()
    return size


def _small_config(kind: str, size: int) -> Any:
    if kind in ("bert", "mpnet", "xlm-roberta"):
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        shape |= {"vocab_size": size, "max_position_embeddings": 32 if kind == "bert" else 34}
        if kind == "xlm-roberta":
            return XLMRobertaConfig(
                **shape, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1
            )
        return BertConfig(**shape) if kind == "bert" else MPNetConfig(**shape)
    shape = {"vocab_size": size, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    shape |= {"num_decoder_layers": 1, "decoder_start_token_id": 0}
    if kind == "mt5":
        return MT5Config(**shape)
    untied = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if kind == "t5-1.1" else {}
    return T5Config(**shape, **untied)


def _model(kind: str, size: int) -> PreTrainedModel:
    config = _small_config(kind, size)
    kinds = {"bert": BertModel, "mpnet": MPNetModel, "xlm-roberta": XLMRobertaModel}
    kinds |= {"mt5": MT5ForConditionalGeneration, "t5-encoder": T5EncoderModel}
    model = kinds.get(kind, T5ForConditionalGeneration)(config)
    if kind in ("mt5", "t5-1.1"):
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) / 4)
    return model


def _write_config(layout: Layout, folder: Path, model: PreTrainedModel) -> None:
    """Write config.json as published ones are: the output layer of T5 1.1 and mT5 is their own."""
    settings = json.loads((folder / "config.json").read_text())
    for key in ("scale_decoder_outputs", "dtype", "transformers_version", "tie_word_embeddings"):
        settings.pop(key, None)
    settings |= {
        "architectures": [type(model).__name__],
        "torch_dtype": "float16" if layout.half else "float32",
    }
    if layout.kind in ("mt5", "t5-1.1"):
        settings |= {"tie_word_embeddings": False}
    if layout.kind == "mt5":
        settings |= {"tokenizer_class": "T5Tokenizer"}
    (folder / "config.json").write_text(json.dumps(settings))


def _write_modules(layout: Layout, folder: Path) -> torch.Tensor | None:
    """Write what sentence-transformers does after the transformer: pooling, perhaps a dense layer, normalisation."""
    names = ("Transformer", "Pooling", *(("Dense",) if layout.modules != "none" else ()), "Normalize")
    entries = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{name}" if number else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for number, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    pooling = {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if layout.modules == "none":
        return None
    dense = {"in_features": 16, "out_features": 6, "bias": False}
    dense |= {"activation_function": "torch.nn.modules.linear.Identity"}
    place = folder / "2_Dense"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(dense))
    weights = {"linear.weight": torch.randn(6, 16)}
    if layout.modules == "pytorch_model.bin":
        torch.save(weights, place / layout.modules)
    else:
        from safetensors.torch import save_file

        save_file(weights, place / layout.modules)
    return weights["linear.weight"].T
