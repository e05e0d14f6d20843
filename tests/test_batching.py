"""Requests that are answered together: each gets its own answer, few wait, none is lost."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError

import pytest

from catid2.index.serve.batching import Batcher, Full

SECONDS = 300  # the longest wait for what comes at once


class Model:
    """Answers questions when it is let, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.called = threading.Semaphore(0)
        self.let = threading.Event()

    def __call__(self, options: str, questions: Sequence[int]) -> list[str]:
        self.asked.append((options, list(questions)))
        self.called.release()
        assert self.let.wait(SECONDS)
        if options == "wrong":
            raise ValueError(options)
        return [f"{options} {question}" for question in questions]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def batcher(model):
    """A batcher whose thread is busy with a first question, number 0: all others wait."""
    batcher = Batcher(model, batch=4, capacity=10)
    batcher.submit("a", 0)
    assert model.called.acquire(timeout=SECONDS)
    yield batcher
    model.let.set()
    batcher.close()


def test_each_question_gets_its_answer(batcher, model):
    asked = [("ab"[number % 2], number) for number in range(10)]
    answers = [batcher.submit(*one) for one in asked]
    model.let.set()
    assert [one.result(SECONDS) for one in answers] == [f"{options} {number}" for options, number in asked]


def test_what_waits_is_answered_in_batches_of_equal_options(batcher, model):
    for number in range(1, 8):
        batcher.submit("b" if number == 2 else "a", number)
    model.let.set()
    batcher.close()
    assert model.asked == [("a", [0]), ("a", [1, 3, 4]), ("b", [2]), ("a", [5, 6, 7])]


def test_no_more_wait_than_may(batcher, model):
    answers = [batcher.submit("a", number) for number in range(10)]
    assert batcher.waiting == 10
    with pytest.raises(Full):
        batcher.submit("a", 10)
    model.let.set()
    assert len([one.result(SECONDS) for one in answers]) == 10


def test_a_question_that_was_given_up_is_not_asked(batcher, model):
    given_up, kept = batcher.submit("a", 1), batcher.submit("a", 2)
    assert given_up.cancel()
    model.let.set()
    assert kept.result(SECONDS) == "a 2"
    with pytest.raises(CancelledError):
        given_up.result(SECONDS)
    assert model.asked == [("a", [0]), ("a", [2])]


def test_an_error_reaches_those_who_asked_and_the_next_are_answered(batcher, model):
    wrong, right = [batcher.submit("wrong", number) for number in (1, 2)], batcher.submit("a", 3)
    model.let.set()
    for one in wrong:
        with pytest.raises(ValueError, match="wrong"):
            one.result(SECONDS)
    assert right.result(SECONDS) == "a 3"


def test_close_answers_what_waits_and_accepts_no_more(batcher, model):
    answers = [batcher.submit("a", number) for number in range(1, 10)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    model.let.set()
    closing.join(SECONDS)
    assert [one.result(0) for one in answers] == [f"a {number}" for number in range(1, 10)]
    with pytest.raises(Full):
        batcher.submit("a", 10)
