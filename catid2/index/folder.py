"""The files of an index: their names, their checksums, and what index.json says. docs/index.md describes them."""

from importlib.metadata import version
from pathlib import Path

from catid2.config.base import validate
from catid2.config.index import IndexSettings
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, write_json

FORMAT = 1  # of the folder; a reader refuses any other
DESCRIPTION = "index.json"
SUMS = "SHA256SUMS"
PRODUCTS, DOCIDS, VECTORS = "products.parquet", "docids.parquet", "vectors.npy"
RETRIEVER, ENCODER, RQVAE, BM25 = "retriever", "encoder", "rqvae", "bm25"
_REMEDY = "export the index again"


def versions() -> dict[str, str]:
    """Return the versions of the libraries that an index is made with."""
    return {package: version(package) for package in ("catid2", "numpy", "torch", "transformers")}


def write_settings(folder: Path, settings: IndexSettings) -> None:
    """Write index.json and the checksums of all files in `folder`, which are in their places.

    All get the mode of a new file: safetensors closes its files to other users, and copies keep the mode of a source.
    """
    content = {"format": FORMAT, "versions": versions(), "settings": settings.model_dump(mode="json")}
    write_json(folder / DESCRIPTION, content)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")
    mode = (folder / SUMS).stat().st_mode & 0o777
    for path in folder.rglob("*"):
        path.chmod(mode | (mode & 0o444) >> 2 if path.is_dir() else mode)


def read_settings(folder: Path) -> IndexSettings:
    """Return the settings in index.json, after a check of every file against its checksum.

    Raises:
        InputError: the folder is missing or no index, its format is another one, or a file is missing or changed.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "name an index, which rule export_index makes")
    if not (folder / DESCRIPTION).is_file():
        raise InputError(
            folder, f"not an index (no {DESCRIPTION})", "name a folder made by rule export_index"
        )
    content = read_json(folder / DESCRIPTION)
    if content.get("format") != FORMAT:
        what = f"an index of format {content.get('format')}; this version of catid2 reads {FORMAT}"
        raise InputError(folder / DESCRIPTION, what, _REMEDY)
    _check_sums(folder)
    return validate(IndexSettings, content.get("settings"), f"{folder / DESCRIPTION}: settings")


def require_new_folder(output: Path, index: Path) -> None:
    """Raise InputError if the folder `output` exists, or would lie in the folder of an index."""
    if output.exists():
        raise InputError(output, "exists already", "name a new folder")
    if output.resolve().is_relative_to(index.resolve()):
        raise InputError(output, "lies in the index itself", "name a folder outside")


def _check_sums(folder: Path) -> None:
    sums = folder / SUMS
    if not sums.is_file():
        raise InputError(folder, f"{SUMS} is missing", _REMEDY)
    listed = set()
    for number, line in enumerate(sums.read_text("utf-8", errors="replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise InputError(sums, f"line {number} is not a checksum and a name", _REMEDY)
        path = folder / name
        if not path.is_file():
            raise InputError(folder, f"{name} is missing", f"copy it again, or {_REMEDY}")
        if file_sha256(path) != digest:
            raise InputError(path, f"not the file that {SUMS} lists", f"copy it again, or {_REMEDY}")
        listed.add(name)
    files = (path for path in folder.rglob("[!.]*") if path.is_file() and path.name != SUMS)
    if unlisted := sorted({path.relative_to(folder).as_posix() for path in files} - listed):
        raise InputError(sums, f"does not list {unlisted[0]}", f"take the file out, or {_REMEDY}")
