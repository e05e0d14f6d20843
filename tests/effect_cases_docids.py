"""What the settings of DocIDs and of category trees change, and which of them draw."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from effect_corpus import corpus
from effects import Outputs, Seed, Settings, Table, row, stage

from catid2.config import schemes, taxonomy
from catid2.config.docids import DocidsConfig
from catid2.corpus.products import canonical_order, read_products
from catid2.docids.assign import Assignment, assign_coded, require_unique
from catid2.docids.schemes.coding import Documents
from catid2.docids.schemes.registry import SCHEMES
from catid2.runtime.tables import read_embeddings
from catid2.taxonomies.making import make_taxonomy

KINDS = {
    "rqvae": {},
    "residual_kmeans": {"layers": 3, "codebook_size": 8},
    "random": {"layers": 3, "codebook_size": 8},
    "hierarchical_kmeans": {"branches": 3, "leaf_documents": 12},
    "category": {"branches": 3, "leaf_documents": 6, "levels": 2},
}
SCHEME = {kind: {"kind": kind} | values for kind, values in KINDS.items()}


def assigned(config: DocidsConfig, seed: int) -> tuple[Assignment, pa.Array]:
    """Give the documents their DocIDs; return these and the product ids."""
    product_ids, categories = read_products(corpus().products)
    vectors = read_embeddings(corpus().embeddings)
    documents = Documents(
        vectors, categories, canonical_order(product_ids), corpus().embeddings, corpus().rqvae
    )
    coding = SCHEMES[config.scheme.kind](documents, config.scheme, seed)
    made = assign_coded(coding, product_ids, config)
    require_unique(made, config)
    return made, product_ids


@stage(DocidsConfig, {"scheme": SCHEME["residual_kmeans"]})
def docids(config: DocidsConfig, folder: Path, seed: int) -> Outputs:
    """Give the documents their DocIDs."""
    made, _ = assigned(config, seed)
    return {
        "docids": made.codes,
        "before": made.before,
        "positions": made.codes.shape[1],
        "first codes": made.codes[:, 0],
        "largest code": int(made.codes.max()),
    }


def of_scheme(kind: str) -> Callable[[Settings], Settings]:
    """Return where a scheme's keys stand in the settings of DocIDs."""
    return lambda changes: {"scheme": SCHEME[kind] | changes}


COLLIDING = {
    "scheme": {"kind": "residual_kmeans", "layers": 2, "codebook_size": 14},
    "allow_collisions": True,
}
LOOP = COLLIDING | {"repair": "sinkhorn_loop"}
SINKHORN = COLLIDING | {"repair": "sinkhorn"}

TABLES = [
    Table(
        DocidsConfig,
        [
            row("scheme", *SCHEME.values(), differs="docids"),
            row(
                "repair",
                "transport",
                "sinkhorn",
                "digit",
                "sinkhorn_loop",
                "none",
                differs="docids",
                same="before",
                sinkhorn_epsilon=5.0,  # with a small one sinkhorn is all but transport
                **COLLIDING,
            ),
            row("allow_collisions", True, False, differs="error", scheme=COLLIDING["scheme"], repair="none"),
            row("sinkhorn_epsilon", 0.003, 5.0, differs="docids", same="before", **LOOP),
            row("sinkhorn_epsilon", 0.003, 5.0, differs="docids", same="before", **SINKHORN),
            row("sinkhorn_iterations", 50, 1, differs="docids", same="before", **LOOP),
            row(
                "sinkhorn_iterations",
                50,
                1,
                differs="docids",
                same="before",
                **SINKHORN,
                sinkhorn_epsilon=0.3,
            ),
            row("sinkhorn_rounds", 20, 1, differs="docids", same="before", **LOOP),
        ],
        docids,
    ),
    Table(
        schemes.ResidualKmeansScheme,
        [
            row("layers", 3, 4, differs="positions", same="first codes", scheme=SCHEME["residual_kmeans"]),
            row("codebook_size", 8, 9, differs="largest code", same="positions"),
            row("standardize", "none", "unit", "center", differs="before", same="positions"),
            row("kmeans_documents", 65_536, 60, differs="before", same="positions"),
        ],
        docids,
        of_scheme("residual_kmeans"),
    ),
    Table(
        schemes.RandomScheme,
        [
            row("layers", 3, 4, differs="positions"),
            row("codebook_size", 8, 9, differs="largest code", same="positions"),
        ],
        docids,
        of_scheme("random"),
    ),
    Table(
        schemes.HierarchicalKmeansScheme,
        [
            row("branches", 3, 4, differs="first codes"),
            row("leaf_documents", 12, 50, differs="docids", same="first codes"),
            row("depth", 8, 1, differs="positions", same="first codes"),
            row("kmeans_documents", 65_536, 60, differs="first codes"),
        ],
        docids,
        of_scheme("hierarchical_kmeans"),
    ),
    Table(
        schemes.CategoryScheme,
        [
            row("levels", 2, 3, differs="docids", same="first codes"),
            row("branches", 3, 4, differs="docids", same="first codes"),
            row("leaf_documents", 6, 20, differs="docids", same="first codes"),
            row("depth", 8, 1, differs="positions", same="first codes"),
            row("kmeans_documents", 65_536, 8, differs="docids", same="first codes"),
        ],
        docids,
        of_scheme("category"),
    ),
]

# --- category trees

TREES = {
    "noisy": {"share": 0.3},
    "clusters": {"levels": 2, "branches": 4, "least_documents": 8},
    "topics": {"levels": 2, "branches": 4, "least_documents": 8},
    "keywords": {"levels": 2, "least_documents": 8},
    "tags": {"levels": 2, "least_documents": 8},
}


@stage(taxonomy.AnyTaxonomy, {})
def tree(config: taxonomy.Taxonomy, folder: Path, seed: int) -> Outputs:
    """Make a tree of categories."""
    made = make_taxonomy(config, corpus().products, corpus().embeddings, corpus().tags, seed).table
    levels = [
        made[name].to_pylist()
        for name in made.column_names
        if name.startswith("category_") and "id" not in name
    ]
    return {
        "paths": list(zip(*levels, strict=True)),
        "top": levels[0],
        "levels": len(levels),
        "moved": [path != own for path, own in zip(zip(*levels, strict=True), _own_paths(), strict=False)],
    }


def _own_paths() -> list[tuple[str, ...]]:
    table = pq.read_table(corpus().products)
    return list(zip(*(table[f"category_{level}"].to_pylist() for level in (1, 2, 3)), strict=True))


def of_kind(kind: str) -> Callable[[Settings], Settings]:
    """Return where the keys of a kind of tree stand."""
    return lambda changes: {"kind": kind} | TREES[kind] | changes


LEVELS = row("levels", 2, 3, differs="levels", same="top")
LEAST = row("least_documents", 8, 40, differs="paths")
TEXT = [
    row("template", "{title} {description}", "{title}", differs="paths"),
    row("max_characters", 4000, 12, differs="paths"),
    row("tokenizer", "words", "words_cjk_bigrams", differs="paths"),
]

TABLES += [
    Table(
        taxonomy.NoisyTaxonomy,
        [
            row("share", 0.3, 0.5, differs="moved", same="levels"),
            row("to", "sibling", "category", "parent", differs="paths", same="levels"),
        ],
        tree,
        of_kind("noisy"),
    ),
    Table(
        taxonomy.ClustersTaxonomy,
        [
            LEVELS,
            row("least_documents", 8, 40, differs="paths", same="top"),
            row("branches", 4, 5, differs="top"),
            row("kmeans_documents", 65_536, 60, differs="top"),
        ],
        tree,
        of_kind("clusters"),
    ),
    Table(
        taxonomy.TopicsTaxonomy,
        [
            LEVELS,
            row("least_documents", 8, 40, differs="paths", same="top"),
            *TEXT,
            row("branches", 4, 5, differs="top"),
            row("max_features", 20_000, 8, differs="top"),
        ],
        tree,
        of_kind("topics"),
    ),
    Table(
        taxonomy.KeywordsTaxonomy,
        [LEVELS, LEAST, *TEXT, row("widest", 0.5, 0.2, differs="paths")],
        tree,
        of_kind("keywords"),
    ),
    Table(
        taxonomy.TagsTaxonomy,
        [LEVELS, LEAST, row("widest", 0.5, 0.2, differs="paths")],
        tree,
        of_kind("tags"),
    ),
]

SEEDS = [
    *(
        Seed(kind, docids, differs="docids", settings={"scheme": SCHEME[kind]}, script="assign_docids")
        for kind in ("residual_kmeans", "random", "hierarchical_kmeans", "category")
    ),
    *(
        Seed(f"tree {kind}", tree, differs="paths", settings=of_kind(kind)({}), script="make_taxonomy")
        for kind in ("noisy", "clusters")
    ),
    Seed("tree topics", tree, differs="paths", settings=of_kind("topics")({"template": "{bullets}"})),
]
