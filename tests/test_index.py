"""An index finds what the pipeline finds, wherever it is; filters, fusion and explanations by slow references."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from index_case import KINDS, IndexCase, run_command, write_index
from plan import plan

import catid2
from catid2.config.index import IndexSettings
from catid2.index.explain import describe_prefix, explain, products_below
from catid2.index.index import Index
from catid2.retriever.retrieve import retrieve
from catid2.runtime.errors import InputError
from catid2.runtime.tables import QUERIES, RUN, read_json, read_table, write_json
from workflow import ROOT

QUERY = "red lamp"
EVERY = 1000  # beams: more than there are prefixes, so that the search is exact


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, IndexCase]:
    return {kind: write_index(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module")
def indexes(cases) -> dict[str, Index]:
    return {kind: catid2.open_index(case.folder) for kind, case in cases.items()}


@pytest.fixture(params=KINDS)
def index(request, indexes) -> Index:
    return indexes[request.param]


# --- lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "changes"), [("t5", {}), ("light", {}), ("light", {"rank_below_level": 2})])
def test_lists_are_those_of_retrieve(kind, changes, cases, tmp_path):
    case = write_index(tmp_path, kind, **changes) if changes else cases[kind]
    retrieve(case.config.retrieve, case.retriever, case.corpus, tmp_path / "run.parquet", 32)
    run = read_table(tmp_path / "run.parquet", RUN)
    queries = read_table(case.corpus.queries, QUERIES).to_pylist()
    test = [row for row in queries if row["split"] == "test"]
    found = catid2.open_index(case.folder).search([row["query"] for row in test], k=20)
    assert sum(map(len, found)) == len(run) > 0
    listed = {(row["query_id"], row["rank"]): (row["doc_id"], row["score"]) for row in run.to_pylist()}
    ours = {
        (row["query_id"], rank): (hit.doc_id, hit.score)
        for row, hits in zip(test, found, strict=True)
        for rank, hit in enumerate(hits, start=1)
    }
    assert ours == listed


def test_below_a_level_the_lists_are_those_of_a_method_that_ranks_there(index, tmp_path):
    ranked = write_index(tmp_path, index.retriever.kind, rank_below_level=2)
    queries = [QUERY, "blue shoe", "靴"]
    allowed = index.allowed_products(category="Home")
    for options in ({}, {"allowed": allowed}):
        found = index.search(queries, k=20, below=2, **options)
        assert found == catid2.open_index(ranked.folder).search(queries, k=20, **options)
        assert found != index.search(queries, k=20, **options)
    positions = [len(one.positions) for one in explain(index, QUERY, ["P001"], below=2, beams=EVERY)]
    assert positions == [2]
    with pytest.raises(InputError, match="DocIDs have 3 positions"):
        index.search(queries, below=3)


def test_a_hit_describes_its_product(index, cases):
    columns = dict.fromkeys(("product_id", "title", "category_1", "category_2"), pa.string())
    table = read_table(cases["t5"].corpus.products, columns).to_pylist()
    for hit in index.search([QUERY], k=5)[0]:
        row = table[hit.doc_id]
        path = tuple(name for name in (row["category_1"], row["category_2"]) if name)
        assert (hit.product_id, hit.title, hit.category) == (row["product_id"], row["title"], path)
        assert hit.docid == tuple(index.codes[hit.doc_id].tolist())


def test_each_query_is_searched_alone_and_a_blank_one_finds_nothing(index):
    texts = [QUERY, "  ", "kettle " * 10_000, "靴", ""]
    together = index.search(texts, k=100, beams=EVERY)
    assert [len(hits) for hits in together] == [60, 0, 60, 60, 0]
    for text, hits in zip(texts, together, strict=True):
        (alone,) = index.search([text], k=5, beams=EVERY)
        assert [hit.doc_id for hit in alone] == [hit.doc_id for hit in hits[:5]]
        assert [hit.score for hit in alone] == pytest.approx([hit.score for hit in hits[:5]], abs=1e-4)
    assert index.search([]) == []


# --- filters and fusion -----------------------------------------------------------------------------


WAYS = (("docid",), ("bm25",), ("dense",), ("docid", "bm25"), ("docid", "bm25", "dense"))


def ranking(index: Index, way: str) -> list[int]:
    """Return the doc_ids that one way of search finds, of all documents."""
    return [hit.doc_id for hit in index.search([QUERY], k=60, by=(way,), beams=EVERY)[0]]


def fused_by_hand(lists: list[list[int]], depth: int) -> dict[int, float]:
    """Return the score of each document by reciprocal rank with k 60, of lists cut at `depth`."""
    scores: dict[int, float] = {}
    for docs in lists:
        for rank, doc in enumerate(docs[:depth], start=1):
            scores[doc] = scores.get(doc, 0) + 1 / (60 + rank)
    return scores


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("by", WAYS, ids="+".join)
def test_a_filtered_search_is_the_filtered_ranking_of_all(index, share, by):
    rng = np.random.default_rng(int(100 * share))
    allowed = rng.random(len(index)) < share
    allowed[rng.integers(len(index))] = True
    lists = [[doc for doc in ranking(index, way) if allowed[doc]] for way in by]
    [found] = index.search([QUERY], k=60, allowed=allowed, by=by, beams=EVERY)
    docs = [hit.doc_id for hit in found]
    if len(by) == 1:
        assert docs == lists[0]
    else:
        scores = fused_by_hand(lists, depth=20)
        assert docs == sorted(scores, key=lambda doc: (-np.float32(scores[doc]), doc))
        assert [hit.score for hit in found] == pytest.approx([scores[doc] for doc in docs])


def test_products_and_categories_narrow_a_search(index):
    categories = {"Home": 1, "Home > Lamps": 2, "Shoes": 1, " shoes>Boots": None}
    for category, level in categories.items():
        if level is None:
            with pytest.raises(InputError, match=r"no category ' shoes>Boots'.*did you mean 'Shoes > Boots'"):
                index.allowed_products(category=category)
            continue
        names = tuple(category.split(" > "))
        expected = [path[:level] == names for path in index.categories]
        assert index.allowed_products(category=category).tolist() == expected
    lamps = np.flatnonzero(index.allowed_products(category="Home > Lamps")).tolist()
    names = [index.product_ids[row] for row in (lamps[0], lamps[-1])]
    both = index.allowed_products([*names, index.product_ids[1]], "Home > Lamps")
    assert np.flatnonzero(both).tolist() == sorted({lamps[0], lamps[-1]} | ({1} & set(lamps)))
    assert index.search([QUERY], allowed=np.zeros(len(index), bool)) == [[]]
    with pytest.raises(InputError, match="no product 'P999' in this index"):
        index.allowed_products(["P999"])


# --- explanations -----------------------------------------------------------------------------------


def test_an_explanation_multiplies_to_the_score_and_says_where_a_product_is_lost(index):
    hits = index.search([QUERY], k=60, beams=EVERY)[0]
    narrow = {hit.product_id for hit in index.search([QUERY], k=3, beams=3)[0]}
    for hit, whole, cut in zip(
        hits,
        explain(index, QUERY, [hit.product_id for hit in hits], beams=EVERY),
        explain(index, QUERY, [hit.product_id for hit in hits], beams=3),
        strict=True,
    ):
        assert whole.product_id == hit.product_id
        probabilities = [one.probability for one in whole.positions]
        assert np.log(probabilities).sum() == pytest.approx(hit.score, abs=1e-3)
        assert [one.prefix.codes for one in whole.positions] == [hit.docid[:n] for n in (1, 2, 3)]
        assert whole.positions[-1].rank == hits.index(hit) + 1
        assert whole.lost_at is None
        assert (cut.lost_at is None) == (hit.product_id in narrow)
        assert [one.kept for one in cut.positions][:-1] == [True] * (len(cut.positions) - 1)


def test_an_explanation_under_a_filter_counts_only_what_is_allowed(index):
    allowed = index.allowed_products(category="Shoes")
    hits = index.search([QUERY], k=60, allowed=allowed, beams=EVERY)[0]
    found = explain(index, QUERY, [hit.product_id for hit in hits], allowed=allowed, beams=EVERY)
    assert [one.positions[-1].rank for one in found] == list(range(1, allowed.sum() + 1))
    assert {one.positions[-1].candidates for one in found} == {allowed.sum()}
    other = index.product_ids[int(np.flatnonzero(~allowed)[0])]
    with pytest.raises(InputError, match=f"{other}.*the filter leaves it out"):
        explain(index, QUERY, [other], allowed=allowed)
    with pytest.raises(InputError, match="query: blank"):
        explain(index, " ", [other])


def test_a_prefix_is_described_by_the_products_below_it(index):
    for depth in (0, 1, 2, 3):
        for codes in {tuple(row[:depth]) for row in index.codes.tolist()}:
            below = [row for row, own in enumerate(index.codes.tolist()) if tuple(own[:depth]) == codes]
            assert sorted(products_below(index, codes).tolist()) == below
            prefix = describe_prefix(index, codes)
            assert (prefix.codes, prefix.products) == (codes, len(below))
            if depth:
                paths = [index.categories[row][: min(depth, 2)] for row in below]
                counts = {path: paths.count(path) for path in paths}
                assert counts[prefix.category] == max(counts.values())
                assert prefix.share == pytest.approx(max(counts.values()) / len(below))
    with pytest.raises(InputError, match="DocID 3-3-7-7: no product has it"):
        products_below(index, (3, 3, 7, 7))


# --- the folder -------------------------------------------------------------------------------------


ELSEWHERE = """
import json, os, sys, catid2
original, moved, query = sys.argv[1:]
def hits(folder):
    found = catid2.open_index(folder).search([query], k=5, by=("docid", "bm25", "dense"))[0]
    return [[hit.product_id, hit.score] for hit in found]
hits(original)  # imports what a search needs: another user may not read this interpreter
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(json.dumps(hits(moved)))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_opens_under_another_user_path_and_working_directory(kind, indexes):
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "HOME": "/nowhere",
    }
    # not in pytest's folder, which is closed to other users
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(indexes[kind].folder, f"{place}/a b/índice")
        for path in [Path(place), *Path(place).rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, str(indexes[kind].folder), "a b/índice", QUERY],
            cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        for path in [Path(place), *Path(place).rglob("*")]:
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    expected = indexes[kind].search([QUERY], k=5, by=("docid", "bm25", "dense"))[0]
    found = json.loads(done.stdout)
    assert [name for name, _ in found] == [hit.product_id for hit in expected]
    assert [score for _, score in found] == pytest.approx([hit.score for hit in expected])


def test_no_file_of_an_index_is_a_pickle_and_none_is_without_a_checksum(cases):
    for case in cases.values():
        files = {
            path.relative_to(case.folder).as_posix() for path in case.folder.rglob("*") if path.is_file()
        }
        listed = [line.split("  ")[1] for line in (case.folder / "SHA256SUMS").read_text().splitlines()]
        assert set(listed) == files - {"SHA256SUMS"}
        assert {name.rsplit(".", 1)[-1] for name in listed} <= {
            "json",
            "md",
            "parquet",
            "npy",
            "safetensors",
            "tsv",
        }
        done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=case.folder, check=False)
        assert done.returncode == 0


def test_a_damaged_index_is_refused_with_the_name_of_the_file(cases, tmp_path):
    source = cases["light"].folder
    for path in sorted(source.rglob("*")):
        if path.is_dir():
            continue
        name = path.relative_to(source).as_posix()
        broken = shutil.copytree(source, tmp_path / "index", dirs_exist_ok=True)
        (broken / name).write_bytes(b"~" + path.read_bytes()[1:])
        with pytest.raises(InputError) as changed:
            Index(broken)
        (broken / name).unlink()
        with pytest.raises(InputError) as gone:
            Index(broken)
        for error in (changed.value, gone.value):
            assert name in str(error) or path.name in str(error)
            assert "\n" not in str(error)


def test_another_format_and_other_folders_are_refused(cases, tmp_path):
    other = shutil.copytree(cases["light"].folder, tmp_path / "index")
    write_json(other / "index.json", read_json(other / "index.json") | {"format": 9})
    with pytest.raises(
        InputError, match=r"index.json: an index of format 9; this version of catid2 reads 1; export"
    ):
        Index(other)
    with pytest.raises(InputError, match="no such folder"):
        Index(tmp_path / "nothing")
    with pytest.raises(InputError, match="not an index"):
        Index(tmp_path)


def test_the_rule_gives_a_methods_own_files_and_settings(tmp_path):
    targets = [f"results/toy/{method}/seed{seed}/index" for method, seed in (("catid2", 8), ("light", 4))]
    jobs = plan(ROOT / "tests" / "plan.yaml", tmp_path, targets=targets)
    for method, seed in (("catid2", 8), ("light", 4)):
        [job] = [job for job in jobs if job.rule == "export_index" and job.wildcards["method"] == method]
        assert job.options("--output") == [f"results/toy/{method}/seed{seed}/index"]
        assert job.options("--retriever") == [f"results/toy/{method}/seed{seed}/retriever"]
        assert job.options("--docids")[0].endswith(f"/seed{seed}/docids.parquet")
        assert job.options("--recall") == ["results/toy/recall.tsv"]
        config = IndexSettings.model_validate_json(job.options("--config")[0])
        assert (config.dataset, config.method, config.seed) == ("toy", method, seed)
        reads = [path for path in job.inputs if path.endswith("_queries.npy")]
        assert bool(reads) == (method == "light")  # the check that the retriever was taught these vectors


# --- the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["arguments", "file", "standard input"])
def test_the_command_finds_what_the_function_finds(source, index, monkeypatch, capsys, tmp_path):
    queries = [QUERY, "blue shoe", "靴"]
    (tmp_path / "queries.txt").write_text("\n".join(queries), "utf-8")
    given = {
        "arguments": (queries, ""),
        "file": (["--file", tmp_path / "queries.txt"], ""),
        "standard input": ([], "".join(f"{query}\n" for query in queries)),
    }
    options, typed = given[source]
    code, printed, _ = run_command(
        monkeypatch, capsys, "search", index.folder, *options, "-k", 4, "--json", typed=typed
    )
    assert code == 0
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["query"] for row in rows] == queries
    for row, hits in zip(rows, index.search(queries, k=4), strict=True):
        assert [hit["rank"] for hit in row["hits"]] == [1, 2, 3, 4]
        assert [hit["product_id"] for hit in row["hits"]] == [hit.product_id for hit in hits]
        assert [hit["docid"] for hit in row["hits"]] == [list(hit.docid) for hit in hits]
        assert [hit["score"] for hit in row["hits"]] == pytest.approx([hit.score for hit in hits], abs=1e-4)


def test_the_command_filters_fuses_and_explains(index, monkeypatch, capsys, tmp_path):
    wanted = [index.product_ids[row] for row in (3, 5, 8)]
    (tmp_path / "allowed.txt").write_text("\n".join(wanted) + "\n", "utf-8")
    options = ["--allow", tmp_path / "allowed.txt", "--with", "bm25", "--with", "dense"]
    code, printed, _ = run_command(
        monkeypatch, capsys, "search", index.folder, QUERY, *options, "--explain", "--expect", wanted[0]
    )
    assert code == 0
    assert all(name in printed for name in wanted)
    assert printed.count("rank ") == 9
    code, printed, _ = run_command(
        monkeypatch, capsys, "search", index.folder, QUERY, "-k", 1, "--expect", wanted[0], "--json"
    )
    explanation = json.loads(printed)["explanations"][wanted[0]]
    row = index.row(wanted[0])
    assert [one["prefix"]["codes"][-1] for one in explanation] == index.codes[row].tolist()[
        : len(explanation)
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--allow", "missing.txt"], "missing.txt: no such file"),
        (["--allow", "unknown.txt"], "no product 'P999' in this index"),
        (["--allow", "latin.txt"], "latin.txt: not UTF-8"),
        (["--category", "Gardens"], "no category 'Gardens' in this index"),
        (["--expect", "P999"], "no product 'P999' in this index"),
        (["-k", "0"], "-k: 0 is not a number of 1 or more"),
        (["--beams", "0"], "--beams: 0 is not a number of 1 or more"),
        ([" "], "query: blank"),
        (["--device", "tpu9"], "device: tpu9 cannot be used"),
    ],
)
def test_bad_input_of_the_command_ends_with_one_line(arguments, line, indexes, monkeypatch, capsys, tmp_path):
    (tmp_path / "unknown.txt").write_text("P001\nP999\n")
    (tmp_path / "latin.txt").write_bytes(b"P\xe9\n")
    monkeypatch.chdir(tmp_path)
    code, printed, error = run_command(
        monkeypatch, capsys, "search", indexes["light"].folder, QUERY, *arguments
    )
    assert (code, printed) == (1, "")
    assert error.startswith("error: ")
    assert line in error
    assert len(error.splitlines()) == 1
