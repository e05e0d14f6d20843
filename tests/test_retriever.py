"""Model, tokens, loss and batches of the retriever."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from retriever_case import KINDS, TINY, random_codes, random_retriever, without_text, write_case
from torch.nn import functional
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig

from catid2.config.retriever import RetrieverConfig
from catid2.retriever.t5 import build_retriever, load_retriever
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.errors import InputError
from catid2.runtime.tables import JUDGEMENTS, QUERIES, write_table
from catid2.training.distributed import Group
from catid2.training.examples import (
    EpochBatches,
    Examples,
    Pairs,
    Task,
    equal_parts,
    hashed_share,
    make_examples,
    make_validation,
    read_pairs,
    read_train_queries,
)
from catid2.training.tokens import TokenTable, join, tokenize

SIZES = (5, 5, 5, 3)


def logits_of_hugging_face(model, ids, mask, codes, first_tokens):
    """Return the model's logits over its whole vocabulary at each position of DocIDs `codes`."""
    tokens = codes + torch.tensor(first_tokens)
    start = torch.full_like(codes[:, :1], model.config.decoder_start_token_id)
    decoder_ids = torch.cat([start, tokens[:, :-1]], dim=1)
    return model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_cross_entropy_restricted_to_the_codes_of_each_position(kind):
    retriever = random_retriever(kind, SIZES)
    codes = torch.from_numpy(random_codes(6, SIZES)).long()
    ids, mask = torch.randint(3, 250, (6, 7)), torch.ones(6, 7, dtype=torch.long)
    mask[0, 4:] = 0

    def naive() -> torch.Tensor:
        logits = logits_of_hugging_face(retriever.t5, ids, mask, codes, retriever.first_tokens)
        restricted = torch.full_like(logits, -torch.inf)
        for position, (first, size) in enumerate(zip(retriever.first_tokens, SIZES, strict=True)):
            restricted[:, position, first : first + size] = logits[:, position, first : first + size]
        labels = codes + torch.tensor(retriever.first_tokens)
        return functional.cross_entropy(restricted.flatten(0, 1), labels.flatten())

    def gradients(loss: torch.Tensor) -> list[torch.Tensor]:
        return torch.autograd.grad(loss, list(retriever.parameters()))

    ours, expected = retriever(ids, mask, codes), naive()
    torch.testing.assert_close(ours, expected)
    for a, b in zip(gradients(ours), gradients(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_retriever_loads_as_a_hugging_face_model_with_the_same_logits(kind, tmp_path):
    retriever = random_retriever(kind, SIZES)
    retriever.t5.config.query_prefix, retriever.t5.config.max_query_tokens = "", 16
    retriever.t5.save_pretrained(tmp_path)
    train_tokenizer(["a"], 300).save_pretrained(tmp_path)
    codes = torch.from_numpy(random_codes(4, SIZES)).long()
    ids, mask = torch.randint(3, 250, (4, 6)), torch.ones(4, 6, dtype=torch.long)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    arguments = (ids, mask, codes, loaded.config.docid_first_tokens)
    with torch.inference_mode():
        assert torch.equal(
            logits_of_hugging_face(loaded, *arguments), logits_of_hugging_face(retriever.t5, *arguments)
        )
    ours, _ = load_retriever(tmp_path)
    assert (ours.sizes, ours.first_tokens, ours.scale) == (SIZES, retriever.first_tokens, retriever.scale)
    assert not loaded.generation_config.do_sample


@pytest.mark.parametrize("kind", KINDS)
def test_new_tokens_leave_the_pretrained_rows_as_they_were(kind):
    plain, enlarged = random_retriever(kind, (1,)), random_retriever(kind, SIZES)
    text = plain.first_tokens[0]
    assert torch.equal(plain.t5.shared.weight[:text], enlarged.t5.shared.weight[:text])
    assert torch.equal(plain.t5.lm_head.weight[:text], enlarged.t5.lm_head.weight[:text])
    assert enlarged.t5.lm_head.weight.shape[0] >= text + sum(SIZES)
    assert (enlarged.t5.lm_head.weight is enlarged.t5.shared.weight) == (kind == "t5")


def test_a_small_retriever_is_the_same_for_the_same_seed_and_has_a_token_per_code(tmp_path):
    texts = ["red shoe", "赤い靴 22cm", "blue lamp"]
    (one, tokenizer), (other, _) = (build_retriever(TINY, SIZES, texts, seed=3) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for position, (first, size) in enumerate(zip(one.first_tokens, SIZES, strict=True)):
        codes = [f"<c_{position}_{code}>" for code in range(size)]
        assert loaded.convert_tokens_to_ids(codes) == list(range(first, first + size))


def test_the_tokenizer_is_deterministic_and_knows_every_script():
    texts = ["Red shoe", "赤い靴 22cm", "zapatos niña"] * 3
    one, other = train_tokenizer(texts, 300), train_tokenizer(iter(texts), 300)
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    ids = one("Никогда ＡＢ")["input_ids"]
    assert one.unk_token_id not in ids
    assert ids[-1] == one.eos_token_id
    assert one.decode(ids, skip_special_tokens=True).strip() == "никогда ab"


def test_what_is_no_retriever_is_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_retriever(tmp_path / "none")
    retriever = random_retriever("t5", SIZES)
    retriever.t5.save_pretrained(tmp_path / "plain")
    train_tokenizer(["a"], 300).save_pretrained(tmp_path / "plain")
    config = tmp_path / "plain" / "config.json"
    values = json.loads(config.read_text())
    del values["docid_sizes"]
    config.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"config.json: key .docid_sizes. is missing"):
        load_retriever(tmp_path / "plain")
    BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="a bert model"):
        build_retriever(TINY.model_copy(update={"pretrained": str(tmp_path / "bert")}), SIZES, [], 0)
    with pytest.raises(InputError, match="missing: no such folder"):
        build_retriever(TINY.model_copy(update={"pretrained": str(tmp_path / "missing")}), SIZES, [], 0)


def test_a_pretrained_model_that_has_docid_tokens_is_refused(tmp_path):
    retriever, tokenizer = build_retriever(TINY, SIZES, ["red shoe"], 0)
    retriever.t5.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["docid_sizes"]  # with them it is a trained retriever, to start from
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="pretrained: already has DocID tokens"):
        build_retriever(TINY.model_copy(update={"pretrained": str(tmp_path)}), SIZES, [], 0)


def test_batches_of_tokens_are_those_of_the_tokenizer():
    tokenizer = train_tokenizer(["red shoe", "lamp"], 300)
    texts = ["red", "a long red shoe and a lamp", ""]
    parts = [tokenize(tokenizer, texts[:1], "query: ", 9), tokenize(tokenizer, texts[1:], "query: ", 9)]
    rows = np.array([2, 0, 1, 0])
    batch = join(parts).batch(rows, tokenizer.pad_token_id)
    asked = ["query: " + texts[row] for row in rows]
    expected = tokenizer(asked, truncation=True, max_length=9, padding=True, return_tensors="pt")
    assert torch.equal(batch.input_ids, expected["input_ids"])
    assert torch.equal(batch.attention_mask, expected["attention_mask"])


def test_each_kind_of_text_has_its_prefix_and_its_length(tmp_path):
    case = write_case(tmp_path)
    tasks = [
        {"source": "document", "prefix": "product: "},
        {"source": "pairs", "path": "log.parquet", "prefix": "asked: "},
        {"source": "query", "prefix": "find: "},
    ]
    values = TINY.model_dump() | {"tasks": tasks, "max_query_tokens": 7, "max_document_tokens": 11}
    config = RetrieverConfig.model_validate(values)
    queries = read_train_queries(case.queries, case.judgements, ("E", "S"), config.valid_share)
    documents = ["red shoe", "a blue lamp and a kettle with a rug"] * 30
    pairs = Pairs(["rug", "a desk and a chair"], np.array([3, 4]))
    retriever, tokenizer = build_retriever(config, SIZES, [*queries.texts, *documents], seed=0)
    assert retriever.t5.config.query_prefix == "find: "
    assert retriever.t5.config.max_query_tokens == 7

    examples = make_examples(config, tokenizer, queries, documents, [pairs])
    validation = make_validation(config, tokenizer, queries)
    taught = [queries.texts[query] for query in queries.query if not queries.held_out[query]]
    kept = [text for text, held_out in zip(queries.texts, queries.held_out, strict=True) if held_out]
    cases = [
        *(
            (examples.tokens, examples.text[task.start : task.end], *written)
            for task, written in zip(
                examples.tasks,
                [("product: ", documents, 11), ("asked: ", pairs.texts, 7), ("find: ", taught, 7)],
                strict=True,
            )
        ),
        (validation.tokens, np.arange(len(kept)), "find: ", kept, 7),
    ]
    for tokens, rows, prefix, texts, most in cases:
        written_out = [prefix + text for text in texts]
        expected = tokenizer(written_out, truncation=True, max_length=most)["input_ids"]
        assert [
            tokens.flat[tokens.offsets[row] : tokens.offsets[row + 1]].tolist() for row in rows
        ] == expected
        assert max(map(len, expected)) == most


def test_training_reads_relevant_train_pairs_and_holds_queries_out_by_their_text(tmp_path):
    case = write_case(tmp_path)
    queries = read_train_queries(case.queries, case.judgements, ("E", "S"), 0.3)
    asked = {row["query_id"]: row for row in pq.read_table(case.queries).to_pylist()}
    expected = sorted(
        (row["query_id"], row["doc_id"])
        for row in pq.read_table(case.judgements).to_pylist()
        if row["split"] == "train" and row["label"] in "ES"
    )
    ids = sorted({query for query, _ in expected})
    assert [(ids[query], doc) for query, doc in zip(queries.query, queries.doc, strict=True)] == expected
    assert queries.texts == [asked[query]["query"] for query in ids]
    assert queries.held_out.tolist() == [hashed_share(text) < 0.3 for text in queries.texts]
    examples = make_examples(TINY, train_tokenizer(queries.texts, 300), queries, ["text", "", "text"])
    start, end, _ = examples.tasks[0]
    assert not queries.held_out[examples.text[start:end]].any()
    assert examples.doc[examples.tasks[1].start :].tolist() == [0, 2]  # a document without text is no example


def test_a_text_under_several_ids_is_taught_or_validated_on_but_not_both(tmp_path):
    written = [
        "Red  Shoe {}",
        "red shoe {}",
        "ＲＥＤ ＳＨＯＥ\u3000{}",
    ]  # a search log has one query many times
    rows = [(query_id, written[query_id % 3].format(query_id // 3), "train") for query_id in range(300)]
    judged = [(query_id, query_id % 7, "E", "train", True) for query_id in range(300)]
    queries, judgements = tmp_path / "queries.parquet", tmp_path / "judgements.parquet"
    for path, columns, content in ((queries, QUERIES, rows), (judgements, JUDGEMENTS, judged)):
        values = dict(zip(columns, zip(*content, strict=True), strict=True))
        write_table(path, pa.table(values, pa.schema(columns)))
    read = read_train_queries(queries, judgements, ("E",), 0.3)
    groups = read.held_out.reshape(100, 3)
    assert (groups == groups[:, :1]).all()
    assert 15 <= groups[:, 0].sum() <= 45


def test_pairs_of_a_file_are_taught_beside_queries_and_documents(tmp_path, caplog):
    case = write_case(tmp_path)
    queries = read_train_queries(case.queries, case.judgements, ("E", "S"), 0.3)
    product_ids = pa.array(["P000", "P001", "P002"])
    rows = [("P002", "red rug"), ("elsewhere", "lamp"), ("P000", "靴"), ("P002", "desk")]
    rows += [("P001", "held out"), ("P000", "ＨＥＬＤ  Out "), ("P001", "Lamp")]
    with caplog.at_level(logging.INFO):
        read = read_pairs(write_pairs(tmp_path / "pairs.parquet", rows), product_ids, ["Held out", "lamp"])
    assert "3 of 7 rows are taught, 1 are of no product of the corpus, 3 of held-out queries" in caplog.text
    assert read.texts == ["red rug", "靴", "desk"]
    assert read.doc.tolist() == [2, 0, 2]

    tasks = [{"source": "pairs", "path": "pairs.parquet"}, *TINY.model_dump()["tasks"]]
    config = RetrieverConfig.model_validate(TINY.model_dump() | {"tasks": tasks})
    assert config.pairs_files == ["pairs.parquet"]
    tokenizer = train_tokenizer(queries.texts, 300)
    examples = make_examples(config, tokenizer, queries, ["text"] * 3, [read])
    without = make_examples(TINY, tokenizer, queries, ["text"] * 3)
    task = examples.tasks[0]
    assert examples.doc[task.start : task.end].tolist() == [2, 0, 2]
    assert examples.doc[task.end :].tolist() == without.doc.tolist()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("P000", "red"), ("P001", " ")], "row 1 has no text"),
        ([("P000", None)], "row 0 has no text"),
        ([("elsewhere", "red")], "no product of it is in the corpus"),
        ([], "no product of it is in the corpus"),
        ([("P000", "held out"), ("elsewhere", "red")], "all its texts are held out"),
    ],
)
def test_pairs_that_teach_nothing_are_named(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        read_pairs(write_pairs(tmp_path / "pairs.parquet", rows), pa.array(["P000", "P001"]), ["held out"])


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_pairs_may_have_any_type_of_string(tmp_path, kind):
    columns = {"product_id": ["P001", "P000"], "text": ["red", "靴"]}
    arrays = {name: pa.array(values).cast(kind) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), tmp_path / "pairs.parquet")
    read = read_pairs(tmp_path / "pairs.parquet", pa.array(["P000", "P001"]), [])
    assert (read.texts, read.doc.tolist()) == (["red", "靴"], [1, 0])


def test_pairs_that_are_no_strings_are_named(tmp_path):
    pq.write_table(pa.table({"product_id": [1], "text": ["red"]}), tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match="column 'product_id' is int64, not string"):
        read_pairs(tmp_path / "pairs.parquet", pa.array(["P000"]), [])


def write_pairs(path: Path, rows: list[tuple[str, str | None]]) -> Path:
    names = ("product_id", "text")
    pq.write_table(
        pa.table({name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate(names)}),
        path,
    )
    return path


def test_a_train_query_without_text_is_named(tmp_path):
    case = write_case(tmp_path)
    queries = without_text(case.queries, 103, tmp_path / "null.parquet")
    with pytest.raises(InputError, match="query 103 has no text"):
        read_train_queries(queries, case.judgements, ("E", "S"), 0.3)


def test_the_held_out_share_is_near_what_was_asked():
    texts = [f"red shoe {number}" for number in range(20_000)]
    assert abs(np.mean([hashed_share(text) < 0.05 for text in texts]) - 0.05) < 0.005


def numbered_examples(queries: int, documents: int, weights: tuple[float, float]) -> Examples:
    """Return examples whose texts have lengths 1, 2, 3, …"""
    n = queries + documents
    lengths = np.arange(1, n + 1)
    tokens = TokenTable(np.zeros(lengths.sum(), np.int32), np.concatenate([[0], np.cumsum(lengths)]))
    tasks = (Task(0, queries, weights[0]), Task(queries, n, weights[1]))
    return Examples(tokens, np.arange(n), np.arange(n), tasks)


def batches_of(
    examples: Examples, size: int, microbatch: int | None = None, seed: int = 0, rank: int = 0, ranks: int = 1
) -> EpochBatches:
    """Return the batches of `examples`."""
    return EpochBatches(examples.tasks, examples.tokens.lengths, size, microbatch, seed, Group(rank, ranks))


def test_an_epoch_holds_each_example_as_often_as_its_task_weighs():
    examples = numbered_examples(30, 20, (2.0, 0.5))
    batches = batches_of(examples, 10, seed=1)
    drawn = batches.of_epoch(0).flatten()
    assert batches.steps == 7
    assert np.bincount(drawn, minlength=50)[:30].tolist() == [2] * 30
    assert np.isin(np.bincount(drawn, minlength=50)[30:], [0, 1]).all()
    assert len(drawn) == 70
    orders = [drawn.tolist()]
    for seed, epoch in ((1, 1), (2, 0), (2, 1)):
        orders.append(batches_of(examples, 10, seed=seed).of_epoch(epoch).flatten().tolist())
    assert all(orders.count(order) == 1 for order in orders)


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 2), (2, 1), (2, 3)])
def test_a_step_holds_the_same_examples_for_any_number_of_ranks(ranks, accumulation):
    examples = numbered_examples(40, 33, (1.0, 1.0))
    size = 12 // ranks // accumulation
    whole = batches_of(examples, 12, seed=5).of_epoch(0)
    assert whole.shape == (6, 1, 12)
    shares = [batches_of(examples, 12, size, 5, rank, ranks).of_epoch(0) for rank in range(ranks)]
    assert {share.shape for share in shares} == {(6, accumulation, size)}
    for step, (batch,) in enumerate(whole):
        own = np.concatenate([share[step].flatten() for share in shares])
        assert sorted(own.tolist()) == sorted(batch.tolist())


def test_batches_are_of_similar_length():
    examples = numbered_examples(500, 500, (1.0, 1.0))
    spread = np.ptp(examples.tokens.lengths[batches_of(examples, 10).of_epoch(0)], axis=2)
    assert np.mean(spread) < 1000 / 20  # a random batch of ten spans four fifths of the range


def test_an_impossible_batch_size_is_named():
    with pytest.raises(InputError, match="an epoch has 50"):
        batches_of(numbered_examples(30, 20, (1.0, 1.0)), 200)
    with pytest.raises(InputError, match="cannot be divided among 4 ranks"):
        equal_parts(10, 4, None)


@pytest.mark.parametrize("microbatch", [None, 1, 5, 7, 12, 100])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_step_is_cut_into_the_fewest_equal_parts_of_at_most_a_microbatch(ranks, microbatch):
    fitting = [
        parts for parts in range(ranks, 25, ranks) if 24 % parts == 0 and 24 // parts <= (microbatch or 24)
    ]
    assert equal_parts(24, ranks, microbatch) == min(fitting)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": []},
        {"tasks": [{"source": "document"}]},
        {"tasks": [{"source": "query"}, {"source": "query"}]},
        {"tasks": [{"source": "query"}, {"source": "document", "template": "{colour}"}]},
        {"valid_share": 0.0},
        {"valid_beams": 20, "select_by": "recall@50"},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"task|template|select_by"):
        RetrieverConfig.model_validate(wrong)
