"""Which stages a method's results went through, and where each has left its log and its measures."""

from typing import NamedTuple

from catid2.plan.settings import Pipeline

# of a chain
RULES = {
    "taxonomy": "make_taxonomy",
    "rqvae": "train_rqvae",
    "docids": "assign_docids",
    "retriever": "train_retriever",
}


class StageLog(NamedTuple):
    """A stage of a method."""

    rule: str
    owner: str  # the method in whose folder the result lies, or the view
    log: str  # its path without an ending; next to it is .benchmark.tsv


def stage_logs(pipeline: Pipeline, dataset: str, method: str, seed: int) -> list[StageLog]:
    """Return the stages that `method` is made by, in their order; the corpus is everyone's and not among them."""

    def own(rule: str, owner: str = method) -> StageLog:
        return StageLog(rule, owner, f"logs/{dataset}/{owner}/seed{seed}/{rule}")

    def of_view(*rules: str) -> list[StageLog]:
        view = pipeline.method_view(method)
        return [StageLog(rule, f"view {view}", f"logs/{dataset}/{rule}/{view}") for rule in rules]

    search = pipeline.config.methods[method].search
    if search == "bm25":
        return [own("search_bm25")]
    if search == "dense":
        return [*of_view("embed", "embed_queries"), own("search_dense")]
    if search == "dual_encoder":
        return [own(rule) for rule in ("train_dual_encoder", "embed", "embed_queries", "search_dense")]
    chain = [
        own(RULES[stage], pipeline.owner(stage, dataset, method)) for stage in pipeline.chain(dataset, method)
    ]
    return [*of_view(*_embeddings(pipeline, dataset, method)), *chain, own("retrieve")]


def _embeddings(pipeline: Pipeline, dataset: str, method: str) -> list[str]:
    """Return the rules that embed what a generative method reads: queries only where something compares them."""
    ranks = pipeline.stage("retrieve", dataset, method).rank_below_level is not None
    compared = ranks or pipeline.stage("retriever", dataset, method).reads_vectors
    return ["embed", "embed_queries"] if compared else ["embed"]
