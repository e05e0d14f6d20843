"""Time constrained beam search three ways on one random model, side by side, and compare the lists.

The ways are catid2.beam, `generate` with DocIDLogitsProcessor, and `generate` with a dictionary trie in
`prefix_allowed_tokens_fn`, as generative retrieval code usually has it. Prints milliseconds per query,
the ratios, the share of equal lists and the share of our time that the constraint takes.

    python benchmarks/beam_search.py --batch 16 --queries 16 --threads 2
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.utils import logging

from catid2.beam import beam_search
from catid2.logits_processor import DocIDLogitsProcessor
from catid2.retriever import DocIDRetriever, add_docid_tokens
from catid2.t5_scorer import T5Scorer
from catid2.tokenizer import train_tokenizer
from catid2.tokens import TokenBatch
from catid2.trie import Children, Trie


def main() -> None:
    """Run the comparison on the command line's sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--documents", type=int, default=131_935, help="DocIDs in the trie (ESCI-es as the paper counts)"
    )
    parser.add_argument("--codes", type=int, default=256, help="codes per position, of four")
    parser.add_argument("--beams", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16, help="queries decoded together")
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=12, help="tokens per query")
    parser.add_argument("--d-model", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4, help="encoder layers, and decoder layers")
    parser.add_argument("--vocabulary", type=int, default=32_100, help="text tokens")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    logging.set_verbosity_error()

    retriever = random_retriever(arguments)
    codes = random_docids(arguments.documents, arguments.codes)
    trie = Trie.from_codes(codes, retriever.sizes).to(arguments.device)
    input_ids = torch.randint(3, 300, (arguments.queries, arguments.tokens), device=arguments.device)
    batches = [TokenBatch(ids, torch.ones_like(ids)) for ids in input_ids.split(arguments.batch)]

    processor = DocIDLogitsProcessor(trie, retriever.first_tokens)
    allowed = dictionary_trie(codes, retriever)
    ways = {
        "generate + prefix_allowed_tokens_fn": lambda batch: generate(
            retriever,
            batch,
            arguments.beams,
            prefix_allowed_tokens_fn=lambda _, tokens: allowed[tuple(tokens.tolist()[1:])],
        ),
        "generate + DocIDLogitsProcessor": lambda batch: generate(
            retriever, batch, arguments.beams, logits_processor=[processor]
        ),
        "catid2.beam": lambda batch: ours(retriever, trie, batch, arguments.beams, codes),
    }
    seconds, lists = {}, {}
    for name, way in ways.items():
        seconds[name], lists[name] = timed(way, batches, arguments.device)
        print(f"{name:38} {1000 * seconds[name] / arguments.queries:9.2f} ms/query", flush=True)
    for name in list(ways)[:2]:
        print(f"catid2.beam is {seconds[name] / seconds['catid2.beam']:.1f} x faster than {name}")
    same = (lists["catid2.beam"] == lists["generate + DocIDLogitsProcessor"]).all(dim=2).float().mean()
    print(f"equal to generate + DocIDLogitsProcessor at {100 * same:.2f}% of ranks")
    share = look_up_share(retriever, trie, batches[0], arguments.beams, codes)
    print(f"trie look-ups take {100 * share:.1f}% of a search")


def random_retriever(arguments: argparse.Namespace) -> DocIDRetriever:
    """Return a T5 with random weights and the DocID tokens added."""
    config = T5Config(
        vocab_size=arguments.vocabulary,
        d_model=arguments.d_model,
        d_ff=4 * arguments.d_model,
        num_heads=arguments.d_model // 64,
        num_layers=arguments.layers,
        decoder_start_token_id=0,
    )
    tokenizer = train_tokenizer([], 300)
    tokenizer.add_tokens([f"<text_{i}>" for i in range(arguments.vocabulary - len(tokenizer))])
    retriever = add_docid_tokens(T5ForConditionalGeneration(config), tokenizer, [arguments.codes] * 4)
    return retriever.eval().to(arguments.device)


def random_docids(documents: int, codes: int) -> np.ndarray:
    """Return distinct DocIDs of four positions, (documents, 4), their codes drawn with unequal frequencies."""
    rng = np.random.default_rng(0)
    drawn = (codes * rng.random((2 * documents, 4)) ** 2).astype(np.int64)
    return rng.permutation(np.unique(drawn, axis=0))[:documents]


def dictionary_trie(codes: np.ndarray, retriever: DocIDRetriever) -> dict[tuple[int, ...], list[int]]:
    """Return the tokens that may follow each prefix of tokens."""
    following: dict[tuple[int, ...], set[int]] = {}
    for row in (codes + np.array(retriever.first_tokens)).tolist():
        for position, token in enumerate(row):
            following.setdefault(tuple(row[:position]), set()).add(token)
    return {prefix: sorted(tokens) for prefix, tokens in following.items()}


def generate(retriever: DocIDRetriever, batch: TokenBatch, beams: int, **constraint: object) -> torch.Tensor:
    """Return the codes of the best DocIDs, (queries, beams, 4), by Hugging Face's beam search."""
    tokens = retriever.t5.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        num_beams=beams,
        num_return_sequences=beams,
        min_new_tokens=4,
        max_new_tokens=4,
        length_penalty=0.0,
        do_sample=False,
        **constraint,
    )
    return (tokens[:, 1:].cpu() - torch.tensor(retriever.first_tokens)).view(-1, beams, 4)


def ours(
    retriever: DocIDRetriever, trie: Trie, batch: TokenBatch, beams: int, codes: np.ndarray
) -> torch.Tensor:
    """Return the same by catid2.beam."""
    nodes = beam_search(T5Scorer(retriever), trie, batch, beams).nodes
    return torch.from_numpy(codes)[trie.doc_ids[nodes].long().cpu()]


class TimedTrie(Trie):
    """A trie that adds up the seconds its look-ups take, over all its instances."""

    spent = 0.0

    def children(self, nodes: torch.Tensor, position: int) -> Children:
        """Look up as Trie does, against the clock."""
        synchronize(nodes.device.type)
        start = time.perf_counter()
        found = super().children(nodes, position)
        synchronize(nodes.device.type)
        TimedTrie.spent += time.perf_counter() - start
        return found


def look_up_share(
    retriever: DocIDRetriever, trie: Trie, batch: TokenBatch, beams: int, codes: np.ndarray
) -> float:
    """Return the share of a search that is spent in the trie."""
    clocked = TimedTrie(trie.sizes, trie.codes, trie.offsets, trie.doc_ids, trie.widths)
    with torch.inference_mode():
        start = time.perf_counter()
        ours(retriever, clocked, batch, beams, codes)
        synchronize(batch.input_ids.device.type)
    return TimedTrie.spent / (time.perf_counter() - start)


def timed(way: Callable, batches: list[TokenBatch], device: str) -> tuple[float, torch.Tensor]:
    """Return the seconds that `way` takes for all batches after one warm-up, and its lists."""
    with torch.inference_mode():
        way(batches[0])
        synchronize(device)
        start = time.perf_counter()
        lists = torch.cat([way(batch) for batch in batches])
        synchronize(device)
    return time.perf_counter() - start, lists


def synchronize(device: str) -> None:
    """Wait for a GPU; a CPU has nothing to wait for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
