"""How a script ends: one line on what the user can mend, tidily on signals, by a traceback on anything else."""

import errno
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from catid2.command import entry_point
from catid2.errors import InputError
from catid2.failures import FAILURE_FILE, LAUNCHER_PID


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a test without a launcher, and with the signal handlers of before at its end."""
    monkeypatch.delenv(FAILURE_FILE, raising=False)
    monkeypatch.delenv(LAUNCHER_PID, raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def raising(error: BaseException) -> Callable[[], None]:
    @entry_point
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("file", "what\nis wrong", "mend it"), "file: what is wrong; mend it"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.npy"),
            "out.npy: cannot be written (No space left on device); make room and run again",
        ),
        (
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
            "disk: cannot be written (Disk quota exceeded); make room and run again",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture, error: Exception, line: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        raising(error)()
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize("error", [ValueError("a fault"), BrokenPipeError(errno.EPIPE, "a fault")])
def test_another_error_keeps_its_traceback(capsys: pytest.CaptureFixture, error: Exception) -> None:
    with pytest.raises(SystemExit) as caught:
        raising(error)()
    assert caught.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "a fault" in lines[-1]


def test_ctrl_c_ends_without_a_traceback(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        raising(KeyboardInterrupt())()
    assert caught.value.code == 130
    assert capsys.readouterr().err == ""


def test_a_second_term_does_not_break_the_clean_up() -> None:
    cleaned = []

    @entry_point
    def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 143
    assert cleaned


def test_an_orphan_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setenv(LAUNCHER_PID, str(os.getpid()))  # no process is its own parent
    # pytest itself has to outlive its parent
    monkeypatch.setattr("catid2.command.signal_at_end_of_parent", lambda number: None)
    with pytest.raises(SystemExit) as caught:
        entry_point(lambda: started.append(True))()
    assert caught.value.code == 143
    assert not started
