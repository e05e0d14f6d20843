"""What the project wants to reach in speed and size, row by row, and whether a measurement reaches it."""

from typing import Literal, NamedTuple

from measured import Measured


class Aim(NamedTuple):
    """A limit on a figure of a measurement."""

    what: str
    judged: Literal["ours", "ours / theirs", "theirs / ours"]
    sense: Literal["≤", "≥"]
    limit: float
    gpu: str = ""  # the benchmark that measures it, if that needs a GPU

    def __str__(self) -> str:
        """Return the condition, such as `theirs / ours ≥ 5`."""
        return f"{self.judged} {self.sense} {self.limit:g}"

    def figure(self, measured: Measured) -> float:
        """Return what is held against the limit."""
        if self.judged == "ours":
            return measured.ours
        above, below = (measured.ours, measured.theirs)[:: 1 if self.judged == "ours / theirs" else -1]
        return above / below if below else float("inf")

    def reached(self, measured: Measured) -> bool:
        """Return whether the measurement keeps the limit."""
        figure = self.figure(measured)
        return figure <= self.limit if self.sense == "≤" else figure >= self.limit


AIMS = {
    "rqvae_time": Aim(
        "RQ-VAE step with all four losses against the plain step, B 4096", "ours / theirs", "≤", 1.5
    ),
    "rqvae_memory": Aim("peak memory of that step", "ours / theirs", "≤", 2),
    "rqvae_step_gpu": Aim(
        "the same step on a GPU, as one CUDA graph, in ms", "ours", "≤", 3, gpu="rqvae_step"
    ),
    "rqvae_time_gpu": Aim(
        "this step against the plain one, both as a graph", "ours / theirs", "≤", 1.5, gpu="rqvae_step"
    ),
    "beam_time": Aim(
        "beam search, 100 beams, batch ≥ 16, against generate with a dictionary trie", "theirs / ours", "≥", 5
    ),
    "beam_lists": Aim("share of ranks with the same DocID as generate's", "ours", "≥", 1),
    "beam_constraint": Aim("trie look-ups as a share of a search", "ours / theirs", "≤", 0.02),
    "beam_time_gpu": Aim("the same beam search on a GPU", "theirs / ours", "≥", 10, gpu="beam_search"),
    "beam_query_gpu": Aim("that beam search, batch 64, in ms a query", "ours", "≤", 0.5, gpu="beam_search"),
    "beam_constraint_gpu": Aim(
        "trie look-ups as a share of a search, GPU", "ours / theirs", "≤", 0.02, gpu="beam_search"
    ),
    "repair_left": Aim("documents that collide after the repair", "ours", "≤", 0),
    "repair_time": Aim("repair of DocIDs against the 20-round loop", "theirs / ours", "≥", 20),
    "repair_distortion": Aim("distortion that the repair adds, against the loop's", "ours / theirs", "≤", 1),
    "repair_memory": Aim(
        "memory of the repair per document, 5 million against 386,000", "ours / theirs", "≤", 1.2
    ),
    "corpus_memory": Aim("corpora of all locales at full ESCI size, peak memory in GB", "ours", "≤", 4),
    "corpus_time": Aim("these corpora against a pandas merge", "theirs / ours", "≥", 5),
    "no_op": Aim("a rerun with nothing to do, three locales, in s", "ours", "≤", 5),
    "demo": Aim("the demo from nothing, three locales, in s", "ours", "≤", 480),
    "epochs_gpu": Aim(
        "300 epochs of the RQ-VAE at the size of ESCI us, in s", "ours", "≤", 120, gpu="rqvae_epochs"
    ),
    "epochs_memory_gpu": Aim(
        "its GPU memory above the embeddings, in GB", "ours", "≤", 2, gpu="rqvae_epochs"
    ),
    "embedding_gpu": Aim(
        "embedding 386,392 documents with T5-base's encoder, in s", "ours", "≤", 300, gpu="encoder_batches"
    ),
    "embedding_rate_gpu": Aim(
        "T5-base's encoder, share of the measured bf16 matrix rate",
        "ours / theirs",
        "≥",
        0.5,
        gpu="encoder_batches",
    ),
    "training_gpu": Aim(
        "T5-base training, share of the measured bf16 matrix rate",
        "ours / theirs",
        "≥",
        0.35,
        gpu="retriever_training",
    ),
    "compile_gpu": Aim("compiling the blocks of T5-base, in s", "ours", "≤", 60, gpu="retriever_training"),
}
