"""The light retriever: its scores step by step against its loss, exact search, learning, and its folder."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from light_case import SMALL, random_light, random_vectors, train, write_light_case
from retriever_case import one_cpu_thread, random_codes

from catid2.config.retrieve import RetrieveConfig
from catid2.docids.table import Docids
from catid2.embedding.vectors import read_vectors
from catid2.retriever.light import LightRetriever, QueryVectors, load_light
from catid2.retriever.light_training import Inputs
from catid2.retriever.retrieve import Corpus, retrieve
from catid2.runtime.errors import InputError
from catid2.runtime.tables import MADE_BY, QUERIES, RUN, read_json, read_table, write_json
from catid2.search.beam import beam_search
from catid2.search.decode import Search, search
from catid2.search.trie import Trie

SIZES = (4, 3, 8)  # differ, so that a wrong slice of the codes shows


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    """Return a tiny corpus with DocIDs and vectors."""
    return write_light_case(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def folder(inputs, tmp_path_factory):
    """Return the folder of a trained retriever."""
    with one_cpu_thread():
        return train(SMALL, inputs, tmp_path_factory.mktemp("trained"))


def slow_log_probabilities(model: LightRetriever, vector: torch.Tensor, codes: list[int]) -> torch.Tensor:
    """Return the log-probabilities of the codes of a DocID, by a pass over the whole prefix for each of them."""
    found = []
    for position, code in enumerate(codes):
        tokens = [*model.query_states(vector)]
        tokens += [model.code_states(torch.tensor(codes[i]), i) for i in range(position)]
        states = torch.stack(tokens)  # (T, d)
        for block in model.blocks:
            parts = block.attention_in(block.attention_norm(states)).split(states.shape[1], dim=1)
            query, key, value = (part.view(len(states), block.num_heads, -1) for part in parts)
            context = torch.zeros_like(query)
            for token in range(len(states)):
                for head in range(block.num_heads):
                    seen = key[: token + 1, head] @ query[token, head] / query.shape[2] ** 0.5
                    context[token, head] = seen.softmax(0) @ value[: token + 1, head]
            states = states + block.attention_out(context.flatten(1))
            states = states + block.ff(block.ff_norm(states))
        logits = model.norm(states[-1]) @ model.output.weight.T + model.output.bias
        first = sum(model.sizes[:position])
        found.append(logits[first : first + model.sizes[position]].log_softmax(0)[code])
    return torch.stack(found)


@pytest.mark.parametrize("query_tokens", [1, 3])
@torch.inference_mode()
def test_search_scores_every_docid_as_a_slow_reference_does(query_tokens):
    model, codes = random_light(SIZES, query_tokens), random_codes(60, SIZES)
    trie, vectors = Trie.from_codes(codes, SIZES), random_vectors(3)
    found = beam_search(model.scorer(), trie, vectors, 60)  # as many beams as DocIDs: nothing is left out
    for query in range(3):
        scores = [slow_log_probabilities(model, vectors[query], row).sum().item() for row in codes.tolist()]
        best = np.argsort(-np.array(scores))
        np.testing.assert_array_equal(trie.doc_ids[found.nodes[query]].numpy(), best)
        np.testing.assert_allclose(found.scores[query].numpy(), np.array(scores)[best], atol=1e-4)


@pytest.mark.parametrize("query_tokens", [1, 3])
def test_the_loss_is_that_of_the_slow_reference(query_tokens):
    model, codes = random_light(SIZES, query_tokens), random_codes(5, SIZES)
    vectors = random_vectors(5)
    with torch.inference_mode():
        slow = [slow_log_probabilities(model, vectors[i], codes[i].tolist()) for i in range(5)]
        loss = model(vectors, torch.from_numpy(codes).long())
    torch.testing.assert_close(loss, -torch.stack(slow).mean(), atol=1e-5, rtol=1e-5)


def test_only_the_direction_of_a_vector_counts():
    model, vectors = random_light(SIZES), random_vectors(4)
    torch.testing.assert_close(model.query_states(vectors), model.query_states(50 * vectors))
    assert not torch.allclose(model.query_states(vectors), model.query_states(-vectors))


def test_results_do_not_depend_on_the_batch_size():
    model, trie = random_light(SIZES), Trie.from_codes(random_codes(60, SIZES), SIZES)
    queries = QueryVectors(random_vectors(7).numpy().astype(np.float16))
    one, many = (search(model, trie, queries, Search(20, 20, size)) for size in (1, 4))
    np.testing.assert_array_equal(one.doc_ids, many.doc_ids)
    np.testing.assert_allclose(one.scores, many.scores, atol=1e-5)


def test_it_learns_the_docid_of_every_document_and_of_what_queries_want(inputs, tmp_path):
    config = SMALL.model_copy(
        update={"d_model": 32, "epochs": 40, "valid_every": 40, "select_by": "last", "dropout_rate": 0.0}
    )
    with one_cpu_thread():
        model = load_light(train(config, inputs, tmp_path))
    vectors = read_vectors(inputs.embeddings, inputs.queries, 60)
    trie = Trie.from_codes(Docids.read(inputs.docids).codes, model.sizes)
    unique = np.unique(vectors.documents, axis=0, return_index=True)[1]  # titles are few words, some the same
    found = search(model, trie, QueryVectors(vectors.documents[unique]), Search(20, 5, 8))
    own = [doc in row for doc, row in zip(unique.tolist(), found.doc_ids.tolist(), strict=True)]
    assert np.mean(own) > 0.9  # of 60 documents, 5 by chance are 8%
    lines = (tmp_path / "retriever/history.tsv").read_text().splitlines()
    losses = [float(line.split("\t")[2]) for line in lines[1:]]
    assert losses[-1] < losses[0] / 2
    assert [line.split("\t")[-1] for line in lines[1:]] == ["0"] * 39 + ["1"]


def test_the_first_of_the_checkpoints_that_validate_best_is_kept(inputs, tmp_path, monkeypatch):
    recalls = iter([(0.1, 0.5), (0.2, 0.9), (0.3, 0.9), (0.4, 0.2)])  # recall@10 would choose the last
    validated = []

    def validate(model, *_):
        validated.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return dict(zip((10, 50), next(recalls), strict=True))

    monkeypatch.setattr("catid2.retriever.light_training.validate", validate)
    config = SMALL.model_copy(update={"epochs": 4, "valid_every": 1, "select_by": "recall@50"})
    with one_cpu_thread():
        kept = train(config, inputs, tmp_path)
    rows = [line.split("\t") for line in (kept / "history.tsv").read_text().splitlines()]
    assert [row[rows[0].index("kept")] for row in rows[1:]] == ["0", "1", "0", "0"]
    assert [float(row[rows[0].index("recall@50")]) for row in rows[1:]] == [0.5, 0.9, 0.9, 0.2]
    for name, tensor in load_light(kept).state_dict().items():
        assert torch.equal(tensor, validated[1][name]), name
    assert not torch.equal(validated[1]["output.weight"], validated[2]["output.weight"])


def test_a_run_ranks_the_test_queries(inputs, folder, tmp_path):
    corpus = Corpus(inputs.docids, inputs.products, inputs.queries, inputs.embeddings)
    retrieve(RetrieveConfig(beams=15, top_k=10), folder, corpus, tmp_path / "run.parquet", 8)
    assert pq.read_schema(tmp_path / "run.parquet").metadata[MADE_BY.encode()] == b"light"
    run = read_table(tmp_path / "run.parquet", RUN).to_pandas()
    test = [
        row["query_id"] for row in read_table(inputs.queries, QUERIES).to_pylist() if row["split"] == "test"
    ]
    assert run.query_id.drop_duplicates().tolist() == sorted(test)
    model, codes = load_light(folder), Docids.read(inputs.docids).codes
    vectors = read_vectors(inputs.embeddings, inputs.queries, 60).of_queries(np.array(sorted(test)))
    with torch.inference_mode():
        for query, (_, rows) in enumerate(run.groupby("query_id")):
            assert rows["rank"].tolist() == list(range(1, 11))
            vector = torch.from_numpy(vectors[query].astype(np.float32))
            slow = slow_log_probabilities(model, vector, codes[rows.doc_id.iloc[0]].tolist()).sum()
            assert rows.score.iloc[0] == pytest.approx(slow.item(), abs=1e-4)


def test_what_does_not_belong_to_the_retriever_is_refused(inputs, folder, tmp_path):
    corpus = Corpus(inputs.docids, inputs.products, inputs.queries, inputs.embeddings)
    config, output = RetrieveConfig(beams=15, top_k=10), tmp_path / "run.parquet"
    with pytest.raises(InputError, match=r"needs the vectors .*pass --embeddings"):
        retrieve(config, folder, corpus._replace(embeddings=None), output, 8)
    other = tmp_path / "other"
    other.mkdir()
    for path in inputs.embeddings.parent.glob("view*"):
        shutil.copy(path, other)
    described = other / "view_queries.json"
    write_json(described, read_json(described) | {"query_prefix": "query: "})
    with pytest.raises(InputError, match=r"trained on other vectors .*train it again"):
        retrieve(config, folder, corpus._replace(embeddings=other / "view.npy"), output, 8)
    table = pq.read_table(inputs.docids)
    swapped = table.set_column(2, "c_0", table.column("c_0").combine_chunks()[::-1])
    pq.write_table(swapped, tmp_path / "docids.parquet")
    with pytest.raises(InputError, match=r"not the DocIDs that the retriever in|share"):
        retrieve(config, folder, corpus._replace(docids=tmp_path / "docids.parquet"), output, 8)
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", {"d_model": 24}, r"model.safetensors: not the weights that config.json describes"),
        ("config.json", {"sizes": "abc"}, r"config.json: does not describe a light retriever"),
        ("config.json", {"num_heads": 0}, r"config.json: does not describe a light retriever"),
        ("config.json", {"num_heads": "two"}, r"config.json: does not describe a light retriever"),
        ("config.json", {"vectors_sha256": ...}, r"config.json: key 'vectors_sha256' is missing"),
        ("model.safetensors", b"", r"model.safetensors: not the weights"),
        ("model.safetensors", None, r"model.safetensors: no such file"),
    ],
)
def test_a_damaged_folder_is_named(folder, tmp_path, name, change, message):
    copy = tmp_path / "retriever"
    shutil.copytree(folder, copy)
    if isinstance(change, dict):
        content = read_json(copy / name) | change
        write_json(copy / name, {key: value for key, value in content.items() if value is not ...})
    elif change is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(change)
    with pytest.raises(InputError, match=message) as caught:
        load_light(copy)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers_are_named(folder, tmp_path):
    model = load_light(folder)
    model.norm.weight.data[0] = torch.nan
    copy = tmp_path / "retriever"
    shutil.copytree(folder, copy)
    from safetensors.torch import save_file

    save_file(model.state_dict(), copy / "model.safetensors")
    with pytest.raises(InputError, match=r"its tensor 'norm.weight' holds NaN or infinity"):
        load_light(copy)
