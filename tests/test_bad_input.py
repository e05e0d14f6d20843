"""Broken inputs of every script: one line that names the file, the place and the remedy; nothing is written."""

import ast
import os
import pickle
import subprocess
import sys

import bad_input_cases_catalogue as catalogue
import bad_input_cases_corpus as corpus
import bad_input_cases_models as models
import bad_input_cases_options as options
import bad_input_cases_raw as raw
import bad_input_cases_results as results
import bad_input_cases_sample as sample
import breakage as b
import numpy as np
import pyarrow.parquet as pq
import pytest
from bad_inputs import (
    COMMANDS,
    DATASET,
    EMBEDDINGS,
    ESCI_S,
    METHOD,
    PATHS,
    RETRIEVER,
    RQVAE,
    WEIGHTS,
    command,
    copy_of,
    refused,
    run_script,
    settings,
    state,
)

from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.complete import LIST
from workflow import ROOT

CASES = [
    *raw.CASES,
    *sample.CASES,
    *catalogue.CASES,
    *corpus.CASES,
    *models.CASES,
    *results.CASES,
    *options.CASES,
]


@pytest.mark.parametrize("case", CASES, ids=[case.id.replace(" ", "-") for case in CASES])
def test_is_refused_in_one_line(case, tiny_run, tmp_path):
    line = refused(case.script, copy_of(tiny_run.folder, tmp_path), case.broken, case.options)
    missing = [said for said in case.says if said not in line]
    assert not missing, line
    what, remedy = line.split("; ", 1)
    assert what.startswith("error: ")
    assert remedy


def test_cases_are_many_and_of_every_script():
    assert len({case.id for case in CASES}) == len(CASES) >= 60
    assert (
        {case.script for case in CASES}
        == set(COMMANDS)
        == {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"torchrun"}
    )


# --- beyond the table -------------------------------------------------------------------------------


def test_dirty_records_are_counted_and_the_others_stay(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    deep = b"[" * 10_000 + b'"x"' + b"]" * 10_000
    dirty = {
        "no_category": [
            b'{"asin": "B1"}',
            b'{"asin": "B2", "category": null}',
            b'{"asin": "B3", "category": ["", " \\t", null]}',
            b'{"asin": "B4", "reviews": "' + b"x" * 50_000_000 + b'"}',
            b'{"asin": "B5", "x": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        ],
        "bad_category": [
            b'{"asin": "C1", "category": "Toys > Dolls"}',
            b'{"asin": "C2", "category": 7}',
            b'{"asin": "C3", "category": [["a"], ["b"]]}',
            b'{"asin": "C4", "category": {"a": "b"}}',
            b'{"asin": "C5", "category": ' + deep + b"}",
            b'{"asin": "C6", "category": ["\xff\xfe"]}',
        ],
        "no_asin": [
            b'{"category": ["a"]}',
            b'{"asin": 5, "category": ["a"]}',
            b'{"asin": " ", "category": ["a"]}',
        ],
        "broken_line": [
            b"[1, 2]",
            b"7",
            b"a,b",
            b'{"asin": "D1", "category": ["a"]',
            b"\x00\x00",
            b"[" * 100_000,
        ],
        "usable": [
            b'{"asin": "E1", "locale": "es", "category": ["A", "B", "A"]}',  # a name may come again: a node is a path
            b'{"asin": "E2", "category": ["A", "", "C"]}',  # no locale, a blank name
            b'{"asin": "E3", "locale": 3, "category": ["Z", "B", "C"]}',  # B has two parents: two nodes
            b'{"asin": "E4", "category": ["a\x00b"]}',  # a control character, which is white space
        ],
    }
    lines = [line for lines in dirty.values() for line in lines]
    b.records(ESCI_S, lines)(folder)
    assert run_script("extract_categories", folder).code == 0
    table = pq.read_table(folder / PATHS).to_pylist()
    assert len(table) == len(lines)
    for name, expected in dirty.items():
        assert sum(row["state"] == name for row in table) == len(expected), name
    paths = {row["asin"]: row["path"] for row in table if row["state"] == "usable"}
    assert paths == {"E1": ["A", "B", "A"], "E2": ["A", "C"], "E3": ["Z", "B", "C"], "E4": ["a b"]}


@pytest.mark.parametrize(
    ("script", "path"),
    [("train_rqvae", EMBEDDINGS), ("retrieve", f"{RETRIEVER}/pytorch_model.bin")],
)
def test_a_planted_pickle_is_not_loaded(script, path, tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path / "run")
    trace = tmp_path / "loaded"
    if path.endswith(".npy"):
        array = np.array([b.Planted(str(trace))], dtype=object)
        (folder / path).unlink()
        np.save(folder / path, array, allow_pickle=True)
        line = refused(script, folder, b.nothing)
        assert "text.npy: not a complete .npy matrix" in line
    else:
        planted = pickle.dumps({"shared.weight": b.Planted(str(trace))})
        line = refused(
            script, folder, b.all_of(b.gone(WEIGHTS), b.gone(f"{RETRIEVER}/{LIST}"), b.content(path, planted))
        )
        assert "retriever: its weights cannot be loaded: a .bin file holds more than tensors" in line
    assert not trace.exists()


def test_a_planted_pickle_beside_whole_weights_is_not_looked_at(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path / "run")
    b.content(f"{RETRIEVER}/pytorch_model.bin", pickle.dumps(b.Planted(str(tmp_path / "loaded"))))(folder)
    assert run_script("retrieve", folder).code == 0
    assert not (tmp_path / "loaded").exists()


def test_a_state_of_other_settings_starts_anew_with_the_same_result(tiny_run, tmp_path, caplog):
    folder = copy_of(tiny_run.folder, tmp_path)
    short = settings("train_rqvae", epochs=3, warmup_epochs=1)
    other = settings("train_rqvae", epochs=3, warmup_epochs=1, alpha=0.5)
    assert run_script("train_rqvae", folder, short).code == 0
    weights = (folder / RQVAE).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "remove", lambda self: None)  # as if killed just before its end
        assert run_script("train_rqvae", folder, other).code == 0
    assert (folder / RQVAE).read_bytes() != weights
    assert list((folder / "state" / "rqvae").iterdir())
    with caplog.at_level("INFO"):
        assert run_script("train_rqvae", folder, short).code == 0
    assert "starting from scratch" in caplog.text
    assert (folder / RQVAE).read_bytes() == weights


def test_symlinked_outputs_are_replaced_and_what_they_name_stays(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    kept, output = folder / "kept", folder / "run.parquet"
    kept.write_text("mine")
    output.symlink_to(kept)
    assert run_script("search_bm25", folder, {"--output": str(output)}).code == 0
    assert kept.read_text() == "mine"
    assert not output.is_symlink()


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.id in ("unknown label", "RQ-VAE cut", "run NaN", "no address")]
)
def test_a_process_of_its_own_says_the_same(case, tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    case.broken(folder)
    before = state(folder)
    here = run_script(case.script, folder, case.options)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{case.script}.py", *command(case.script, case.options)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1:] == here.errors
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert state(folder) == before


def test_unbroken_inputs_are_taken(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    names = state(folder).keys()
    slow = {
        "fetch_esci",
        "fetch_esci_s",
        "fetch_esci_sample",
        "train_dual_encoder",
        "train_retriever",
        "train_rqvae",
    }
    # their inputs are no part of the run; their own tests have unbroken ones
    elsewhere = {"import_catalogue", "import_esci_sample", "fetch_model"}
    for script in sorted(COMMANDS.keys() - slow - elsewhere):
        done = run_script(script, folder)
        assert (done.code, done.errors) == (0, []), script
    exported = {f"{METHOD}/run.trec", *(f"{DATASET}/{name}.trec" for name in ("relevant", "gains"))}
    index = {name for name in state(folder) if name.startswith(f"{METHOD}/index")}
    assert f"{METHOD}/index/SHA256SUMS" in index
    assert state(folder).keys() == names | exported | index


def test_paths_with_colons_are_paths(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    (folder / "a:b").symlink_to(METHOD)
    assert run_script("plot_layers", folder, {"--docids": ["x:a:b/docids.parquet:a:b/docids.json"]}).code == 0
    run = {"--run": ["x:0:a:b/run.parquet"], "--output": "recall.tsv", "--per-query": "recall.parquet"}
    assert run_script("evaluate", folder, run).code == 0


UNSAFE = {
    "load": ("pickle", "torch", "joblib", "dill", "yaml"),
    "loads": ("pickle", "dill", "marshal"),
    "read_pickle": ("pd", "pandas"),
    "unsafe_load": ("yaml",),
    "full_load": ("yaml",),
}


def test_nothing_that_could_run_a_file_is_called():
    found = []
    for path in [*(ROOT / "catid2").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                found += [(path.name, name) for name in names & {"dill", "joblib", "marshal", "shelve"}]
            if not isinstance(node, ast.Call):
                continue
            function, options = node.func, {word.arg: ast.unparse(word.value) for word in node.keywords}
            if isinstance(function, ast.Name) and function.id in ("eval", "exec", "compile"):
                found.append((path.name, function.id))
            unsafe = UNSAFE.get(function.attr, ()) if isinstance(function, ast.Attribute) else ()
            if unsafe and ast.unparse(function.value) in unsafe and options.get("weights_only") != "True":
                found.append((path.name, ast.unparse(function)))
            for option in ("allow_pickle", "trust_remote_code"):
                if options.get(option, "False") != "False":
                    found.append((path.name, ast.unparse(node)))
    assert found == []
