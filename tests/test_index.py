"""An index finds what the pipeline finds, wherever it is; filters, fusion and explanations by slow references."""

import json
import os
import re
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
from catid2.baselines.bm25 import search_bm25
from catid2.config.index import IndexSettings
from catid2.evaluation.fusion import WeightedRun, fuse_runs
from catid2.index.explain import describe_prefix, explain, products_below
from catid2.index.index import Index
from catid2.retriever.retrieve import retrieve
from catid2.runtime.errors import InputError
from catid2.runtime.tables import QUERIES, RUN, read_json, read_table, write_json, write_table
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
    ranking = catid2.open_index(ranked.folder)
    assert ranking.search(queries, k=20, below=0) == index.search(queries, k=20)


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
        scores = fused_by_hand(lists, depth=60)
        assert docs == sorted(scores, key=lambda doc: (-np.float32(scores[doc]), doc))
        assert [hit.score for hit in found] == pytest.approx([scores[doc] for doc in docs])


@pytest.mark.parametrize(
    ("category", "names"),
    [
        ("Home", ("Home",)),
        ("Home > Lamps", ("Home", "Lamps")),
        (" home>LAMPS ", ("Home", "Lamps")),
        ("Shoes", ("Shoes",)),
    ],
)
def test_a_category_narrows_a_search_to_its_products(category, names, index):
    expected = [path[: len(names)] == names for path in index.categories]
    assert index.allowed_products(category=category).tolist() == expected
    assert any(expected)


def test_products_narrow_a_search(index):
    lamps = np.flatnonzero(index.allowed_products(category="Home > Lamps")).tolist()
    names = [index.product_ids[row] for row in (lamps[0], lamps[-1])]
    both = index.allowed_products([*names, index.product_ids[1]], "Home > Lamps")
    assert np.flatnonzero(both).tolist() == sorted({lamps[0], lamps[-1]} | ({1} & set(lamps)))
    assert index.search([QUERY], allowed=np.zeros(len(index), bool)) == [[]]
    with pytest.raises(InputError, match="product 'P999' is not in the index"):
        index.allowed_products(["P999"])
    with pytest.raises(InputError, match=r"no category 'Lamps' .*give the names from the top"):
        index.allowed_products(category="Lamps")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"queries": "red lamp"}, "queries: one text; give a list"),
        ({"queries": ["caf\udce9"]}, "not UTF-8"),
        ({"k": 0}, "k: 0 is not a number of 1 or more"),
        ({"by": ()}, "by: "),
        ({"by": ("bm52",)}, "name some of docid, bm25, dense"),
        ({"allowed": [True] * 60}, "allowed: not a flag per product; give an array of 60 bool"),
        ({"allowed": np.ones(59, bool)}, "allowed: not a flag per product"),
        ({"below": -1}, "below: -1"),
        ({"below": 3}, "below: 3, but DocIDs have 3 positions"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(options, line, index):
    with pytest.raises(InputError, match=re.escape(line)):
        index.search(**{"queries": [QUERY]} | options)


def test_a_search_named_twice_counts_once(index):
    once = index.search([QUERY], by=("docid", "bm25"))
    assert index.search([QUERY], by=("docid", "bm25", "bm25", "docid")) == once


def test_fused_lists_are_those_of_the_rule(cases, tmp_path):
    case = cases["light"]
    retrieve(case.config.retrieve, case.retriever, case.corpus, tmp_path / "docid.parquet", 32)
    write_table(
        tmp_path / "bm25.parquet", search_bm25(case.config.bm25, case.corpus.products, case.corpus.queries)
    )
    runs = [WeightedRun(1.0, tmp_path / f"{name}.parquet") for name in ("docid", "bm25")]
    table = fuse_runs(case.config.fuse, runs, case.corpus.products, case.corpus.queries)
    queries = [row for row in read_table(case.corpus.queries, QUERIES).to_pylist() if row["split"] == "test"]
    found = catid2.open_index(case.folder).search(
        [row["query"] for row in queries], k=20, by=("docid", "bm25")
    )
    rows = [row for row in table.to_pylist() if row["rank"] <= 20]
    listed = {(row["query_id"], row["rank"]): (row["doc_id"], row["score"]) for row in rows}
    assert listed == {
        (row["query_id"], rank): (hit.doc_id, hit.score)
        for row, hits in zip(queries, found, strict=True)
        for rank, hit in enumerate(hits, start=1)
    }


# --- explanations -----------------------------------------------------------------------------------


def test_an_explanation_multiplies_to_the_score_and_says_where_a_product_is_lost(index):
    hits = index.search([QUERY], k=60, beams=EVERY)[0]
    narrow = {hit.product_id for hit in index.search([QUERY], k=3, beams=3)[0]}
    for hit, whole, cut in zip(
        hits,
        explain(index, QUERY, [hit.product_id for hit in hits], beams=EVERY),
        explain(index, QUERY, [hit.product_id for hit in hits], k=3, beams=3),
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


@pytest.mark.parametrize(
    "options", [{"k": 5, "beams": 1}, {"k": 25}, {"k": 2, "beams": 3, "by": ("docid", "bm25")}]
)
def test_what_a_search_found_never_leaves_the_beams_of_its_explanation(options, index):
    docids = options | {"by": ("docid",)}
    names = [hit.product_id for hit in index.search([QUERY], **docids)[0]]
    assert {one.lost_at for one in explain(index, QUERY, names, **options)} == {None}


def test_an_explanation_under_a_filter_counts_only_what_is_allowed(index):
    allowed = index.allowed_products(category="Shoes")
    hits = index.search([QUERY], k=60, allowed=allowed, beams=EVERY)[0]
    found = explain(index, QUERY, [hit.product_id for hit in hits], allowed=allowed, beams=EVERY)
    assert [one.positions[-1].rank for one in found] == list(range(1, allowed.sum() + 1))
    assert {one.positions[-1].candidates for one in found} == {allowed.sum()}
    for one in found:
        assert one.positions[-1].prefix.products == 1
        first = one.positions[0].prefix
        assert first.products == (allowed & (index.codes[:, 0] == first.codes[0])).sum()
    other = index.product_ids[int(np.flatnonzero(~allowed)[0])]
    with pytest.raises(InputError, match=f"{other}.*the filter .* leaves it out"):
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
        Path(place).chmod(0o755)
        for path in Path(place).rglob("*"):
            path.chmod(path.stat().st_mode & ~0o222)
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
        for path in case.folder.rglob("*.npy"):
            np.load(path, allow_pickle=False)  # an array of objects is a pickle
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


def test_a_list_of_checksums_that_lacks_a_file_is_refused(cases, tmp_path):
    other = shutil.copytree(cases["light"].folder, tmp_path / "index")
    lines = (other / "SHA256SUMS").read_text().splitlines(keepends=True)
    for kept in ([], lines[1:], lines[:-1]):
        (other / "SHA256SUMS").write_text("".join(kept))
        with pytest.raises(InputError, match="SHA256SUMS: does not list"):
            Index(other)
    (other / "SHA256SUMS").write_text("".join(lines))
    (other / ".DS_Store").touch()
    Index(other)


def test_an_index_opened_by_a_relative_path_survives_a_change_of_folder(cases, monkeypatch):
    monkeypatch.chdir(cases["light"].folder.parent)
    opened = catid2.open_index("index")
    monkeypatch.chdir("/")
    assert opened.search([QUERY], by=("docid", "bm25", "dense"))[0]


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
    queries = [QUERY, "blue shoe", "靴"] if source == "arguments" else [QUERY, "", "blue\u2028shoe", "靴"]
    (tmp_path / "queries.txt").write_text("\n".join(queries) + "\n", "utf-8")
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
    rows = [json.loads(line) for line in printed.removesuffix("\n").split("\n")]
    assert [row["query"] for row in rows] == queries
    for row, hits in zip(rows, index.search(queries, k=4), strict=True):
        assert [hit["rank"] for hit in row["hits"]] == list(range(1, len(hits) + 1))
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
    [row] = index.require(wanted[:1])
    assert [one["prefix"]["codes"][-1] for one in explanation] == index.codes[row].tolist()[
        : len(explanation)
    ]


@pytest.mark.parametrize(
    ("typed", "ends"),
    [(b"\xef\xbb\xbfred lamp\n", (0, "")), (b"caf\xe9\n", (1, "error: standard input: not UTF-8"))],
)
def test_piped_queries_are_utf8_and_a_reader_may_stop(typed, ends, indexes):
    command = f"{sys.executable} -m catid2 search {indexes['light'].folder} --json"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, shell=True, input=typed, capture_output=True, env=environment, check=False)
    assert done.returncode == ends[0]
    assert done.stderr.decode().startswith(ends[1])
    if not ends[0]:
        assert json.loads(done.stdout)["query"] == "red lamp"
        command = f"bash -o pipefail -c '{command} red blue lamp | head -c 1'"
        done = subprocess.run(command, shell=True, capture_output=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_words_may_follow_options(index, monkeypatch, capsys):
    code, printed, _ = run_command(
        monkeypatch, capsys, "search", index.folder, "red", "--json", "lamp", "-k", 1, "rug"
    )
    assert code == 0
    assert [json.loads(line)["query"] for line in printed.splitlines()] == ["red", "lamp", "rug"]
    code, _, error = run_command(monkeypatch, capsys, "search", index.folder, "red", "--jsno")
    assert code == 2
    assert "unrecognized arguments: --jsno" in error


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--allow", "missing.txt"], "missing.txt: no such file"),
        (["--allow", "unknown.txt"], "unknown.txt: product 'P999' is not in the index"),
        (["--allow", "latin.txt"], "latin.txt: not UTF-8"),
        (["--category", "Gardens"], "no category 'Gardens' in this index"),
        (["--expect", "P999"], "product 'P999' is not in the index"),
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
