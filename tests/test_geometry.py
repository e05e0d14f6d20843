"""What vectors and codes know of the categories: distances and probes against oracles, and the stage's files."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from bad_inputs import DATASET, GEOMETRY, GEOMETRY_TABLE, METHOD, copy_of, run_script, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.covariance import EmpiricalCovariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler
from svg_reader import read_svg

from catid2.config.docids import DocidsConfig
from catid2.config.geometry import GeometryConfig
from catid2.docids.assign import assign
from catid2.docids.table import docids_table
from catid2.quantizer.latents import encode
from catid2.quantizer.model import RQVAE, Architecture
from catid2.report.geometry import write_geometry_figure
from catid2.runtime.tables import write_json, write_table
from catid2.studies.geometry import (
    Geometry,
    Inputs,
    Level,
    code_probe,
    draw_sample,
    latent_vectors,
    linear_probe,
    mean_distances,
    measure,
    read_geometry,
)
from catid2.studies.geometry_table import GeometryFile, compare, read_geometry_table, write_geometry_table
from workflow import tiny_pipeline

# --- distances --------------------------------------------------------------------------------------


@pytest.mark.parametrize("categories", [[0, 0, 1, 1, 1, 2, 0, 2], [0, 1, 2, 3, 4, 5, 6, 7], [4] * 8])
def test_mean_distances_equal_a_double_loop_over_pairs(categories: list[int]) -> None:
    vectors = np.random.default_rng(0).normal(1.5, 1, (8, 5))
    centred = vectors - vectors.mean(axis=0)
    pairs: dict[bool, list[float]] = {True: [], False: []}
    for i in range(8):
        for j in range(i):
            a, b = centred[i], centred[j]
            distance = 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            pairs[categories[i] == categories[j]].append(float(distance))
    expected = [pytest.approx(np.mean(pairs[same]), abs=1e-6) if pairs[same] else None for same in pairs]
    assert list(mean_distances(vectors, np.array(categories))) == expected


def test_equal_documents_are_at_distance_zero_and_opposite_ones_at_two() -> None:
    vectors = np.repeat([[1.0, 2.0], [3.0, 1.0]], 4, axis=0)
    assert mean_distances(vectors, np.repeat([0, 1], 4)) == (pytest.approx(0, abs=1e-6), pytest.approx(2))


# --- probes -----------------------------------------------------------------------------------------


def clusters(spread: float, categories: int, dims: int, documents: int) -> tuple[np.ndarray, ...]:
    """Return documents around the centres of their categories, the categories, and four fifths to fit on."""
    random = np.random.default_rng(1)
    labels = random.integers(0, categories, documents)
    vectors = random.normal(size=(categories, dims))[labels] + spread * random.normal(size=(documents, dims))
    return vectors, 10 * labels, np.arange(documents) % 5 > 0


def test_a_linear_probe_tells_separable_categories_and_shuffled_ones_by_chance() -> None:
    vectors, labels, train = clusters(0.01, 5, 8, 1500)
    assert linear_probe(vectors, labels, train, 0.01) == 1.0
    shuffled = np.random.default_rng(2).permutation(labels)
    deviation = (0.2 * 0.8 / (~train).sum()) ** 0.5
    assert abs(linear_probe(vectors, shuffled, train, 0.01) - 0.2) < 4 * deviation


class Ridge(EmpiricalCovariance):
    """The covariance with a ridge, for scikit-learn's discriminant analysis."""

    def fit(self, X: np.ndarray, y: None = None) -> "Ridge":
        """Keep the covariance of (n, d) documents."""
        self.covariance_ = np.cov(X.T, bias=True) + 0.05 * np.eye(X.shape[1])
        return self


@pytest.mark.parametrize(("categories", "dims"), [(3, 2), (12, 4), (4, 20)])
def test_the_linear_probe_is_scikit_learns_discriminant_analysis(categories: int, dims: int) -> None:
    vectors, labels, train = clusters(1.2, categories, dims, 400)
    vectors[:, 0] = 3  # a dimension that tells nothing
    scaled = StandardScaler().fit(vectors[train]).transform(vectors)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Ridge()).fit(
        scaled[train], labels[train]
    )
    expected = oracle.score(scaled[~train], labels[~train])
    assert 0.2 < expected < 0.99
    assert linear_probe(vectors, labels, train, 0.05) == pytest.approx(expected)


def test_the_linear_probe_names_a_category_between_two_others_and_a_ridge_regression_does_not() -> None:
    labels = np.tile([0, 1, 2], 200)
    vectors = labels[:, None] + 0.1 * np.random.default_rng(3).normal(size=(600, 1))
    train = np.arange(600) < 450
    assert linear_probe(vectors, labels, train, 0.01) > 0.98
    regression = RidgeClassifier(alpha=0.01).fit(vectors[train], labels[train])
    assert (regression.predict(vectors[~train]) == 1).mean() < 0.1


def test_scaling_and_moving_a_dimension_changes_no_accuracy() -> None:
    vectors, labels, train = clusters(0.7, 6, 5, 500)
    moved = vectors * [1e-4, 1, 30, 1, 7] + [0, 4, -100, 0, 1]
    assert linear_probe(moved, labels, train, 0.01) == linear_probe(vectors, labels, train, 0.01)


def named(codes: list[tuple[int, ...]], labels: list[int], train: list[bool]) -> float:
    """Return the accuracy that counting gives: a dictionary of labels per prefix, the longest that is known."""
    counts: dict[tuple[int, ...], Counter] = {}
    for code, label, fitted in zip(codes, labels, train, strict=True):
        for length in range(len(code) + 1) if fitted else ():
            counts.setdefault(code[:length], Counter())[label] += 1
    right = []
    for code, label, fitted in zip(codes, labels, train, strict=True):
        if not fitted:
            seen = counts[next(code[:n] for n in range(len(code), -1, -1) if code[:n] in counts)]
            right.append(label == min(seen, key=lambda name: (-seen[name], name)))
    return float(np.mean(right))


@hypothesis_settings(deadline=None)
@given(
    st.integers(0, 3).flatmap(
        lambda layers: st.tuples(
            arrays(np.int32, (24, layers), elements=st.integers(0, 2)),
            arrays(np.int32, 24, elements=st.integers(5, 8)),
            arrays(np.bool_, 24).filter(lambda train: 0 < train.sum() < 24),
        )
    )
)
def test_a_code_probe_equals_counting(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    codes, labels, train = case
    expected = named([tuple(row) for row in codes.tolist()], labels.tolist(), train.tolist())
    assert code_probe(codes, labels, train) == pytest.approx(expected)


@hypothesis_settings(deadline=None)
@given(st.integers(2, 200), st.integers(2, 300), st.floats(0.001, 0.999), st.integers(0, 9))
def test_a_sample_is_in_order_of_different_documents_some_of_them_held_out(
    corpus: int, documents: int, held_out: float, seed: int
) -> None:
    order = np.random.default_rng(0).permutation(corpus)
    config = GeometryConfig(documents=documents, held_out=held_out, seed=seed)
    sample = draw_sample(order, config)
    places = np.argsort(order)[sample.rows]
    assert len(places) == min(corpus, documents)
    assert (np.diff(places) > 0).all()
    assert 0 < sample.train.sum() < len(places)
    assert abs((~sample.train).sum() - held_out * len(places)) <= 1


def test_another_seed_draws_another_sample_and_another_split() -> None:
    order = np.arange(100)
    first, again, other = (draw_sample(order, GeometryConfig(documents=50, seed=seed)) for seed in (3, 3, 4))
    assert (first.rows == again.rows).all()
    assert (first.train == again.train).all()
    assert (first.rows != other.rows).any()
    everything = [draw_sample(order, GeometryConfig(documents=100, seed=seed)) for seed in (3, 4)]
    assert (everything[0].rows == everything[1].rows).all()
    assert (everything[0].train != everything[1].train).any()


# --- a method ---------------------------------------------------------------------------------------

LAYERS, CODES, LATENT = 3, 8, 4


def write_method(folder: Path, order: np.ndarray) -> Inputs:
    """Write corpus, embeddings, RQ-VAE and DocIDs of 300 documents, rows in the order `order`."""
    random = np.random.default_rng(4)
    leaves = random.integers(0, 6, 300)
    centres = np.repeat(random.normal(size=(2, 10)), 3, axis=0) + 0.5 * random.normal(size=(6, 10))
    embeddings = (centres[leaves] + 0.3 * random.normal(size=(300, 10))).astype(np.float16)[order]
    product_ids = pa.array([f"P{number:03d}" for number in order])
    tree = {"category_id_1": leaves[order] // 3, "category_id_2": leaves[order] + 2}
    columns = {name: pa.array(column, pa.int32()) for name, column in tree.items()}
    products = pa.table({"doc_id": pa.array(range(300), pa.int32()), "product_id": product_ids} | columns)
    write_table(folder / "products.parquet", products)
    np.save(folder / "view.npy", embeddings)
    torch.manual_seed(5)
    model = RQVAE(Architecture(10, LAYERS, CODES, LATENT, (12,), False, "unit", "ema", 0.99)).eval()
    with torch.no_grad():
        model.quantizer.codebooks.copy_(0.3 * torch.randn(LAYERS, CODES, LATENT))
    (folder / "rqvae").mkdir()
    model.save(folder / "rqvae" / "model.safetensors", folder / "rqvae" / "config.json", {})
    latents = encode(model, embeddings, np.argsort(order), folder)
    assignment = assign(latents, model.codebooks.numpy(), product_ids, DocidsConfig())
    write_table(folder / "docids.parquet", docids_table(product_ids, assignment))
    files = ("view.npy", "products.parquet", "docids.parquet", "rqvae")
    return Inputs(*(folder / name for name in files))


CONFIG = GeometryConfig(documents=200)


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """The files of a method of 300 documents, two categories of three each."""
    return write_method(tmp_path_factory.mktemp("method"), np.arange(300))


def test_residuals_are_what_the_codes_leave_of_the_latent(method: Inputs) -> None:
    model, embeddings = RQVAE.load(method.model), np.load(method.embeddings)
    codes = model.codes(torch.from_numpy(embeddings)).numpy()
    vectors = latent_vectors(model, embeddings, codes, method)
    assert list(vectors) == ["latent", "residual_1", "residual_2", "residual_3"]
    codewords = model.codebooks.numpy()[np.arange(LAYERS), codes].astype(np.float64)  # (n, L, d)
    assert np.allclose(
        vectors["latent"], model.encode(torch.from_numpy(embeddings)).detach().numpy(), atol=1e-6
    )
    for layer in range(1, LAYERS + 1):
        left = vectors["latent"] - codewords[:, :layer].sum(axis=1)
        assert np.allclose(vectors[f"residual_{layer}"], left, atol=1e-9), layer


def test_a_measure_holds_every_quantity_of_every_level(method: Inputs) -> None:
    found = measure(CONFIG, method)
    assert (found.documents, found.sampled, found.held_out) == (300, 200, 40)
    assert [level.categories for level in found.levels] == [2, 6]
    vectors = {"embedding", "latent", "residual_1", "residual_2", "residual_3"}
    codes = {f"{kind}_{layer}" for kind in ("code", "prefix") for layer in (1, 2, 3)}
    for level in found.levels:
        assert level.accuracy.keys() == vectors | codes
        assert level.within.keys() == level.between.keys() == vectors
        assert level.accuracy["code_1"] == level.accuracy["prefix_1"]
        assert level.within["embedding"] < level.between["embedding"]
        assert level.ceiling == 1
    assert found.levels[0].accuracy["embedding"] > 0.95 > found.levels[0].majority
    without = measure(CONFIG, method._replace(model=None))
    assert without.levels[1].accuracy.keys() == {"embedding"} | codes
    assert without.levels[1].accuracy.items() <= found.levels[1].accuracy.items()


def test_the_order_of_the_rows_changes_no_figure(method: Inputs, tmp_path: Path) -> None:
    other = write_method(tmp_path, np.random.default_rng(6).permutation(300))
    assert measure(CONFIG, other) == measure(CONFIG, method)


def test_a_catalogue_without_structure_is_told_by_chance(method: Inputs, tmp_path: Path) -> None:
    np.save(tmp_path / "view.npy", np.random.default_rng(7).normal(size=(300, 10)).astype(np.float16))
    noise = method._replace(embeddings=tmp_path / "view.npy", model=None)
    level = measure(GeometryConfig(held_out=0.5), noise).levels[0]
    assert abs(level.accuracy["embedding"] - level.majority) < 4 * (0.25 / 150) ** 0.5
    assert level.within["embedding"] == pytest.approx(level.between["embedding"], abs=0.02)


# --- table and figure -------------------------------------------------------------------------------

SHARES = {"embedding": 0.9, "code_1": 0.4, "code_2": 0.3, "prefix_1": 0.4, "prefix_2": 0.6}


def written_geometry(folder: Path, method: str, seed: int) -> GeometryFile:
    """Write the geometry of a method on two levels of a tree; the shares fall with the level and rise with the seed."""
    levels = [
        Level(
            categories=3 * level,
            majority=0.2 / level,
            ceiling=0.95,
            accuracy={name: share - 0.1 * level + 0.01 * seed for name, share in SHARES.items()},
            within={"embedding": 0.3 if level == 1 else None},
            between={"embedding": 0.8},
        )
        for level in (1, 2)
    ]
    path = folder / f"{method}{seed}.json"
    write_json(path, asdict(Geometry(300, 200, 40, levels)))
    return GeometryFile(method, seed, path)


def test_the_table_has_every_figure_of_every_method_and_seed(tmp_path: Path) -> None:
    names = [("a", 0), ("a", 6), ("b", 0)]
    table, _ = compare("d", [written_geometry(tmp_path, *name) for name in names])
    write_geometry_table(table, [], tmp_path / "geometry.tsv")
    expected = []
    for method, seed in names:
        for level in (1, 2):
            within, ratio = (0.3, 0.375) if level == 1 else (None, None)
            rows = [
                (
                    "probe_accuracy",
                    of,
                    pytest.approx(share - 0.1 * level + 0.01 * seed),
                    pytest.approx(0.2 / level),
                )
                for of, share in SHARES.items()
            ]
            rows += [
                ("probe_ceiling", "categories", 0.95, None),
                ("within_distance", "embedding", within, None),
                ("between_distance", "embedding", 0.8, None),
                ("distance_ratio", "embedding", ratio, 1.0),
            ]
            expected += [("d", method, seed, level, *row) for row in rows]
    assert read_geometry_table(tmp_path / "geometry.tsv").rows() == expected


def test_the_figure_shows_means_over_seeds_by_level_and_chance(tmp_path: Path) -> None:
    table, header = compare(
        "d", [written_geometry(tmp_path, *name) for name in (("a", 0), ("a", 6), ("b", 1))]
    )
    write_geometry_table(table, header, tmp_path / "geometry.tsv")
    write_geometry_figure(tmp_path / "geometry.svg", tmp_path / "geometry.tsv", True)
    picture = read_svg((tmp_path / "geometry.svg").read_text())
    titles = sorted([text for text in picture.texts if text.bold], key=lambda text: text.x)
    assert [text.text for text in titles] == ["d (simulated): a", "d (simulated): b"]
    levels = {text.colour: int(text.text[-1]) for text in picture.texts if text.text.startswith("level")}
    assert sorted(levels.values()) == [1, 2]
    names = (["embedding"], ["code_1", "code_2"], ["prefix_1", "prefix_2"])
    for place, seeds in enumerate(((0, 6), (1,))):
        vectors, codes, prefixes = picture.plots[3 * place : 3 * place + 3]
        assert list(vectors.x.labels) == ["embedding"]
        assert list(codes.x.labels) == list(prefixes.x.labels) == ["1", "2"]
        # the percent labels of the plot next to it hold for the prefixes, which have none
        for plot, of in zip((vectors, codes, prefixes._replace(y=codes.y)), names, strict=True):
            dashed = [line for line in plot.curves() if "dasharray" in line.style]
            for colour, level in levels.items():
                shares = np.array(
                    [[SHARES[name] - 0.1 * level + 0.01 * seed for name in of] for seed in seeds]
                )
                marks = [mark for mark in plot.marks if mark.colour == colour]
                assert [mark.x for mark in marks] == pytest.approx(list(plot.x.labels.values()), abs=0.01)
                means = 100 * shares.mean(axis=0)
                assert [plot.y.value(mark.y) for mark in marks] == pytest.approx(means, abs=0.01)
                [band] = [band for band in plot.bands if band.colour == colour]
                heights = [plot.y.value(y) for _, y in band.points]
                assert (min(heights), max(heights)) == pytest.approx(
                    (100 * shares.min(), 100 * shares.max()), abs=0.01
                )
                [chance] = [line for line in dashed if line.colour == colour]
                assert plot.y.value(chance.points[0, 1]) == pytest.approx(20 / level, abs=0.01)


def test_the_same_inputs_give_the_same_bytes(tiny_run, tmp_path: Path) -> None:
    folder = copy_of(tiny_run.folder, tmp_path)
    for script, output in (
        ("measure_geometry", GEOMETRY),
        ("compare_geometry", GEOMETRY_TABLE),
        ("plot_geometry", f"{DATASET}/figures/recall_geometry.svg"),
    ):
        before = (folder / output).read_bytes()
        (folder / output).unlink()
        assert run_script(script, folder).code == 0
        assert (folder / output).read_bytes() == before, script


def test_the_table_has_no_method_without_docids_and_those_that_share_them_twice(tiny_run) -> None:
    table = read_geometry_table(tiny_run.folder / GEOMETRY_TABLE)
    assert table["method"].unique(maintain_order=True).to_list() == ["catid2", "tiger", "gradient", "light"]
    catid2, light = (table.filter(method=method).drop("method") for method in ("catid2", "light"))
    assert light.equals(catid2)
    assert not (tiny_run.folder / DATASET / "light" / "seed0" / "geometry.json").exists()


def test_another_share_held_out_is_refused_beside_the_others(tiny_run, tmp_path: Path) -> None:
    folder = copy_of(tiny_run.folder, tmp_path)
    assert run_script("measure_geometry", folder, settings("measure_geometry", held_out=0.3)).code == 0
    done = run_script("compare_geometry", folder)
    assert done.errors == [
        f"error: {DATASET}/tiger/seed0/geometry.json: not measured on the documents of {METHOD}/geometry.json; "
        "run measure_geometry for all methods with the same settings"
    ]


def test_the_settings_of_a_method_do_not_hang_on_the_studies() -> None:
    pipeline = tiny_pipeline()
    assert pipeline.config.geometry.studies == ("recall",)
    assert pipeline.config.geometry.of_method() == GeometryConfig()


def test_geometry_json_is_read_as_it_was_measured(tiny_run) -> None:
    path = tiny_run.folder / GEOMETRY
    found = read_geometry(path)
    assert isinstance(found, Geometry)
    assert found.levels[2].accuracy == json.loads(path.read_text())["levels"][2]["accuracy"]
