"""ID schemes, each against something independent of it, and what all of them promise."""

import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from scipy.stats import chisquare
from sklearn.cluster import KMeans

from catid2.config.docids import DocidsConfig
from catid2.config.schemes import (
    AnyScheme,
    CategoryScheme,
    HierarchicalKmeansScheme,
    RandomScheme,
    ResidualKmeansScheme,
    RqvaeScheme,
    Scheme,
)
from catid2.corpus.products import canonical_order
from catid2.docids.assign import assign_coded, describe, require_unique
from catid2.docids.schemes.category import category, category_path
from catid2.docids.schemes.cluster_tree import hierarchical_kmeans
from catid2.docids.schemes.coding import Documents, Unique
from catid2.docids.schemes.random import random
from catid2.docids.schemes.registry import SCHEMES
from catid2.docids.schemes.residual_kmeans import residual_kmeans
from catid2.docids.schemes.rqvae import rqvae
from catid2.quantizer.codes import distortion, greedy_codes, standardized
from catid2.runtime.errors import InputError

SIZES = {"layers": 3, "codebook_size": 8}
SETTINGS = {
    "residual_kmeans": ResidualKmeansScheme(kind="residual_kmeans", kmeans_documents=100, **SIZES),
    "random": RandomScheme(kind="random", **SIZES),
    "hierarchical_kmeans": HierarchicalKmeansScheme(
        kind="hierarchical_kmeans", branches=3, leaf_documents=4, kmeans_documents=50
    ),
    "category": CategoryScheme(kind="category", levels=2, branches=2, leaf_documents=5, depth=2),
}


def documents(embeddings: np.ndarray, categories: np.ndarray | None = None, names: list[str] | None = None):
    """Documents of the given rows; without names the canonical order is that of the rows."""
    total = len(embeddings)
    names = names or [f"B{number:06d}" for number in range(total)]
    tree = np.zeros((total, 1), np.int32) if categories is None else categories
    return Documents(
        embeddings.astype(np.float16), tree, canonical_order(names), Path("text.npy"), model=None
    )


def corpus(seed: int, total: int, names: list[str] | None = None) -> Documents:
    """Vectors of which a third are duplicates, in a tree of 3 × 3 categories."""
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((total, 5))
    copies = rng.integers(0, total, total // 3)
    embeddings[rng.integers(0, total, len(copies))] = embeddings[copies]
    leaf = rng.integers(0, 9, total)
    return documents(embeddings, np.column_stack([leaf // 3, 3 + leaf]).astype(np.int32), names)


def blobs(centres: np.ndarray, each: int, seed: int = 0) -> np.ndarray:
    """`each` points close around each centre."""
    noise = np.random.default_rng(seed).standard_normal((len(centres) * each, centres.shape[1]))
    return np.repeat(centres, each, axis=0) + 0.01 * noise


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Do two labellings (N,) or tables (N, l) put the same documents together?"""
    labels = [
        np.unique(table.reshape(len(table), -1), axis=0, return_inverse=True)[1] for table in (one, other)
    ]
    pairs = np.unique(np.column_stack([label.reshape(-1) for label in labels]), axis=0)
    return len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1]))


# --- what all promise ---------------------------------------------------------------------------------


def test_every_kind_of_the_configuration_has_a_function_and_no_other():
    kinds = {model.model_fields["kind"].annotation.__args__[0] for model in get_args(get_args(AnyScheme)[0])}
    assert kinds == set(SCHEMES) == {*SETTINGS, "rqvae"}


@settings(max_examples=24, deadline=None)
@given(st.sampled_from(sorted(SETTINGS)), st.integers(0, 2**16), st.integers(1, 60))
def test_ids_are_unique_and_do_not_hang_on_the_order_of_rows(kind, seed, total):
    names = [f"B{number:05d}é" for number in np.random.default_rng(seed).permutation(total)]
    first = corpus(seed, total, names)
    shuffled = np.random.default_rng(seed + 1).permutation(total)
    second = Documents(
        first.embeddings[shuffled],
        first.categories[shuffled],
        canonical_order([names[row] for row in shuffled]),
        first.where,
        first.model,
    )
    config = DocidsConfig(scheme=SETTINGS[kind])
    one, other = (
        assign_coded(SCHEMES[kind](these, config.scheme, seed), these_names, config)
        for these, these_names in ((first, names), (second, [names[row] for row in shuffled]))
    )
    require_unique(one, config)
    assert len(np.unique(one.codes, axis=0)) == total
    for mine, yours in zip(one, other, strict=True):
        assert (mine[shuffled] == yours).all()


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_the_report_of_docids_has_what_the_scheme_has(kind):
    these = corpus(1, 90)
    config = DocidsConfig(scheme=SETTINGS[kind])
    coding = SCHEMES[kind](these, config.scheme, 0)
    assignment = assign_coded(coding, [f"B{number:06d}" for number in range(90)], config)
    report = describe(assignment, coding, config, these.categories)
    layers = assignment.before.shape[1]
    assert (report["scheme"], report["layers"], len(report["codes_per_layer"])) == (kind, layers, layers)
    assert (assignment.before < report["codes_per_layer"]).all()
    for state in ("before", "after"):
        assert len(report[state]["perplexity"]) == layers
        assert np.shape(report[state]["category_nmi"]["codes"]) == (2, layers)
    if isinstance(coding, Unique):
        assert (
            report["repair"]
            is report["before"]["distortion"]
            is report["after"]["reconstruction_error"]
            is None
        )
        assert report["moved_share"] == report["before"]["collisions"]["rate"] == 0
        assert (assignment.codes == assignment.before).all()
    else:
        assert report["repair"] == "transport"
        assert 0 < report["before"]["reconstruction_error"] == report["before"]["distortion"]


@pytest.mark.parametrize("kind", ["residual_kmeans", "hierarchical_kmeans", "category"])
def test_an_embedding_that_is_no_number_is_an_error(kind):
    these = corpus(0, 40)
    these.embeddings[7, 2] = np.nan
    with pytest.raises(InputError, match=r"text\.npy: row 7: a value is not finite"):
        SCHEMES[kind](these, SETTINGS[kind], 0)


def test_sizes_left_open_are_an_error_by_hand():
    for scheme in (RandomScheme(kind="random"), ResidualKmeansScheme(kind="residual_kmeans", layers=3)):
        with pytest.raises(InputError, match=r"scheme\.codebook_size is null"):
            SCHEMES[scheme.kind](corpus(0, 10), scheme, 0)


def test_your_own_scheme_in_the_documentation_works():
    text = (Path(__file__).parent.parent / "docs" / "method.md").read_text()
    own = text[text.index("### Your own scheme") :].split("###")[1]
    names = {"Scheme": Scheme, "Literal": Literal, "Field": Field}
    for block in re.findall(r"```python\n(.*?)```", own, re.DOTALL):
        exec(block, names)
    these = corpus(0, 100)
    coding = names["sorted_by_first"](these, names["SortedScheme"](kind="sorted", block=16), 0)
    assert coding.sizes == (7, 16)
    by_code = np.lexsort(coding.codes.T[::-1])
    assert (np.diff(these.embeddings[by_code, 0]) >= 0).all()
    assert len(np.unique(coding.codes, axis=0)) == 100


# --- random -------------------------------------------------------------------------------------------


def test_random_ids_are_all_strings_when_there_are_as_many_documents():
    codes = random(
        documents(np.zeros((27, 1))), RandomScheme(kind="random", layers=3, codebook_size=3), 0
    ).codes
    assert sorted(map(tuple, codes.tolist())) == [tuple(np.unravel_index(n, (3, 3, 3))) for n in range(27)]


def test_random_codes_are_uniform_and_independent_of_the_documents():
    scheme = RandomScheme(kind="random", layers=4, codebook_size=16)
    codes = random(documents(np.zeros((8000, 1))), scheme, 5).codes
    for column in codes.T:
        assert chisquare(np.bincount(column, minlength=16)).pvalue > 0.001
    halves = [
        np.bincount(half[:, 0] * 16 + half[:, 3], minlength=256) for half in (codes[:4000], codes[4000:])
    ]
    assert chisquare(halves[0] + halves[1]).pvalue > 0.001
    assert chisquare(halves[0], (halves[0] + halves[1]) / 2).pvalue > 0.001
    assert (random(documents(np.zeros((8000, 1))), scheme, 6).codes != codes).any()


@pytest.mark.parametrize(("layers", "total"), [(2, 65), (21, 1)])
def test_random_ids_that_cannot_be_drawn_are_an_error(layers, total):
    scheme = RandomScheme(kind="random", layers=layers, codebook_size=8)
    with pytest.raises(InputError, match=rf"{layers} positions of 8 codes make"):
        random(documents(np.zeros((total, 1))), scheme, 0)


# --- trees of clusters --------------------------------------------------------------------------------


def test_cluster_paths_are_the_tree_that_scikit_learn_finds():
    rng = np.random.default_rng(2)
    upper = 100 * np.eye(4, 6)
    lower = (upper[:, None] + 10 * rng.standard_normal((3, 6))).reshape(12, 6)
    embeddings = blobs(lower, each=5)[rng.permutation(60)]
    scheme = HierarchicalKmeansScheme(kind="hierarchical_kmeans", branches=4, leaf_documents=5)
    found = hierarchical_kmeans(documents(embeddings), scheme, 0)

    exact = embeddings.astype(np.float16).astype(float)
    top = KMeans(4, n_init=20, random_state=0).fit_predict(exact)
    assert same_partition(found.codes[:, 0], top)
    for cluster in range(4):
        rows = np.flatnonzero(found.codes[:, 0] == cluster)
        assert len(rows) == 15
        blob = KMeans(3, n_init=20, random_state=0).fit_predict(exact[rows])
        # four branches for three blobs: a blob may be cut, but no cluster mixes two
        for code in np.unique(found.codes[rows, 1]):
            assert len(np.unique(blob[found.codes[rows, 1] == code])) == 1
    assert found.sizes == (4, 4, 5)


def test_an_early_leaf_is_padded_and_numbered_by_hand():
    # three close pairs, of which two stay together when they are cut, and one far document, a leaf at once
    close = blobs(np.array([[0.0, 0], [0, 1], [1, 0]]), each=2)
    embeddings = np.vstack([close, [[500.0, 500]]])
    scheme = HierarchicalKmeansScheme(kind="hierarchical_kmeans", branches=2, leaf_documents=4)
    codes = hierarchical_kmeans(documents(embeddings), scheme, 0).codes
    assert len(np.unique(codes[:6, 0])) == 1
    assert codes[6, 0] != codes[0, 0]
    assert codes[6, 1:].tolist() == [0, 0]
    numbers = [codes[:6][codes[:6, 1] == code][:, 2].tolist() for code in (0, 1)]
    assert sorted(numbers) == [[0, 1], [0, 1, 2, 3]], "numbered in the order of product_id"


def test_documents_all_alike_are_numbered_and_depth_is_a_limit():
    scheme = HierarchicalKmeansScheme(kind="hierarchical_kmeans", branches=2, leaf_documents=2)
    alike = hierarchical_kmeans(documents(np.ones((9, 3))), scheme, 0)
    assert alike.codes.tolist() == [[number] for number in range(9)]
    assert alike.sizes == (9,)
    limited = hierarchical_kmeans(corpus(0, 100), scheme.model_copy(update={"depth": 2}), 0)
    assert limited.codes.shape[1] == 3
    assert limited.sizes[-1] > 2


def test_leaves_hold_no_more_than_the_settings_say():
    total = 400
    vectors = np.random.default_rng(0).standard_normal((total, 4))
    scheme = HierarchicalKmeansScheme(
        kind="hierarchical_kmeans", branches=4, leaf_documents=7, depth=20, kmeans_documents=60
    )
    codes = hierarchical_kmeans(documents(vectors), scheme, 0).codes
    assert codes[:, -1].max() < 7
    _, sizes = np.unique(codes[:, :-1], axis=0, return_counts=True)
    assert sizes.sum() == total


# --- categories ---------------------------------------------------------------------------------------


def test_category_codes_number_children_under_their_parent():
    # nodes of a tree: 0 › {2 › {5}, 4 › {6, 8}}, 1 › {3 › {7}}
    nodes = np.array([[0, 2, 5], [0, 4, 8], [0, 4, 6], [1, 3, 7], [0, 2, 5]])
    assert category_path(nodes).tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_category_ids_spell_the_path_and_split_within_a_category_alone():
    rng = np.random.default_rng(3)
    leaf = rng.integers(0, 6, 200)
    tree = np.column_stack([leaf // 2, 3 + leaf])
    # the same two blobs in every category, so that clusters over the whole corpus would mix categories
    side = rng.integers(0, 2, 200)
    embeddings = np.array([[0.0, 0], [50, 50]])[side] + 0.01 * rng.standard_normal((200, 2))
    scheme = CategoryScheme(kind="category", levels=2, branches=2, leaf_documents=30, depth=1)
    found = category(documents(embeddings, tree), scheme, 0)
    assert found.codes[:, :2].tolist() == np.column_stack([leaf // 2, leaf % 2]).tolist()
    assert found.sizes[:3] == (3, 2, 2)
    for name in range(6):
        rows = leaf == name
        if rows.sum() > 30:
            assert same_partition(found.codes[rows, 2], side[rows])
        else:
            assert (found.codes[rows, 2] == 0).all()
    assert {rows > 30 for rows in np.bincount(leaf)} == {True, False}


def test_more_levels_than_the_tree_has_are_an_error():
    with pytest.raises(InputError, match=r"scheme\.levels is 3, but the corpus has 2"):
        category(corpus(0, 20), CategoryScheme(kind="category"), 0)


# --- residual k-means ---------------------------------------------------------------------------------


def test_residual_kmeans_finds_what_scikit_learn_finds_layer_by_layer():
    upper = 100 * np.eye(4, 6)
    lower = np.array([[3.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 3, 0], [0, 0, 0, 0, 0, 3], [-3.0, 0, 0, 0, -3, -3]])
    embeddings = blobs((upper[:, None] + lower).reshape(16, 6), each=6)
    scheme = ResidualKmeansScheme(kind="residual_kmeans", layers=2, codebook_size=4, standardize="none")
    found = residual_kmeans(documents(embeddings), scheme, 0)
    codes = greedy_codes(found.latents, found.codebooks)

    residual = embeddings.astype(np.float16).astype(float)
    for layer in range(2):
        exact = KMeans(4, n_init=20, random_state=0).fit(residual)
        assert same_partition(codes[:, layer], exact.labels_)
        residual = residual - exact.cluster_centers_[exact.labels_]
    error = found.reconstruction_error(codes)
    assert error == pytest.approx((residual**2).sum(axis=1).mean(), rel=1e-3)
    assert error == distortion(found.latents, found.codebooks, codes)


@pytest.mark.parametrize("how", ["none", "unit", "center"])
def test_embeddings_are_standardised_as_the_rqvae_does(how):
    import torch

    from catid2.quantizer.model import RQVAE, Architecture

    vectors = corpus(4, 50).embeddings
    model = RQVAE(Architecture(5, 1, 2, 2, (), False, how, "ema", 0.9))
    model.mean.copy_(torch.from_numpy(vectors.astype(np.float64).mean(axis=0)))
    expected = model.standardize(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(standardized(vectors, np.arange(50), how), expected, atol=1e-6)


# --- a trained RQ-VAE ---------------------------------------------------------------------------------


def test_an_rqvae_codes_and_reconstructs_as_its_forward_pass_does(tmp_path):
    import torch

    from catid2.quantizer.model import RQVAE, Architecture

    torch.manual_seed(0)
    model = RQVAE(Architecture(5, 2, 4, 3, (6,), True, "center", "gradient", 0.9)).eval()
    model.mean += 0.5
    everything = corpus(4, 50)._replace(model=tmp_path)
    x = torch.from_numpy(everything.embeddings)
    with torch.no_grad():
        model.quantizer.codebooks.copy_(torch.stack([model.encode(x[:4]), 0.3 * torch.randn(4, 3)]))
        passed = model(x)
    model.save(tmp_path / "model.safetensors", tmp_path / "config.json", {})
    found = rqvae(everything, RqvaeScheme(kind="rqvae"), 0)
    codes = greedy_codes(found.latents, found.codebooks)
    assert (codes == passed.quantized.codes.numpy()).all()
    assert len(np.unique(codes, axis=0)) > 4
    error = (passed.reconstruction - passed.x).square().sum(1).mean().item()
    assert found.reconstruction_error(codes) == pytest.approx(error, rel=1e-5)
    with pytest.raises(InputError, match="--model"):
        rqvae(everything._replace(model=None), RqvaeScheme(kind="rqvae"), 0)
