"""DocIDs of a corpus: what they may hang on, the table and the report, and the stage's command line."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import Done, run_here

from catid2.config.docids import DocidsConfig
from catid2.corpus.products import canonical_order
from catid2.docids.assign import assign, describe, require_unique
from catid2.docids.repair import sinkhorn_loop
from catid2.docids.schemes.coding import Quantised
from catid2.docids.table import Docids, docids_table
from catid2.quantizer.codes import collisions, greedy_codes
from catid2.quantizer.latents import encode, reconstruction_error
from catid2.quantizer.model import RQVAE, Architecture
from catid2.runtime.errors import InputError
from catid2.runtime.tables import docids_columns, products_columns, read_table, write_table

UNIQUE = ("transport", "sinkhorn", "digit")
REPAIRS = (*UNIQUE, "sinkhorn_loop", "none")
DROPPED = [0.0, 0.25]  # of HCCL, as the config of the RQ-VAE has it


def corpus(seed: int, documents: int, layers: int = 3, size: int = 8, dimensions: int = 4):
    """Latents (N, d) of which a third are duplicates, codebooks (L, K, d), product ids (N,) in no order."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((documents, dimensions)).astype(np.float32)
    copies = rng.integers(0, documents, documents // 3)
    latents[rng.integers(0, documents, len(copies))] = latents[copies]
    scale = 0.5 ** np.arange(layers)[:, None, None]
    codebooks = (scale * rng.standard_normal((layers, size, dimensions))).astype(np.float32)
    names = [f"B{number:05d}é" for number in rng.permutation(documents)]
    return latents, codebooks, names


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 200), st.sampled_from(UNIQUE))
def test_row_order_does_not_change_the_id_of_a_product(seed, documents, repair):
    # 216 IDs: a large corpus overflows, and what moved is shuffled as well.
    latents, codebooks, names = corpus(seed, documents, size=6)
    config = DocidsConfig(repair=repair)
    first = assign(latents, codebooks, names, config)
    shuffled = np.random.default_rng(seed).permutation(documents)
    second = assign(latents[shuffled], codebooks, [names[row] for row in shuffled], config)
    for one, other in zip(first, second, strict=True):
        assert (one[shuffled] == other).all()


def test_of_duplicates_the_first_product_keeps_the_argmin_id():
    latents, codebooks, _ = corpus(0, documents=1)
    latents = np.repeat(latents, 4, axis=0)
    assignment = assign(latents, codebooks, ["d", "b", "a", "c"], DocidsConfig())
    assert assignment.moved.tolist() == [True, True, False, True]
    assert collisions(assignment.codes).documents == 0
    residual = latents.astype(float)
    for layer, codebook in enumerate(codebooks):
        residual = residual - codebook[assignment.codes[:, layer]]
    by_name = (residual**2).sum(axis=1)[[2, 1, 3, 0]]
    assert (np.diff(by_name) >= 0).all()


@pytest.mark.parametrize("changed", [{"epsilon": 1.0}, {"iterations": 1}, {"rounds": 1}])
def test_the_loop_has_its_settings(changed):
    latents, codebooks, _ = corpus(5, documents=150)
    plain = {"epsilon": 0.05, "iterations": 20, "rounds": 5}
    argmin = greedy_codes(latents, codebooks)
    codes = {}
    for name, values in (("plain", plain), ("changed", plain | changed)):
        config = DocidsConfig(
            repair="sinkhorn_loop", **{f"sinkhorn_{key}": value for key, value in values.items()}
        )
        codes[name] = assign(latents, codebooks, [f"{row:03}" for row in range(150)], config).codes
        assert (codes[name] == sinkhorn_loop(latents, codebooks, argmin, **values)).all()
    assert (codes["plain"] != codes["changed"]).any()


def test_canonical_order_is_that_of_utf8_bytes():
    names = ["é", "z", "B10", "B9", "a", "日本"]
    assert [names[row] for row in canonical_order(names)] == sorted(names, key=lambda name: name.encode())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "a"], "product_id 'a' occurs twice"),
        (["a", None, "b"], "row 1: product_id is null"),
        (["a", "b"], "3 latents for 2 product ids"),
    ],
)
def test_names_that_give_no_order_are_errors(names, message):
    latents, codebooks, _ = corpus(0, documents=3)
    with pytest.raises(InputError, match=message):
        assign(latents, codebooks, names, DocidsConfig())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_errors(value):
    latents, codebooks, names = corpus(0, documents=5)
    bad = latents.copy()
    bad[3, 1] = value
    with pytest.raises(InputError, match="latent of row 3 holds NaN or infinity"):
        assign(bad, codebooks, names, DocidsConfig())
    codebooks[1, 0, 0] = value
    with pytest.raises(InputError, match="a codebook holds NaN"):
        assign(latents, codebooks, names, DocidsConfig())


def test_shapes_that_do_not_fit_are_errors():
    latents, codebooks, names = corpus(0, documents=5)
    with pytest.raises(InputError, match="latents of shape"):
        assign(latents[:, :-1], codebooks, names, DocidsConfig())
    with pytest.raises(InputError, match="no documents"):
        assign(latents[:0], codebooks, [], DocidsConfig())


@pytest.mark.parametrize("repair", REPAIRS)
def test_only_unique_ids_pass_unless_allowed(repair):
    latents, codebooks, names = corpus(1, documents=150)
    config = DocidsConfig(repair=repair)
    assignment = assign(latents, codebooks, names, config)
    if repair in UNIQUE:
        assert len(np.unique(assignment.codes, axis=0)) == 150
        require_unique(assignment, config)
    else:
        with pytest.raises(InputError, match=rf"of 150 documents share a DocID after repair '{repair}'"):
            require_unique(assignment, config)
        require_unique(assignment, DocidsConfig(repair=repair, allow_collisions=True))


@pytest.mark.parametrize("repair", REPAIRS)
def test_table_and_report_agree_with_the_assignment(repair):
    latents, codebooks, names = corpus(2, documents=90)
    config = DocidsConfig(repair=repair)
    assignment = assign(latents, codebooks, names, config)
    table = docids_table(names, assignment)
    length = 4 if repair == "digit" else 3
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == docids_columns(length, layers=3)
    assert table["product_id"].to_pylist() == names
    assert table["doc_id"].to_pylist() == list(range(90))

    categories = np.stack([assignment.before[:, 0], np.arange(90) % 7], axis=1)
    coded = Quantised(latents, codebooks, lambda codes: float(codes[0, 0]))
    report = describe(assignment, coded, config, categories)
    assert (report["length"], report["layers"], report["codes_per_layer"]) == (length, 3, [8] * 3)
    assert (report["scheme"], report["repair"]) == ("rqvae", repair)
    assert report["moved_share"] == np.mean(table["moved"].to_numpy())
    for state, codes in (("before", assignment.before), ("after", assignment.codes)):
        found = report[state]
        assert found["collisions"] == collisions(codes)._asdict()
        assert found["reconstruction_error"] == codes[0, 0]
        assert found["dead_codes"] == [8 - len(set(column)) for column in codes.T.tolist()]
        decoded = sum(codebooks[layer][codes[:, layer]].astype(float) for layer in range(3))
        assert found["distortion"] == pytest.approx(((latents - decoded) ** 2).sum(axis=1).mean())
    assert report["before"]["category_nmi"]["codes"][0][0] == pytest.approx(1), (
        "the categories are the first codes"
    )
    for state in ("before", "after"):
        assert np.shape(report[state]["category_nmi_chance"]["prefixes"]) == (2, 3)
        assert report[state]["category_nmi_chance"]["codes"][0][0] < 0.7  # 90 documents are few
    assert json.loads(json.dumps(report)) == report


# --- with a model, and on the command line --------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of 300 products, its embeddings with duplicates, and an untrained RQ-VAE."""
    folder = tmp_path_factory.mktemp("docids")
    torch.manual_seed(0)
    architecture = Architecture(
        input_dim=16,
        layers=3,
        codebook_size=8,
        latent_dim=4,
        hidden=(8,),
        layer_norm=False,
        standardize="unit",
        codebook_update="ema",
        ema_decay=0.99,
    )
    model = RQVAE(architecture)
    torch.nn.init.normal_(model.codebooks, std=0.3)
    (folder / "rqvae").mkdir()
    model.save(
        folder / "rqvae" / "model.safetensors", folder / "rqvae" / "config.json", {"hccl_dropped": DROPPED}
    )

    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((300, 16)).astype(np.float16)
    embeddings[100:140] = embeddings[0]
    np.save(folder / "embeddings.npy", embeddings)
    columns = {name: [str(row) for row in range(300)] for name in products_columns(2)}
    columns |= {"doc_id": range(300), "category_id_1": rng.integers(0, 3, 300), "category_id_2": [3] * 300}
    schema = pa.schema(list(products_columns(2).items()))
    pq.write_table(
        pa.table([pa.array(columns[name], schema.field(name).type) for name in schema.names], schema),
        folder / "products.parquet",
    )
    return folder


def command(folder: Path, output: Path, **changes: str) -> list[str]:
    """The arguments of scripts/assign_docids.py; an empty value leaves an option out."""
    options = {
        "config": "{}",
        "embeddings": folder / "embeddings.npy",
        "products": folder / "products.parquet",
        "model": folder / "rqvae" / "model.safetensors",
        "output": output / "docids.parquet",
        "report": output / "docids.json",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return [str(word) for name, value in options.items() if value for word in (f"--{name}", value)]


def run(folder: Path, output: Path, **changes: str) -> Done:
    return run_here("assign_docids", command(folder, output, **changes))


def test_docids_are_read_with_the_codes_before_the_repair(tmp_path):
    path, codes = tmp_path / "docids.parquet", np.arange(6, dtype=np.int32).reshape(2, 3)
    columns = [[0, 1], ["a", "b"], *codes.T, *(codes[:, :2] - 3).T, [False, True]]
    write_table(path, pa.table(columns, pa.schema(list(docids_columns(3, 2).items()))))
    docids = Docids.read(path)
    assert (docids.doc_ids.tolist(), docids.product_ids.to_pylist()) == ([0, 1], ["a", "b"])
    assert (docids.codes.tolist(), docids.before.tolist()) == ([[0, 1, 2], [3, 4, 5]], [[-3, -2], [0, 1]])
    assert docids.sizes == (4, 5, 6)
    with pytest.raises(InputError, match="column 'before_0', row 0: a negative code, -3"):
        docids.require_codes()


def test_command_writes_unique_ids_and_the_same_bytes_again(folder, tmp_path):
    for name in ("one", "two"):
        done = run(folder, tmp_path / name)
        assert done.code == 0, done.stderr
    table = read_table(tmp_path / "one" / "docids.parquet", docids_columns(3, 3))
    codes = np.stack([table[f"c_{position}"].to_numpy() for position in range(3)], axis=1)
    assert len(np.unique(codes, axis=0)) == 300
    report = json.loads((tmp_path / "one" / "docids.json").read_text())
    assert report["after"]["collisions"]["documents"] == 0
    assert report["before"]["collisions"]["largest"] >= 41
    assert report["after"]["reconstruction_error"] > 0
    assert report["hccl_dropped"] == DROPPED
    for name in ("docids.parquet", "docids.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_extra_digit_numbers_more_documents_than_a_layer_has_codes(folder, tmp_path):
    done = run(folder, tmp_path, config='{"repair": "digit"}')
    assert done.code == 0, done.stderr
    report = json.loads((tmp_path / "docids.json").read_text())
    largest = report["before"]["collisions"]["largest"]
    assert largest > max(report["codes_per_layer"])
    assert report["after"]["collisions"]["documents"] == 0
    digits = read_table(tmp_path / "docids.parquet", docids_columns(4, 3))["c_3"].to_numpy()
    assert digits.max() + 1 == largest
    assert report["after"]["dead_codes"][3] == 0


def test_command_needs_a_model_for_the_rqvae_alone(folder, tmp_path):
    none = {"model": ""}
    done = run(folder, tmp_path, **none)
    assert done.code == 1
    assert done.stderr.startswith("error: --model: missing; name the RQ-VAE")
    assert list(tmp_path.iterdir()) == []

    scheme = '{"scheme": {"kind": "random", "layers": 2, "codebook_size": 18}}'
    tables = []
    for seed in ("1", "1", "2"):
        done = run(folder, tmp_path, config=scheme, seed=seed, **none)
        assert done.code == 0, done.stderr
        tables.append((tmp_path / "docids.parquet").read_bytes())
    assert tables[0] == tables[1] != tables[2]
    report = json.loads((tmp_path / "docids.json").read_text())
    assert (report["scheme"], report["repair"], report["codes_per_layer"]) == ("random", None, [18, 18])
    assert report["hccl_dropped"] == []


def test_command_writes_nothing_when_documents_share_ids(folder, tmp_path):
    done = run(folder, tmp_path, config='{"repair": "none"}')
    assert done.code == 1
    assert "share a DocID after repair 'none'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_command_writes_both_files_or_none(folder, tmp_path, monkeypatch):
    def disk_full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catid2.runtime.tables.write_json", disk_full)
    done = run(folder, tmp_path)
    assert done.code == 1
    assert "No space left on device); make room" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_latents_are_those_of_the_model_and_bad_embeddings_are_named(folder, monkeypatch):
    monkeypatch.setattr("catid2.quantizer.latents.BATCH", 64)  # 300 documents are five batches
    model = RQVAE.load(folder / "rqvae")
    embeddings = np.load(folder / "embeddings.npy")
    order = np.random.default_rng(1).permutation(300)
    latents = encode(model, embeddings, order, "e.npy")
    with torch.no_grad():
        expected = model(torch.from_numpy(embeddings))
    np.testing.assert_allclose(latents, expected.z.numpy(), atol=1e-6)

    codes = expected.quantized.codes.numpy()
    with torch.no_grad():
        error = (model.decode(expected.quantized.latents) - expected.x).square().sum(1).mean().item()
    assert reconstruction_error(model, embeddings, latents, codes) == pytest.approx(error, rel=1e-5)

    bad = embeddings.copy()
    bad[7, 2] = np.nan
    with pytest.raises(InputError, match=r"e\.npy: row 7: a value is not finite"):
        encode(model, bad, order, "e.npy")
    with pytest.raises(InputError, match=r"15 dimensions, but the RQ-VAE takes 16"):
        encode(model, embeddings[:, :15], order, "e.npy")
