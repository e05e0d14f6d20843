"""Folders that are outputs: a file missing from one is named, whichever it is."""

import re
import shutil
from pathlib import Path

import pytest
from bad_inputs import DATASET, RETRIEVER, copy_of, refused

from catid2.runtime.complete import LIST, list_files, require_complete
from catid2.runtime.errors import InputError
from workflow import Project, tiny_pipeline

REMEDY = "remove the folder and run again"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "inner/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    list_files(tmp_path)
    require_complete(tmp_path)
    (tmp_path / "more").write_text("")  # what a user puts there does not matter
    require_complete(tmp_path)
    (tmp_path / "inner/c").unlink()
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path))}: inner/c is missing; {REMEDY}"):
        require_complete(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(InputError, match="a, inner/c are missing"):
        require_complete(tmp_path)
    (tmp_path / LIST).unlink()
    require_complete(tmp_path)  # any model's folder


@pytest.mark.parametrize("text", ["{}", '{"files": "a"}', '{"files": [1]}'])
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / LIST).write_text(text)
    with pytest.raises(InputError, match=f"{LIST}: lists no files"):
        require_complete(tmp_path)


def test_no_file_of_a_trained_model_is_missing_unnoticed(tiny_run: Project, tmp_path: Path) -> None:
    encoder = f"{DATASET}/dpr/seed0/encoder"
    view = tiny_pipeline().stage("dual_encoder", "tiny_es", "dpr").view(encoder)
    readers = {
        RETRIEVER: ("retrieve", {}),
        f"{DATASET}/light/seed0/retriever": ("retrieve", {"--retriever": f"{DATASET}/light/seed0/retriever"}),
        encoder: ("embed", {"--config": view.model_dump_json()}),
    }
    run = copy_of(tiny_run.folder, tmp_path)
    for folder, (script, options) in readers.items():
        names = {path.name for path in (run / folder).iterdir()} - {".snakemake_timestamp"}
        assert {LIST, "config.json", "model.safetensors", "history.tsv"} <= names
        for name in names - {LIST}:
            shutil.move(run / folder / name, tmp_path / name)
            line = refused(script, run, lambda _: None, options)
            shutil.move(tmp_path / name, run / folder / name)
            assert line == f"error: {folder}: {name} is missing; {REMEDY}, which makes a new one"
