"""Pretrained models in every layout in which they are published: embed, train, save, load elsewhere, same scores."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from model_layouts import LAYOUTS, TEXTS, Layout, Published, publish, write_weights
from retriever_case import TINY, Case, one_cpu_thread, train, write_case
from test_dual_encoder import TINY as TINY_ENCODER
from transformers import AutoTokenizer

import catid2.baselines.dual_encoder_training as dual_encoder_training
import catid2.retriever.t5_training as retriever_training
from catid2.config.embed import HfEncoder
from catid2.docids.table import Docids
from catid2.embedding.encoders import TransformerEncoder, pool
from catid2.pretrained.loading import load_tokenizer
from catid2.search.decode import Search, search
from catid2.search.trie import Trie
from catid2.training.tokens import tokenize

ids = [f"{layout.like}-{layout.tokenizer}-{layout.weights}".replace(" ", "-") for layout in LAYOUTS]
GENERATING = [layout for layout in LAYOUTS if layout.generates]
ENCODERS = [layout for layout in LAYOUTS if not layout.generates]

# Prints what each trained folder gives for TEXTS: products and scores of a retriever, vectors of an encoder.
FRESH = """
import json, sys
import torch
from catid2.config.embed import HfEncoder
from catid2.embedding.encoders import TransformerEncoder
from catid2.docids.table import Docids
from catid2.retriever.t5 import load_retriever
from catid2.search.decode import Search, search
from catid2.search.trie import Trie
from catid2.training.tokens import tokenize
docids, texts, retrievers, encoders = json.loads(sys.argv[1])
docids, found = Docids.read(docids), {}
for folder in retrievers:
    model, tokenizer = load_retriever(folder)
    queries = tokenize(tokenizer, texts, model.t5.config.query_prefix, model.t5.config.max_query_tokens)
    hits = search(model, Trie.from_codes(docids.codes, model.sizes), queries, Search(100, 5, 16))
    found[folder] = hits.doc_ids.tolist(), hits.scores.tolist()
for folder in encoders:
    encoder = TransformerEncoder(HfEncoder(model=folder, max_tokens=12), torch.device("cpu"), 4096)
    found[folder] = encoder.encode(texts).tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[Layout, Published]:
    folder = tmp_path_factory.mktemp("models")
    return {layout: publish(layout, folder / str(number)) for number, layout in enumerate(LAYOUTS)}


def encoder_of(folder: Path, **settings: Any) -> TransformerEncoder:
    settings = HfEncoder(model=str(folder), **settings)
    return TransformerEncoder(settings, torch.device("cpu"), 4096)


@pytest.mark.parametrize("layout", LAYOUTS, ids=ids)
def test_each_layout_is_embedded_as_the_model_in_memory(layout, models):
    published = models[layout]
    pooling = "modules" if layout.modules else "mean"
    encoder = encoder_of(published.folder, pooling=pooling, max_tokens=128 if layout.kind == "byt5" else 32)
    np.testing.assert_allclose(encoder.encode(TEXTS), published.vectors(TEXTS), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("layout", LAYOUTS, ids=ids)
def test_each_layouts_tokens_are_those_of_its_own_library(layout, models, tmp_path):
    published = models[layout]
    tokenizer = load_tokenizer(published.folder)
    expected = [published.tokens(text) for text in TEXTS]
    assert tokenizer(list(TEXTS))["input_ids"] == expected
    if layout.kind not in ("bert", "mpnet", "byt5"):
        assert not any(tokenizer.unk_token_id in row for row in expected)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((published.folder / "config.json").read_bytes())
    assert AutoTokenizer.from_pretrained(tmp_path)(list(TEXTS))["input_ids"] == expected
    assert load_tokenizer(tmp_path)(list(TEXTS))["input_ids"] == expected


# --- training, and a fresh process ---------------------------------------------------------------------


class Trained(NamedTuple):
    """What each layout gave after training: in memory, and from the folder that it wrote in a fresh process."""

    folders: dict[Layout, Path]
    in_memory: dict[Layout, Any]
    fresh: dict[Layout, Any]
    tokenizers: dict[Layout, Any]


@pytest.fixture(scope="module")
def trained(models, tmp_path_factory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    case = write_case(root)
    folders, in_memory, tokenizers = {}, {}, {}
    with one_cpu_thread():
        for number, layout in enumerate(LAYOUTS):
            fit = _retriever if layout.generates else _dual_encoder
            folders[layout], in_memory[layout], tokenizers[layout] = fit(
                str(models[layout].folder), case, root / str(number)
            )
    arguments = [str(case.docids), TEXTS]
    arguments += [[str(folders[layout]) for layout in kinds] for kinds in (GENERATING, ENCODERS)]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return Trained(
        folders, in_memory, {layout: found[str(folder)] for layout, folder in folders.items()}, tokenizers
    )


def _retriever(pretrained: str, case: Case, folder: Path) -> tuple[Path, Any, Any]:
    """Train a retriever; return its folder, and what the model in memory finds for TEXTS."""
    config = TINY.model_copy(
        update={"pretrained": pretrained, "epochs": 1, "valid_every": 1, "select_by": "last"}
    )
    with pytest.MonkeyPatch.context() as patch:
        built = _kept(patch, retriever_training, "build_retriever")
        output = train(config, case, folder)
    model, tokenizer = built[0]
    docids = Docids.read(case.docids)
    trie = Trie.from_codes(docids.codes, model.sizes, docids.doc_ids)
    queries = tokenize(tokenizer, TEXTS, config.query_task.prefix, config.max_query_tokens)
    found = search(model.eval(), trie, queries, Search(100, 5, 16))
    return output, (found.doc_ids.tolist(), found.scores), tokenizer


def _dual_encoder(pretrained: str, case: Case, folder: Path) -> tuple[Path, Any, Any]:
    """Train a dual encoder; return its folder, and the vectors of TEXTS by the model in memory."""
    config = TINY_ENCODER.model_copy(
        update={"pretrained": pretrained, "epochs": 1, "valid_every": 1, "select_by": "last"}
    )
    inputs = dual_encoder_training.Inputs(case.products, case.queries, case.judgements)
    with pytest.MonkeyPatch.context() as patch:
        built = _kept(patch, dual_encoder_training, "build_encoder")
        dual_encoder_training.train_dual_encoder(
            config, inputs, folder / "checkpoints", folder / "encoder", seed=1
        )
    model, tokenizer = built[0]
    tokens = tokenize(tokenizer, TEXTS, "", config.max_tokens)
    batch = tokens.batch(np.arange(len(TEXTS)), 0)
    with torch.inference_mode():
        states = model.eval()(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).last_hidden_state
    return folder / "encoder", pool(states, batch.attention_mask.bool(), "mean").numpy(), tokenizer


def _kept(patch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Return a list that holds what calls of a function of `module` returned."""
    calls, function = [], getattr(module, name)

    def keeping(*arguments: Any) -> Any:
        calls.append(function(*arguments))
        return calls[-1]

    patch.setattr(module, name, keeping)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("layout", GENERATING, ids=[ids[LAYOUTS.index(layout)] for layout in GENERATING])
def test_a_trained_retriever_gives_the_same_scores_in_a_fresh_process(layout, trained):
    doc_ids, scores = trained.in_memory[layout]
    fresh_ids, fresh_scores = trained.fresh[layout]
    assert fresh_ids == doc_ids
    np.testing.assert_allclose(fresh_scores, scores, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ENCODERS, ids=[ids[LAYOUTS.index(layout)] for layout in ENCODERS])
def test_a_trained_encoder_gives_the_same_vectors_in_a_fresh_process(layout, trained):
    np.testing.assert_allclose(trained.fresh[layout], trained.in_memory[layout], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("layout", LAYOUTS, ids=ids)
def test_what_training_wrote_tokenizes_a_users_text_as_training_did(layout, models, trained):
    plain = AutoTokenizer.from_pretrained(trained.folders[layout])
    expected = [models[layout].tokens(text) for text in TEXTS]
    assert plain(list(TEXTS))["input_ids"] == expected
    assert trained.tokenizers[layout](list(TEXTS))["input_ids"] == expected


def test_the_same_weights_in_any_file_train_to_the_same_bytes(models, tmp_path):
    published = next(each for layout, each in models.items() if layout.like == "google/mt5-base")
    case, results = write_case(tmp_path), {}
    for form in ("safetensors", "sharded safetensors", "bin", "old bin", "sharded bin"):
        folder = tmp_path / form
        folder.mkdir()
        for name in ("spiece.model", "tokenizer_config.json"):
            (folder / name).write_bytes((published.folder / name).read_bytes())
        write_weights(folder, published.model, form)
        with one_cpu_thread():
            output, *_ = _retriever(str(folder), case, tmp_path / f"trained {form}")
        results[form] = (output / "model.safetensors").read_bytes()
    assert len(set(results.values())) == 1
