"""The DocID constraint for Hugging Face `generate`, with the trie and the scores of catid2.search.beam.

docs/method.md, "Search with `generate`", has a complete example. beam_search gives the same lists several times faster;
this class is for programs built around `generate`.
"""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from catid2.search.trie import Trie


class DocIDLogitsProcessor(LogitsProcessor):
    """Allows only tokens that extend a DocID prefix, scored by the softmax over the codes of their position.

    It has no state: the node of each beam follows from its tokens, so one instance serves any number of concurrent
    `generate` calls. A beam whose tokens are not a DocID prefix gets -inf everywhere.

    Args:
        trie: the DocIDs, on the device of the model.
        first_tokens: the token id of code 0 of each position; code k is `first_tokens[position] + k`.
        prompt_length: how many decoder tokens come before the DocID (1: the start token of T5).
    """

    def __init__(self, trie: Trie, first_tokens: Sequence[int], prompt_length: int = 1):
        self.trie = trie
        self.first_tokens = tuple(first_tokens)
        self.prompt_length = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the log-probabilities of the next token, (beams, vocabulary) like `scores`.

        Raises:
            ValueError: the beams already hold complete DocIDs.
        """
        position = input_ids.shape[1] - self.prompt_length
        if not 0 <= position < self.trie.depth:
            raise ValueError(
                f"DocIDs have {self.trie.depth} positions; pass max_new_tokens={self.trie.depth}"
            )
        nodes = self._nodes(input_ids, position)
        children = self.trie.children(nodes.clamp(min=0), position)
        first, size = self.first_tokens[position], self.trie.sizes[position]
        log_probabilities = scores[:, first : first + size].float().log_softmax(dim=-1)
        allowed = children.pick(log_probabilities)
        allowed = allowed.masked_fill(~children.valid | (nodes < 0).unsqueeze(1), float("-inf"))
        constrained = torch.full_like(scores, float("-inf"))
        # Padding repeats a code: amax keeps the score of its real child.
        return constrained.scatter_reduce(1, first + children.codes, allowed.to(scores.dtype), "amax")

    def doc_ids(self, sequences: torch.LongTensor) -> torch.Tensor:
        """Return the doc_ids (n,) of `sequences` (n, prompt_length + L) from `generate`; -1 if they are no DocID."""
        nodes = self._nodes(sequences, self.trie.depth)
        return self.trie.doc_ids[nodes.clamp(min=0)].masked_fill(nodes < 0, -1)

    def _nodes(self, input_ids: torch.LongTensor, depth: int) -> torch.Tensor:
        """Return the node of `depth` that each row's tokens lead to; -1 if they are not a DocID prefix."""
        nodes = torch.zeros(len(input_ids), dtype=torch.long, device=input_ids.device)
        for position in range(depth):
            codes = input_ids[:, self.prompt_length + position] - self.first_tokens[position]
            nodes = self.trie.descend(nodes, codes, position)
        return nodes
