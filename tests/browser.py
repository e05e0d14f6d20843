"""A real browser for tests: Chromium without a window, driven by its DevTools protocol over a pipe.

This needs no library; Playwright comes with Node.js, and Selenium wants a driver of the same version as the browser.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECONDS = 300.0  # the longest wait for the browser, on a machine that does much else
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")


class Page:
    """A page in a browser.

    Attributes:
        errors: exceptions of the page's scripts that nothing has caught.
    """

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers = commands, answers
        self._numbers = iter(range(1, 1_000_000))
        self._read = b""
        self._session: dict[str, str] = {}
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.call("Runtime.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a command (https://chromedevtools.github.io/devtools-protocol)."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(answer["params"]["exceptionDetails"]))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Return when a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.value(f"Boolean({condition})"):
            if time.monotonic() > end:
                pytest.fail(
                    f"never true: {condition}; the page: {self.value('document.documentElement.innerText')}"
                )
            time.sleep(0.02)

    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState == 'complete'")

    def resize(self, width: int, height: int = 900) -> None:
        """Set the size of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 800,
        )

    def type(self, text: str) -> None:
        """Type into what has the focus, and press Enter."""
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            enter = {"key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
            self.call("Input.dispatchKeyEvent", type=kind, **enter)

    def click(self, selector: str) -> None:
        """Click the middle of the first element that a CSS selector finds."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.value(f"{element}.getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._answers], [], [], SECONDS)[0], "the browser does not answer"
            read = os.read(self._answers, 2**16)
            assert read, "the browser has ended"
            self._read += read
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """Yield a page of a new browser, whose files lie in the folder `profile`; skip the test if there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium")
    ours, theirs = _pipes()
    null = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    places = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(theirs, (3, 4), strict=True)]
    arguments = [program, *OPTIONS, f"--user-data-dir={profile}"]
    process = os.posix_spawn(program, arguments, os.environ, file_actions=[*null, *places])
    for end in theirs:
        os.close(end)
    try:
        yield Page(*ours)
    finally:
        for end in ours:
            os.close(end)  # Chromium ends with its pipe
        os.waitpid(process, 0)


def _pipes() -> tuple[list[int], list[int]]:
    """Return our ends of two pipes, to write and to read, and Chromium's, to read and to write."""
    (read, our_write), (our_read, write) = os.pipe(), os.pipe()
    # Chromium's ends become its descriptors 3 and 4, so none of them may have one of these numbers before.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read, write)]
    os.close(read)
    os.close(write)
    return [our_write, our_read], theirs
