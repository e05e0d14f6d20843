"""Training states: exact, tied to their run, whole or not there."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import catid2.checkpoint
from catid2.checkpoint import (
    Checkpoints,
    State,
    code_digest,
    fingerprint,
    remove_checkpoints,
    require_checkpoints_only,
)
from catid2.errors import InputError

STATE = State(
    {"weights": torch.tensor([[0.1, -1e-30]]), "step": torch.tensor(7.0), "codes": torch.arange(3)},
    {"history": [{"loss": 0.1, "perplexity": float("nan")}], "name": "añ"},
)


def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "a")
    checkpoints.save(STATE._replace(progress="an older state"))
    checkpoints.save(STATE)
    loaded = Checkpoints(tmp_path / "run", "a").load()
    assert loaded.tensors.keys() == STATE.tensors.keys()
    for name, tensor in STATE.tensors.items():
        assert torch.equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype
    assert loaded.progress["history"][0]["loss"] == 0.1
    assert np.isnan(loaded.progress["history"][0]["perplexity"])
    assert loaded.progress["name"] == "añ"


def test_no_state_is_no_state(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "run", "a").load() is None


def test_a_state_of_another_run_is_left_alone_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Checkpoints(tmp_path, "a").save(STATE)
    assert Checkpoints(tmp_path, "b").load() is None
    assert "other settings or inputs" in caplog.text
    assert Checkpoints(tmp_path, "a").load() is not None


@pytest.mark.parametrize("size", [0, 4, 60, -1])
def test_a_cut_file_starts_the_run_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(STATE)
    checkpoints.path.write_bytes(checkpoints.path.read_bytes()[:size])
    assert checkpoints.load() is None
    assert "not a whole checkpoint" in caplog.text


@pytest.mark.parametrize("part", [b'"loss": 0.1'.replace(b'"', b'\\"'), torch.arange(3).numpy().tobytes()])
def test_a_flipped_bit_starts_the_run_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: bytes
) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(STATE)
    content = bytearray(checkpoints.path.read_bytes())
    assert content.count(part) == 1
    content[content.index(part) + len(part) - 1] ^= 1
    checkpoints.path.write_bytes(bytes(content))
    assert checkpoints.load() is None
    assert "not as it was saved" in caplog.text


def test_tensors_without_a_header_are_no_state(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    save_file(STATE.tensors, checkpoints.path)
    assert checkpoints.load() is None


def test_a_state_may_hold_every_kind_of_tensor(tmp_path: Path) -> None:
    kinds = (torch.bfloat16, torch.float16, torch.bool, torch.uint8)
    tensors = {str(kind): torch.ones(2, 3).to(kind).T for kind in kinds} | {"empty": torch.empty(0, 4)}
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(State(tensors, None))
    loaded = checkpoints.load().tensors
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_a_save_that_fails_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(STATE)

    def disk_full(_: dict, path: Path, __: dict) -> None:
        path.write_bytes(b"half a st")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catid2.checkpoint.save_file", disk_full)
    with pytest.raises(InputError, match=r"No space left on device\); make room"):
        checkpoints.save(STATE._replace(progress="newer"))
    assert checkpoints.load().progress["name"] == "añ"
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_removed_with_the_folder(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "a")
    checkpoints.save(STATE)
    checkpoints.remove()
    assert not (tmp_path / "run").exists()
    checkpoints.remove()  # of a run too short to have saved


def test_files_of_others_are_refused_before_work_and_never_removed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(STATE)
    (tmp_path / ".tmp-0123456789ab-state.safetensors").write_bytes(b"left by a kill")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not checkpoints \('notes.txt'\); name an empty folder"):
        Checkpoints(tmp_path, "a")
    checkpoints.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match=r"notes.txt: is not a folder"):
        Checkpoints(tmp_path / "notes.txt", "a")


def test_own_folders_are_removed_only_when_they_are_empty(tmp_path: Path) -> None:
    own = re.compile(r"[ab](/\d)?")
    for name in ("a/1", "a/2", "b/1", "b/x"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name).rmdir()
        (tmp_path / "run" / name).touch()
    with pytest.raises(InputError, match=r"\('b/x'\)"):
        require_checkpoints_only(tmp_path / "run", own)
    remove_checkpoints(tmp_path / "run", own)
    assert sorted(tmp_path.rglob("*")) == [
        tmp_path / "run",
        tmp_path / "run" / "b",
        tmp_path / "run" / "b" / "x",
    ]
    (tmp_path / "run" / "b" / "x").unlink()
    require_checkpoints_only(tmp_path / "run", own)
    remove_checkpoints(tmp_path / "run", own)
    assert not (tmp_path / "run").exists()


def test_the_code_digest_follows_the_modules_that_are_imported(tmp_path: Path) -> None:
    package = tmp_path / "catid2"
    package.mkdir()
    for name, text in {"__init__": "", "a": "from catid2 import b\n", "b": "K = 1\n", "c": ""}.items():
        (package / f"{name}.py").write_text(text)
    first = code_digest(package / "a.py")
    (package / "c.py").write_text("not imported by a\n")
    assert code_digest(package / "a.py") == first
    (package / "b.py").write_text("K = 2\n")
    second = code_digest(package / "a.py")
    (package / "a.py").write_text("from catid2 import b\nL = 3\n")
    assert len({first, second, code_digest(package / "a.py")}) == 3


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_code_digest_follows_the_versions_of_the_libraries(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    module = Path(catid2.checkpoint.__file__)
    first = code_digest(module)
    monkeypatch.setattr(f"{library}.__version__", "0.0")
    assert code_digest(module) != first


def test_the_fingerprint_tells_settings_values_types_and_shapes_apart() -> None:
    array = np.arange(6, dtype=np.float16)
    variants = [
        fingerprint({"lr": 1}, array),
        fingerprint({"lr": 2}, array),
        fingerprint({"lr": 1}, array + 1),
        fingerprint({"lr": 1}, array.reshape(2, 3)),
        fingerprint({"lr": 1}, array.view(np.int16)),
        fingerprint({"lr": 1}, array, array),
    ]
    assert len(set(variants)) == len(variants)
    assert fingerprint({"a": 1, "b": 2}, array) == fingerprint({"b": 2, "a": 1}, array.copy())
