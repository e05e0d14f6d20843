"""Writing: complete or not at all, by the process that claimed last, and one line where there is no room."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from catid2.runtime.errors import InputError
from catid2.runtime.writing import aside_pattern, atomic, claim, needs_room, require_ownership

# Claims its first argument, writes "started" to stdout, waits for a line and writes its second argument.
CLAIMER = """
import sys
from pathlib import Path
from catid2.runtime.command import entry_point
from catid2.runtime.writing import atomic, claim, require_ownership

@entry_point
def main():
    output, text = Path(sys.argv[1]), sys.argv[2]
    with claim(output), atomic(output) as aside:
        aside.write_text(text)
        print("started", flush=True)
        sys.stdin.readline()

main()
"""


def claimer(output: Path, text: str, **environment: str) -> subprocess.Popen:
    """Start CLAIMER; it has claimed when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, str(output), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout.readline() == "started\n"
    return process


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Tell it to go on; return its exit code and what it says."""
    _, stderr = process.communicate("\n", timeout=60)
    return process.returncode, stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("folder", [False, True])
def test_an_output_is_flushed_and_then_renamed_never_copied(tmp_path, monkeypatch, folder):
    target, done = tmp_path / "out", []
    file = target / "part" if folder else target
    fsync, replace = os.fsync, os.replace

    def flushed(handle):
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def renamed(source, destination):
        done.append(destination)
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    readers = []
    for text in ("old", "new"):
        with atomic(target) as aside:
            written = aside / "part" if folder else aside
            written.parent.mkdir(exist_ok=True)
            written.write_text(text)
            inode = written.stat().st_ino
        assert file.stat().st_ino == inode
        assert done == [written, target]
        done.clear()
        readers.append(file.open())
    assert [reader.read() for reader in readers] == ["old", "new"]  # also who had opened the first before


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_several_targets_appear_together_or_not_at_all(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a", tmp_path / "b") as (first, _second):
        first.write_text("written, but the second is not")
    assert list(tmp_path.iterdir()) == []
    with atomic(tmp_path / "a", tmp_path / "b") as (first, second):
        first.write_text("a")
        second.write_text("b")
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("")
    with atomic(target) as aside:
        aside.mkdir()
        (aside / "new").write_text("")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").write_text("mine")
    with (
        pytest.raises(InputError, match="home: is a folder; name a file"),
        atomic(tmp_path / "home") as aside,
    ):
        aside.write_text("")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "home", tmp_path / "home" / "thesis"]


def test_one_bad_target_of_several_keeps_all_from_being_written(tmp_path):
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(InputError, match="folder: is a folder; name a file"),
        atomic(tmp_path / "file", tmp_path / "folder") as asides,
    ):
        for aside in asides:
            aside.write_text("")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_target_inside_another_block_is_made_whole_by_that_block(tmp_path):
    with atomic(tmp_path / "a", tmp_path / "b") as (first, second):
        with atomic(first) as aside:
            assert aside == first
            aside.write_text("a")
        second.write_text("b")
        assert not (tmp_path / "a").exists()
    assert names(tmp_path) == ["a", "b"]


def test_the_next_write_removes_what_killed_writers_of_the_same_target_left(tmp_path):
    kept = [".tmp-0123456789ab-model.json", ".tmp-0123456789ab-a-model", ".tmp-notes-model", "model.tmp"]
    (tmp_path / ".tmp-0123456789ab-model").mkdir()
    (tmp_path / ".tmp-0123456789ab-model" / "half").write_text("")
    for name in (".tmp-ba9876543210-model", *kept):
        (tmp_path / name).write_text("")
    with atomic(tmp_path / "model") as aside:
        aside.write_text("whole")
    assert names(tmp_path) == sorted([*kept, "model"])


def test_temporary_names_match_their_pattern(tmp_path):
    with atomic(tmp_path / "a.b") as aside:
        aside.write_text("")
        assert re.fullmatch(aside_pattern(r"a\.b"), aside.name)
        assert not re.fullmatch(aside_pattern("a"), aside.name)
        assert aside.suffix == ".b"  # np.save and others go by it


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    refused = pytest.raises(InputError, match=r"file/out: cannot be written .*; choose another path")
    with refused, atomic(tmp_path / "file" / "out"):
        raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "x"), "out: cannot be written (No space left on device); make room"),
        (OSError(errno.EDQUOT, "x"), "out: cannot be written (Disk quota exceeded); make room"),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            "out: cannot be written (No space",
        ),
        (OSError(errno.EIO, "Input/output error"), None),
        (ValueError("another cause"), None),
        (InputError("elsewhere", "No space left on device", "make room"), "elsewhere: No space"),
    ],
)
def test_lack_of_room_is_told_from_other_causes(tmp_path, error, line):
    with pytest.raises(InputError if line else type(error)) as caught, needs_room(tmp_path / "out"):
        raise error
    assert (caught.value is error) if line is None else (line in str(caught.value))


def test_the_older_of_two_writes_nothing_and_says_who_took_over(tmp_path):
    output = tmp_path / "out"
    older = claimer(output, "old")
    newer = claimer(output, "new")
    code, stderr = finish(older)
    assert (code, len(stderr.splitlines())) == (1, 1)
    assert stderr.startswith(f"error: {output}: taken over by process {newer.pid} on ")
    assert not output.exists()
    assert finish(newer) == (0, "")
    assert output.read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_the_older_writes_nothing_when_the_newer_has_finished(tmp_path):
    output = tmp_path / "out"
    older = claimer(output, "old")
    assert finish(claimer(output, "new")) == (0, "")
    code, stderr = finish(older)
    assert (code, len(stderr.splitlines())) == (1, 1)
    assert "taken over by a process that was started later and has finished" in stderr
    assert output.read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("taken_over", [True, False])
def test_what_fails_after_another_took_over_is_put_down_to_that(tmp_path, taken_over):
    cause = FileNotFoundError("checkpoint-1/scheduler.pt")  # the newer process has removed it
    with pytest.raises(InputError if taken_over else FileNotFoundError) as caught, claim(tmp_path / "out"):
        if taken_over:
            (tmp_path / ".owner-out").unlink()
        raise cause
    assert (
        "taken over by a process that was started later and has finished" in str(caught.value)
    ) == taken_over


def test_the_claim_and_the_half_of_a_killed_process_are_replaced(tmp_path):
    output = tmp_path / "out"
    killed = claimer(output, "old")
    killed.kill()
    killed.communicate()
    left = names(tmp_path)
    assert len(left) == 2
    assert left[0] == ".owner-out"
    assert finish(claimer(output, "new")) == (0, "")
    assert output.read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_process_ended_by_term_gives_its_claim_back(tmp_path):
    process = claimer(tmp_path / "out", "half")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert names(tmp_path) == []


def test_a_claim_says_who_holds_it_and_ends_with_the_block(tmp_path):
    with pytest.raises(RuntimeError), claim(tmp_path / "out"):
        owner = json.loads((tmp_path / ".owner-out").read_text())
        assert owner["pid"] == os.getpid()
        require_ownership()
        raise RuntimeError
    assert names(tmp_path) == []
    require_ownership()  # nothing is claimed any more


def test_what_goes_with_a_lost_claim_is_not_written_either(tmp_path):
    with claim(tmp_path / "out"):
        (tmp_path / ".owner-out").write_text(
            json.dumps({"host": "node7", "pid": 7, "started": "now", "token": "another"})
        )
        refused = pytest.raises(InputError, match="out: taken over by process 7 on node7")
        with refused, atomic(tmp_path / "checkpoints" / "state"):
            raise AssertionError("not reached")
        with pytest.raises(InputError):
            require_ownership()
    assert names(tmp_path) == [".owner-out"]  # the other's


def below_a_file(output):
    output.parent.write_text("")


def full_disk(output):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (below_a_file, "out: cannot be written (File exists); choose another path"),
        (full_disk, "out: cannot be written (No space left on device); make room"),
    ],
)
def test_a_claim_that_fails_names_the_output(tmp_path, monkeypatch, spoil, says):
    output = tmp_path / "folder" / "out"
    if spoil is full_disk:
        monkeypatch.setattr(Path, "write_text", lambda *_, **__: spoil(output))
    else:
        spoil(output)
    with pytest.raises(InputError) as caught, claim(output):
        raise AssertionError("not reached")
    assert says in str(caught.value)
    assert ".owner-" not in str(caught.value)
    assert ".tmp-" not in str(caught.value)


def test_a_claim_that_cannot_be_read_any_more_is_one_line(tmp_path):
    refused = pytest.raises(
        InputError, match=r"/out: the file that names its owner cannot be read \(Is a directory\); try again"
    )
    with refused, claim(tmp_path / "out"):
        (tmp_path / ".owner-out").unlink()
        (tmp_path / ".owner-out").mkdir()
        require_ownership()


def test_ranks_other_than_the_first_do_not_claim(tmp_path, monkeypatch):
    with claim(tmp_path / "out"):
        before = (tmp_path / ".owner-out").read_text()
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with claim(tmp_path / "out"):
            assert (tmp_path / ".owner-out").read_text() == before
        require_ownership()
    assert names(tmp_path) == []
