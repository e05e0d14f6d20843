"""Reciprocal rank fusion against plain loops, ties, and the fused method in a configuration."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from in_process import run_here

from catid2.config.fuse import LARGEST_WEIGHT, LEAST_WEIGHT, FuseConfig
from catid2.evaluation.fusion import WeightedRun, fuse_runs, fused
from catid2.evaluation.recall import NO_RETRIEVER, read_retriever, read_run
from catid2.plan.settings import Pipeline
from catid2.runtime.errors import InputError
from catid2.runtime.tables import MADE_BY, QUERIES, RUN
from workflow import ROOT

N_DOCS = 40
Lists = dict[int, list[int]]  # by query: doc_ids, best first


def table(lists: Lists) -> pl.DataFrame:
    """Return lists as a run; its scores rise with the rank, for the rank has to decide."""
    rows = [
        (query, doc, rank, float(rank)) for query, docs in lists.items() for rank, doc in enumerate(docs, 1)
    ]
    schema = {"query_id": pl.Int64, "doc_id": pl.Int32, "rank": pl.Int32, "score": pl.Float32}
    return pl.DataFrame(rows, schema, orient="row")


def drawn(rng: np.random.Generator) -> Lists:
    """Return lists of different lengths for most of ten queries."""
    return {
        query: rng.choice(N_DOCS, rng.integers(1, N_DOCS), replace=False).tolist()
        for query in range(10)
        if rng.random() < 0.8
    }


def by_loop(runs: list[tuple[float, Lists]], k: float, top_k: int) -> Lists:
    """Fuse by the formula, in exact numbers; scores that are the same as float32 tie."""
    found = {}
    for query in sorted({query for _, lists in runs for query in lists}):
        scores: dict[int, Fraction] = {}
        for weight, lists in runs:
            for rank, doc in enumerate(lists.get(query, []), start=1):
                scores[doc] = scores.get(doc, Fraction(0)) + Fraction(weight) / (Fraction(k) + rank)
        order = sorted(scores, key=lambda doc: (-np.float32(float(scores[doc])), doc))
        found[query] = order[:top_k]
    return found


def lists_of(run: pl.DataFrame) -> Lists:
    """Return a run as lists, its rows in the order of their ranks."""
    ordered = run.sort("query_id", "rank").group_by("query_id", maintain_order=True).agg("doc_id")
    return dict(ordered.iter_rows())


@pytest.mark.parametrize("k", [0, 1.5, 60])
@pytest.mark.parametrize("seed", range(4))
def test_fusion_is_the_formula(seed, k):
    rng = np.random.default_rng(seed)
    runs = [(weight, drawn(rng)) for weight in (1, 1, 0.25)]
    found = fused([(weight, table(lists)) for weight, lists in runs], k, 15)
    assert lists_of(found) == by_loop(runs, k, 15)
    first = found.filter(pl.col("rank") == 1)
    assert len(first) == found["query_id"].n_unique() > 5


def test_a_document_that_a_run_does_not_list_gets_nothing_from_it():
    found = fused([(1, table({1: [7, 8]})), (3, table({1: [8, 9], 2: [9]}))], 60, 100)
    scores = [1 / 62 + 3 / 61, 3 / 62, 1 / 61]
    assert found.filter(query_id=1)["score"].to_list() == pytest.approx(scores)
    assert lists_of(found) == {1: [8, 9, 7], 2: [9]}


@pytest.mark.parametrize(
    ("weight", "k"), [(LEAST_WEIGHT, 100_000), (LARGEST_WEIGHT, 0), (LARGEST_WEIGHT, 100_000)]
)
def test_ranks_keep_their_order_at_the_bounds_of_the_settings(weight, k):
    docs = np.random.default_rng(0).permutation(1000).tolist()
    found = fused([(weight, table({1: docs}))], FuseConfig(k=k).k, 1000)
    assert lists_of(found) == {1: docs}
    assert found["score"].n_unique() == 1000
    assert found["score"].is_finite().all()


def test_ties_go_to_the_lower_document_whatever_the_order_of_rows():
    """Of three runs that list the same documents in turn, so that every sum is the same on paper."""
    runs = [table({1: [5, 3, 4]}), table({1: [3, 4, 5]}), table({1: [4, 5, 3]})]
    expected = fused([(1, run) for run in runs], 60, 100)
    assert lists_of(expected) == {1: [3, 4, 5]}
    assert expected["score"].n_unique() == 1
    for seed in range(5):
        shuffled = [(1, run.sample(fraction=1, shuffle=True, seed=seed)) for run in runs]
        assert fused(shuffled, 60, 100).equals(expected)
    drawn_runs = [table(drawn(np.random.default_rng(seed))) for seed in range(3)]
    expected = fused([(1, run) for run in drawn_runs], 60, 20)
    shuffled = [(1, run.sample(fraction=1, shuffle=True, seed=9)) for run in drawn_runs]
    assert fused(shuffled, 60, 20).equals(expected)


def test_a_run_fused_with_itself_keeps_its_order():
    lists = drawn(np.random.default_rng(3))
    assert lists_of(fused([(1, table(lists)), (1, table(lists))], 60, N_DOCS)) == lists


# --- files


def write(folder: Path, *runs: Lists) -> tuple[Path, Path, list[Path]]:
    """Write a corpus of ten test queries, and runs."""
    products, queries = folder / "products.parquet", folder / "queries.parquet"
    pq.write_table(pa.table({"doc_id": pa.array(range(N_DOCS), pa.int32())}), products)
    rows = {"query_id": range(10), "query": ["text"] * 10, "split": ["test"] * 10}
    pq.write_table(pa.table(rows, pa.schema(QUERIES)), queries)
    paths = [folder / f"{place}.parquet" for place in range(len(runs))]
    for path, lists in zip(paths, runs, strict=True):
        pq.write_table(table(lists).to_arrow().cast(pa.schema(RUN)), path)
    return products, queries, paths


def test_the_script_writes_a_run_that_can_be_evaluated(tmp_path):
    rng = np.random.default_rng(0)
    lists = [drawn(rng), drawn(rng)]
    products, queries, paths = write(tmp_path, *lists)
    arguments = ["--config", '{"k": 5, "top_k": 12}', "--products", str(products), "--queries", str(queries)]
    arguments += [
        "--run",
        f"0.5:{paths[0]}",
        "--run",
        f"2:{paths[1]}",
        "--output",
        str(tmp_path / "run.parquet"),
    ]
    assert run_here("fuse_runs", arguments, tmp_path).code == 0
    run = read_run(tmp_path / "run.parquet", pl.Series(range(10)), N_DOCS)
    assert lists_of(run) == by_loop([(0.5, lists[0]), (2, lists[1])], 5, 12)
    assert read_retriever(tmp_path / "run.parquet") == NO_RETRIEVER


def test_a_fused_run_says_which_retrievers_it_depends_on(tmp_path):
    products, queries, paths = write(tmp_path, {1: [1]}, {1: [2]}, {1: [3]}, {})
    for path, kind in zip(paths, ("t5", "light", "t5"), strict=False):
        pq.write_table(pq.read_table(path).replace_schema_metadata({MADE_BY: kind}), path)
    runs = [WeightedRun(1, path) for path in paths]
    for chosen, expected in ((runs, "light+t5"), (runs[2:], "t5")):
        made = fuse_runs(FuseConfig(), chosen, products, queries)
        assert made.schema.metadata == {MADE_BY.encode(): expected.encode()}
        assert made.schema.remove_metadata() == pa.schema(RUN)


# --- in a configuration


def configured(**changes: object) -> Pipeline:
    """Return tests/tiny.yaml with other methods, or other keys."""
    values = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    values["methods"] = {"a": {}, "b": {}, "bm25": {"search": "bm25"}, "dense": {"search": "dense"}}
    values["methods"] |= changes.pop("methods", {})
    values["geometry"] = {"studies": []}
    values["studies"] = {"recall": {"methods": ["bm25", "a"], "seeds": [4, 2]}}
    return Pipeline(values | changes, "mine.yaml")


def fuse(*runs: str | dict) -> dict:
    """Return a fused method; a text is the name of one."""
    return {"search": "fuse", "runs": [{"method": run} if isinstance(run, str) else run for run in runs]}


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        ({"f": fuse("a", "c")}, "methods.f.runs names 'c', known are a, b, bm25, dense, f"),
        ({"f": fuse("a", "f")}, "methods.f.runs names 'f', which is fused itself"),
        ({"f": fuse("a", "g"), "g": fuse("a", "f")}, "methods.f.runs names 'g', which is fused itself"),
        ({"f": fuse("a", "a")}, "runs names 'a' twice; .*weight"),
        ({"f": fuse("a")}, "'methods.f.runs': .*at least 2 items"),
        (
            {"f": fuse("a", {"method": "b", "weight": -1})},
            "methods.f.runs.1.weight': .*greater than or equal to 0.001, got -1",
        ),
        (
            {"f": fuse("a", {"method": "b", "weight": 0})},
            "methods.f.runs.1.weight': .*greater than or equal to 0.001, got 0",
        ),
        (
            {"f": fuse("a", {"method": "b", "weight": 1e41})},
            "methods.f.runs.1.weight': .*less than or equal to 1000, got 1e",
        ),
        ({"f": fuse("a", "b") | {"fuse": {"k": 1e10}}}, "methods.f: key 'k'.*less than or equal to 100000"),
        ({"f": fuse("a", {"method": "b", "seed_offset": -1})}, "seed_offset': .*greater than or equal to 0"),
        ({"f": fuse("a", {"method": "bm25", "seed_offset": 1})}, "seed_offset of 'bm25', which has no seed"),
        ({"f": fuse("a", "b") | {"fuse": {"k": -1}}}, "methods.f: key 'k'.*greater than or equal to 0"),
        ({"f": fuse("a", "b") | {"rqvae": {}}}, "unknown key 'methods.f.rqvae'"),
    ],
)
def test_what_cannot_be_fused_is_named(methods, says):
    with pytest.raises(InputError, match=says) as caught:
        configured(methods=methods)
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_run_is_read_with_its_seed_and_one_without_a_seed_once():
    twice = fuse("a", {"method": "a", "seed_offset": 1}, "bm25", "dense")
    pipeline = configured(methods={"twice": twice, "none": fuse("bm25", "dense")})
    for seed in (4, 2):
        read = [(run.method, own) for run, own in pipeline.fused("twice", seed)]
        # the study has BM25 with its first seed; dense is of no study
        assert read == [("a", seed), ("a", seed + 1), ("bm25", 4), ("dense", 0)]
    assert pipeline.is_seeded("twice")
    assert not pipeline.is_seeded("none")
    assert pipeline.note("tiny_es", "twice") == (
        "reciprocal rank fusion (k 60) of the runs a, a of seed + 1, bm25, dense"
    )


def test_a_variant_fuses_the_runs_of_the_variant():
    studies = {"recall": {"methods": ["f", "g", "bm25"], "variant": "small"}}
    methods = {"f": fuse("a", "bm25"), "g": fuse("bm25", "dense")}
    pipeline = configured(methods=methods, studies=studies, variants={"small": {"rqvae": {"epochs": 5}}})
    assert pipeline.config.studies["recall"].methods == ["f-small", "g", "bm25"]
    assert [run.method for run, _ in pipeline.fused("f-small", 0)] == ["a-small", "bm25"]
    assert pipeline.stage("rqvae", "tiny_es", "a-small").epochs == 5
    assert [run.method for run, _ in pipeline.fused("f", 0)] == ["a", "bm25"]


def test_a_seed_with_its_offset_is_one_that_trainings_take():
    methods = {"f": fuse("a", {"method": "a", "seed_offset": 1})}
    studies = {"recall": {"methods": ["f"], "seeds": [2**32 - 2]}}
    assert configured(methods=methods, studies=studies).fused("f", 2**32 - 2)[1][1] == 2**32 - 1
    studies["recall"]["seeds"] = [0, 2**32 - 1]
    with pytest.raises(InputError, match=r"studies.recall.seeds: 4294967295 and the seed_offset 1 of 'f'"):
        configured(methods=methods, studies=studies)


def test_a_grid_over_a_fused_method_fuses_the_runs_of_the_variant():
    grids = [{"method": "f", "over": {"fuse.k": [1, 60]}}, {"method": "bm25", "over": {"bm25.k1": [1, 2]}}]
    studies = {"recall": {"methods": ["a", "bm25"], "variant": "small", "grids": grids}}
    small = {"small": {"rqvae": {"epochs": 5}}}
    pipeline = configured(methods={"f": fuse("a", "bm25")}, studies=studies, variants=small)
    names = pipeline.config.studies["recall"].methods
    points = [name for name in names if name.startswith("f-")]
    assert len(points) == 2
    assert [pipeline.stage("fuse", "tiny_es", name).k for name in points] == [1, 60]
    for name in points:
        assert [run.method for run, _ in pipeline.fused(name, 0)] == ["a-small", "bm25"]
    assert len([name for name in names if name.startswith("bm25-")]) == 2


def test_what_only_a_fused_method_reads_is_checked_before_it_is_trained():
    """DocIDs of several documents can be made, but not searched."""
    methods = {"shared": {"docids": {"allow_collisions": True}}}
    assert configured(methods=methods)
    studies = {"recall": {"methods": ["f"]}}
    with pytest.raises(InputError, match=r"methods\.shared: .*cannot be searched"):
        configured(methods=methods | {"f": fuse("shared", "bm25")}, studies=studies)


def test_a_grid_varies_how_runs_are_fused():
    grids = [{"method": "f", "over": {"fuse.k": [1, 60]}}]
    studies = {"recall": {"methods": ["a"], "grids": grids}}
    pipeline = configured(methods={"f": fuse("a", "bm25")}, studies=studies)
    points = pipeline.config.studies["recall"].methods[1:]
    assert points == ["f-k1", "f-k60"]
    assert [pipeline.stage("fuse", "tiny_es", point).k for point in points] == [1, 60]
    assert pipeline.grid_summary("tiny_es", "recall").grids[0].points == {"f-k1": (1,), "f-k60": (60,)}
