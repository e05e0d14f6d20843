"""Hugging Face `generate` with the DocID constraint gives the lists and scores of our beam search."""

import pytest
import torch
from retriever_case import KINDS, random_codes, random_retriever

from catid2.search.beam import beam_search
from catid2.search.logits_processor import DocIDLogitsProcessor
from catid2.search.trie import Trie
from catid2.training.tokens import TokenBatch

TIGER = (6, 6, 6, 6, 3)  # the extra digit has a size of its own


def text_batch(queries: int, seed: int = 0) -> TokenBatch:
    """Return random queries of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 250, (queries, 7), generator=generator)
    mask = (torch.arange(7) < torch.randint(2, 8, (queries, 1), generator=generator)).long()
    return TokenBatch(ids * mask, mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("documents", "sizes", "beams"),
    [(200, (8, 8, 8), 12), (300, TIGER, 20), (5, (8, 8, 8), 12), (1, (4, 4), 3)],
)
def test_generate_gives_our_lists_and_scores(kind, documents, sizes, beams):
    codes = random_codes(documents, sizes)
    retriever, trie = random_retriever(kind, sizes), Trie.from_codes(codes, sizes)
    batch = text_batch(4)
    with torch.inference_mode():
        ours = beam_search(retriever.scorer(), trie, batch, beams)
    generated = retriever.t5.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        logits_processor=[DocIDLogitsProcessor(trie, retriever.first_tokens)],
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=len(sizes),
        min_new_tokens=len(sizes),
        length_penalty=0.0,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
    tokens = generated.sequences[:, 1:] - torch.tensor(retriever.first_tokens)
    tokens, scores = tokens.view(4, beams, -1), generated.sequences_scores.view(4, beams)
    for query in range(4):
        found = ours.nodes[query] >= 0
        real = scores[query] > -1e8  # `generate` fills up with repetitions of score -1e9 and below
        docids = torch.from_numpy(codes)[trie.doc_ids[ours.nodes[query][found]].long()]
        assert docids.tolist() == tokens[query][real].tolist()
        torch.testing.assert_close(ours.scores[query][found], scores[query][real], rtol=1e-4, atol=1e-4)


def test_it_keeps_no_state():
    sizes = (5, 5, 5)
    trie = Trie.from_codes(random_codes(60, sizes), sizes)
    first = (10, 15, 20)
    used, fresh = DocIDLogitsProcessor(trie, first), DocIDLogitsProcessor(trie, first)
    scores = torch.randn(2, 30)
    for tokens in ([[0, 11, 16], [0, 12, 17]], [[0], [0]], [[0, 10], [0, 14]]):  # lengths in any order
        ids = torch.tensor(tokens)
        assert torch.equal(used(ids, scores), fresh(ids, scores))
        fresh = DocIDLogitsProcessor(trie, first)


@pytest.mark.parametrize("prompt", [[0], [7, 8, 0]])
def test_what_it_allows_is_the_softmax_over_the_codes_of_the_position(prompt):
    sizes = (3, 4)
    codes = random_codes(8, sizes)
    trie = Trie.from_codes(codes, sizes)
    scores = torch.randn(1, 12)
    processor = DocIDLogitsProcessor(trie, (5, 8), len(prompt))
    constrained = processor(torch.tensor([[*prompt, 6]]), scores)[0]
    following = {row[1] for row in codes.tolist() if row[0] == 1}
    expected = scores[0, 8:12].log_softmax(0)
    for token in range(12):
        if token - 8 in following:
            torch.testing.assert_close(constrained[token], expected[token - 8])
        else:
            assert constrained[token] == -torch.inf
    docids = torch.tensor([[*prompt, 5 + first, 8 + second] for first, second in codes.tolist()])
    assert processor.doc_ids(docids).tolist() == list(range(8))


def test_a_beam_outside_the_trie_gets_nothing_and_a_whole_docid_is_an_error():
    trie = Trie.from_codes(random_codes(4, (2, 2)), (2, 2))
    processor = DocIDLogitsProcessor(trie, (3, 5))
    assert (processor(torch.tensor([[0, 9]]), torch.zeros(1, 10)) == -torch.inf).all()
    with pytest.raises(ValueError, match="max_new_tokens=2"):
        processor(torch.tensor([[0, 3, 5]]), torch.zeros(1, 10))
