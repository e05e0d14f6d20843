"""What the settings of the views change: the vectors of documents and of queries."""

from pathlib import Path

from effect_corpus import DIMS, MODELS, corpus
from effects import Outputs, Seed, Table, below, planned, row, stage

from catid2.config.embed import HfEncoder, TfidfSvdEncoder, View
from catid2.embedding.documents import Outputs as Files
from catid2.embedding.documents import embed
from catid2.embedding.queries import Corpus, embed_queries
from catid2.embedding.queries import Outputs as QueryFiles
from catid2.runtime.tables import read_embeddings, read_json

TFIDF = {"kind": "tfidf_svd", "dims": DIMS}
VIEW = {"template": "{title} {description}", "encoder": TFIDF}


@stage(View, VIEW)
def vectors(view: View, folder: Path, seed: int) -> Outputs:
    """Embed documents and queries."""
    files = Files(folder / "view.npy", folder / "view.json", folder / "shards")
    embed(view.of_documents(), corpus().products, files, seed)
    queries = QueryFiles(folder / "view_queries.npy", folder / "view_queries.json")
    embed_queries(view.query_prefix, Corpus(files.matrix, corpus().products, corpus().queries), queries)
    made = {"documents": read_embeddings(files.matrix), "queries": read_embeddings(queries.matrix)}
    sizes = {"dimensions": made["documents"].shape[1], "words": read_json(files.metadata).get("features")}
    return {name: matrix.copy() for name, matrix in made.items()} | sizes


def model(name: str) -> dict[str, str]:
    """Return the settings of a pretrained encoder."""
    return {"kind": "hf", "model": str(MODELS / name), "max_tokens": 24}


MPNET = {"encoder": model("mpnet")}

TABLES = [
    Table(
        View,
        [
            row("template", "{title}", "{title} {brand}", differs="documents"),
            row("max_characters", 4000, 12, differs="documents"),
            row("encoder", TFIDF, model("mpnet"), differs="documents, queries"),
            row("query_prefix", "", "red ", differs="queries", same="documents"),
        ],
        vectors,
    ),
    Table(
        HfEncoder,
        [
            row(
                "model",
                str(MODELS / "mpnet"),
                str(MODELS / "t5"),
                differs="documents, queries",
                **MPNET,
            ),
            planned("revision", "fetch_model model=some/encoder@of722", "of722"),
            row("pooling", "mean", "cls", "modules", differs="documents, queries", **MPNET),
            row("max_tokens", 24, 4, differs="documents", **MPNET),
            row("prefix", "", "red ", differs="documents", same="queries", **MPNET),
            row("normalize", False, True, differs="documents, queries", **MPNET),
        ],
        vectors,
        below("encoder"),
    ),
    Table(
        TfidfSvdEncoder,
        [
            row("dims", DIMS, DIMS + 1, differs="dimensions, documents, queries"),
            row("tokenizer", "words", "words_cjk_bigrams", differs="documents, queries"),
            row("fit_documents", 2**19, 60, differs="documents, queries", same="dimensions"),
            row("max_features", 2**18, 16, differs="documents, queries", same="dimensions"),
            row("normalize", False, True, differs="documents, queries", same="dimensions"),
        ],
        vectors,
        below("encoder"),
    ),
]

SEEDS = [
    Seed("SVD", vectors, differs="documents", script="embed"),
    Seed(
        "sample that the SVD learns from",
        vectors,
        differs="words",  # of the sample
        settings={"template": "{bullets}", "encoder": {"fit_documents": 20}},
    ),
]
