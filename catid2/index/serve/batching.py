"""Questions of many clients, answered together: one call of a model answers a batch faster than a call for each."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

Options = TypeVar("Options", bound=Hashable)
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Full(Exception):
    """As many questions wait as may wait, or the batcher is closed."""


class _Asked(NamedTuple):
    options: Hashable
    question: object
    answer: Future


class Batcher(Generic[Options, Question, Answer]):
    """Answers questions in a thread of its own: whatever waits when the last batch is done forms the next one.

    No question waits for others to come. Questions with equal options share a call, whose answers are those of calls
    with a single question if `answer` gives the same for a question whatever else is in the batch.

    Args:
        answer: returns the answers to questions (b,) with the same options, in their order; an exception goes to each
            of these questions.
        batch: the most questions of a batch.
        capacity: the most questions that wait.
    """

    def __init__(
        self, answer: Callable[[Options, Sequence[Question]], Sequence[Answer]], batch: int, capacity: int
    ):
        self._answer = answer
        self._batch = batch
        self._capacity = capacity
        self._waiting: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many questions wait."""
        return len(self._waiting)

    def submit(self, options: Options, question: Question) -> Future[Answer]:
        """Return the answer to come; a future that is cancelled while it waits costs nothing.

        Raises:
            Full: the question cannot wait.
        """
        asked = _Asked(options, question, Future())
        with self._changed:
            if self._closed or len(self._waiting) >= self._capacity:
                raise Full
            self._waiting.append(asked)
            self._changed.notify()
        return asked.answer

    def close(self) -> None:
        """Accept nothing more, answer what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while taken := self._take():
            groups: dict[Hashable, list[_Asked]] = {}
            for asked in taken:
                if asked.answer.set_running_or_notify_cancel():
                    groups.setdefault(asked.options, []).append(asked)
            for options, group in groups.items():
                self._answer_group(options, group)

    def _take(self) -> list[_Asked]:
        """Wait for questions and return a batch of them; none when the batcher is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _answer_group(self, options: Hashable, group: list[_Asked]) -> None:
        try:
            answers = self._answer(options, [asked.question for asked in group])
        except Exception as error:
            for asked in group:
                asked.answer.set_exception(error)
        else:
            for asked, answer in zip(group, answers, strict=True):
                asked.answer.set_result(answer)
