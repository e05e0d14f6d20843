"""A search with the exported graphs finds what the retriever itself finds."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from index_case import write_index
from light_case import random_light, random_vectors
from retriever_case import random_codes, random_retriever
from test_generate import example

import catid2
from catid2.__main__ import main
from catid2.index.onnx_export import WEIGHTS, export_onnx
from catid2.index.onnx_scorer import OnnxScorer
from catid2.runtime.errors import InputError
from catid2.search.beam import beam_search
from catid2.search.trie import Trie
from catid2.training.tokens import TokenBatch
from workflow import ROOT

SIZES = (4, 3, 5, 8)
SEARCHES = ((1, 1, 1), (1, 7, 20), (5, 1, 3), (6, 9, 60), (3, 4, 1))  # queries, tokens of the longest, beams


def retriever(kind: str) -> torch.nn.Module:
    return random_light(SIZES, query_tokens=3) if kind == "light" else random_retriever(kind, SIZES)


def batch(kind: str, queries: int, length: int) -> TokenBatch | torch.Tensor:
    """Return random queries; of several with more than two tokens, the last one is shorter."""
    if kind == "light":
        return random_vectors(queries)
    generator = torch.Generator().manual_seed(queries)
    mask = torch.ones((queries, length), dtype=torch.long)
    if queries > 1:
        mask[-1, 2:] = 0
    return TokenBatch(torch.randint(3, 290, (queries, length), generator=generator), mask)


# A graph takes seconds to trace.
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["light", "t5", "t5-1.1"])
def test_lists_are_those_of_the_retriever(kind, tmp_path):
    model = retriever(kind)
    export_onnx(model, tmp_path / "onnx")
    scorer = OnnxScorer(tmp_path / "onnx")
    trie = Trie.from_codes(random_codes(60, SIZES), SIZES)
    with torch.inference_mode():
        for queries, length, beams in SEARCHES:
            asked = batch(kind, queries, length)
            ours, theirs = (beam_search(each, trie, asked, beams) for each in (model.scorer(), scorer))
            assert ours.nodes.tolist() == theirs.nodes.tolist()
            torch.testing.assert_close(ours.scores, theirs.scores, rtol=0, atol=1e-4)
    weights = sum(weight.nbytes for weight in model.parameters())
    assert (tmp_path / "onnx" / WEIGHTS).stat().st_size <= weights  # though both graphs have the decoder
    graphs = [path.read_bytes() for path in (tmp_path / "onnx").glob("*.onnx")]
    assert [str(ROOT).encode() in graph for graph in graphs] == [False, False]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with an index of a light retriever, and its ONNX made by the command."""
    root = tmp_path_factory.mktemp("light")
    write_index(root, "light")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["catid2", "export-onnx", str(root / "index"), str(root / "onnx")])
        main()
    return root


def test_the_example_prints_what_the_index_finds(exported, monkeypatch, capsys):
    monkeypatch.chdir(exported)
    exec(compile(example("docs/index.md", "## ONNX"), "docs/index.md", "exec"), {})
    hits = catid2.open_index("index").search(["red dress"], k=10, beams=100)[0]
    assert capsys.readouterr().out.splitlines() == [f"{hit.score:.2f} {hit.title}" for hit in hits]


def test_an_existing_folder_is_not_replaced(exported, monkeypatch, capsys):
    before = sorted((path, path.stat().st_mtime_ns) for path in exported.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["catid2", "export-onnx", str(exported / "index"), str(exported)])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == f"error: {exported}: exists already; name a new folder\n"
    assert sorted((path, path.stat().st_mtime_ns) for path in exported.rglob("*")) == before


@pytest.mark.parametrize(("module", "package"), [("onnx_scorer", "onnxruntime"), ("onnx_export", "onnx_ir")])
def test_without_the_extra_the_package_is_named(module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"catid2.index.{module}")
    with pytest.raises(InputError, match=f"{package}: not installed; pip install 'catid2\\[onnx\\]'"):
        importlib.import_module(f"catid2.index.{module}")
