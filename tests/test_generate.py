"""The documents' examples find products, by an index and by `generate`; and what `generate` does without us."""

import contextlib
import io
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch
from index_case import index_config
from light_case import embed_case
from retriever_case import TINY, train, write_case
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import catid2
from catid2.docids.table import Docids
from catid2.index.export import Parts, export_index
from catid2.retriever.retrieve import Corpus
from catid2.runtime.tables import read_table
from catid2.search.logits_processor import DocIDLogitsProcessor
from catid2.search.trie import Trie
from workflow import ROOT


class Trained(NamedTuple):
    """A run in the places of the demo's, and a trained retriever."""

    root: Path
    folder: Path
    model: Any
    tokenizer: Any
    codes: np.ndarray  # (N, L), row = doc_id
    titles: list[str]

    def constraint(self) -> DocIDLogitsProcessor:
        trie = Trie.from_codes(self.codes, self.model.config.docid_sizes)
        return DocIDLogitsProcessor(trie, self.model.config.docid_first_tokens)

    def generate(self, **options: Any) -> Any:
        """Return what `generate` gives for "red dress" with the options of docs/method.md, other than `options`."""
        depth = self.codes.shape[1]
        fixed = {"num_beams": 60, "num_return_sequences": 60, "length_penalty": 0.0, "do_sample": False}
        fixed |= {"max_new_tokens": depth, "min_new_tokens": depth}
        fixed |= {"return_dict_in_generate": True, "output_scores": True}
        return self.model.generate(**self.tokenizer("red dress", return_tensors="pt"), **fixed | options)

    def log_probabilities(self, whole_vocabulary: bool) -> np.ndarray:
        """Return log p(DocID | "red dress") of every document, (N,), without a search."""
        firsts, sizes = self.model.config.docid_first_tokens, self.model.config.docid_sizes
        tokens = torch.from_numpy(self.codes).long() + torch.tensor(firsts)
        start = torch.full_like(tokens[:, :1], self.model.config.decoder_start_token_id)
        query = self.tokenizer(["red dress"] * len(tokens), return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(**query, decoder_input_ids=torch.cat([start, tokens[:, :-1]], dim=1)).logits
        total = torch.zeros(len(tokens))
        for position, (first, size) in enumerate(zip(firsts, sizes, strict=True)):
            own = slice(0, None) if whole_vocabulary else slice(first, first + size)
            total += logits[:, position, tokens[:, position]].diagonal() - logits[:, position, own].logsumexp(
                1
            )
        return total.numpy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    root = tmp_path_factory.mktemp("run")
    corpus, folder = root / "results/demo_us/corpus", root / "results/demo_us/catid2/seed0"
    corpus.mkdir(parents=True)
    folder.mkdir(parents=True)
    case = write_case(corpus)
    case = case._replace(docids=case.docids.rename(folder / "docids.parquet"))
    retriever = train(TINY, case, folder)
    corpus = Corpus(case.docids, case.products, case.queries, embed_case(case, root / "vectors"))
    export_index(index_config(), Parts(retriever, None), corpus, folder / "index")
    codes = Docids.read(case.docids).codes
    titles = read_table(case.products, {"title": pa.string()})["title"].to_pylist()
    model = AutoModelForSeq2SeqLM.from_pretrained(folder / "retriever")
    return Trained(root, folder, model, AutoTokenizer.from_pretrained(folder / "retriever"), codes, titles)


def example(page: str, heading: str) -> str:
    """Return the Python code of a section of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.search(rf"^{heading}$(.*?)^##", text, re.DOTALL | re.MULTILINE).group(1)
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", section, re.MULTILINE)
    return "\n".join(textwrap.dedent(block) for block in blocks if "import " in block)


def test_the_examples_of_the_documentation_print_the_best_products(trained, monkeypatch):
    monkeypatch.chdir(trained.root)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for page, heading in (
            ("docs/index.md", "## Search"),
            ("docs/method.md", "### Search with `generate`"),
        ):
            code = example(page, heading).replace('"INDEX"', '"results/demo_us/catid2/seed0/index"')
            exec(compile(code, page, "exec"), {})
    lines = printed.getvalue().splitlines()
    scores = trained.log_probabilities(whole_vocabulary=False)
    best = np.argsort(-scores)[:10]
    assert lines == [
        *(
            f"{scores[row]:.2f} {tuple(trained.codes[row].tolist())} P{row:03d} {trained.titles[row]}"
            for row in best
        ),
        *(trained.titles[row] for row in best),
    ]


def test_without_the_constraint_no_beam_is_a_docid(trained):
    sequences = trained.generate().sequences
    assert (trained.constraint().doc_ids(sequences) == -1).all()
    constrained = trained.generate(logits_processor=[trained.constraint()]).sequences
    assert sorted(trained.constraint().doc_ids(constrained).tolist()) == list(range(60))


def test_prefix_allowed_tokens_fn_ranks_by_the_softmax_over_the_whole_vocabulary(trained):
    firsts = trained.model.config.docid_first_tokens
    docids = {tuple(row) for row in trained.codes.tolist()}

    def allowed(_: int, tokens: torch.Tensor) -> list[int]:
        position = len(tokens) - 1
        prefix = tuple(token - first for token, first in zip(tokens[1:].tolist(), firsts, strict=False))
        return sorted({firsts[position] + docid[position] for docid in docids if docid[:position] == prefix})

    found = trained.generate(prefix_allowed_tokens_fn=allowed)
    doc_ids = trained.constraint().doc_ids(found.sequences).numpy()
    whole = trained.log_probabilities(whole_vocabulary=True)
    np.testing.assert_allclose(found.sequences_scores, whole[doc_ids], rtol=1e-4)
    assert doc_ids.tolist() == np.argsort(-whole).tolist()
    index = catid2.open_index(trained.folder / "index")
    ours = [hit.doc_id for hit in index.search(["red dress"], k=60)[0]]
    assert sorted(ours) == sorted(doc_ids)
    assert ours != doc_ids.tolist()
