"""Every key of the configuration has its effect, and every seed: a table, whose rows stand in effect_cases_*.py."""

import ast
import itertools
import re

import effect_cases_corpus as corpus
import effect_cases_docids as docids
import effect_cases_plan as plan
import effect_cases_quantizer as quantizer
import effect_cases_results as results
import effect_cases_retrievers as retrievers
import effect_cases_search as search
import effect_cases_vectors as vectors
import pytest
import torch
from effects import as_bytes, every_row, keys, models, option_of, options, overlaid

from catid2.config.dual_encoder import DualEncoderConfig
from catid2.config.retriever import RetrieverConfig
from catid2.training.loop import reduced
from workflow import ROOT

PARTS = (corpus, vectors, docids, quantizer, retrievers, search, results, plan)
TABLES = [table for part in PARTS for table in getattr(part, "TABLES", [])]
SEEDS = [seed for part in PARTS for seed in getattr(part, "SEEDS", [])]
ROWS = [(table, row) for table, row in every_row(TABLES) if row.values]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Return the outputs of a stage; runs that several rows have in common are made once."""
    made = {}

    def of(stage, changes):
        key = stage, stage.key(changes)
        if key not in made:
            made[key] = stage.outputs(changes, tmp_path_factory.mktemp("effect") / "run")
        return made[key]

    return of


@pytest.mark.parametrize(
    ("table", "row"), ROWS, ids=[f"{table.model.__name__}.{row.key}" for table, row in ROWS]
)
def test_a_key_has_its_effect(table, row, outputs):
    made = [outputs(table.stage, overlaid(row.given, table.place({row.key: value}))) for value in row.values]
    refused = sum(bool(found["error"]) for found in made)
    assert (0 < refused < len(made)) if "error" in row.differs else not refused
    for one, other in itertools.combinations(made, 2):
        alike = {name for name in (*row.differs, *row.same) if as_bytes(one[name]) == as_bytes(other[name])}
        assert not alike & set(row.differs), "the key is ignored"
        assert not set(row.same) - alike, "the key changes what it should not"


def test_a_key_is_handed_to_its_job(tmp_path):
    jobs = plan.plan(tmp_path)
    rows = [(f"{table.model.__name__}.{row.key}", row) for table, row in every_row(TABLES) if row.job]
    assert all(row.plan for _, row in rows)
    missing = [(key, text) for key, row in rows for text in row.plan if text not in jobs[row.job]]
    assert not missing


@pytest.mark.parametrize("seed", SEEDS, ids=[seed.id for seed in SEEDS])
def test_another_seed_gives_another_result_and_the_same_seed_the_same(seed, tmp_path):
    first, again, other = (
        seed.stage.outputs(seed.settings, tmp_path / str(number), drawn)
        for number, drawn in enumerate((1, 1, 2))
    )
    assert not first["error"]
    assert {name: as_bytes(value) for name, value in first.items()} == {
        name: as_bytes(value) for name, value in again.items()
    }
    assert as_bytes(first[seed.differs]) != as_bytes(other[seed.differs])


@pytest.mark.parametrize("config", [RetrieverConfig, DualEncoderConfig])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_reduced_precision_is_of_a_gpu_alone(config, device):
    for asked in (False, True):
        assert reduced(config(bf16=asked), torch.device(device)) == (asked and device == "cuda")


def test_every_key_has_a_row_and_every_row_a_key():
    there = {(model.__name__, key) for model in models() for key in keys(model)}
    rows = {(table.model.__name__, row.key) for table, row in every_row(TABLES)}
    assert rows - there == set(), "rows without a key"
    assert there - rows == set(), "keys without a row; tests/effects.py says how to write one"


def test_a_row_has_two_values_or_all_that_there_are():
    for table, row in ROWS:
        there = options(table.model.model_fields[row.key].annotation)
        assert row.differs
        assert len(row.values) >= 2
        assert not there or {option_of(value) for value in row.values} == set(there), row.key


def test_the_tests_that_rows_name_are_there():
    for _, row in every_row(TABLES):
        if row.test:
            path, name = row.test.split("::")
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, row.test


def test_every_script_that_takes_a_seed_has_one_in_the_table():
    takes = {
        path.stem
        for path in (ROOT / "scripts").glob("*.py")
        if re.search(r'"--seed"|catid2\.training\.options', path.read_text(encoding="utf-8"))
    }
    # its seed names the runs whose times it tabulates
    assert {seed.script for seed in SEEDS if seed.script} == takes - {"summarize_efficiency"}
