"""The es entries of config/config.yaml, shrunk: with a model of a hub on 127.0.0.1, and with a folder of the same."""

import io
import re

import pytest
import sentencepiece
import torch
import yaml
from hub import serve_hub
from transformers import MT5Config, MT5ForConditionalGeneration

from catid2.runtime.tables import read_json
from workflow import ROOT, Project

NAME = "google/mt5-base"
FILES = (
    "config.json",
    "pytorch_model.bin",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer_config.json",
)
RUN = ("--configfile", "run.yaml")
TARGETS = [f"results/{dataset}/catid2/seed0/run.parquet" for dataset in ("hub_es", "own_es")]
TEXTS = [word for word in re.findall(r"\w+", (ROOT / "README.md").read_text()) if word.isascii()]


def mt5() -> dict[str, bytes]:
    """Return a small random mT5 in the layout in which google/mt5-base is published."""
    pieces, weights = io.BytesIO(), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=pieces,
        vocab_size=300,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    torch.manual_seed(0)
    config = MT5Config(
        vocab_size=512,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        architectures=["MT5ForConditionalGeneration"],
    )
    torch.save(MT5ForConditionalGeneration(config).state_dict(), weights)
    special = b'{"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}'
    return {
        "config.json": config.to_json_string(use_diff=False).encode(),
        "pytorch_model.bin": weights.getvalue(),
        "special_tokens_map.json": special,
        "spiece.model": pieces.getvalue(),
        "tokenizer_config.json": special[:-1] + b', "extra_ids": 0, "tokenizer_class": "T5Tokenizer"}',
        "README.md": b"# mT5",
        "tf_model.h5": b"weights of another library",
    }


def shrunk() -> dict:
    """Return config/config.yaml on simulated files, its es dataset twice: as it is, and with a folder for a name."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    locales = {"es": {"products": 200, "queries": 60}}
    config["sources"] = {"tiny": {"kind": "simulated", "seed": 3, "simulate": {"locales": locales}}}
    hub = config["datasets"]["esci_es"] | {"source": "tiny"}
    own = yaml.safe_load(yaml.dump(hub).replace(NAME, "./mt5"))
    config["datasets"] = {"hub_es": hub, "own_es": own}
    for view in config["views"].values():
        view["encoder"]["max_tokens"] = 16
    config["rqvae"] = {
        **{"codebook_size": 16, "hidden": [16], "latent_dim": 8, "batch_size": 128, "epochs": 3},
        **{"warmup_epochs": 1, "on_collapse": "report"},
    }
    config["retriever"] = {
        **{"max_query_tokens": 8, "max_document_tokens": 8, "epochs": 1, "batch_size": 128},
        **{"valid_share": 0.2, "valid_beams": 10, "select_by": "recall@10"},
    }
    config["studies"] = {"recall": {"methods": ["catid2"]}}
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A project in which both datasets have been made, that of the folder offline; the commit, and the hub."""
    project = Project(tmp_path_factory.mktemp("pretrained"), stub=False)
    home = project.folder / "home"
    model = mt5()
    (project.folder / "mt5").mkdir()
    for name in FILES:
        (project.folder / "mt5" / name).write_bytes(model[name])
    (project.folder / "run.yaml").write_text(yaml.dump(shrunk()))
    with serve_hub() as hub:
        commit = hub.put(NAME, model)
        project.environment |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
        project.snakemake(TARGETS[0], *RUN)
    project.environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
    project.snakemake(TARGETS[1], *RUN)
    return project, commit, hub


def test_a_model_of_the_hub_is_fetched_once_and_jobs_ask_the_hub_for_nothing(run):
    project, commit, hub = run
    assert sorted(hub.downloads()) == sorted(FILES)
    others = [request for request in hub.requests if f"/{NAME}/" not in request]
    assert all(
        "/api/agent-harnesses" in request for request in others
    )  # of the hub's library, when it first asks
    folder = project.folder / "resources/models" / f"{NAME}@main"
    assert {path.name for path in folder.iterdir()} == {*FILES, "fetched.json", ".cache"}
    description = read_json(project.folder / "results/hub_es/embeddings/text.json")
    assert (description["encoder"], description["identity"]) == (NAME, commit)


def test_results_do_not_depend_on_where_the_model_lies(run):
    project, *_ = run
    own = read_json(project.folder / "results/own_es/embeddings/text.json")
    assert own["encoder"] == "./mt5"
    assert re.fullmatch("[0-9a-f]{64}", own["identity"])
    for name in ("embeddings/text.npy", "catid2/seed0/docids.parquet", "catid2/seed0/run.parquet"):
        one, other = (project.folder / "results" / dataset / name for dataset in ("hub_es", "own_es"))
        assert one.read_bytes() == other.read_bytes(), name


def test_offline_the_finished_run_stays_so_and_new_weights_are_read(run):
    project, *_ = run
    assert project.planned(*TARGETS, *RUN) == set()
    weights = project.folder / "mt5" / "pytorch_model.bin"
    tensors = torch.load(weights, weights_only=True)
    torch.save({name: tensor + 0.1 for name, tensor in tensors.items()}, weights)
    before = (project.folder / "results/own_es/embeddings/text.npy").read_bytes()
    project.snakemake("results/own_es/embeddings/text.npy", *RUN)
    assert (project.folder / "results/own_es/embeddings/text.npy").read_bytes() != before
