"""Products added to an index and removed from it: what changes, what stays, and what is refused."""

import csv
import json
from pathlib import Path

import light_case
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import retriever_case
import rqvae_case
from index_case import give_categories, index_config, run_command

from catid2.config.docids import DocidsConfig
from catid2.corpus.products import read_products
from catid2.docids.assign import assign
from catid2.docids.table import Docids, docids_table
from catid2.index.add import change_products
from catid2.index.export import Parts, export_index
from catid2.index.index import Index
from catid2.index.new_products import CategoryTree
from catid2.quantizer.latents import encode
from catid2.quantizer.training import train
from catid2.retriever.retrieve import Corpus
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.errors import InputError
from catid2.runtime.tables import products_columns, read_embeddings, read_table, write_table
from catid2.training.distributed import Group

NEW = [
    {"product_id": "N2", "title": "red lamp", "brand": "Glow", "category": "home > LAMPS > Desk"},
    {"product_id": "A1", "title": "<b>blue</b>  kettle", "brand": None, "category": "Kitchen > Kettles"},
    {"product_id": "N1", "title": "red lamp", "brand": None, "category": None},
]


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    """An index of an RQ-VAE and a light retriever, whose DocIDs have an extra digit."""
    root = tmp_path_factory.mktemp("index")
    case = retriever_case.write_case(root)
    give_categories(case.products)
    embeddings = light_case.embed_case(case, root / "vectors")
    product_ids, categories = read_products(case.products)
    vectors = read_embeddings(embeddings)
    config = rqvae_case.settings(layers=2, levels=1, epochs=3, batch_size=30, on_collapse="report")
    model = train(vectors, categories, config, 0, Group(), Checkpoints(root / "states", {})).model
    (root / "rqvae").mkdir()
    model.save(root / "rqvae" / "model.safetensors", root / "rqvae" / "config.json", {})
    latents = encode(model, vectors, np.arange(len(vectors)), embeddings)
    docids = DocidsConfig(repair="digit")
    assignment = assign(latents, model.codebooks.numpy(), product_ids, docids)
    write_table(case.docids, docids_table(product_ids, assignment))
    retriever = light_case.train(light_case.SMALL, light_case.Inputs(*case, embeddings), root)
    corpus = Corpus(case.docids, case.products, case.queries, embeddings)
    settings = index_config().model_copy(update={"docids": docids})
    export_index(settings, Parts(retriever, root / "rqvae"), corpus, root / "index")
    return Index(root / "index")


def write(path: Path, rows: list[dict]) -> Path:
    """Write products as CSV, JSON lines or parquet, by the ending of the name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def changed(
    index: Index, folder: Path, rows: list[dict] | None, removed: tuple[str, ...] = (), name: str = "new.csv"
) -> Index:
    """Return the index in `folder` / index that has `rows` and lacks `removed`."""
    folder.mkdir(exist_ok=True)
    change_products(index, folder / "index", write(folder / name, rows) if rows else None, removed)
    return Index(folder / "index")


def products(index: Index) -> list[dict]:
    """Return the products of an index without their doc_ids."""
    table = read_table(index.folder / "products.parquet", products_columns(2))
    return table.drop_columns("doc_id").to_pylist()


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# --- adding -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def added(index, tmp_path_factory) -> Index:
    return changed(index, tmp_path_factory.mktemp("added"), NEW)


def test_old_products_keep_everything_and_new_docids_are_free(index, added):
    old = len(index)
    assert products(added)[:old] == products(index)
    assert added.product_ids[old:] == ["A1", "N1", "N2"]
    assert (added.codes[:old] == index.codes).all()
    assert added.vectors[:old].tobytes() == index.vectors.tobytes()
    assert len(np.unique(added.codes, axis=0)) == old + 3
    assert (added.codes < index.retriever.sizes).all()
    before, after = files(index.folder), files(added.folder)
    assert before.keys() == after.keys()
    changing = {"products.parquet", "docids.parquet", "vectors.npy", "README.md", "SHA256SUMS"}
    unlike = {name for name in before if before[name] != after[name] and not name.startswith("bm25/")}
    assert unlike == changing


def test_a_new_product_is_an_old_one_with_the_same_text(index, added, tmp_path):
    """Same vector, and the same codes up to the extra digit; N1 and N2 have the text of each other."""
    first, second = added.require(["N1", "N2"])
    assert (added.vectors[first] == added.vectors[second]).all()
    assert (added.codes[first, :-1] == added.codes[second, :-1]).all()
    twin = {"product_id": "T", "title": index.titles[7], "category": None}
    more = changed(index, tmp_path, [twin])
    assert (more.vectors[-1] == index.vectors[7]).all()
    before = [Docids.read(one.folder / "docids.parquet").before for one in (more, index)]
    assert (before[0][-1] == before[1][7]).all()


def test_new_products_are_cleaned_and_found(added):
    [row] = added.require(["A1"])
    assert added.titles[row] == "blue kettle"
    for way in ("docid", "bm25", "dense"):
        hits = added.search(["blue kettle"], k=63, by=(way,), beams=500)[0]
        assert "A1" in [hit.product_id for hit in hits]


@pytest.mark.parametrize("name", ["new.jsonl", "new.parquet"])
def test_formats_and_the_order_of_rows_make_no_difference(name, index, added, tmp_path):
    other = changed(index, tmp_path, NEW[::-1], name=name)
    assert files(other.folder) == files(added.folder)


def test_categories_are_those_of_the_tree_or_new_nodes(index, added):
    old, new = products(index), {row["product_id"]: row for row in products(added)[len(index) :]}
    lamps = next(row for row in old if (row["category_1"], row["category_2"]) == ("Home", "Lamps"))
    for column in ("category_1", "category_2", "category_id_1", "category_id_2"):
        assert new["N2"][column] == lamps[column]
    known = {row[f"category_id_{level}"] for row in old for level in (1, 2)}
    own = [new[name][f"category_id_{level}"] for name in ("A1", "N1") for level in (1, 2)]
    assert len(set(own) - known) == 4
    assert [new["A1"]["category_1"], new["A1"]["category_2"]] == ["Kitchen", "Kettles"]
    assert [new["N1"]["category_1"], new["N1"]["category_2"]] == [None, None]
    assert added.allowed_products(category="Kitchen > Kettles").sum() == 1


def test_a_path_can_stand_in_a_column_per_level(index, tmp_path):
    rows = [
        {"product_id": "X", "title": "rug", "category_1": "home", "category_2": "Rugs"},
        {"product_id": "Y", "title": "rug", "category_1": "Shoes", "category_2": None},
    ]
    other = changed(index, tmp_path, rows)
    nodes = {
        tuple(path): ids.tolist() for path, ids in zip(index.categories, index.category_ids, strict=True)
    }
    assert other.category_ids[-2:].tolist() == [nodes["Home", "Rugs"], nodes[("Shoes",)]]


def test_in_a_catalogue_without_categories_every_product_has_the_same_path():
    tree = CategoryTree([("all", "all")] * 3, np.array([[0, 1]] * 3))
    assert tree.place([]) == [(0, "all"), (1, "all")]
    assert tree.place(["Home"]) == [(2, "Home"), (3, None)]
    assert tree.place(["HOME "]) == [(2, "Home"), (3, None)]


# --- removing ---------------------------------------------------------------------------------------


def test_removed_products_leave_their_docids_free(index, tmp_path):
    gone = ("P003", "P010")
    fewer = changed(index, tmp_path, None, gone)
    kept = np.array([name not in gone for name in index.product_ids])
    assert fewer.product_ids == [name for name in index.product_ids if name not in gone]
    assert products(fewer) == [row for row in products(index) if row["product_id"] not in gone]
    assert (fewer.codes == index.codes[kept]).all()
    assert (fewer.vectors == index.vectors[kept]).all()
    for way in ("docid", "bm25", "dense"):
        hits = fewer.search(["red lamp"], k=60, by=(way,), beams=500)[0]
        assert not set(gone) & {hit.product_id for hit in hits}
    back = changed(fewer, tmp_path / "back", [{"product_id": "P003", "title": index.titles[3]}])
    assert (back.codes[:-1] == fewer.codes).all()
    assert tuple(back.codes[-1]) not in set(map(tuple, fewer.codes.tolist()))


def test_a_product_that_is_removed_and_added_is_replaced(index, tmp_path):
    other = changed(index, tmp_path, [{"product_id": "P003", "title": "green rug"}], ("P003",))
    assert len(other) == len(index)
    assert other.titles[other.rows["P003"]] == "green rug"


@pytest.mark.parametrize("seed", range(2))
def test_after_any_sequence_of_changes_docids_are_unique_and_kept(seed, index, tmp_path):
    rng = np.random.default_rng(seed)
    now, docids = index, dict(zip(index.product_ids, map(tuple, index.codes.tolist()), strict=True))
    for step in range(3):
        rows = [
            {"product_id": f"S{step}{row}", "title": " ".join(rng.choice(retriever_case.WORDS, 2))}
            for row in range(20)
        ]
        gone = tuple(rng.choice(now.product_ids, 10, replace=False).tolist())
        now = changed(now, tmp_path / str(step), rows, gone)
        assert len(set(map(tuple, now.codes.tolist()))) == len(now) == 60 + 10 * (step + 1)
        for name, codes in zip(now.product_ids, map(tuple, now.codes.tolist()), strict=True):
            assert docids.setdefault(name, codes) == codes


# --- the command ------------------------------------------------------------------------------------


def test_the_command_prints_what_it_did(index, monkeypatch, capsys, tmp_path):
    write(tmp_path / "new.csv", NEW)
    (tmp_path / "gone.txt").write_text("P003\n\nP010\n")
    monkeypatch.chdir(tmp_path)
    command = ["add", index.folder, "new.csv", "--remove", "gone.txt", "--output", "more"]
    assert run_command(monkeypatch, capsys, *command) == (0, "more: 61 products, 3 new, 2 removed\n", "")
    assert len(Index("more")) == 61


def bad(name: str, text: str, line: str) -> tuple[dict[str, str], list[str], str]:
    return {name: text}, [name, "--output", "more"], line


@pytest.mark.parametrize(
    ("written", "options", "line"),
    [
        bad("a.csv", "product_id,title\nN1,lamp\nP003,rug\n", "a.csv: column 'product_id', line 3: 'P003' is in the"),
        bad("a.csv", "product_id,title\nN1,lamp\nN1,rug\n", "a.csv: column 'product_id', line 3: 'N1' is there twice"),
        bad("a.csv", "product_id,name\nN1,lamp\n", "a.csv: column 'title' is missing"),
        bad("a.jsonl", '{"title": "lamp"}\n', "a.jsonl: column 'product_id' is missing"),
        bad("a.csv", "", "a.csv: an empty file"),
        bad("a.csv", "product_id,title\n", "a.csv: no rows"),
        bad("a.csv", "product_id,title\nN1,\n", "a.csv: column 'title', line 2: null"),
        bad("a.xlsx", "PK", "a.xlsx: the ending of its name is not known"),
        ({}, ["a.csv", "--output", "more"], "a.csv: no such file"),
        ({}, ["--output", "more"], "add: nothing to do"),
        ({"gone.txt": "P999"}, ["--remove", "gone.txt", "--output", "more"], "gone.txt: product 'P999' is not in"),
        ({"gone.txt": "P003", "more": ""}, ["--remove", "gone.txt", "--output", "more"], "more: exists already"),
        ({"gone.txt": "P003"}, ["--remove", "gone.txt", "--output", "INDEX"], "index: exists already"),
        ({"gone.txt": "P003"}, ["--remove", "gone.txt", "--output", "INDEX/more"], "index/more: lies in the index"),
        ({"gone.txt": "ALL"}, ["--remove", "gone.txt", "--output", "more"], "--remove: no product is left"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_written(
    written, options, line, index, monkeypatch, capsys, tmp_path
):
    for name, text in written.items():
        (tmp_path / name).write_text("\n".join(index.product_ids) if text == "ALL" else text)
    monkeypatch.chdir(tmp_path)
    before = files(index.folder)
    options = [option.replace("INDEX", str(index.folder)) for option in options]
    code, printed, error = run_command(monkeypatch, capsys, "add", index.folder, *options)
    assert (code, printed) == (1, "")
    assert error.startswith("error: ")
    assert line in error
    assert len(error.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == written.keys()
    assert files(index.folder) == before


def test_docids_that_cannot_be_extended_are_refused_but_products_can_leave(index, tmp_path):
    other = index.settings.model_copy(update={"docids": DocidsConfig(repair="none")})
    try:
        own, index.settings = index.settings, other
        with pytest.raises(InputError, match="may leave collisions"):
            change_products(index, tmp_path / "more", write(tmp_path / "new.csv", NEW), [])
        change_products(index, tmp_path / "fewer", None, ["P003"])
    finally:
        index.settings = own
    assert len(Index(tmp_path / "fewer")) == len(index) - 1
