"""Trees in place of the corpus's: how much noise moves, and trees that find the groups a catalogue is made of."""

import subprocess
import sys
from collections import Counter
from typing import get_args

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from catid2.config.taxonomy import AnyTaxonomy
from catid2.docids.schemes.coding import Documents
from catid2.plan.settings import Pipeline
from catid2.quantizer.diagnostics import nmi
from catid2.runtime.errors import InputError
from catid2.taxonomies.catalogue import OTHER, Catalogue
from catid2.taxonomies.registry import maker
from catid2.taxonomies.words import widespread_first
from workflow import ROOT

LEAVES = [("a", "a1", f"a1{x}") for x in "xyz"] + [("a", "a2", "a2x"), ("b", "b1", "b1x"), ("b", "b1", "b1y")]


def settings(kind: str, **values):
    """Return the settings of a kind, the others at their defaults."""
    return TypeAdapter(AnyTaxonomy).validate_python({"kind": kind} | values)


def catalogue(paths=(), embeddings=None, texts=None, tags=None) -> Catalogue:
    """Return a catalogue of N documents with what a kind reads."""
    documents = None
    if embeddings is not None:
        documents = Documents(
            embeddings, np.zeros((len(embeddings), 1)), np.arange(len(embeddings)), None, None
        )
    return Catalogue(list(paths), documents, texts, tags)


def noisy(paths, seed=0, **values):
    """Return the paths with label noise."""
    return maker("noisy")(catalogue(paths), settings("noisy", **values), seed)


@pytest.fixture
def paths():
    """600 documents on six leaves."""
    return [LEAVES[i] for i in np.random.default_rng(5).integers(0, len(LEAVES), 600)]


@pytest.mark.parametrize("to", ["sibling", "category", "parent"])
@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_noise_moves_the_share_and_nothing_else(paths, to, share):
    after = noisy(paths, share=share, to=to)
    assert sum(new != old for new, old in zip(after, paths, strict=True)) == share * len(paths)
    assert noisy(paths, share=share, to=to) == after


def test_siblings_share_the_parent_where_it_has_other_children(paths):
    for new, old in zip(noisy(paths, share=1, to="sibling"), paths, strict=True):
        assert new in LEAVES
        if old == ("a", "a2", "a2x"):  # an only child: its parent's siblings count
            assert new[:2] == ("a", "a1")
        else:
            assert (new[:2], new[2] != old[2]) == (old[:2], True)


def test_any_other_category_is_as_likely_as_another(paths):
    many = paths * 20
    moves = Counter(zip(many, noisy(many, share=1, to="category"), strict=True))
    for old in LEAVES:
        counts = [moves[old, new] for new in LEAVES if new != old]
        expected = many.count(old) / 5
        assert moves[old, old] == 0
        assert np.abs(np.array(counts) - expected).max() < 5 * np.sqrt(expected)


def test_a_dropped_parent_leaves_the_top_and_the_leaf(paths):
    for new, old in zip(noisy(paths, share=1, to="parent"), paths, strict=True):
        assert new == (old[0], old[2], old[2])


def test_more_noise_includes_less(paths):
    little, much = (noisy(paths, share=share, to="category") for share in (0.1, 0.5))
    moved = [new != old for new, old in zip(little, paths, strict=True)]
    assert [new for new, is_moved in zip(much, moved, strict=True) if is_moved] == [
        new for new, is_moved in zip(little, moved, strict=True) if is_moved
    ]
    assert noisy(paths, seed=1, share=0.1, to="category") != little


def test_noise_that_is_impossible_is_one_line():
    with pytest.raises(InputError, match="the tree has one level"):
        noisy([("a",), ("b",)], share=1, to="parent")
    for to in ("sibling", "category"):
        with pytest.raises(InputError, match="the tree has one path"):
            noisy([("a", "b")] * 3, share=1, to=to)


def test_words_divide_by_what_is_widespread_in_the_node():
    terms = (
        [["shop", "red", "shoe"]] * 4 + [["shop", "blue", "shoe"]] * 3 + [["shop", "hat"]] * 3 + [["shop"]]
    )
    # "shop" has all 11; "shoe" 7, "red" 4; among shoes "red" has 4 of 7 and "blue" 3
    assert widespread_first(terms, levels=2, least=2, widest=0.7) == (
        [("shoe", "red")] * 4 + [("shoe", "blue")] * 3 + [("hat", "hat")] * 3 + [(OTHER, OTHER)]
    )


def test_words_do_not_repeat_above_and_rare_ones_divide_nothing():
    terms = [["x", "y"]] * 5 + [["x"]] * 5 + [["z"]] * 10
    found = widespread_first(terms, levels=3, least=5, widest=0.6)
    assert found == [("x", "y", "y")] * 5 + [("x", OTHER, OTHER)] * 5 + [("z", "z", "z")] * 10


def test_clusters_are_the_blobs_of_the_vectors():
    generator = np.random.default_rng(1)
    coarse, fine = np.repeat(np.arange(3), 60), np.repeat(np.arange(6), 30)
    centres = (
        np.kron(10 * np.eye(3), np.ones((2, 1))) @ np.eye(3, 8)
        + np.kron(np.ones((3, 1)), [[1], [-1]]) * np.eye(8)[7]
    )
    vectors = (centres[fine] + 0.05 * generator.standard_normal((180, 8))).astype(np.float16)
    found = maker("clusters")(
        catalogue(embeddings=vectors), settings("clusters", levels=1, branches=3, least_documents=10), 0
    )
    labels = np.unique(found, return_inverse=True)[1].reshape(-1)
    assert nmi(labels, coarse) == pytest.approx(1)
    again = maker("clusters")(
        catalogue(embeddings=vectors), settings("clusters", levels=2, branches=3, least_documents=59), 0
    )
    assert all(path[1].startswith(f"{path[0]}.") for path in again)


def test_topics_part_texts_that_share_no_word():
    generator = np.random.default_rng(2)
    words = np.array([[f"{topic}{word}" for word in range(12)] for topic in ("cat", "dog", "bird")])
    labels = generator.integers(0, 3, 150)
    texts = [" ".join(generator.choice(words[label], 6)) for label in labels]
    found = maker("topics")(
        catalogue(texts=texts), settings("topics", levels=2, branches=3, least_documents=150), 0
    )
    tops = np.unique([path[0] for path in found], return_inverse=True)[1]
    assert nmi(tops, labels) == pytest.approx(1)
    assert all(path[0] == path[1] for path in found)  # 50 documents are not divided
    with pytest.raises(InputError, match="check the template"):
        maker("topics")(catalogue(texts=["a", "b", "c"]), settings("topics"), 0)
    with pytest.raises(InputError, match="40 topics, but 36 words"):
        maker("topics")(catalogue(texts=texts), settings("topics", branches=40), 0)


def test_a_text_that_holds_the_categories_is_refused():
    with pytest.raises(ValueError, match="is theirs"):
        settings("topics", template="{title} {category_path}")


def test_tags_that_are_the_names_of_a_path_give_that_path(paths):
    generator = np.random.default_rng(3)
    tags = [generator.permutation(path).tolist() for path in paths]
    found = maker("tags")(catalogue(tags=tags), settings("tags", widest=1, least_documents=1), 0)
    assert found == paths


def test_tags_are_asked_of_a_catalogue_that_has_them():
    values = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    values["methods"]["tags"] = {"taxonomy": {"kind": "tags"}}
    with pytest.raises(
        InputError, match="the taxonomy of tags is made of tags, but the dataset's source has none"
    ):
        Pipeline(values, "demo.yaml")


def test_every_kind_that_is_made_has_a_maker():
    models = [model for model in get_args(get_args(AnyTaxonomy)[0]) if model.made]
    assert models
    for model in models:
        (kind,) = get_args(model.model_fields["kind"].annotation)
        assert callable(maker(kind))
    with pytest.raises(KeyError):
        maker("given")


def test_a_kind_loads_what_it_needs_alone():
    code = (
        "import sys; from catid2.taxonomies.making import maker; maker('noisy'); maker('tags'); "
        "print(sorted({'sklearn', 'torch'} & sys.modules.keys())); maker('clusters'); print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nFalse\n"
