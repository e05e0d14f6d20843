"""Every stage on a disk that is too small: one line, nothing half-written, and the same bytes when there is room."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_inputs import COMMANDS, EXAMPLES, PRODUCTS, Done, Options, run_script, settings
from transformers import T5Config, T5EncoderModel

from catid2.corpus.database import Resources, connect
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.errors import InputError
from catid2.runtime.writing import atomic, needs_room
from workflow import Project

SIZE = 64 * 2**20  # bytes of the disk
PAGE = 4096  # bytes; what tmpfs gives
OUTPUTS = {
    "simulate_esci": ("--examples", "--products", "--esci-s"),
    "extract_categories": ("--output",),
    "build_corpus": tuple(option for option in COMMANDS["build_corpus"] if option.endswith("-out")),
    "embed": ("--output", "--metadata"),
    "make_taxonomy": ("--output", "--report"),
    "train_rqvae": ("--model", "--model-config", "--history"),
    "assign_docids": ("--output", "--report"),
    "train_retriever": ("--output",),
    "retrieve": ("--output",),
    "search_bm25": ("--output",),
    "fuse_runs": ("--output",),
    "compare_with_bm25": ("--output",),
    "evaluate": ("--output", "--per-query"),
    "export_index": ("--output",),
    "export_run": ("--output",),
    "export_qrels": ("--relevant", "--gains"),
    "measure_geometry": ("--output",),
    "compare_geometry": ("--output",),
    "plot_geometry": ("--output",),
    "plot_recall": ("--output",),
    "plot_layers": ("--output",),
    "summarize_grids": ("--output",),
    "plot_grids": ("--output",),
    "trace_beams": ("--output",),
    "report_locales": ("--table", "--page"),
}
CHECKPOINTS = {
    "embed": {},
    "train_rqvae": {"--checkpoint-seconds": "0"},
    "train_retriever": {"--checkpoint-seconds": "0"},
}


class SmallDisk:
    """A file system of its own, of which a filler takes what a test wants to be gone."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.filler = folder / "filler"

    def leave(self, room: int) -> None:
        """Leave `room` bytes free, rounded down to pages."""
        self.filler.unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        self.filler.write_bytes(bytes(free - room // PAGE * PAGE))

    def clear(self) -> None:
        """Give back what the filler takes."""
        self.filler.unlink()

    def names(self) -> list[str]:
        """Return what is on the disk, the filler and empty folders left out."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and path != self.filler]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on(folder: Path, script: str, changes: Options | None = None) -> dict[str, str | None]:
    """Return the options of `script` that put its outputs and checkpoints below `folder`."""
    moved = {option: str(folder / Path(COMMANDS[script][option]).name) for option in OUTPUTS[script]}
    if script in CHECKPOINTS:
        moved |= {"--checkpoints": str(folder / "checkpoints"), **CHECKPOINTS[script]}
    if script == "train_rqvae":  # the model and its config lie side by side
        moved |= {
            option: str(folder / "rqvae" / Path(path).name)
            for option, path in moved.items()
            if "model" in option
        }
    return moved | dict(changes or {})


def content(folder: Path) -> dict[str, bytes]:
    """Return the files below `folder` and their bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def used(files: dict[str, bytes]) -> int:
    """Return how much room files take, bytes."""
    return sum(-(-len(data) // PAGE) * PAGE for data in files.values())


def refused(done: Done, disk: SmallDisk) -> None:
    """Check that a script ended with one line that names a file on the disk and says what to do."""
    assert done.code == 1, done
    assert len(done.errors) == 1, done
    assert done.errors[0].startswith(f"error: {disk.folder}/")
    assert "No space left on device" in done.errors[0]
    assert "make room" in done.errors[0]
    assert "/.tmp-" not in done.errors[0]
    assert "Traceback" not in done.stderr


def stage_survives(
    script: str, run: Path, disk: SmallDisk, roomy: Path, changes: Options | None = None
) -> None:
    """Run a stage with no room, half of what its outputs take, and almost enough; then with room."""
    roomy.mkdir()
    done = run_script(script, run, on(roomy, script, changes))
    assert done.code == 0, done.stderr
    expected = content(roomy)
    needed = used(expected)
    for room in (0, needed // 2, needed - PAGE):
        disk.leave(room)
        refused(run_script(script, run, on(disk.folder, script, changes)), disk)
        left = [name for name in disk.names() if not name.startswith("checkpoints/")]
        assert left == []
        assert not [name for name in disk.names() if "/.tmp-" in name]
    disk.clear()
    done = run_script(script, run, on(disk.folder, script, changes))
    assert done.code == 0, done.stderr
    assert content(disk.folder) == expected


@pytest.mark.parametrize("script", OUTPUTS)
def test_a_stage_without_room_says_so_and_ends_the_same_when_there_is_room(
    tiny_run: Project, disk: SmallDisk, tmp_path: Path, script: str
) -> None:
    stage_survives(script, tiny_run.folder, disk, tmp_path / "roomy")


def test_shards_of_a_transformer_without_room(tiny_run: Project, disk: SmallDisk, tmp_path: Path) -> None:
    tokenizer = tiny_run.folder / "results" / "tiny_es" / "catid2" / "seed0" / "retriever"
    encoder = tmp_path / "encoder"
    shutil.copytree(tokenizer, encoder, ignore=shutil.ignore_patterns("model.safetensors", "config.json"))
    torch.manual_seed(0)
    config = T5Config(vocab_size=2000, d_model=64, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(encoder)
    changes = settings("embed", encoder={"kind": "hf", "model": str(encoder), "max_tokens": 16})
    stage_survives("embed", tiny_run.folder, disk, tmp_path / "roomy", changes)


def test_a_download_without_room_goes_on_when_there_is_room(
    tiny_run: Project, disk: SmallDisk, tmp_path: Path
) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=tiny_run.folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        files = {"examples": EXAMPLES, "products": PRODUCTS}
        config = settings(
            "fetch_esci", **{name: {"url": f"{address}/{path}"} for name, path in files.items()}
        )
        targets = {name: disk.folder / name for name in files}
        changes = config | {f"--{name}": str(path) for name, path in targets.items()}
        sizes = [(tiny_run.folder / path).stat().st_size for path in files.values()]
        for room in (0, sizes[0] // 2, sum(sizes) // PAGE * PAGE):
            disk.leave(room)
            refused(run_script("fetch_esci", tmp_path, changes), disk)
            assert {Path(name).suffix for name in disk.names()} <= {".part", ".json"}
        disk.clear()
        assert run_script("fetch_esci", tmp_path, changes).code == 0
        for name, path in files.items():
            assert targets[name].read_bytes() == (tiny_run.folder / path).read_bytes()
        assert disk.names() == ["examples", "products"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_checkpoint_without_room_leaves_the_one_before(
    tiny_run: Project,
    disk: SmallDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The state of the first epoch fits, that of the second does not fit next to it."""
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove", lambda _: None)
        assert run_script("train_rqvae", tiny_run.folder, on(roomy, "train_rqvae")).code == 0
    (state,) = roomy.glob("checkpoints/*/state.safetensors")
    disk.leave(state.stat().st_size * 3 // 2)
    options = on(disk.folder, "train_rqvae")
    refused(run_script("train_rqvae", tiny_run.folder, options), disk)
    run = f"checkpoints/{state.parent.name}"
    assert disk.names() == [f"{run}/fingerprint.json", f"{run}/state.safetensors"]
    disk.clear()
    with caplog.at_level("INFO"):
        assert run_script("train_rqvae", tiny_run.folder, options).code == 0
    assert "resuming after epoch 1 of" in caplog.text
    shutil.rmtree(state.parent)
    assert content(disk.folder) == content(roomy)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: np.save(path, np.zeros(500_000)),
        lambda path: torch.save({"a": torch.zeros(500_000)}, path),
    ],
    ids=["numpy", "torch"],
)
@pytest.mark.parametrize("room", [0, 10_000, 1_000_000])
def test_libraries_that_do_not_say_why_they_failed(
    disk: SmallDisk, write: Callable[[Path], None], room: int
) -> None:
    disk.leave(room)
    refused = pytest.raises(InputError, match=r"/out.npy: cannot be written .No space left on device.")
    with refused, atomic(disk.folder / "out.npy") as aside:
        write(aside)
    assert disk.names() == []
    with pytest.raises(RuntimeError, match="another cause"), needs_room(disk.folder.parent / "elsewhere"):
        raise RuntimeError("another cause")


def test_no_room_to_spill_names_the_folder_for_it(disk: SmallDisk) -> None:
    disk.leave(2**20)
    rows = "SELECT md5(i::VARCHAR) AS digest FROM range(3000000) AS numbers(i) ORDER BY digest"
    resources = Resources("60MB", threads=1, temp_dir=disk.folder)
    refused = pytest.raises(InputError, match=f"^--temp-dir {disk.folder}: no room to spill .*; make room")
    with refused, connect(resources) as connection:
        connection.execute(f"CREATE TEMP TABLE sorted AS {rows}")
    assert [path.name for path in disk.folder.iterdir()] == ["filler"]


def test_what_a_killed_process_had_spilt_is_removed(tmp_path: Path) -> None:
    killed = (
        "import os, signal, sys; from pathlib import Path; from catid2.corpus.database import Resources, connect\n"
        "with connect(Resources(temp_dir=Path(sys.argv[1]))): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "catid2-duckdb-another-host-1-abc").mkdir()
    with connect(Resources(temp_dir=tmp_path)), connect(Resources(temp_dir=tmp_path)):
        assert len(list(tmp_path.iterdir())) == 3  # two in use, and what another host may be using
    assert [path.name for path in tmp_path.iterdir()] == ["catid2-duckdb-another-host-1-abc"]
