"""Broken runs, and broken files that figures and report read."""

import breakage as b
from bad_inputs import (
    CORPUS,
    DATASET,
    DOCIDS,
    EFFICIENCY,
    EMBEDDINGS,
    FIGURES,
    GEOMETRY,
    GEOMETRY_TABLE,
    GRIDS,
    JUDGEMENTS,
    METHOD,
    PER_QUERY,
    PRODUCT_TABLE,
    RECALL,
    RQVAE,
    RUN,
    TRACE,
    TREE,
    VIEW,
    Case,
    settings,
)

NAN = float("nan")
LATENCY = f"{METHOD}/latency.json"
LOGS = "logs/tiny_es/catid2/seed0"
TRAINED = f"{LOGS}/train_rqvae.benchmark.tsv"

CASES = [
    # --- runs
    Case("run cut", "evaluate", b.cut(RUN), ("run.parquet: not a complete parquet file",)),
    Case("run empty", "evaluate", b.empty(RUN), ("run.parquet: no row", "search again")),
    Case(
        "run doc", "evaluate", b.value(RUN, "doc_id", 5, 9999),
        ("row 5", "doc_id outside", "search this corpus again"),
    ),
    Case(
        "run query", "evaluate", b.value(RUN, "query_id", 5, -3),
        ("row 5 (query_id -3", "not a test query"),
    ),
    Case("run twice", "evaluate", b.repeated(RUN), ("listed twice for the query",)),
    Case("run rank gap", "evaluate", b.value(RUN, "rank", 0, 700), ("row 0", "ranks are not 1..n")),
    Case("run NaN", "evaluate", b.value(RUN, "score", 2, NAN), ("row 2", "the score is not finite")),
    Case("run null", "evaluate", b.value(RUN, "score", 3, None), ("'score', row 3: null",)),
    Case(
        "--run malformed", "evaluate", b.nothing,
        ("--run: 'catid2' is not METHOD:SEED:PATH",), {"--run": ["catid2"]},
    ),
    Case(
        "--run twice", "evaluate", b.nothing,
        ("given twice", "once"), {"--run": [f"a:0:{RUN}", f"a:0:{RUN}"]},
    ),
    Case(
        "--note of none", "evaluate", b.nothing,
        ("no run of a method 'x'", "the methods are"), {"--note": ["x=y"]},
    ),
    # --- TREC's files
    Case("run to export", "export_run", b.value(RUN, "doc_id", 5, 9999), ("run.parquet: row 5", "doc_id outside")),
    Case(
        "white space in an id", "export_run", b.value(PRODUCT_TABLE, "product_id", 2, "B 2"),
        ("products.parquet: row 2: the product_id 'B 2' is empty or holds white space", "another"),
    ),
    Case(
        "labels of no pair", "export_qrels", b.values(JUDGEMENTS, "label", "I"),
        ("judgements.parquet: no test pair is relevant (protocol all, labels ES)",),
    ),
    Case(
        "no such labels", "export_qrels", b.nothing,
        ("--labels: String should match pattern '^[ESCI]+$', got 'EX'",), {"--labels": "EX"},
    ),
    Case(
        "labels in another order", "export_qrels", b.nothing,
        ("--labels: write the label set 'SE' with each letter once, in the order ESCI",), {"--labels": "SE"},
    ),
    Case(
        "tag of two words", "export_run", b.nothing,
        ("--tag: 'a b' is empty or holds white space", "name without"), {"--tag": "a b"},
    ),
    # --- fused runs, and what they find beyond BM25
    Case(
        "fused run of another corpus", "fuse_runs", b.value(RUN, "doc_id", 5, 9999),
        ("run.parquet: row 5", "doc_id outside", "search this corpus again"),
    ),
    Case(
        "weight of a run", "fuse_runs", b.nothing,
        (f"--run: '0:{RUN}' is not WEIGHT:PATH with a weight from 0.001 to 1000",), {"--run": [f"0:{RUN}"]},
    ),
    Case(
        "weight beyond a float32", "fuse_runs", b.nothing,
        (f"--run: '1e41:{RUN}' is not WEIGHT:PATH with a weight from 0.001 to 1000",), {"--run": [f"1e41:{RUN}"]},
    ),
    Case(
        "weight missing", "fuse_runs", b.nothing,
        (f"--run: '{RUN}' is not WEIGHT:PATH", "1:run.parquet"), {"--run": [RUN]},
    ),
    Case(
        "compared run cut", "compare_with_bm25", b.cut(RUN),
        ("run.parquet: not a complete parquet file",),
    ),
    Case(
        "compared with none", "compare_with_bm25", b.nothing,
        ("--bm25: 0 runs of 'words'", "the method of one of the runs"), {"--bm25": "words"},
    ),
    # --- grids
    Case(
        "grid of a point without recall", "summarize_grids", b.nothing,
        ("noise.tsv: no recall@10 of x", "evaluate the study again"),
        {"--config": '{"grids": [{"keys": ["a.b"], "points": {"x": [1]}}]}'},
    ),
    Case(
        "grid summary of nothing", "summarize_grids", b.nothing,
        ("--config: missing key 'grids'",), {"--config": "{}"},
    ),
    # --- times
    Case(
        "efficiency cut", "plot_efficiency", b.cut(EFFICIENCY, 0.9), ("efficiency.tsv: cut short", "make it again"),
    ),
    Case(
        "efficiency column", "plot_efficiency", b.replaced(EFFICIENCY, "wall_s\tcpu_s", "wall\tcpu_s"),
        ("efficiency.tsv: column 'wall_s' is missing",),
    ),
    Case(
        "efficiency no number", "plot_efficiency", b.cell(EFFICIENCY, 0, "wall_s", "long"),
        ("efficiency.tsv: column 'wall_s' holds what is no number", "run summarize_efficiency again"),
    ),
    Case(
        "efficiency below 0", "plot_efficiency", b.cell(EFFICIENCY, 0, "wall_s", "-1"),
        ("efficiency.tsv: column 'wall_s' holds what is no number of 0",),
    ),
    Case(
        "latency not finite", "plot_efficiency", b.cell(EFFICIENCY, 4, "batch1_p95_ms", "inf"),
        ("efficiency.tsv: column 'batch1_p95_ms' holds what is no number of more than 0",),
    ),
    Case(
        "latency of nothing", "plot_efficiency", b.cell(EFFICIENCY, 4, "batch1_p50_ms", "0"),
        ("efficiency.tsv: column 'batch1_p50_ms' holds what is no number of more than 0",),
    ),
    Case("grids cut", "plot_grids", b.cut(GRIDS, 0.9), ("noise_grids.tsv: cut short", "make it again")),
    Case(
        "grids' recall no number", "plot_grids", b.cell(GRIDS, 0, "recall@10", "high"),
        ("noise_grids.tsv: not a table of grids", "summarize the grids again"),
    ),
    Case(
        "grids' metric", "plot_grids", b.nothing,
        ("noise_grids.tsv: no recall@7 with protocol all",), {"--metric": "recall@7"},
    ),
    # --- geometry
    Case(
        "geometry of other documents", "measure_geometry", b.value(DOCIDS, "product_id", 0, "Z"),
        ("docids.parquet: not the DocIDs of the documents in", "run assign_docids on this corpus"),
    ),
    Case(
        "geometry of another view", "measure_geometry", b.matrix(EMBEDDINGS, lambda m: m[::-1]),
        ("docids.parquet: the RQ-VAE in", "of the embeddings in", "text.npy otherwise", "of one method and seed"),
    ),
    Case(
        "geometry of a wider view", "measure_geometry", b.matrix(EMBEDDINGS, lambda m: m[:, :9]),
        ("text.npy: 9 dimensions", "use the embeddings that the RQ-VAE was trained on"),
    ),
    Case(
        "geometry NaN", "measure_geometry", b.matrix(EMBEDDINGS, b.at(7, 1, NAN)),
        ("text.npy: row 7: a value is not finite", "run embed again"),
    ),
    Case(
        "geometry beyond K", "measure_geometry", b.values(DOCIDS, "before_1", 16),
        ("docids.parquet: not codes of the RQ-VAE in", "4 layers of 16 codes", "of one method and seed"),
    ),
    Case(
        "geometry negative code", "measure_geometry", b.value(DOCIDS, "before_1", 5, -1),
        ("docids.parquet: column 'before_1', row 5: a negative code, -1", "run assign_docids"),
    ),
    Case(
        "geometry without codes", "measure_geometry",
        b.table(DOCIDS, lambda t: t.drop_columns([f"before_{i}" for i in range(4)])),
        ("docids.parquet: no columns before_0", "give the docids.parquet of assign_docids"),
    ),
    Case(
        "geometry without categories", "measure_geometry",
        b.table(PRODUCT_TABLE, lambda t: t.drop_columns([f"category_id_{i}" for i in (1, 2, 3)])),
        ("products.parquet: column 'category_id_1' is missing", "build the corpus again"),
    ),
    Case("geometry RQ-VAE gone", "measure_geometry", b.gone(RQVAE), ("model.safetensors: no such file",)),
    Case(
        "geometry setting", "measure_geometry", b.nothing,
        ("key 'held_out'", "less than 1"), settings("measure_geometry", held_out=1),
    ),
    Case("geometry cut", "compare_geometry", b.cut(GEOMETRY), ("geometry.json: not JSON",)),
    Case(
        "geometry without levels", "compare_geometry", b.key(GEOMETRY, "levels", ...),
        ("geometry.json: key 'levels'", "run measure_geometry again"),
    ),
    Case(
        "geometry above 1", "compare_geometry", b.replaced(GEOMETRY, '"ceiling": ', '"ceiling": 2'),
        ("geometry.json: key 'levels.0.ceiling'", "run measure_geometry again"),
    ),
    Case(
        "geometry of unlike samples", "compare_geometry", b.key(GEOMETRY, "documents", 401),
        ("tiger/seed0/geometry.json: not measured on the documents of", "same settings"),
    ),
    Case(
        "geometry of unknown things", "compare_geometry", b.replaced(GEOMETRY, '"code_1"', '"code_x"'),
        ("geometry.json: key 'levels.0.accuracy.code_x", "run measure_geometry again"),
    ),
    Case(
        "--geometry", "compare_geometry", b.nothing,
        ("--geometry: 'x' is not METHOD:SEED:PATH",), {"--geometry": ["x"]},
    ),
    Case(
        "--geometry twice", "compare_geometry", b.nothing,
        ("--geometry: a, seed 0 is given twice", "once"), {"--geometry": [f"a:0:{GEOMETRY}", f"a:0:{GEOMETRY}"]},
    ),
    Case(
        "table of geometry cut", "plot_geometry", b.cut(GEOMETRY_TABLE, 0.9),
        ("recall_geometry.tsv: cut short", "run compare_geometry"),
    ),
    Case(
        "another table", "plot_geometry", b.nothing,
        ("recall.tsv: not a table of geometry", "run compare_geometry"), {"--geometry": f"{DATASET}/recall.tsv"},
    ),
    Case(
        "table of geometry above 1", "plot_geometry", b.cell(GEOMETRY_TABLE, 2, "value", "1.5"),
        ("recall_geometry.tsv: row 2: tiny_es catid2 0 1 probe_accuracy residual_1 1.5", "run compare_geometry"),
    ),
    Case(
        "table of geometry unknown", "plot_geometry", b.cell(GEOMETRY_TABLE, 1, "of", "latents"),
        ("recall_geometry.tsv: row 1", "latents", "is no such row"),
    ),
    # --- the report
    Case("recall cut", "plot_recall", b.cut(RECALL, 0.9), ("recall.tsv: cut short", "run evaluate")),
    Case("recall empty", "plot_recall", b.content(RECALL, b"\n"), ("recall.tsv: not a table",)),
    Case(
        "recall column", "plot_recall", b.replaced(RECALL, "recall@10_low", "low"),
        ("'recall@10_low' is missing",),
    ),
    Case(
        "recall no number", "plot_recall", b.cell(RECALL, 0, "recall@10", "high"),
        ("recall.tsv: not a table of recall", "high", "run evaluate again"),
    ),
    Case(
        "recall above 1", "plot_recall", b.cell(RECALL, 1, "recall@10", "1.5"),
        ("recall.tsv: column 'recall@10', row 1: 1.5", "run evaluate again"),
    ),
    Case(
        "recall's ceiling missing", "plot_recall", b.cell(RECALL, 0, "recall@10_ceiling", ""),
        ("recall.tsv: column 'recall@10_ceiling', row 0: None", "run evaluate again"),
    ),
    Case(
        "recall's interval below 0", "plot_recall", b.cell(RECALL, 0, "recall@5_low", "-0.1"),
        ("recall.tsv: column 'recall@5_low', row 0: -0.1", "run evaluate again"),
    ),
    Case(
        "recall's metric", "plot_recall", b.replaced(RECALL, "recall@10\t", "recall@ten\t"),
        ("recall.tsv: column 'recall@ten' is of no metric", "run evaluate again"),
    ),
    Case("recall bytes", "plot_recall", b.content(RECALL, b"\xff\xfe\x00\n"), ("recall.tsv: not a table",)),
    Case(
        "recall of others", "report_locales", b.without_lines(RECALL, "bm25"),
        ("no row of method 'bm25'", "evaluate"),
    ),
    Case("stats cut", "report_locales", b.cut(f"{CORPUS}/stats.json"), ("stats.json: not JSON",)),
    Case(
        "stats a list", "report_locales", b.content(f"{CORPUS}/stats.json", b"[1]"),
        ("stats.json: a JSON list",),
    ),
    Case(
        "stats without a count", "report_locales", b.key(f"{CORPUS}/stats.json", "documents", ...),
        ("stats.json: key 'documents' is missing", "build the corpus again"),
    ),
    Case(
        "stats no number", "report_locales", b.key(f"{CORPUS}/stats.json", "documents", "many"),
        ("stats.json: key 'documents': many is not a number", "build the corpus again"),
    ),
    Case(
        "stats endless", "report_locales", b.content(f"{CORPUS}/stats.json", b'{"documents": 1' + b"0" * 5000 + b"}"),
        ("stats.json: not JSON", "make it again"),
    ),
    Case(
        "figures key", "plot_layers", b.key(FIGURES, "after.collisions", {}),
        ("'after.collisions.rate' is missing",),
    ),
    Case(
        "figures type", "plot_layers", b.key(FIGURES, "moved_share", "all"),
        ("'moved_share': all is not a number",),
    ),
    Case(
        "figures list", "plot_layers", b.key(FIGURES, "hccl_dropped", 0.5),
        ("'hccl_dropped': 0.5 is not a list of numbers", "run assign_docids again"),
    ),
    Case(
        "figures ragged", "plot_layers", b.key(FIGURES, "before.category_nmi.codes", [[1], [1, 2]]),
        ("a table of numbers",),
    ),
    Case("tree empty", "plot_layers", b.empty(TREE), ("categories.parquet: no categories", "build the corpus")),
    Case(
        "products in another order", "plot_layers", b.table(PRODUCT_TABLE, lambda t: t.take([1, 0, *range(2, len(t))])),
        ("products.parquet: column 'doc_id', row 0: 1, not 0", "build the corpus again"),
    ),
    Case(
        "DocIDs in another order", "plot_layers", b.table(DOCIDS, lambda t: t.take([1, 0, *range(2, len(t))])),
        ("docids.parquet: column 'doc_id', row 0: 1, not 0", "run assign_docids"),
    ),
    Case(
        "tree cycle", "plot_layers", b.value(TREE, "parent", 0, 0),
        ("categories.parquet: column 'parent', row 0: 0",),
    ),
    Case(
        "tree orphan", "plot_layers", b.value(TREE, "parent", -1, 9999),
        ("categories.parquet: column 'parent'", "one level above"),
    ),
    Case(
        "tree level", "plot_layers", b.value(TREE, "level", 0, 2),
        ("categories.parquet: column 'parent', row 0",),
    ),
    Case(
        "tree node twice", "plot_layers", b.value(TREE, "node", 1, 0),
        ("column 'node', row 1: 0", "in order"),
    ),
    Case(
        "tree of others", "plot_layers", b.values(PRODUCT_TABLE, "category_id_2", 0),
        ("row 0: 0 is no node of level 2",),
    ),
    Case(
        "DocIDs too few", "plot_layers", b.rows(DOCIDS, lambda row: row["doc_id"]),
        ("DocIDs for", "on this corpus"),
    ),
    Case("history cut", "report_locales", b.cut(f"{METHOD}/rqvae/history.tsv"), ("history.tsv: cut short",)),
    Case(
        "history words", "report_locales", b.content(f"{METHOD}/rqvae/history.tsv", b"epoch\treconstruction\n1\tx\n"),
        ("history.tsv: column 'reconstruction' or 'epoch': not numbers", "train again"),
    ),
    Case(
        "view key", "report_locales", b.key(f"{VIEW}.json", "view", {}),
        ("text.json: key 'view.template' is missing",),
    ),
    Case(
        "level", "plot_layers", b.nothing,
        ("category_level 7, but the tree has 3",), settings("plot_layers", category_level=7),
    ),
    Case(
        "--docids", "plot_layers", b.nothing,
        ("--docids: 'x' is not NAME:PARQUET:JSON",), {"--docids": ["x"]},
    ),
    Case(
        "--docids without figures", "plot_layers", b.nothing,
        ("--docids: 'x:a.parquet:' is not NAME:PARQUET:JSON",), {"--docids": ["x:a.parquet:"]},
    ),
    Case(
        "metric", "report_locales", b.nothing,
        ("metric recall@7", "name one of"), settings("report_locales", metric="recall@7"),
    ),
    # --- queries of the report
    Case(
        "metrics by query cut", "trace_beams", b.cut(PER_QUERY),
        ("recall_per_query.parquet: not a complete parquet file",),
    ),
    Case(
        "metrics by query empty", "report_locales", b.empty(PER_QUERY),
        ("recall_per_query.parquet: no rows", "run evaluate again"),
    ),
    Case(
        "metrics of a query without a test query", "trace_beams", b.values(PER_QUERY, "query_id", -3),
        ("recall_per_query.parquet: query -3 is no test query of the corpus", "run evaluate again"),
    ),
    Case(
        "metric that is not there", "trace_beams", b.nothing,
        ("recall_per_query.parquet: column 'recall@7' is missing",), {"--metric": "recall@7"},
    ),
    Case("trace cut", "report_locales", b.cut(TRACE), ("beam_trace.parquet: not a complete parquet file",)),
    Case(
        "trace of other queries", "report_locales", b.values(TRACE, "query_id", -3),
        ("beam_trace.parquet: no row of query", "run trace_beams again, with the report's metric and queries"),
    ),
    # --- times
    Case(
        "benchmark cut", "summarize_efficiency", b.cut(TRAINED, 0.9),
        ("train_rqvae.benchmark.tsv: cut short", "run the stage again"),
    ),
    Case(
        "benchmark without a run", "summarize_efficiency", b.without_lines(TRAINED, "."),
        ("train_rqvae.benchmark.tsv: not a benchmark of one run",),
    ),
    Case(
        "benchmark column", "summarize_efficiency", b.replaced(TRAINED, "max_rss", "rss"),
        ("column 'max_rss' is missing", "run the stage again"),
    ),
    Case(
        "benchmark no number", "summarize_efficiency", b.cell(TRAINED, 0, "s", "long"),
        ("column 's': long is not a number",),
    ),
    Case("benchmark gone", "summarize_efficiency", b.gone(TRAINED), ("train_rqvae.benchmark.tsv: no such file",)),
    Case(
        "latency of others", "summarize_efficiency", b.replaced(LATENCY, "tiny_es/catid2", "tiny_es/tiger"),
        ("catid2/seed0/latency.json: these are the measures of tiny_es/tiger", "run measure_latency of catid2 again"),
    ),
    Case("latency cut", "summarize_efficiency", b.cut(LATENCY), ("latency.json: not JSON",)),
    Case(
        "latency key", "summarize_efficiency", b.key(LATENCY, "batches.1.p50_ms", -1),
        ("key 'batches.1.p50_ms'", "greater than or equal to 0", "run measure_latency of catid2 again"),
    ),
    Case(
        "latency without batches", "summarize_efficiency", b.key(LATENCY, "batches", ...),
        ("latency.json: key 'batches'", "run measure_latency of catid2 again"),
    ),
    Case(
        "--stage", "summarize_efficiency", b.nothing,
        ("--stage: 'x:y' is not METHOD:RULE:OWNER:LOG",), {"--stage": "x:y"},
    ),
    Case(
        "--latency", "summarize_efficiency", b.nothing,
        ("--latency: 'x' is not METHOD:PATH",), {"--latency": "x"},
    ),
    Case(
        "--latency of none", "summarize_efficiency", b.nothing,
        ("no stage of a method 'x'", "known are catid2"), {"--latency": f"x:{LATENCY}"},
    ),
]  # fmt: skip
