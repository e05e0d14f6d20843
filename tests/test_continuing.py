"""Training that starts from a trained retriever: its weights, its tokens, and DocIDs that need more codes."""

import json

import numpy as np
import pytest
import torch
from light_case import SMALL, random_light
from retriever_case import KINDS, TINY, random_retriever
from safetensors.torch import save_file

from catid2.config.retriever import LightConfig
from catid2.retriever.continuing import continued_sizes
from catid2.retriever.light import build_light, describe, load_light
from catid2.retriever.t5 import build_retriever, load_retriever
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.errors import InputError
from catid2.runtime.tables import write_json

SIZES = (5, 4, 3)
GROWN = (5, 4, 6)
OLD = {"docid_sha256": "old", "vectors_sha256": "v"}
NEW = {"docid_sha256": "new", "vectors_sha256": "w"}
VECTORS = np.random.default_rng(1).standard_normal((20, 6)).astype(np.float16)


@pytest.fixture
def light_folder(tmp_path):
    """Return the folder of a light retriever of SIZES, as training writes it."""
    model = random_light(SIZES)
    model.trained_on = OLD
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", describe(model))
    return tmp_path


@pytest.fixture(params=KINDS)
def t5_folder(request, tmp_path):
    """Return the folder of a T5 of SIZES, as training writes it."""
    retriever, tokenizer = random_retriever(request.param, SIZES), train_tokenizer(["red shoe"], 300)
    tokens = [f"<c_{position}_{code}>" for position, size in enumerate(SIZES) for code in range(size)]
    tokenizer.add_tokens(tokens)
    retriever.t5.config.query_prefix, retriever.t5.config.max_query_tokens = "", 16
    retriever.t5.config.docid_first_tokens = [tokenizer.convert_tokens_to_ids(f"<c_{i}_0>") for i in range(3)]
    retriever.t5.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def light(folder, sizes, **changes):
    config = SMALL.model_copy(update={"pretrained": str(folder)} | changes)
    return build_light(config, sizes, VECTORS, NEW, seed=3)


def t5(folder, sizes):
    return build_retriever(TINY.model_copy(update={"pretrained": str(folder)}), sizes, [], 3)


@pytest.mark.parametrize("sizes", [SIZES, (5, 3, 2)])
def test_a_light_retriever_has_all_weights_of_the_old_one(light_folder, sizes):
    old, new = load_light(light_folder), light(light_folder, sizes)
    assert new.sizes == SIZES
    assert new.trained_on == NEW
    for name, weights in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], weights)


def test_a_light_retriever_learns_more_codes_at_the_last_position(light_folder):
    old, new = load_light(light_folder), light(light_folder, GROWN)
    assert new.sizes == GROWN
    states = torch.randn(7, old.shape.d_model)
    for position, size in enumerate(SIZES):
        known = new.code_logits(states, position)[:, :size]
        torch.testing.assert_close(known, old.code_logits(states, position))
    assert new.code_logits(states, 2).shape == (7, 6)
    again = light(light_folder, GROWN)
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), again.parameters(), strict=True))


def test_a_t5_has_all_weights_and_tokens_of_the_old_one(t5_folder):
    old, tokens = load_retriever(t5_folder)
    new, tokenizer = t5(t5_folder, (5, 3, 3))
    assert (new.sizes, new.first_tokens) == (SIZES, old.first_tokens)
    assert tokenizer.get_vocab() == tokens.get_vocab()
    assert new.t5.config.max_query_tokens == TINY.max_query_tokens
    for a, b in zip(new.parameters(), old.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_t5_learns_more_codes_at_the_last_position(t5_folder):
    old, _ = load_retriever(t5_folder)
    new, tokenizer = t5(t5_folder, GROWN)
    assert (new.sizes, new.first_tokens) == (GROWN, old.first_tokens)
    states = torch.randn(7, 16)
    for position, size in enumerate(SIZES):
        known = new.code_logits(states, position)[:, :size]
        torch.testing.assert_close(known, old.code_logits(states, position))
    last = [f"<c_2_{code}>" for code in range(6)]
    assert tokenizer.convert_tokens_to_ids(last) == list(range(new.first_tokens[2], new.first_tokens[2] + 6))
    assert new.t5.shared.num_embeddings >= new.first_tokens[2] + 6


def test_only_the_last_position_may_grow():
    assert continued_sizes((5, 4, 3), (2, 4, 2), "old") == (5, 4, 3)
    for wanted in ((6, 4, 3), (5, 5, 3), (5, 4), (5, 4, 3, 3)):
        with pytest.raises(InputError, match=r"old: knows \[5, 4, 3\] codes per position, the DocIDs have"):
            continued_sizes((5, 4, 3), wanted, "old")


def test_a_light_retriever_of_another_shape_is_named(light_folder, tmp_path):
    with pytest.raises(InputError, match="its d_model is 16, here it would be 8"):
        light(light_folder, SIZES, d_model=8)
    assert light(light_folder, SIZES, dropout_rate=0.5).shape.dropout_rate == 0.5
    with pytest.raises(InputError, match=r"missing: no such folder"):
        light(tmp_path / "missing", SIZES)
    content = json.loads((light_folder / "config.json").read_text())
    (light_folder / "config.json").write_text(json.dumps(content | {"model_type": "t5"}))
    with pytest.raises(InputError, match="not a light retriever"):
        light(light_folder, SIZES)


def test_a_light_retriever_is_never_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("old", "some/old", "/tmp/old", "~/old"):
        model = LightConfig(kind="light", pretrained=name).pretrained_model
        assert not model.on_hub
    assert LightConfig(kind="light").pretrained_model is None
