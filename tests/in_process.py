"""The scripts, run in the process of the test: importing PyTorch anew takes seconds."""

import contextlib
import io
import os
import runpy
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from workflow import ROOT


class Done(NamedTuple):
    """How a script ended."""

    code: int
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The lines that say what is wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


def run_here(script: str, words: Iterable[str | os.PathLike], folder: Path = ROOT) -> Done:
    """Run scripts/{script}.py with these arguments in this process, from `folder`."""
    stderr = io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", [f"{script}.py", *map(str, words)]),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
    return Done(code, stderr.getvalue())
