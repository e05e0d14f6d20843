"""DocIDs of a refreshed catalogue: codes get their old names, products that are coded as before their old DocIDs."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from in_process import run_here
from rqvae_case import arguments, catalogue, settings, write_inputs
from test_extend import books, documents, every_repair, names, rows
from test_extend import settings as docid_settings

from catid2.docids.align import Earlier, kept_shares, match_codes, read_earlier
from catid2.docids.assign import Assignment, assign
from catid2.docids.repair import extra_digit
from catid2.docids.table import docids_table
from catid2.quantizer.codebooks import ResidualQuantizer
from catid2.quantizer.codes import greedy_codes
from catid2.quantizer.model import RQVAE
from catid2.runtime.errors import InputError
from catid2.runtime.tables import write_table


def permutations(rng: np.random.Generator, layers: int, size: int) -> np.ndarray:
    return np.stack([rng.permutation(size) for _ in range(layers)])


def earlier_of(assignment: Assignment, known: np.ndarray | None = None) -> Earlier:
    known = np.ones(len(assignment.codes), bool) if known is None else known
    return Earlier(Path("old.parquet"), known, assignment.codes, assignment.before)


def renamed_model(codebooks: np.ndarray, renaming: np.ndarray) -> np.ndarray:
    quantizer = ResidualQuantizer(*codebooks.shape)
    quantizer.codebooks.data = torch.from_numpy(codebooks.copy())
    quantizer.rename(torch.from_numpy(renaming))
    return quantizer.codebooks.detach().numpy()


@every_repair
@pytest.mark.parametrize("seed", range(5))
def test_a_quantiser_whose_codes_are_renamed_gives_every_product_its_old_docid(repair, seed):
    rng = np.random.default_rng(seed)
    latents, codebooks = documents(rng, 150, 120), books(rng, 3, 6)
    old = assign(latents, codebooks, names(150), docid_settings(repair))
    renaming = permutations(rng, 3, 6)
    other = renamed_model(codebooks, renaming)
    codes = greedy_codes(latents, other)
    assert (codes == np.take_along_axis(renaming, old.before.T, axis=1).T).all()
    again = renamed_model(other, match_codes(old.before, codes, 6))
    for earlier in (None, earlier_of(old)):
        new = assign(latents, again, names(150), docid_settings(repair), earlier)
        assert (new.codes == old.codes).all()


@pytest.mark.parametrize("seed", range(20))
def test_names_keep_as_many_prefixes_as_the_best_of_all_permutations_layer_by_layer(seed):
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 4, (2, 60, 3))
    new[:30] = (old[:30] + 1) % 4  # so that there is something to find
    found = match_codes(old, new, 4)
    kept = np.ones(60, bool)
    for layer, name in enumerate(found):
        assert sorted(name) == [0, 1, 2, 3]
        hits = [
            (kept & (np.array(names)[new[:, layer]] == old[:, layer])).sum()
            for names in itertools.permutations(range(4))
        ]
        kept &= name[new[:, layer]] == old[:, layer]
        assert kept.sum() == max(hits)
    shares = kept_shares(old, np.take_along_axis(found, new.T, axis=1).T)
    assert shares[-1] == kept.mean()
    assert shares[0] >= kept_shares(old, new)[0]
    slow = [np.mean([list(a[:d]) == list(b[:d]) for a, b in zip(old, new, strict=True)]) for d in (1, 2, 3)]
    assert kept_shares(old, new) == pytest.approx(slow)


@every_repair
@pytest.mark.parametrize("seed", range(10))
def test_products_that_are_coded_as_before_keep_their_docids_and_the_others_share_out_the_rest(repair, seed):
    rng = np.random.default_rng(seed)
    # 216 DocIDs without a digit: some documents have to leave their prefix.
    latents, codebooks, config = documents(rng, 200, 120), books(rng, 3, 6), docid_settings(repair)
    old = assign(latents, codebooks, names(200), config)
    known = rng.random(200) < 0.8
    moved = latents + 0.2 * (rng.random((200, 1)) < 0.3) * rng.standard_normal((200, 3)).astype(np.float32)
    new = assign(moved, codebooks, names(200), config, earlier_of(old, known))
    same = known & (new.before == old.before).all(axis=1)
    assert 20 < same.sum() < 180
    assert (new.codes[same] == old.codes[same]).all()
    assert len(rows(new.codes)) == 200
    shuffled = rng.permutation(200)
    earlier = Earlier(Path("old"), known[shuffled], old.codes[shuffled], old.before[shuffled])
    product_ids = [names(200)[row] for row in shuffled]
    assert (
        assign(moved[shuffled], codebooks, product_ids, config, earlier).codes == new.codes[shuffled]
    ).all()


@pytest.mark.parametrize("seed", range(20))
def test_digits_are_the_lowest_that_are_free(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, (40, 2)).astype(np.int32)
    taken = np.unique(rng.integers(0, (2, 2, 15), (25, 3)), axis=0).astype(np.int32)
    slow, used = [], rows(taken)
    for code in codes.tolist():
        slow.append(next((*code, digit) for digit in itertools.count() if (*code, digit) not in used))
        used.add(slow[-1])
    assert rows(extra_digit(codes, taken[:0])) == rows(extra_digit(codes))
    assert extra_digit(codes, taken).tolist() == [list(code) for code in slow]


def test_docids_of_another_length_are_refused():
    rng = np.random.default_rng(0)
    latents, codebooks = documents(rng, 20), books(rng, 2, 6)
    old = earlier_of(assign(latents, codebooks, names(20), docid_settings("digit")))
    with pytest.raises(
        InputError, match=r"old.parquet: DocIDs of 3 positions, these have 2 \(docids.repair is tra"
    ):
        assign(latents, codebooks, names(20), docid_settings("transport"), old)


def test_what_an_earlier_catalogue_knows_is_read_by_product(tmp_path):
    rng = np.random.default_rng(0)
    old = assign(documents(rng, 30), books(rng, 2, 6), names(30), docid_settings("digit"))
    path = tmp_path / "old.parquet"
    write_table(path, docids_table(names(30), old))
    earlier = read_earlier(path, ["p00029", "new", "p00003"], 2, 6)
    assert earlier.known.tolist() == [True, False, True]
    assert (earlier.codes[[0, 2]] == old.codes[[29, 3]]).all()
    assert (earlier.before[[0, 2]] == old.before[[29, 3]]).all()


@pytest.mark.parametrize(
    ("change", "layers", "size", "message"),
    [
        ({}, 3, 6, "was made by 2 layers of at least 6 codes, this quantiser has 3 of 6"),
        ({}, 2, 5, "was made by 2 layers of at least 6 codes, this quantiser has 2 of 5"),
        ({"product_id": ["q"] * 30}, 2, 6, "'q'"),
        ({"product_id": names(30, "q")}, 2, 6, "holds none of the documents"),
        ({"c_0": [0] * 30, "c_1": [0] * 30, "c_2": [0] * 30}, 2, 6, "30 documents share a DocID"),
        ({"before_1": [-1] * 30}, 2, 6, "column 'before_1', row 0: a negative code, -1"),
    ],
)  # fmt: skip
def test_docids_that_do_not_fit_are_named(tmp_path, change, layers, size, message):
    rng = np.random.default_rng(0)
    table = docids_table(
        names(30), assign(documents(rng, 30), books(rng, 2, 6), names(30), docid_settings("digit"))
    )
    for name, values in change.items():
        field = table.schema.get_field_index(name)
        table = table.set_column(
            field, table.schema.field(field), [pa.array(values, table.schema.types[field])]
        )
    write_table(tmp_path / "old.parquet", table)
    with pytest.raises(InputError, match=message) as caught:
        read_earlier(tmp_path / "old.parquet", names(30), layers, size)
    assert "old.parquet" in str(caught.value)


# --- the stages


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Inputs of train_rqvae, with product ids."""
    folder = tmp_path_factory.mktemp("align")
    write_inputs(folder, catalogue())
    table = pq.read_table(folder / "products.parquet")
    field = table.schema.get_field_index("product_id")
    write_table(folder / "products.parquet", table.set_column(field, table.schema.field(field), [names(200)]))
    return folder


def made(
    folder: Path, output: Path, seed: int, align_to: Path | None = None
) -> tuple[RQVAE, dict[str, np.ndarray]]:
    """Run train_rqvae and assign_docids; return the model, and the DocIDs' table."""
    config = settings(align_to=align_to and str(align_to))
    for script, words in (
        ("train_rqvae", arguments(folder, config, output, seed)),
        ("assign_docids", [
            *("--config", '{"repair": "digit"}', "--embeddings", folder / "embeddings.npy"),
            *("--products", folder / "products.parquet", "--model", output / "rqvae/model.safetensors"),
            *(("--align-to", align_to) if align_to else ()),
            *("--output", output / "docids.parquet", "--report", output / "docids.json"),
        ]),
    ):  # fmt: skip
        done = run_here(script, words)
        assert done.code == 0, done.stderr
    table = pq.read_table(output / "docids.parquet")
    return RQVAE.load(output / "rqvae"), {name: table[name].to_numpy() for name in table.column_names}


def codes_of(table: dict[str, np.ndarray], kind: str) -> np.ndarray:
    return np.stack([column for name, column in table.items() if name.startswith(f"{kind}_")], axis=1)


def test_a_retrained_quantiser_is_the_same_but_for_the_names_of_its_codes(folder, tmp_path):
    _, old = made(folder, tmp_path / "old", 0)
    plain, unaligned = made(folder, tmp_path / "new", 1)
    model, aligned = made(folder, tmp_path / "aligned", 1, tmp_path / "old/docids.parquet")
    before = codes_of(unaligned, "before")
    renaming = match_codes(codes_of(old, "before"), before, 8)
    assert (codes_of(aligned, "before") == np.take_along_axis(renaming, before.T, axis=1).T).all()
    for name, weights in model.state_dict().items():
        own = plain.state_dict()[name]
        if name.startswith("quantizer"):
            inverse = torch.from_numpy(renaming.argsort(axis=1))
            own = torch.stack([part[order] for part, order in zip(own, inverse, strict=True)])
        assert torch.equal(weights, own)
    shares = kept_shares(codes_of(old, "c"), codes_of(aligned, "c"))
    assert shares[0] > kept_shares(codes_of(old, "c"), codes_of(unaligned, "c"))[0]
    report = (tmp_path / "aligned/docids.json").read_text()
    assert '"kept"' in report
    assert str(shares[0]) in report
    assert '"kept"' not in (tmp_path / "new/docids.json").read_text()
