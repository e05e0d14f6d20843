"""Which stages a method's results went through, and where each has left its log and its measures."""

from typing import NamedTuple

from catid2.config.stages import STAGES
from catid2.plan.settings import Pipeline


class StageLog(NamedTuple):
    """A stage of a method."""

    rule: str
    owner: str  # the method in whose folder the result lies, or the view
    log: str  # its path without an ending; next to it is .benchmark.tsv


def stage_logs(pipeline: Pipeline, dataset: str, method: str, seed: int) -> list[StageLog]:
    """Return the stages that `method` is made by, in their order; the corpus is everyone's and not among them."""

    def own(rule: str, owner: str = method) -> StageLog:
        return StageLog(rule, owner, f"logs/{dataset}/{owner}/seed{seed}/{rule}")

    logs = [
        own(STAGES[stage].rule, pipeline.owner(stage, dataset, method))
        for stage in pipeline.run_stages(dataset, method)
    ]
    if view := pipeline.method_view(method):
        rules = _embeddings(pipeline, dataset, method)
        return [*(StageLog(rule, f"view {view}", f"logs/{dataset}/{rule}/{view}") for rule in rules), *logs]
    if pipeline.config.methods[method].search == "dual_encoder":  # a view of its own
        return [logs[0], own("embed"), own("embed_queries"), *logs[1:]]
    return logs


def _embeddings(pipeline: Pipeline, dataset: str, method: str) -> list[str]:
    """Return the rules that embed what a method reads: queries only where something compares them."""
    if pipeline.config.methods[method].search == "generative" and not (
        pipeline.stage("retrieve", dataset, method).rank_below_level is not None
        or pipeline.stage("retriever", dataset, method).reads_vectors
    ):
        return ["embed"]
    return ["embed", "embed_queries"]
