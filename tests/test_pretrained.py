"""Model folders that cannot be used are refused in one line, by the encoder and by the retriever alike."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import breakage as b
import pytest
import torch
from model_layouts import LAYOUTS, Layout, Published, publish
from retriever_case import TINY as TINY_RETRIEVER
from safetensors.torch import load_file, save_file
from test_dual_encoder import TINY
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

import catid2.pretrained.loading
from catid2.baselines.dual_encoder import build_encoder
from catid2.config.embed import HfEncoder
from catid2.config.pretrained import PretrainedModel
from catid2.embedding.encoders import TransformerEncoder
from catid2.pretrained.files import folder_to_read
from catid2.pretrained.loading import load_tokenizer
from catid2.retriever.t5 import build_retriever, load_pretrained
from catid2.runtime.errors import InputError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2329638768\n"
ADVICE = ("weights_only", "trust_remote_code", "tiktoken", "ignore_mismatched_sizes")


def layout(like: str) -> Layout:
    return next(layout for layout in LAYOUTS if layout.like == like)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Published]:
    """A T5 with safetensors and tokenizer.json, an mT5 as google/mt5-base is, one in shards, and a BERT."""
    root = tmp_path_factory.mktemp("models")
    likes = {"t5": "google-t5/t5-base", "mt5": "google/mt5-base", "shards": "google/mt5-xl"}
    likes |= {"sentences": "sentence-transformers/sentence-t5-base"}
    likes |= {"bert": "google-bert/bert-base-multilingual-cased"}
    return {name: publish(layout(like), root / name) for name, like in likes.items()}


def as_retriever(folder: Path) -> None:
    load_pretrained(folder_to_read(PretrainedModel(name=str(folder))))


def as_encoder(folder: Path) -> None:
    pooling = "modules" if (folder / "modules.json").exists() else "mean"
    settings = HfEncoder(model=str(folder), pooling=pooling, max_tokens=16)
    TransformerEncoder(settings, torch.device("cpu"), 64)


def as_dual_encoder(folder: Path) -> None:
    build_encoder(TINY.model_copy(update={"pretrained": str(folder)}), [], 0)


def refusal(load: Callable[[Path], None], folder: Path) -> str:
    """Return the line with which a folder is refused."""
    with pytest.raises(InputError) as caught:
        load(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert "; " in line
    assert not any(advice in line for advice in ADVICE), line
    return line


def copied(published: Published, folder: Path) -> Path:
    return Path(shutil.copytree(published.folder, folder / "model"))


# --- weights that are not all there --------------------------------------------------------------------


def change_bin(folder: Path, change: Callable[[dict], dict]) -> None:
    path = folder / "pytorch_model.bin"
    torch.save(change(torch.load(path, weights_only=True)), path)


def test_a_retriever_without_any_one_of_its_tensors_is_refused(published, tmp_path):
    folder = copied(published["mt5"], tmp_path)
    whole = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tied = {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    for name in whole:
        change_bin(folder, lambda _, name=name: {key: value for key, value in whole.items() if key != name})
        if name in tied:  # the same matrix under another name
            as_retriever(folder)
        else:
            assert f"no weights for 1 parameters, the first is {name!r}; use a complete" in refusal(
                as_retriever, folder
            )
    change_bin(folder, lambda _: {key: value for key, value in whole.items() if key not in tied})
    assert "no weights for" in refusal(as_retriever, folder)


@pytest.mark.parametrize("load", [as_encoder, as_dual_encoder])
def test_an_encoder_without_any_one_of_its_tensors_is_refused(published, tmp_path, load):
    folder = copied(published["bert"], tmp_path)
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        save_file({key: value for key, value in whole.items() if key != name}, folder / "model.safetensors")
        if name.startswith("pooler."):
            load(folder)
        else:
            assert f"no weights for 1 parameters, the first is {name!r}" in refusal(load, folder)


def test_an_encoder_alone_is_no_retriever_and_a_retriever_is_an_encoder(published, tmp_path):
    line = refusal(as_retriever, published["sentences"].folder)
    assert "the first is 'decoder.block.0.layer.0.SelfAttention.k.weight'" in line
    folder = copied(published["mt5"], tmp_path)
    as_encoder(folder)
    change_bin(folder, lambda whole: {key: value for key, value in whole.items() if "decoder" not in key})
    as_encoder(folder)
    refusal(as_retriever, folder)


@pytest.mark.parametrize("load", [as_retriever, as_encoder])
def test_weights_under_other_names_are_refused_and_both_names_said(published, tmp_path, load):
    folder = copied(published["mt5"], tmp_path)
    change_bin(folder, lambda whole: {f"wrapped.{key}": value for key, value in whole.items()})
    line = refusal(load, folder)
    assert "SelfAttention.k.weight', its files hold 'wrapped." in line


@pytest.mark.parametrize("load", [as_retriever, as_encoder])
def test_weights_of_another_size_are_refused(published, tmp_path, load):
    folder = copied(published["mt5"], tmp_path)
    b.key("config.json", "d_ff", 48)(folder)
    line = refusal(load, folder)
    assert "DenseReluDense.wi_0.weight' has the shape (32, 16), config.json asks for (48, 16)" in line


@pytest.mark.parametrize("load", [as_retriever, as_encoder])
def test_a_tokenizer_of_another_model_is_refused(published, tmp_path, load):
    folder = copied(published["mt5"], tmp_path)
    (folder / "tokenizer_config.json").unlink()  # T5's default: a hundred tokens more
    assert "its tokenizer has 255 tokens, its weights have embeddings of 167" in refusal(load, folder)


@pytest.mark.parametrize("model", ["t5", "mt5", "shards"])
def test_training_a_retriever_starts_from_the_weights_of_the_folder(published, model):
    config = TINY_RETRIEVER.model_copy(update={"pretrained": str(published[model].folder)})
    retriever, _ = build_retriever(config, (4, 4), [], seed=7)  # those published are of another seed
    text = retriever.first_tokens[0]  # embeddings behind those of text are drawn, for DocIDs
    started, vocabulary = retriever.t5.state_dict(), published[model].model.config.vocab_size
    for name, weights in published[model].model.state_dict().items():
        rows = text if len(weights) == vocabulary else len(weights)
        torch.testing.assert_close(started[name][:rows], weights[:rows], rtol=0, atol=0, msg=name)


def test_training_a_dual_encoder_starts_from_the_weights_of_the_folder(published):
    encoder, _ = build_encoder(
        TINY.model_copy(update={"pretrained": str(published["bert"].folder)}), [], seed=7
    )
    expected = published["bert"].model.state_dict()
    for name, weights in encoder.state_dict().items():
        torch.testing.assert_close(weights, expected[name], rtol=0, atol=0, msg=name)


# --- files that cannot be read -------------------------------------------------------------------------


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def all_weights_gone(folder: Path) -> None:
    for path in [*folder.glob("*.bin"), *folder.glob("*.safetensors")]:
        path.rename(folder / "tf_model.h5")


def shard_at(place: str) -> Callable[[Path], None]:
    """Move the second shard to `place`, and say so in the index."""

    def move(folder: Path) -> None:
        name = "pytorch_model-00002-of-00002.bin"
        index = folder / "pytorch_model.bin.index.json"
        index.write_text(index.read_text().replace(name, place.replace("HERE", str(folder))))
        (folder / name).rename(folder.parent / "shard.bin")

    return move


INDEX = "pytorch_model.bin.index.json"
UNREADABLE = [
    ("mt5", all_weights_gone, ("model: no model.safetensors or pytorch_model.bin; put one of them there",)),
    ("mt5", written("pytorch_model.bin", b""), ("pytorch_model.bin: empty",)),
    ("mt5", written("pytorch_model.bin", POINTER), ("pytorch_model.bin: a git-lfs pointer", "run git lfs pull")),
    ("mt5", b.cut("pytorch_model.bin"), ("its weights cannot be loaded (", "fetch or make it again")),
    ("mt5", written("pytorch_model.bin", b"what is this"), ("its weights cannot be loaded: ", "is incomplete")),
    ("t5", b.cut("model.safetensors"), ("its weights cannot be loaded (", "fetch or make it again")),
    ("t5", written("model.safetensors", POINTER), ("model.safetensors: a git-lfs pointer", "run git lfs pull")),
    ("t5", written("tokenizer.json", POINTER), ("tokenizer.json: a git-lfs pointer", "run git lfs pull")),
    ("t5", b.cut("tokenizer.json"), ("its tokenizer cannot be loaded (", "fetch or make it again")),
    ("t5", b.gone("tokenizer.json"), ("model: no vocabulary; put tokenizer.json, spiece.model",)),
    ("mt5", b.gone("spiece.model"), ("model: no vocabulary; put tokenizer.json, spiece.model",)),
    ("mt5", b.cut("spiece.model"), ("spiece.model: not a complete SentencePiece model; fetch it again",)),
    ("mt5", written("spiece.model", POINTER), ("spiece.model: a git-lfs pointer", "run git lfs pull")),
    ("mt5", written("spiece.model", b""), ("spiece.model: empty; fetch it again",)),
    ("mt5", b.gone("config.json"), ("config.json: no such file; fetch or make it again",)),
    ("mt5", written("config.json", POINTER), ("config.json: a git-lfs pointer",)),
    ("mt5", written("config.json", b"{"), ("config.json cannot be loaded (",)),
    ("mt5", written("config.json", b"{}"), ("config.json cannot be loaded (",)),
    (
        "mt5", written("config.json", b'{"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}'),
        ("model: brings code of its own, which is not run; use a model of a kind that Transformers knows",),
    ),
    ("shards", shard_at("shard.bin"), ("model/shard.bin: no such file, but pytorch_model.bin.index.json names it",)),
    ("shards", shard_at("../shard.bin"), (f"{INDEX}: names '../shard.bin', a file outside its folder",)),
    ("shards", shard_at("HERE/../shard.bin"), (f"{INDEX}: names '", "/../shard.bin', a file outside its folder")),
    ("t5", b.key("config.json", "transformers_weights", "../model.safetensors"),
     ("config.json: names '../model.safetensors', a file outside its folder; use another model",)),
    ("t5", b.key("config.json", "transformers_weights", "/tmp/model.safetensors"), ("a file outside its folder",)),
    ("mt5", lambda folder: b.make_unreadable(folder / "config.json"), ("config.json: cannot be read (Input/output",)),
    ("shards", written(INDEX, b"[]"), (f"{INDEX}: ",)),
    ("shards", written(INDEX, b"{}"), (f"{INDEX}: not an index of weights; fetch it again",)),
    ("shards", written("pytorch_model-00002-of-00002.bin", POINTER), ("00002-of-00002.bin: a git-lfs pointer",)),
]  # fmt: skip


@pytest.mark.parametrize("load", [as_retriever, as_encoder])
@pytest.mark.parametrize(("model", "damage", "says"), UNREADABLE)
def test_what_cannot_be_read_is_named_with_its_remedy(published, tmp_path, model, damage, says, load):
    folder = copied(published[model], tmp_path)
    damage(folder)
    line = refusal(load, folder)
    assert [words for words in says if words not in line] == [], line


@pytest.mark.parametrize("load", [as_retriever, as_encoder])
def test_a_model_that_is_nowhere_is_named(tmp_path, load):
    assert "missing: no such folder; correct the path" in refusal(load, tmp_path / "missing")
    line = refusal(load, Path("somebody/mt5-basse"))
    assert line.startswith("somebody/mt5-basse: no folder, and a model of the hub that is not in ")


@pytest.mark.parametrize("load", [as_retriever, as_encoder])
def test_without_protobuf_the_line_says_what_to_install(published, monkeypatch, load):
    monkeypatch.setattr(catid2.pretrained.loading, "is_protobuf_available", lambda: False)
    line = refusal(load, published["mt5"].folder)
    assert line.endswith(
        "spiece.model: reading it takes protobuf, which is not installed; run: pip install protobuf"
    )
    load(published["t5"].folder)  # tokenizer.json needs none


def test_a_transformers_that_cannot_read_a_spiece_model_is_to_be_upgraded(published, monkeypatch):
    def from_pretrained(*_: object, **__: object) -> None:
        raise Exception(
            "Error while attempting to build Precompiled normalizer: Cannot parse precompiled_charsmap"
        )

    monkeypatch.setattr(catid2.pretrained.loading.AutoTokenizer, "from_pretrained", from_pretrained)
    assert refusal(as_encoder, published["mt5"].folder).endswith("; run: pip install --upgrade transformers")


def test_pointers_and_other_files_that_are_not_read_do_no_harm(published, tmp_path):
    folder = copied(published["t5"], tmp_path)
    for name in ("pytorch_model.bin", "spiece.model", "tf_model.h5", "onnx.bin"):
        (folder / name).write_bytes(POINTER)
    as_retriever(folder)
    as_encoder(folder)


# --- pickles -------------------------------------------------------------------------------------------

PLANT = {
    "plain pickle": lambda path, planted: path.write_bytes(pickle.dumps(planted)),
    "PyTorch file": lambda path, planted: torch.save(planted, path),
    "old PyTorch file": lambda path, planted: torch.save(planted, path, _use_new_zipfile_serialization=False),
}


def torch_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Identity()), path)


PLACES = {
    "mt5": "pytorch_model.bin",
    "shards": "pytorch_model-00002-of-00002.bin",
    "sentences": "2_Dense/pytorch_model.bin",
}


@pytest.mark.parametrize("form", PLANT)
@pytest.mark.parametrize("model", PLACES)
@pytest.mark.parametrize("load", [as_retriever, as_encoder])
def test_a_planted_pickle_never_runs(published, tmp_path, load, model, form):
    folder, trace = copied(published[model], tmp_path), tmp_path / "loaded"
    PLANT[form](folder / PLACES[model], {"shared.weight": b.Planted(str(trace))})
    line = refusal(load, folder)
    assert not trace.exists()
    if load is as_encoder or model != "sentences":  # the encoder of sentences is no retriever anyway
        assert "cannot be loaded: a .bin file holds more than tensors" in line
    torch.load(folder / PLACES[model], weights_only=False) if form != "plain pickle" else pickle.loads(
        (folder / PLACES[model]).read_bytes()
    )
    assert trace.exists()  # it would have run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", PLACES)
def test_a_program_of_pytorch_is_refused_without_its_advice_to_run_it(published, tmp_path, model):
    folder = copied(published[model], tmp_path)
    torch_script(folder / PLACES[model])
    line = refusal(as_encoder, folder)
    assert "cannot be loaded: a .bin file holds more than tensors" in line


def test_a_pickle_beside_safetensors_is_not_looked_at(published, tmp_path):
    folder = copied(published["t5"], tmp_path)
    torch.save({"shared.weight": b.Planted(str(tmp_path / "loaded"))}, folder / "pytorch_model.bin")
    as_retriever(folder)
    as_encoder(folder)
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("place", ["../2_Dense", "..", "/tmp"])
def test_modules_outside_the_folder_are_refused(published, tmp_path, place):
    folder = copied(published["sentences"], tmp_path)
    shutil.copytree(folder / "2_Dense", folder.parent, dirs_exist_ok=True)
    shutil.move(folder / "2_Dense", folder.parent / "2_Dense")
    listed = json.loads((folder / "modules.json").read_text())
    listed[2]["path"] = place
    (folder / "modules.json").write_text(json.dumps(listed))
    assert f"modules.json names {place!r}, a folder outside its own" in refusal(as_encoder, folder)


@pytest.mark.parametrize("text", ["{", "[]", "[1]", '[{"idx": 0, "path": ""}]', '{"idx": 0}'])
def test_modules_that_are_none_are_one_line(published, tmp_path, text):
    folder = copied(published["sentences"], tmp_path)
    (folder / "modules.json").write_text(text)
    assert "modules.json cannot be loaded (" in refusal(as_encoder, folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_dense_layer_without_its_weights_is_refused(published, tmp_path, name):
    folder = copied(published["sentences"], tmp_path)
    (folder / "2_Dense" / "pytorch_model.bin").unlink()
    assert "2_Dense/pytorch_model.bin: no such file" in refusal(as_encoder, folder)
    wrong = {"other.weight": torch.zeros(6, 16)}
    save_file(wrong, folder / "2_Dense" / name) if "safe" in name else torch.save(
        wrong, folder / "2_Dense" / name
    )
    assert "its module '2_Dense' cannot be loaded (Error(s) in loading state_dict for Dense" in refusal(
        as_encoder, folder
    )


# --- tokenizers ----------------------------------------------------------------------------------------


def test_a_tokenizer_json_holds_as_it_is_written(published, tmp_path):
    """One as Hugging Face's Flax example trains for T5: T5Tokenizer forgets Lowercase, and adds a hundred tokens."""
    trained = Tokenizer(models.Unigram())
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase()]
    trained.normalizer = normalizers.Sequence(steps)
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = {"special_tokens": ["<pad>", "</s>", "<unk>"], "unk_token": "<unk>"}
    trainer = trainers.UnigramTrainer(vocab_size=60, show_progress=False, **special)
    trained.train_from_iterator(["red shoe lamp", "blue kettle ガラス"] * 20, trainer)
    trained.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    trained.enable_truncation(2)  # as those of sentence-transformers
    folder = copied(published["t5"], tmp_path)
    trained.save(str(folder / "tokenizer.json"))
    trained.no_truncation()
    texts = ["Red SHOE", "ＢＬＵＥ ｶﾞﾗｽ"]
    expected = [trained.encode(text).ids for text in texts]
    tokenizer = load_tokenizer(folder)
    assert tokenizer(texts)["input_ids"] == expected
    assert not any(tokenizer.unk_token_id in row for row in expected)
    assert len(tokenizer) == trained.get_vocab_size()
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_bytes((folder / "config.json").read_bytes())
    for again in (
        AutoTokenizer.from_pretrained(tmp_path / "saved"),
        load_tokenizer(tmp_path / "saved"),
    ):
        assert again(texts)["input_ids"] == expected
