"""Output folders with a list of their files, so that a reader notices a missing file.

Snakemake checks only that a folder exists. If a file of a tokenizer or model is missing, Transformers silently uses
other settings.
"""

from pathlib import Path

from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, write_json

LIST = "files.json"


def list_files(folder: Path) -> None:
    """Write the list of the files in `folder`; to be called when all of them exist."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    write_json(folder / LIST, {"files": sorted(names)})


def require_complete(folder: Path) -> None:
    """Raise InputError if a file that `list_files` listed is missing from `folder`; without a list do nothing."""
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
