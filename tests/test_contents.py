"""Contents: a replaced file is noticed whatever its time stamps say, an unchanged one is read once."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from breakage import make_unreadable

from catid2.runtime import contents as module
from catid2.runtime.contents import MEMORY, contents
from catid2.runtime.errors import InputError


@pytest.fixture(autouse=True)
def _in_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: str, text: str, seconds: int = 1_000_000_000) -> Path:
    """Write a file with a time stamp."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (seconds, seconds))
    return file


def digest(path: str) -> str:
    return contents([path])[path]


def test_is_the_sha256_of_a_file() -> None:
    write("a", "one")
    write("b", "two")
    expected = {"a": hashlib.sha256(b"one").hexdigest(), "b": hashlib.sha256(b"two").hexdigest()}
    assert contents(["a", "b"]) == expected
    assert contents([]) == {}


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_another() -> None:
    write("a", "one")
    before = digest("a")
    write("new", "two")
    os.replace("new", "a")
    assert digest("a") == hashlib.sha256(b"two").hexdigest() != before
    write("a", "six")  # in place
    assert digest("a") == hashlib.sha256(b"six").hexdigest()


def test_another_time_or_a_copy_changes_nothing() -> None:
    file = write("a", "one")
    before = digest("a")
    os.utime(file, (5, 5))
    assert digest("a") == before
    shutil.copy("a", "copy")
    os.replace("copy", "a")
    assert digest("a") == before


def test_an_unchanged_file_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    file_digest = hashlib.file_digest
    monkeypatch.setattr(
        module.hashlib, "file_digest", lambda file, name: read.append(file.name) or file_digest(file, name)
    )
    for name in ("a", "folder/b", "folder/c"):
        write(name, name)
    first = contents(["a", "folder"])
    assert sorted(read) == ["a", "folder/b", "folder/c"]
    write("folder/c", "other")
    second = contents(["a", "folder"])
    assert read[3:] == ["folder/c"]
    assert second["a"] == first["a"]
    assert second["folder"] != first["folder"]
    MEMORY.write_text("cut")  # costs a reading
    assert contents(["a"]) == {"a": first["a"]}
    assert read[4:] == ["a"]


def test_a_folder_is_its_names_and_contents() -> None:
    write("folder/a", "one")
    write("folder/inner/b", "two")
    before = digest("folder")
    write("folder/.cache/c", "note")
    write("folder/.snakemake_timestamp", "")
    assert digest("folder") == before
    shutil.copytree("folder", "elsewhere")
    assert digest("elsewhere") == before
    os.rename("folder/a", "folder/b")  # which leaves the order of the contents as it is
    assert digest("folder") != before
    os.rename("folder/b", "folder/a")
    assert digest("folder") == before
    Path("folder/inner/b").unlink()
    assert digest("folder") != before


def test_a_file_that_is_gone_is_what_it_was_and_one_that_never_was_is_missing() -> None:
    write("a", "one")
    before = digest("a")
    Path("a").unlink()
    assert digest("a") == before
    write("a", "two")
    assert digest("a") != before
    with pytest.raises(FileNotFoundError) as caught:
        contents(["never"])
    assert caught.value.filename == "never"


def test_what_cannot_be_read_is_one_line() -> None:
    write("file", "")
    with pytest.raises(InputError, match=r"file/inside: cannot be read .*; make it readable"):
        contents(["file/inside"])
    make_unreadable(Path("file"))
    for path in ("file", "."):
        with pytest.raises(
            InputError, match=r"^file: cannot be read \(Input/output error\); make it readable"
        ):
            contents([path])
