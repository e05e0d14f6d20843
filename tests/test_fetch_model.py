"""Models from a hub on 127.0.0.1: the files that are read, of one commit, checked; and one line for what goes wrong."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hub import serve_hub
from huggingface_hub import constants

from catid2.config.pretrained import RECORD, PretrainedModel
from catid2.pretrained.fetch import fetch_model
from catid2.pretrained.files import files_in, files_to_read, folder_to_read, identity
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json

SCRIPT = Path(__file__).parent.parent / "scripts" / "fetch_model.py"
WEIGHTS = random.Random(0).randbytes(300_000)
T5 = {"config.json": b"{}", "spiece.model": b"pieces", "tokenizer_config.json": b"{ }"}
MT5 = T5 | {
    **{"pytorch_model.bin": WEIGHTS, "README.md": b"#", ".gitattributes": b"*"},
    **{"tf_model.h5": WEIGHTS, "flax_model.msgpack": WEIGHTS, "onnx/model.safetensors": WEIGHTS},
}
NAME = "google/mt5-base"
MODEL = PretrainedModel(name=NAME)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with one model that this process takes for the hub, with an empty home."""
    with serve_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(time, "sleep", lambda _: None)  # the library waits before it tries again
        hub.put(NAME, MT5)
        yield hub


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "models" / "google" / "mt5-base@main"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


READ = ("config.json", "pytorch_model.bin", "spiece.model", "tokenizer_config.json")


def test_the_files_that_are_read_arrive_with_a_record(hub, folder):
    fetch_model(MODEL, folder)
    got = content(folder)
    record = json.loads(got.pop(RECORD))
    assert got == {name: MT5[name] for name in READ}
    commit = hub.branches["main"]
    assert record == {
        "name": NAME,
        "revision": "main",
        "commit": commit,
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in got.items()
        },
    }
    assert identity(folder) == commit
    assert sorted(hub.downloads()) == sorted(READ)


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, tmp_path):
    main = hub.branches["main"]
    other = hub.put(NAME, T5 | {"model.safetensors": b"new"}, branch="refs/pr/1")
    for revision, commit in (("main", main), ("refs/pr/1", other), (main, main), (other, other)):
        model = PretrainedModel(name=NAME, revision=revision)
        target = tmp_path / model.folder
        fetch_model(model, target)
        assert read_json(target / RECORD)["commit"] == commit
    assert len({path.parent for path in tmp_path.rglob(RECORD)}) == 4
    with pytest.raises(InputError, match=f"{NAME}: no revision 'v9' on {hub.address}; name a branch"):
        fetch_model(PretrainedModel(name=NAME, revision="v9"), tmp_path / "other")


def test_a_cut_connection_is_taken_up_where_it_ended(hub, folder, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # the library writes 10 MB at once
    hub.put(NAME, {"config.json": b"{}", "model.safetensors": WEIGHTS})
    hub.cuts = [2, 100_000, 50_000]  # the first is config.json, whole
    fetch_model(MODEL, folder)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [request.split()[-1] for request in hub.requests if "bytes=" in request]
    assert ranges == ["bytes=100000-", "bytes=150000-"]


def test_files_that_are_whole_outlive_a_failure(hub, folder):
    hub.sizes["spiece.model"] = 7
    with pytest.raises(InputError, match=f"{NAME}: Consistency check failed: .* of size 7 but has size 6"):
        fetch_model(MODEL, folder)
    assert not (folder / RECORD).exists()
    hub.sizes.clear()
    hub.requests.clear()
    fetch_model(MODEL, folder)
    assert hub.downloads() == ["spiece.model", "tokenizer_config.json"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "spiece.model"])
def test_a_file_that_is_not_what_the_hub_lists_is_removed(hub, folder, name):
    hub.spoilt[name] = MT5[name][::-1]  # of the same size
    with pytest.raises(InputError, match=f"{folder}/{name}: the hub sent another {name} than it lists"):
        fetch_model(MODEL, folder)
    assert not (folder / name).exists()
    assert not (folder / RECORD).exists()
    hub.spoilt.clear()
    fetch_model(MODEL, folder)
    assert identity(folder) == hub.branches["main"]


def test_another_commit_leaves_nothing_of_the_old_one(hub, folder):
    hub.put(NAME, MT5 | {"model.safetensors": b"old", "vocab.txt": b"old"})
    fetch_model(MODEL, folder)
    new = hub.put(NAME, MT5)
    fetch_model(MODEL, folder)
    assert set(content(folder)) == {*READ, RECORD}
    assert identity(folder) == new


def test_a_record_that_is_gone_is_made_again_without_downloads(hub, folder):
    fetch_model(MODEL, folder)
    before = content(folder)
    (folder / RECORD).unlink()  # as Snakemake does before it runs a job again
    hub.requests.clear()
    fetch_model(MODEL, folder)
    assert content(folder) == before
    assert hub.downloads() == []


def test_a_hub_that_fails_leaves_a_fetched_model_as_it_was(hub, folder):
    fetch_model(MODEL, folder)
    before = content(folder)
    hub.status = 503
    with pytest.raises(InputError, match="answers 503"):
        fetch_model(MODEL, folder)
    assert content(folder) == before


def test_a_folder_with_other_files_is_left_alone(hub, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        InputError, match=f"{tmp_path}: holds a model that was not fetched; name a new folder"
    ):
        fetch_model(MODEL, tmp_path)
    assert content(tmp_path) == {"config.json": b"{}"}


def test_what_is_in_the_cache_of_the_hubs_library_is_not_fetched_again(hub, folder, tmp_path):
    from huggingface_hub import hf_hub_download

    hf_hub_download(NAME, "pytorch_model.bin")
    hub.requests.clear()
    fetch_model(MODEL, folder)
    assert "pytorch_model.bin" not in hub.downloads()
    assert (folder / "pytorch_model.bin").read_bytes() == WEIGHTS
    assert not (folder / "pytorch_model.bin").is_symlink()


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ({"models": {}}, "no folder here, and no such model on {hub} (or a private one); correct the name"),
        (
            {"gated": True},
            "a gated model: its owner decides who may have it; accept its terms at {hub}/{name}, then",
        ),
        (
            {"token": "hf_secret"},
            "no folder here, and no such model on {hub} (or a private one); correct the name",
        ),
        ({"status": 503}, "{hub} answers 503; try again later"),
        ({"status": 403}, "{hub} answers 403; set HF_TOKEN, or run `hf auth login`, with a token"),
    ],
)
def test_a_hub_that_refuses_is_one_line(hub, folder, behaviour, says):
    for key, value in behaviour.items():
        setattr(hub, key, value)
    with pytest.raises(InputError) as caught:
        fetch_model(MODEL, folder)
    assert str(caught.value).startswith(f"{NAME}: {says.format(hub=hub.address, name=NAME)}")
    if {"models", "gated", "token"} & behaviour.keys():
        assert "HF_TOKEN" in str(caught.value)
    assert not (folder / RECORD).exists()
    assert files_in(folder) == []


def test_a_token_opens_a_private_model(hub, folder, monkeypatch):
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch_model(MODEL, folder)
    assert identity(folder) == hub.branches["main"]


def test_a_model_without_weights_that_can_be_read_is_named(hub, folder):
    hub.put(NAME, T5 | {"flax_model.msgpack": b"", "onnx/model.safetensors": b""})
    with pytest.raises(InputError, match=f"{NAME}: no config.json with model.safetensors or"):
        fetch_model(MODEL, folder)
    assert hub.downloads() == []


def test_no_network_is_one_line_with_the_command(hub, folder, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(InputError) as caught:
        fetch_model(MODEL, folder)
    assert str(caught.value).startswith(f"{NAME}: http://127.0.0.1:9 fails (")
    assert str(caught.value).endswith(f"HF_HUB_OFFLINE=0 snakemake --cores 1 {folder}/{RECORD}")


def test_something_else_than_a_hub_is_one_line(hub, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: json.loads("<html>"))
    with pytest.raises(InputError, match=f"{NAME}: {hub.address} is not a hub .*; correct HF_ENDPOINT"):
        fetch_model(MODEL, folder)


def run(
    hub_address: str, folder: Path, start: Sequence[str] = (str(SCRIPT),), **environment: str
) -> subprocess.CompletedProcess:
    command = [sys.executable, *start, "--config", json.dumps({"name": NAME}), "--output", str(folder)]
    variables = os.environ | {"HF_ENDPOINT": hub_address, "HF_HOME": str(folder / "home")} | environment
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def test_the_script_shows_its_progress_and_logs_what_came(hub, folder):
    slow = "import itertools, tqdm.std; tqdm.std.time = itertools.count(0, 60).__next__; "  # a minute a look
    script = f"import runpy; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = run(hub.address, folder, ("-c", slow + script), HF_HUB_OFFLINE="0")
    assert done.returncode == 0, done.stderr
    assert "(100%), " in done.stderr
    assert "\r" not in done.stderr
    assert f"sha256 {hashlib.sha256(WEIGHTS).hexdigest()}" in done.stderr
    assert set(content(folder)) == {*READ, RECORD}


def test_offline_is_one_line_with_the_command(hub, folder):
    done = run(hub.address, folder, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {NAME}: not in {folder}, and HF_HUB_OFFLINE forbids fetching it; on a machine with a network "
        f"(a login node) run HF_HUB_OFFLINE=0 snakemake --cores 1 {folder}/{RECORD}"
    ]
    assert hub.requests == []


# --- which files, and what they are


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ("model.safetensors pytorch_model.bin", "model.safetensors"),
        (
            "pytorch_model.bin model.safetensors.index.json model-00001-of-00002.safetensors "
            "model-00002-of-00002.safetensors",
            "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json",
        ),
        (
            "pytorch_model.bin.index.json pytorch_model-00001-of-00001.bin tf_model.h5",
            "pytorch_model-00001-of-00001.bin pytorch_model.bin.index.json",
        ),
        ("model.fp16.safetensors pytorch_model.bin training_args.bin", "pytorch_model.bin"),
        (
            "modules.json 1_Pooling/config.json 2_Dense/config.json 2_Dense/model.safetensors "
            "2_Dense/pytorch_model.bin 3_Normalize/README.md sentence_bert_config.json",
            "1_Pooling/config.json 2_Dense/config.json 2_Dense/model.safetensors modules.json",
        ),
        ("2_Dense/pytorch_model.bin", "2_Dense/pytorch_model.bin"),
        (
            "spiece.model sentencepiece.bpe.model vocab.txt vocab.json merges.txt added_tokens.json history.tsv",
            "added_tokens.json merges.txt sentencepiece.bpe.model spiece.model vocab.json vocab.txt",
        ),
        ("onnx/model.safetensors openvino/config.json a/b.model rust_model.ot modeling.py", ""),
    ],
)
def test_one_set_of_weights_and_no_other_format_is_read(names, read):
    assert files_to_read(names.split()) == read.split()


def own_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in {"config.json": b"{}", "model.safetensors": b"12", "README.md": b"#"}.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_folders_identity_is_that_of_its_content(tmp_path):
    one, other = own_model(tmp_path / "one"), own_model(tmp_path / "other")
    (other / "README.md").write_text("another")
    assert files_in(one) == ["config.json", "model.safetensors"]
    lines = "".join(
        f"{name}:{hashlib.sha256(data).hexdigest()}\n"
        for name, data in (("config.json", b"{}"), ("model.safetensors", b"12"))
    )
    assert identity(one) == identity(other) == hashlib.sha256(lines.encode()).hexdigest()
    (other / "model.safetensors").write_bytes(b"21")
    assert identity(one) != identity(other)


def test_a_fetched_file_that_was_changed_is_named(hub, folder):
    fetch_model(MODEL, folder)
    (folder / "spiece.model").write_bytes(b"edited")
    with pytest.raises(InputError, match=f"{folder}/spiece.model: not as it was fetched from {NAME}"):
        identity(folder)
    (folder / "spiece.model").write_bytes(T5["spiece.model"])
    (folder / "model.safetensors").write_bytes(b"fine-tuned")
    with pytest.raises(InputError, match=f"{folder}/model.safetensors: not as it was fetched"):
        identity(folder)


@pytest.mark.parametrize(
    ("name", "on_hub"),
    [
        ("google/mt5-base", True),
        ("gpt2", True),
        ("sentence-transformers/all-mpnet-base-v2", True),
        ("models/mt5", True),  # unless there is such a folder
        ("./models/mt5", False),
        ("../mt5", False),
        ("/data/mt5", False),
        ("~/mt5", False),
        ("models/mt5/", False),
        ("data/models/mt5", False),
        ("resources/models/google/mt5-base@main", False),
        ("my model", False),
        ("モデル/mt5", False),
    ],
)
def test_a_hub_name_is_told_from_a_path_by_its_form(tmp_path, monkeypatch, name, on_hub):
    monkeypatch.chdir(tmp_path)
    model = PretrainedModel(name=name)
    assert model.on_hub == on_hub
    if on_hub:
        with pytest.raises(
            InputError, match=f"{name}: no folder, and a model of the hub that is not in resources"
        ):
            folder_to_read(model)
        own_model(tmp_path / name)
        assert not model.on_hub
        assert folder_to_read(model) == Path(name)
    else:
        with pytest.raises(InputError, match=f"{name}: no such folder; correct the path, or name a model"):
            folder_to_read(model)


def test_the_line_for_a_model_that_was_not_fetched_names_a_command_that_fetches_it(
    hub, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        folder_to_read(MODEL)
    command = str(caught.value).partition(" run ")[2].replace("scripts/fetch_model.py", str(SCRIPT))
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    python = f"PATH={Path(sys.executable).parent}:$PATH "
    subprocess.run(python + command, shell=True, check=True, env=environment, capture_output=True)
    assert folder_to_read(MODEL) == Path("resources/models/google/mt5-base@main")
