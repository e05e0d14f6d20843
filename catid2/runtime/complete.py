"""Folders that are outputs: each lists its files, so that a reader sees that one is missing.

Snakemake sees whether a folder is there, not what is in it. Transformers takes other settings where those of a
tokenizer or a model are missing, and says nothing.
"""

from pathlib import Path

from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, write_json

LIST = "files.json"


def list_files(folder: Path) -> None:
    """Write into `folder` which files it holds; called when all of them are there."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    write_json(folder / LIST, {"files": sorted(names)})


def require_complete(folder: Path) -> None:
    """Raise InputError if a file that `list_files` listed is missing from `folder`; one without a list passes."""
    if not (folder / LIST).exists():
        return
    remedy = "remove the folder and run again, which makes a new one"
    names = read_json(folder / LIST).get("files")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(folder / LIST, "lists no files", remedy)
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InputError(
            folder, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing", remedy
        )
