"""Time constrained beam search three ways on one random model, side by side, and compare the lists.

The ways are catid2.search.beam, `generate` with DocIDLogitsProcessor, and `generate` with a dictionary trie in
`prefix_allowed_tokens_fn`, as generative retrieval code usually has it. Prints milliseconds per query, the share of
ranks with the same DocID, and the share of our time that the constraint takes.

    python benchmarks/beam_search.py --documents 131935 --beams 100 --batch 16
    python benchmarks/beam_search.py --size full        # every setting of SETTINGS
"""

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from measured import Measured, Size, show, timed
from transformers import T5Config, T5ForConditionalGeneration
from transformers.utils import logging

from catid2.retriever.t5 import DocIDRetriever, add_docid_tokens
from catid2.retriever.tokenizer import train_tokenizer
from catid2.search.beam import beam_search
from catid2.search.logits_processor import DocIDLogitsProcessor
from catid2.search.trie import Children, Trie
from catid2.training.tokens import TokenBatch


class Model(NamedTuple):
    """The shape of the random T5."""

    width: int = 256
    layers: int = 4  # of the encoder, and of the decoder
    vocabulary: int = 32_100  # text tokens
    codes: int = 256  # per position, of four


class Setting(NamedTuple):
    """What is searched."""

    documents: int
    beams: int
    batch: int  # queries decoded together
    queries: int


ES = 131_935  # DocIDs of ESCI-es as the paper counts them
DICTIONARY_LIMIT = (
    1_000_000  # documents of which "short" still builds a dictionary trie: it takes minutes and GBs
)
SMALL = Model(64, 1, 400, 16)
SETTINGS: dict[Size, list[Setting]] = {
    "tiny": [Setting(500, 4, 2, 2)],
    "short": [
        Setting(ES, 100, 16, 16),
        Setting(ES, 100, 64, 64),
        Setting(ES, 100, 1, 4),
        Setting(ES, 10, 16, 16),
        Setting(20_000, 100, 16, 16),
        Setting(386_392, 100, 16, 16),
        Setting(5_000_000, 100, 16, 16),
    ],
    "full": [
        Setting(documents, beams, batch, max(batch, 16))
        for documents in (20_000, ES, 386_392, 5_000_000)
        for beams in (10, 100)
        for batch in (1, 16, 64)
    ],
}
TOKENS = 12  # per query


def benchmark(size: Size, device: str = "cpu") -> Iterator[Measured]:
    """Yield milliseconds per query of every setting, the shares of equal ranks and of the constraint."""
    return compare(SETTINGS[size], SMALL if size == "tiny" else Model(), device, everywhere=size == "full")


def compare(
    settings: list[Setting], model: Model, device: str, everywhere: bool = True
) -> Iterator[Measured]:
    """Measure settings, by number of documents; `everywhere` builds the dictionary trie of any number."""
    torch.manual_seed(0)
    logging.set_verbosity_error()
    retriever = random_retriever(model, device)
    for documents in dict.fromkeys(setting.documents for setting in settings):
        codes = random_docids(documents, model.codes)
        trie = Trie.from_codes(codes, retriever.sizes).to(device)
        ways = {
            "DocIDLogitsProcessor": {"logits_processor": [DocIDLogitsProcessor(trie, retriever.first_tokens)]}
        }
        if everywhere or documents <= DICTIONARY_LIMIT:
            allowed = dictionary_trie(codes, retriever)
            ways["dictionary trie"] = {
                "prefix_allowed_tokens_fn": lambda _, tokens, allowed=allowed: allowed[
                    tuple(tokens.tolist()[1:])
                ]
            }
        for setting in settings:
            if setting.documents == documents:
                yield from compare_ways(setting, retriever, trie, codes, ways, device)


def compare_ways(
    setting: Setting,
    retriever: DocIDRetriever,
    trie: Trie,
    codes: np.ndarray,
    ways: dict[str, dict],
    device: str,
) -> Iterator[Measured]:
    """Measure one setting: ours next to `generate` under each constraint of `ways`."""
    gpu = "" if device == "cpu" else "_gpu"
    judged = setting.beams == 100 and setting.batch >= 16 and setting.documents == ES
    input_ids = torch.randint(3, 300, (setting.queries, TOKENS), device=device)
    batches = [TokenBatch(ids, torch.ones_like(ids)) for ids in input_ids.split(setting.batch)]
    where = f"{setting.documents} DocIDs, {setting.beams} beams, batch {setting.batch}"
    what, unit = "beam search", "ms/query"
    mine = search_all(lambda batch: ours(retriever, trie, batch, setting.beams, codes), batches, device)
    if gpu and judged and setting.batch == 64:
        yield Measured("beam_query_gpu", what, where, 1e3 * mine.seconds / setting.queries, unit)
    for name, constraint in ways.items():
        theirs = search_all(
            lambda batch, constraint=constraint: generate(retriever, batch, setting.beams, **constraint),
            batches,
            device,
        )
        pair = (
            1e3 * mine.seconds / setting.queries,
            unit,
            f"generate, {name}",
            1e3 * theirs.seconds / setting.queries,
        )
        row = f"beam_time{gpu}" if judged and name == "dictionary trie" else ""
        yield Measured(row, what, where, *pair)
        # Under prefix_allowed_tokens_fn scores are of the softmax over all tokens, which is another ranking.
        if name == "DocIDLogitsProcessor":
            same = (mine.lists == theirs.lists).all(dim=2).float().mean().item()
            row = "beam_lists" if judged else ""
            yield Measured(row, "same DocID as generate", where, same, "share of ranks")
    if setting.beams == 100 and setting.batch == 16:
        search = look_up_seconds(retriever, trie, batches[0], setting.beams, codes)
        row = f"beam_constraint{gpu}" if judged else ""
        pair = (1e3 * search.look_ups, "ms", "the whole search", 1e3 * search.whole)
        yield Measured(row, "trie look-ups of a search", where, *pair)


def main() -> None:
    """Run the comparison on the command line's sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", choices=SETTINGS, help="a list of settings instead of the one named by the rest"
    )
    parser.add_argument("--documents", type=int, default=ES, help="DocIDs in the trie (default: ESCI-es)")
    parser.add_argument("--beams", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16, help="queries decoded together")
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    one = Setting(arguments.documents, arguments.beams, arguments.batch, arguments.queries)
    if arguments.size:
        measured = benchmark(arguments.size, arguments.device)
    else:
        measured = compare([one], Model(), arguments.device)
    for line in measured:
        print(show(line))


def random_retriever(model: Model, device: str) -> DocIDRetriever:
    """Return a T5 with random weights and the DocID tokens added."""
    config = T5Config(
        vocab_size=model.vocabulary,
        d_model=model.width,
        d_ff=4 * model.width,
        num_heads=model.width // 64,
        num_layers=model.layers,
        decoder_start_token_id=0,
    )
    tokenizer = train_tokenizer([], 300)
    tokenizer.add_tokens([f"<text_{i}>" for i in range(model.vocabulary - len(tokenizer))])
    retriever = add_docid_tokens(T5ForConditionalGeneration(config), tokenizer, [model.codes] * 4)
    return retriever.eval().to(device)


def random_docids(documents: int, codes: int) -> np.ndarray:
    """Return distinct DocIDs of four positions, (documents, 4), their codes drawn with unequal frequencies."""
    rng = np.random.default_rng(0)
    drawn = (codes * rng.random((2 * documents, 4)) ** 2).astype(np.int64)
    numbers = np.unique(np.ravel_multi_index(tuple(drawn.T), (codes,) * 4))
    return np.stack(np.unravel_index(rng.permutation(numbers)[:documents], (codes,) * 4), axis=1)


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
    """Return the same by catid2.search.beam."""
    nodes = beam_search(retriever.scorer(), trie, batch, beams).nodes
    return torch.from_numpy(codes)[trie.doc_ids[nodes].long().cpu()]


class TimedTrie(Trie):
    """A trie that adds up the seconds its look-ups take, over all its instances."""

    spent = 0.0

    def children(self, nodes: torch.Tensor, position: int) -> Children:
        """Look up as Trie does, against the clock."""
        found = timed(lambda: Trie.children(self, nodes, position), nodes.device.type)
        TimedTrie.spent += found.seconds
        return found.result


class Search(NamedTuple):
    """Seconds of one search."""

    look_ups: float  # in the trie
    whole: float


def look_up_seconds(
    retriever: DocIDRetriever, trie: Trie, batch: TokenBatch, beams: int, codes: np.ndarray
) -> Search:
    """Return how long a search takes, and its look-ups in the trie among it."""
    clocked = TimedTrie(**vars(trie))
    TimedTrie.spent = 0.0
    with torch.inference_mode():
        whole = timed(lambda: ours(retriever, clocked, batch, beams, codes), batch.input_ids.device.type)
    return Search(TimedTrie.spent, whole.seconds)


class Lists(NamedTuple):
    """What a way found, (queries, beams, 4), and how long it took."""

    lists: torch.Tensor
    seconds: float


def search_all(way: Callable[[TokenBatch], torch.Tensor], batches: list[TokenBatch], device: str) -> Lists:
    """Search all batches, after one query to warm up."""
    with torch.inference_mode():
        way(TokenBatch(*(tensor[:1] for tensor in batches[0])))
        return Lists(*timed(lambda: torch.cat([way(batch) for batch in batches]), device))


if __name__ == "__main__":
    main()
