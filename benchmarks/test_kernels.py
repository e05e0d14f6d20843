"""The inner loops next to other ways to compute them, in groups: pytest benchmarks (not part of make test)."""

import numpy as np
import pytest
import torch
from beam_search import SMALL, dictionary_trie, generate, ours, random_docids, random_retriever
from docid_repair import REPAIRS, simulate
from residual_quantizer import CODES, DIMENSIONS, LAYERS, our_step, residual_vq, share_codebooks, their_step
from rqvae_step import prepare, step

from catid2.quantizer.codebooks import ResidualQuantizer
from catid2.quantizer.codes import greedy_codes
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.tokens import TokenBatch


@pytest.mark.benchmark(group="quantiser, training step, B 4096")
@pytest.mark.parametrize("way", ["catid2", "vector-quantize-pytorch"])
def test_quantiser(benchmark, way):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4096, DIMENSIONS, generator=generator).requires_grad_()
    quantizer = ResidualQuantizer(LAYERS, CODES, DIMENSIONS)
    quantizer.initialise(z.detach(), 16.0, generator)
    theirs = residual_vq()
    share_codebooks(quantizer, theirs)
    if way == "catid2":
        benchmark(our_step, quantizer, z, Group())
    else:
        benchmark(their_step, theirs, z)


@pytest.mark.benchmark(group="RQ-VAE step with all four losses over the whole batch, B 1024")
@pytest.mark.parametrize("way", ["ours", "masked"])
def test_contrast(benchmark, way):
    benchmark(step, prepare(way, "all four, whole batch", 1024))


@pytest.mark.benchmark(group="which codes may follow 1,600 prefixes of 131,935 DocIDs")
@pytest.mark.parametrize("way", ["catid2", "dictionary"])
def test_trie(benchmark, way):
    codes = random_docids(131_935, 256)
    trie = Trie.from_codes(codes, [256] * 4)
    rows = np.random.default_rng(0).integers(0, len(codes), 1600)
    if way == "catid2":
        nodes = torch.zeros(len(rows), dtype=torch.long)
        for position in range(2):
            nodes = trie.descend(nodes, torch.from_numpy(codes[rows, position]), position)
        benchmark(trie.children, nodes, 2)
    else:
        following: dict[tuple[int, ...], set[int]] = {}
        for row in codes.tolist():
            following.setdefault(tuple(row[:2]), set()).add(row[2])
        benchmark(
            allow, codes[rows, :2].tolist(), {prefix: list(after) for prefix, after in following.items()}
        )


def allow(prefixes: list[list[int]], following: dict[tuple[int, ...], list[int]]) -> torch.Tensor:
    """Return what prefix_allowed_tokens_fn leads to: 0 for the codes that may follow, (n, 256), -inf for others."""
    mask = torch.full((len(prefixes), 256), -torch.inf)
    for row, prefix in enumerate(prefixes):
        mask[row, following[tuple(prefix)]] = 0
    return mask


@pytest.mark.benchmark(group="repair of 20,000 DocIDs")
@pytest.mark.parametrize("way", ["transport", "one_round"])
def test_repair(benchmark, way):
    latents, codebooks = simulate(20_000, seed=0)
    argmin = greedy_codes(latents, codebooks)
    benchmark(REPAIRS[way], latents, codebooks, argmin)


@pytest.mark.benchmark(group="beam search, small T5, 20 beams, 4 queries")
@pytest.mark.parametrize("way", ["catid2", "generate, dictionary trie"])
def test_beam_search(benchmark, way):
    retriever = random_retriever(SMALL, "cpu")
    codes = random_docids(5_000, SMALL.codes)
    ids = torch.randint(3, 300, (4, 8))
    batch = TokenBatch(ids, torch.ones_like(ids))
    with torch.inference_mode():
        if way == "catid2":
            benchmark(ours, retriever, Trie.from_codes(codes, retriever.sizes), batch, 20, codes)
        else:
            allowed = dictionary_trie(codes, retriever)
            constraint = {"prefix_allowed_tokens_fn": lambda _, tokens: allowed[tuple(tokens.tolist()[1:])]}
            benchmark(lambda: generate(retriever, batch, 20, **constraint))
