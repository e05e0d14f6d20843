"""Options that cannot be, and places that cannot be written."""

import breakage as b
from bad_inputs import CORPUS, DATASET, DOCIDS, EMBEDDINGS, RECALL, RETRIEVER, VIEW, Case, settings

CASES = [
    # --- options
    Case("config no JSON", "embed", b.nothing, ("--config: not JSON", "one JSON object"), {"--config": "{"}),
    Case("config a list", "search_bm25", b.nothing, ("--config", "valid"), {"--config": "[]"}),
    Case("config deep", "evaluate", b.nothing, ("--config: not JSON",), {"--config": "[" * 100_000}),
    Case(
        "config key", "train_rqvae", b.nothing,
        ("unknown key 'epoch'", "did you mean 'epochs'"), settings("train_rqvae", epoch=1),
    ),
    Case(
        "epochs", "train_retriever", b.nothing,
        ("key 'epochs'", "greater than or equal to 1"), settings("train_retriever", epochs=0),
    ),
    Case(
        "H and L", "train_rqvae", b.nothing,
        ("levels (4) must be below layers (4)",), settings("train_rqvae", levels=4),
    ),
    Case(
        "template", "embed", b.nothing,
        ("unknown template field 'name'", "allowed"), settings("embed", template="{name}"),
    ),
    Case(
        "no such level", "embed", b.nothing,
        ("no {category_9}", "the products have"), settings("embed", template="{category_9}"),
    ),
    Case("seed", "train_rqvae", b.nothing, ("--seed", "give 0 or more"), {"--seed": "-1"}),
    Case("seed of retriever", "train_retriever", b.nothing, ("--seed", "give 0 or more"), {"--seed": "-1"}),
    Case("seed of simulation", "simulate_esci", b.nothing, ("--seed", "give 0 or more"), {"--seed": "-1"}),
    Case("batches", "measure_latency", b.nothing, ("--batches", "give 1 or more"), {"--batches": "0"}),
    Case("searches", "measure_latency", b.nothing, ("--searches", "give 1 or more"), {"--searches": "0"}),
    Case(
        "retriever without DocIDs", "measure_latency", b.nothing, ("--docids: goes with --retriever", "give both"),
        {"--docids": None},
    ),
    Case("no query to trace", "trace_beams", b.nothing, ("--shown", "give 1 or more"), {"--shown": "0"}),
    Case("metric to trace by", "trace_beams", b.nothing, ("--metric: String", "'mrr@10'"), {"--metric": "mrr@10"}),
    Case("batch size", "retrieve", b.nothing, ("--batch-size", "give 1 or more"), {"--batch-size": "0"}),
    Case("seconds", "train_rqvae", b.nothing, ("--checkpoint-seconds",), {"--checkpoint-seconds": "nan"}),
    Case(
        "batch too large", "train_retriever", b.nothing,
        ("batch_size",), settings("train_retriever", batch_size=10**7),
    ),
    Case(
        "template of a dual encoder", "train_dual_encoder", b.nothing,
        ("unknown template field 'name'",), settings("train_dual_encoder", template="{name}"),
    ),
    Case(
        "documents to list", "search_dense", b.nothing,
        ("key 'top_k'", "greater than or equal to 1"), settings("search_dense", top_k=0),
    ),
    Case(
        "more codes than documents", "train_rqvae", b.nothing,
        ("rqvae.codebook_size: 5000 codes a layer for", "set it to"), settings("train_rqvae", codebook_size=5000),
    ),
    Case(
        "too many dims", "embed", b.nothing,
        ("dims",), settings("embed", encoder={"kind": "tfidf_svd", "dims": 10**6}),
    ),
    Case(
        "no such encoder", "embed", b.nothing,
        ("resources/tiny", "give a folder"), settings("embed", encoder={"kind": "hf", "model": "resources/tiny"}),
    ),
    Case(
        "no embeddings", "retrieve", b.nothing,
        ("rank_below_level", "--embeddings"), settings("retrieve", rank_below_level=2),
    ),
    Case(
        "a key of T5", "train_retriever", b.nothing, ("--config: unknown key 'small'", "allowed keys: batch_size"),
        {"--config": '{"kind": "light", "small": {}}', "--embeddings": EMBEDDINGS},
    ),
    Case(
        "a key of light", "train_retriever", b.nothing, ("--config: unknown key 'd_model'", "allowed keys: batch_size"),
        {"--config": '{"d_model": 64}'},
    ),
    Case(
        "no such retriever", "train_retriever", b.nothing, ("--config", "'t5', 'light'"),
        {"--config": '{"kind": "lite"}'},
    ),
    Case(
        "light without vectors", "train_retriever", b.nothing,
        ("--embeddings: a light retriever reads the", "give VIEW"),
        {"--config": '{"kind": "light"}'},
    ),
    Case(
        "T5 with vectors", "train_retriever", b.nothing, ("--embeddings: a t5 retriever reads no", "leave it out"),
        {"--embeddings": EMBEDDINGS},
    ),
    Case(
        "heads", "train_retriever", b.nothing, ("d_model 128 is no multiple of num_heads 3",),
        {"--config": '{"kind": "light", "num_heads": 3}', "--embeddings": EMBEDDINGS},
    ),
    Case(
        "vectors of queries cut", "train_retriever", b.cut(f"{VIEW}_queries.npy"), ("text_queries.npy: not a",),
        {"--config": '{"kind": "light"}', "--embeddings": EMBEDDINGS},
    ),
    Case(
        "queries not embedded", "retrieve", b.gone(f"{VIEW}_queries.json"),
        ("text_queries.json: no such file", "run the stage"),
        settings("retrieve", rank_below_level=2) | {"--embeddings": EMBEDDINGS},
    ),
    Case(
        "no address", "fetch_esci_s", b.nothing,
        ("--config", "esci_s.url"), {"--config": '{"esci_s": {"url": "ftp://x"}}'},
    ),
    Case(
        "no checksum", "fetch_esci", b.nothing,
        ("--config", "sha256"), {"--config": '{"examples": {"url": "http://x", "sha256": "1"}}'},
    ),
    # --- pretrained models
    Case("model without a name", "fetch_model", b.nothing, ("--config", "missing key 'name'"), {"--config": "{}"}),
    Case(
        "hub without a network", "fetch_model", b.nothing,
        ("google/mt5-base: not in models/mt5", "HF_HUB_OFFLINE=0 snakemake --cores 1 models/mt5/fetched.json"),
    ),
    Case(
        "models over others", "fetch_model", b.nothing,
        ("retriever: holds a model that was not fetched", "name a new folder"), {"--output": RETRIEVER},
    ),
    Case(
        "no such folder to embed", "embed", b.nothing, ("./mt5: no such folder", "OWNER/NAME"),
        {"--config": '{"encoder": {"kind": "hf", "model": "./mt5"}}'},
    ),
    Case(
        "no such folder to train", "train_retriever", b.nothing, ("./mt5: no such folder", "OWNER/NAME"),
        {"--config": '{"pretrained": "./mt5"}'},
    ),
    Case(
        "model not fetched", "train_dual_encoder", b.nothing,
        ("google/bert: no folder, and a model of the hub that is not in resources/models/google/bert@main",
         "python scripts/fetch_model.py --config"),
        {"--config": '{"pretrained": "google/bert", "valid_share": 0.2}'},
    ),
    # --- a refreshed catalogue
    Case(
        "T5 to start light from", "train_retriever", b.nothing,
        ("retriever: not a light retriever", "give the folder of one"),
        {"--config": f'{{"kind": "light", "pretrained": "{RETRIEVER}", "valid_share": 0.2}}'}
        | {"--embeddings": EMBEDDINGS},
    ),
    Case(
        "light to start T5 from", "train_retriever", b.nothing, ("light/seed0/retriever", "light"),
        settings("train_retriever", pretrained=f"{DATASET}/light/seed0/retriever"),
    ),
    Case(
        "start of other positions", "train_retriever", b.nothing,
        ("catid2/seed0/retriever: knows [", "codes per position, the DocIDs have", "train from other weights"),
        settings("train_retriever", pretrained=RETRIEVER) | {"--docids": f"{DATASET}/tiger/seed0/docids.parquet"},
    ),
    Case(
        "nothing to align to", "train_rqvae", b.nothing, ("old.parquet: no such file",),
        settings("train_rqvae", align_to="old.parquet"),
    ),
    Case(
        "aligned to no parquet", "train_rqvae", b.nothing, ("key 'align_to'", "parquet"),
        settings("train_rqvae", align_to="old.csv"),
    ),
    Case(
        "aligned to the products", "train_rqvae", b.nothing, ("products.parquet: no columns c_0, c_1",),
        settings("train_rqvae", align_to=f"{CORPUS}/products.parquet"),
    ),
    Case(
        "aligned to other sizes", "train_rqvae", b.nothing,
        ("docids.parquet: was made by", "align to DocIDs of the same sizes"),
        settings("train_rqvae", align_to=DOCIDS, layers=5),
    ),
    Case(
        "aligned to a product twice", "assign_docids", b.values(DOCIDS, "product_id", "X"),
        ("docids.parquet: ", "'X'"), {"--align-to": DOCIDS},
    ),
    Case(
        "aligned to another repair", "assign_docids", b.nothing,
        ("docids.parquet: DocIDs of", "take the repair that they were made with"),
        settings("assign_docids", repair="digit") | {"--align-to": DOCIDS},
    ),
    Case(
        "a scheme that is not aligned", "assign_docids", b.nothing,
        ("--align-to: the scheme random is not aligned", "leave it out"),
        settings("assign_docids", scheme={"kind": "random", "layers": 3, "codebook_size": 16})
        | {"--align-to": DOCIDS, "--model": None},
    ),
    # --- outputs and checkpoints
    Case(
        "retriever over others", "train_retriever", b.nothing,
        ("corpus: holds files other than those of a trained retriever",), {"--output": CORPUS},
    ),
    Case("output is a folder", "search_bm25", b.nothing, ("corpus: is a folder",), {"--output": CORPUS}),
    Case(
        "output below a file", "search_bm25", b.nothing,
        ("cannot be written", "choose another path"), {"--output": f"{RECALL}/x"},
    ),
    Case(
        "model below a file", "train_rqvae", b.nothing,
        ("cannot be written", "choose another path"), {"--model": f"{RECALL}/x"},
    ),
    Case(
        "one path twice", "evaluate", b.nothing,
        ("named for two outputs", "its own"), {"--output": "a", "--per-query": "a"},
    ),
    Case("checkpoints a file", "train_rqvae", b.nothing, ("recall.tsv",), {"--checkpoints": RECALL}),
    Case("retriever state a file", "train_retriever", b.nothing, ("recall.tsv",), {"--checkpoints": RECALL}),
    Case(
        "foreign files", "train_rqvae", b.nothing,
        ("corpus: holds files that are not checkpoints",), {"--checkpoints": CORPUS},
    ),
    Case(
        "foreign state", "train_retriever", b.nothing,
        ("corpus: holds files that are not checkpoints",), {"--checkpoints": CORPUS},
    ),
]  # fmt: skip
