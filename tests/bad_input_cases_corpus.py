"""Broken files of a corpus, and its embeddings."""

import breakage as b
import numpy as np
import pyarrow as pa
from bad_inputs import EMBEDDINGS, JUDGEMENTS, NOISY, PRODUCT_TABLE, QUERIES, VIEW, Case

NAN = float("nan")

CASES = [
    # --- corpus: products
    Case(
        "corpus gone", "embed", b.gone(PRODUCT_TABLE),
        ("corpus/products.parquet: no such file", "run the stage"),
    ),
    Case("corpus cut", "embed", b.cut(PRODUCT_TABLE), ("corpus/products.parquet: not a complete parquet file",)),
    Case(
        "corpus empty", "embed", b.empty(PRODUCT_TABLE),
        ("corpus/products.parquet: no products", "build the corpus"),
    ),
    Case(
        "corpus empty for RQ-VAE", "train_rqvae",
        b.all_of(b.empty(PRODUCT_TABLE), b.matrix(EMBEDDINGS, lambda m: m[:0])),
        ("corpus/products.parquet: no products", "build the corpus"),
    ),
    Case(
        "corpus empty for DocIDs", "assign_docids", b.empty(PRODUCT_TABLE),
        ("corpus/products.parquet: no products", "build the corpus"),
    ),
    Case(
        "doc_id repeated", "embed", b.value(PRODUCT_TABLE, "doc_id", 1, 0),
        ("products.parquet: column 'doc_id', row 1: 0, not 1", "build the corpus again"),
    ),
    Case("no title column", "search_bm25", b.without(PRODUCT_TABLE, "title"), ("column 'title' is missing",)),
    Case(
        "doc_id is int64", "search_bm25", b.typed(PRODUCT_TABLE, "doc_id", pa.int64()),
        ("'doc_id' is int64, not int32",),
    ),
    Case(
        "no category level", "train_rqvae", b.without(PRODUCT_TABLE, "category_id_2"), ("'category_id_2' is missing",)
    ),
    Case(
        "category without a name", "make_taxonomy", b.value(PRODUCT_TABLE, "category_2", 4, None),
        ("products.parquet: column 'category_2', row 4: null", "build the corpus again"),
    ),
    Case(
        "no tree to be made", "make_taxonomy", b.nothing,
        ("--config: kind 'given' is the corpus's own tree", "name another kind"), {"--config": '{"kind": "given"}'},
    ),
    Case(
        "clusters of no vectors", "make_taxonomy", b.nothing,
        ("--embeddings: missing, but kind 'clusters' reads it",), {"--config": '{"kind": "clusters"}'},
    ),
    Case(
        "vectors of other documents", "make_taxonomy", b.matrix(EMBEDDINGS, lambda m: m[:-1]),
        ("text.npy:", "run embed on this corpus"), {"--config": '{"kind": "clusters"}', "--embeddings": EMBEDDINGS},
    ),
    Case(
        "tags that are none", "make_taxonomy", b.nothing,
        ("products.parquet: column 'tags' is missing",),
        {"--config": '{"kind": "tags"}', "--tags": PRODUCT_TABLE},
    ),
    Case(
        "noise beyond all", "make_taxonomy", b.nothing,
        ("--config: key 'share'", "less than or equal to 1"), {"--config": '{"kind": "noisy", "share": 1.5}'},
    ),
    Case(
        "taxonomy of other documents", "assign_docids", b.value(f"{NOISY}/taxonomy.parquet", "product_id", 3, "Z"),
        ("noisy-share0.2/seed0/taxonomy.parquet: not of the documents in", "make the taxonomy of this corpus"),
        {"--taxonomy": f"{NOISY}/taxonomy.parquet"},
    ),
    Case(
        "category with two parents", "train_rqvae", b.value(PRODUCT_TABLE, "category_id_1", 0, 999),
        ("corpus/products.parquet: category", "of level 2 has two parents", "make it a tree"),
    ),
    Case("category null", "train_rqvae", b.value(PRODUCT_TABLE, "category_id_3", 5, None), ("row 5: null",)),
    Case(
        "product id twice", "assign_docids", b.values(PRODUCT_TABLE, "product_id", "A"),
        ("'A' occurs twice",),
    ),
    Case(
        "product id null in corpus", "assign_docids", b.value(PRODUCT_TABLE, "product_id", 2, None),
        ("row 2",),
    ),
    # --- corpus: queries and judgements
    Case("queries cut", "search_bm25", b.cut(QUERIES), ("queries.parquet: not a complete parquet file",)),
    Case(
        "query without text", "train_retriever", b.values(QUERIES, "query", None),
        ("has no text (null)", "remove it"),
    ),
    Case("query id twice", "evaluate", b.repeated(QUERIES), ("query_id 1 is there twice",)),
    Case(
        "split of queries", "search_bm25", b.value(QUERIES, "split", 0, "dev"),
        ("'split', row 0: 'dev'", "train, test"),
    ),
    Case(
        "no test query", "search_bm25", b.values(QUERIES, "split", "train"),
        ("queries.parquet: no test quer", "build"),
    ),
    Case("no test query to decode", "retrieve", b.values(QUERIES, "split", "train"), ("no test quer",)),
    Case(
        "no train query", "train_retriever", b.values(QUERIES, "split", "test"),
        ("is not among the train queries",),
    ),
    Case(
        "label of judgements", "evaluate", b.value(JUDGEMENTS, "label", 2, "Q"),
        ("'label', row 2: 'Q'", "E, S, C, I"),
    ),
    Case(
        "pair judged twice", "train_retriever", b.repeated(JUDGEMENTS),
        ("judgements.parquet: row", "is there twice"),
    ),
    Case(
        "judged document unknown", "train_retriever",
        b.value_where(JUDGEMENTS, "doc_id", 9999, label="E", split="train"),
        ("judgements.parquet: document 9999 has no DocID", "build the corpus again"),
    ),
    Case(
        "judged document negative", "train_retriever",
        b.value_where(JUDGEMENTS, "doc_id", -1, label="E", split="train"),
        ("judgements.parquet: document -1 has no DocID",),
    ),
    Case(
        "no test judgement", "evaluate", b.values(JUDGEMENTS, "split", "train"),
        ("judgements.parquet: no test pair",),
    ),
    Case(
        "nothing seen", "evaluate", b.values(JUDGEMENTS, "seen", False),
        ("protocol seen", "out of evaluate's config"),
    ),
    Case("seen is null", "evaluate", b.value(JUDGEMENTS, "seen", 0, None), ("column 'seen', row 0: null",)),
    # --- embeddings
    Case(
        "embeddings NaN", "train_rqvae", b.matrix(EMBEDDINGS, b.at(7, 0, NAN)),
        ("text.npy: row 7", "run embed"),
    ),
    Case(
        "embeddings inf", "assign_docids", b.matrix(EMBEDDINGS, b.at(9, 1, np.inf)),
        ("text.npy: row 9",),
    ),
    Case(
        "float32", "train_rqvae", b.matrix(EMBEDDINGS, np.float32),
        ("text.npy: float32 of shape", "run embed"),
    ),
    Case("one dimension", "train_rqvae", b.matrix(EMBEDDINGS, np.ravel), ("text.npy: float16 of shape",)),
    Case(
        "a row too few", "train_rqvae", b.matrix(EMBEDDINGS, lambda m: m[1:]),
        ("rows for", "run embed on this"),
    ),
    Case(
        "no columns", "train_rqvae", b.matrix(EMBEDDINGS, lambda m: m[:, :0]),
        ("text.npy: float16 of shape",),
    ),
    Case(
        "other width", "assign_docids", b.matrix(EMBEDDINGS, lambda m: m[:, :9]),
        ("9 dimensions", "RQ-VAE takes 32"),
    ),
    Case(
        "embeddings cut", "assign_docids", b.cut(EMBEDDINGS),
        ("text.npy: not a complete .npy matrix", "run embed"),
    ),
    # --- vectors of queries
    Case(
        "queries to embed without text", "embed_queries", b.value(QUERIES, "query", 3, None),
        ("has no text (null)", "remove it"),
    ),
    Case("no queries to embed", "embed_queries", b.empty(QUERIES), ("queries.parquet: no queries",)),
    Case(
        "view unknown", "embed_queries", b.key(f"{VIEW}.json", "view.encoder.kind", "bert"),
        ("text.json: view", "'hf', 'tfidf_svd'"),
    ),
    Case(
        "other documents", "embed_queries", b.matrix(EMBEDDINGS, lambda m: m[::-1]),
        ("text.npy: not the vectors that its encoder now gives", "run embed again"),
    ),
    # --- dense search and its training
    Case(
        "vectors of other queries", "search_dense", b.value(QUERIES, "query", 3, "another"),
        ("text_queries.json: not of the queries in", "run embed_queries again"),
    ),
    Case(
        "vectors of a query not finite", "search_dense", b.matrix(f"{VIEW}_queries.npy", b.at(0, 0, NAN)),
        ("text_queries.npy: row 0: a value is not finite",),
    ),
    Case("vectors of documents cut", "search_dense", b.cut(EMBEDDINGS), ("text.npy: not a complete .npy matrix",)),
    Case(
        "no test query to search for", "search_dense", b.values(QUERIES, "split", "train"),
        ("queries.parquet: no test query", "build the corpus"),
    ),
    Case(
        "no train query to learn from", "train_dual_encoder", b.values(QUERIES, "split", "test"),
        ("is not among the train queries",),
    ),
    Case(
        "document to learn unknown", "train_dual_encoder",
        b.value_where(JUDGEMENTS, "doc_id", 10**6, label="E", split="train"),
        ("judgements.parquet: document 1000000 is not in", "build the corpus again"),
    ),
]  # fmt: skip
