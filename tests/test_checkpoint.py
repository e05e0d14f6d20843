"""Training states: exact, tied to their run, whole or not there."""

import errno
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import catid2.runtime.checkpoint
from catid2.runtime.checkpoint import (
    FINGERPRINT,
    PREVIOUS,
    STATE_FILE,
    Checkpoints,
    State,
    code_digest,
    fingerprint,
    remove_checkpoints,
    require_checkpoints_only,
    restore_tensors,
    tensors_of,
)
from catid2.runtime.errors import InputError

STATE = State(
    {"weights": torch.tensor([[0.1, -1e-30]]), "step": torch.tensor(7.0), "codes": torch.arange(3)},
    {"history": [{"loss": 0.1, "perplexity": float("nan")}], "name": "añ"},
)
RUN = {
    "config": {"lr": 0.1, "labels": ["E"]},
    "seed": 0,
    "ranks": 1,
    "code": {"catid2": "a" * 64, "torch": "2.8"},
}


def names(folder: Path) -> list[str]:
    """Return all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_was_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", RUN)
    checkpoints.save(STATE._replace(progress="an older state"))
    checkpoints.save(STATE)
    loaded = Checkpoints(tmp_path / "run", RUN).load()
    assert loaded.tensors.keys() == STATE.tensors.keys()
    for name, tensor in STATE.tensors.items():
        assert torch.equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype
    assert loaded.progress["history"][0]["loss"] == 0.1
    assert np.isnan(loaded.progress["history"][0]["perplexity"])
    assert loaded.progress["name"] == "añ"


def test_no_state_is_no_state(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "run", RUN).load() is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed: 0, now 1"),
        ({"ranks": 4}, "ranks: 1, now 4"),
        ({"config": {"lr": 0.2, "labels": ("E",)}}, "config.lr: 0.1, now 0.2"),
        ({"config": {"lr": 0.1, "labels": ("E", "S")}}, 'config.labels: ["E"], now ["E", "S"]'),
        ({"code": {"catid2": "a" * 64, "torch": "2.9"}}, 'code.torch: "2.8", now "2.9"'),
        (
            {"code": {"catid2": "b" * 64, "torch": "2.8"}},
            "code.catid2",
        ),  # of a sha256 the name is all that helps
        ({"ranks": 2, "data": "c" * 64}, "data, ranks: 1, now 2"),
    ],
)
def test_the_state_of_another_run_is_kept_and_the_log_tells_what_differs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict, told: str
) -> None:
    caplog.set_level(logging.INFO)
    one = Checkpoints(tmp_path, RUN)
    one.load()
    one.save(STATE)
    other = Checkpoints(tmp_path, RUN | change)
    assert other.load() is None
    (message,) = caplog.messages
    assert f"{one.path.parent}: kept, but of another run ({told})" in message
    other.save(STATE._replace(progress="the other's"))
    caplog.clear()
    assert one.load().progress["name"] == "añ"
    assert other.load().progress == "the other's"
    assert caplog.messages == []
    other.remove()
    assert list(tmp_path.parent.glob(tmp_path.name)) == []


def test_of_other_runs_the_one_that_began_last_is_kept_unless_it_saved_nothing(tmp_path: Path) -> None:
    first, second, third, fourth = (Checkpoints(tmp_path, RUN | {"seed": seed}) for seed in range(4))
    for number, run in enumerate((second, first, third), start=1):
        run.load()
        if run is not third:
            run.save(STATE)
        os.utime(run.path.with_name(FINGERPRINT), (number, number))
    fourth.load()
    assert {path.name for path in tmp_path.iterdir()} == {first.path.parent.name, fourth.path.parent.name}
    assert first.load() is not None


def test_what_a_kill_left_of_a_run_that_was_being_removed_is_removed(tmp_path: Path) -> None:
    left, run = (Checkpoints(tmp_path, RUN | {"seed": seed}) for seed in range(2))
    left.load()
    left.save(STATE)
    left.path.with_name(FINGERPRINT).unlink()
    run.load()
    run.save(STATE)
    Checkpoints(tmp_path, RUN | {"seed": 2}).load()
    assert not left.path.parent.exists()
    assert run.path.exists()


def test_a_damaged_record_of_another_run_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, run = (Checkpoints(tmp_path, RUN | {"seed": seed}) for seed in range(2))
    other.load()
    other.save(STATE)
    other.path.with_name(FINGERPRINT).write_text("{")
    caplog.set_level("INFO")
    assert run.load() is None
    assert "kept, but of another run" in caplog.text


def test_a_run_that_is_killed_as_it_begins_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Checkpoints(tmp_path, RUN)
    one.load()
    one.save(STATE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("catid2.runtime.checkpoint.write_json", killed)
        Checkpoints(tmp_path, RUN | {"seed": 1}).load()
    assert one.load() is not None


@pytest.mark.parametrize("size", [0, 4, 60, -1])
def test_a_cut_file_starts_the_run_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(STATE)
    checkpoints.path.write_bytes(checkpoints.path.read_bytes()[:size])
    assert checkpoints.load() is None
    assert "not a complete checkpoint" in caplog.text


@pytest.mark.parametrize("part", [b'"loss": 0.1'.replace(b'"', b'\\"'), torch.arange(3).numpy().tobytes()])
def test_a_flipped_bit_starts_the_run_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: bytes
) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(STATE)
    content = bytearray(checkpoints.path.read_bytes())
    assert content.count(part) == 1
    content[content.index(part) + len(part) - 1] ^= 1
    checkpoints.path.write_bytes(bytes(content))
    assert checkpoints.load() is None
    assert "not as it was saved" in caplog.text


def test_tensors_without_a_header_are_no_state(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.load()
    save_file(STATE.tensors, checkpoints.path)
    assert checkpoints.load() is None


def test_a_state_may_hold_every_kind_of_tensor(tmp_path: Path) -> None:
    kinds = (torch.bfloat16, torch.float16, torch.bool, torch.uint8)
    tensors = {str(kind): torch.ones(2, 3).to(kind).T for kind in kinds} | {"empty": torch.empty(0, 4)}
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(State(tensors, None))
    loaded = checkpoints.load().tensors
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_a_save_that_fails_keeps_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(STATE)

    def disk_full(_: dict, path: Path, __: dict) -> None:
        path.write_bytes(b"half a st")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catid2.runtime.checkpoint.save_file", disk_full)
    with pytest.raises(InputError, match=r"No space left on device\); make room"):
        checkpoints.save(STATE._replace(progress="newer"))
    assert checkpoints.load().progress["name"] == "añ"
    assert names(checkpoints.path.parent) == [FINGERPRINT, "state.safetensors"]


def saved_twice(folder: Path) -> Checkpoints:
    """Return the checkpoints of a run that has saved three states, the last two of which are kept."""
    checkpoints = Checkpoints(folder, RUN)
    for progress in ("first", "second", "third"):
        checkpoints.save(STATE._replace(progress=progress))
    assert names(checkpoints.path.parent) == [PREVIOUS, STATE_FILE]
    return checkpoints


@pytest.mark.parametrize("size", [0, 60, -1])
def test_of_two_states_the_newest_that_is_undamaged_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    checkpoints = saved_twice(tmp_path)
    assert checkpoints.load().progress == "third"
    assert not caplog.messages
    checkpoints.path.write_bytes(checkpoints.path.read_bytes()[:size])
    assert checkpoints.load().progress == "second"
    assert f"{checkpoints.path}: not a complete checkpoint" in caplog.text
    # The damaged one is gone: the next save must not put it in the place of the good one.
    checkpoints.save(STATE._replace(progress="fourth"))
    checkpoints.path.unlink()
    assert checkpoints.load().progress == "second"
    checkpoints.previous.write_bytes(b"")
    assert checkpoints.load() is None


def test_a_kill_between_the_two_renames_of_a_save_leaves_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    checkpoints = saved_twice(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("catid2.runtime.writing._replace", killed)
        checkpoints.save(STATE._replace(progress="fourth"))
    assert checkpoints.load().progress == "third"


def test_a_state_that_cannot_be_read_at_the_moment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    checkpoints = saved_twice(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("catid2.runtime.checkpoint.safe_open", stale)
        with pytest.raises(
            InputError, match=r"cannot be read \(Stale file handle\); make it readable, or try"
        ):
            checkpoints.load()
    assert checkpoints.load().progress == "third"


def test_a_model_with_tied_weights_is_saved_once_and_restored(tmp_path: Path) -> None:
    def made() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        model = torch.nn.ModuleDict({"one": torch.nn.Linear(3, 3), "other": torch.nn.Linear(3, 3)})
        model["other"].weight = model["one"].weight
        model.register_buffer("scale", torch.rand(2))
        return model, torch.optim.AdamW(model.parameters(), fused=True)

    model, optimizer = made()
    sum(part(torch.ones(3)).sum() for part in model.values()).backward()
    optimizer.step()
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(State(tensors_of(model, optimizer), None))
    loaded = checkpoints.load().tensors
    assert "model.one.weight" in loaded
    assert "model.other.weight" not in loaded
    again, its_optimizer = made()
    restore_tensors(loaded, again, its_optimizer)
    assert again["other"].weight is again["one"].weight
    restored = tensors_of(again, its_optimizer)
    assert all(torch.equal(tensor, restored[name]) for name, tensor in tensors_of(model, optimizer).items())


def test_removed_with_the_folder(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", RUN)
    checkpoints.save(STATE)
    checkpoints.remove()
    assert not (tmp_path / "run").exists()
    checkpoints.remove()  # of a run too short to have saved


def test_files_of_others_are_refused_before_work_and_never_removed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(STATE)
    for name in (STATE_FILE, FINGERPRINT):
        checkpoints.path.with_name(f".tmp-0123456789ab-{name}").write_bytes(b"left by a kill")
    Checkpoints(tmp_path, RUN)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        InputError, match=r"not checkpoints \('notes.txt'\); move them away, or name an empty folder"
    ):
        Checkpoints(tmp_path, RUN)
    checkpoints.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match=r"notes.txt: is not a folder"):
        Checkpoints(tmp_path / "notes.txt", RUN)


def test_own_folders_are_removed_only_when_they_are_empty(tmp_path: Path) -> None:
    own = re.compile(r"[ab]/(\d)?")
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
    digests = [first, second, code_digest(package / "a.py")]
    assert len({digest["catid2"] for digest in digests}) == 3
    (package / "a.py").write_text("# A comment.\nfrom catid2 import b\nL = 3\n")
    assert code_digest(package / "a.py") == digests[-1]


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_code_digest_follows_the_versions_of_the_libraries(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    module = Path(catid2.runtime.checkpoint.__file__)
    first = code_digest(module)
    monkeypatch.setattr(f"{library}.__version__", "0.0")
    assert code_digest(module) == first | {library: "0.0"}


def test_the_fingerprint_tells_settings_values_types_and_shapes_apart() -> None:
    array = np.arange(6, dtype=np.float16)
    long = np.zeros((65_537, 2), np.int8)
    longer = long.copy()
    longer[-1, -1] = 1
    variants = [
        fingerprint({"lr": 1}, array),
        fingerprint({"lr": 2}, array),
        fingerprint({"lr": 1}, array + 1),
        fingerprint({"lr": 1}, array.reshape(2, 3)),
        fingerprint({"lr": 1}, array.view(np.int16)),
        fingerprint({"lr": 1}, array, array),
        fingerprint({"lr": 1}, long),
        fingerprint({"lr": 1}, longer),
    ]
    assert len(set(variants)) == len(variants)
    assert fingerprint({"a": 1, "b": 2}, array) == fingerprint({"b": 2, "a": 1}, array.copy())
