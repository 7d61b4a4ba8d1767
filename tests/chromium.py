"""A real browser for tests: Chromium without a window, spoken to through a pair of pipes.

It speaks the Chrome DevTools Protocol, which needs no driver and no port. Nothing that it opens
reaches another host: names are not resolved, and every request is kept for the test to look at.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

__all__ = ["Chromium", "ChromiumError", "Page"]

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_START_S = 30.0
_ANSWER_S = 20.0
_LOOK_S = 0.02
_END = b"\0"


class ChromiumError(Exception):
    """What the browser could not do."""


class Chromium:
    """A browser process, which ends with the block.

    Raises
    ------
    ChromiumError
        If there is none, or it does not start.
    """

    def __init__(self) -> None:
        program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
        if program is None:
            raise ChromiumError(f"none of {', '.join(_PROGRAMS)} is installed")
        self._folder = tempfile.TemporaryDirectory(
            prefix="stream-al-chromium-", ignore_cleanup_errors=True
        )
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()
        # It reads from descriptor 3 and writes to 4, and has to be started with them.
        launch = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", launch, program, *_FLAGS),
                f"--user-data-dir={self._folder.name}",
                "--remote-debugging-pipe",
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = ours_in, ours_out
        self._received = b""
        self._messages: deque[dict[str, Any]] = deque()
        self._calls = 0
        self._pages: dict[str, Page] = {}
        try:
            self.call("Browser.getVersion", timeout_s=_START_S)
        except ChromiumError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser, and remove all that it kept."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    @contextlib.contextmanager
    def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 800,
        scheme: Literal["light", "dark"] = "light",
        media: Literal["screen", "print"] = "screen",
    ) -> Iterator[Page]:
        """Open a page in a profile of its own; it is loaded when the block begins.

        Parameters
        ----------
        url
            ``http://127.0.0.1:...`` or ``file:///...``.
        width, height
            Of the window, pixels.
        scheme, media
            What the page is told of colours and of paper.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        try:
            target = self.call("Target.createTarget", url="about:blank", browserContextId=context)[
                "targetId"
            ]
            session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page = self._pages[session] = Page(self, session)
            page._prepare(width, height, scheme, media)
            page.go(url)
            yield page
        finally:
            self._pages = {}
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def call(
        self, method: str, session: str | None = None, timeout_s: float = _ANSWER_S, **given: Any
    ) -> dict[str, Any]:
        """Call a method of the protocol; events that come meanwhile go to their pages.

        Raises
        ------
        ChromiumError
            If it fails, or is not answered in time.
        """
        self._calls += 1
        number = self._calls
        asked: dict[str, Any] = {"id": number, "method": method, "params": given}
        if session is not None:
            asked["sessionId"] = session
        sent = msgspec.json.encode(asked) + _END
        while sent:
            sent = sent[os.write(self._out, sent) :]
        deadline = time.monotonic() + timeout_s
        while True:
            told = self._next(deadline)
            if told.get("id") == number:
                if "error" in told:
                    raise ChromiumError(f"{method}: {told['error']}")
                found: dict[str, Any] = told["result"]
                return found
            if (page := self._pages.get(told.get("sessionId", ""))) is not None:
                page._hear(told)

    def _next(self, deadline: float) -> dict[str, Any]:
        while not self._messages:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._in, 1 << 20) if ready else b""
            if not chunk:
                raise ChromiumError("ended" if ready else "does not answer")
            *whole, self._received = (self._received + chunk).split(_END)
            self._messages += map(msgspec.json.decode, whole)
        return self._messages.popleft()


class Page:
    """A page that is open.

    Attributes
    ----------
    requests
        URLs that it asked for, itself first, in order.
    complaints
        What its console reports as errors or warnings, exceptions and refused content included.
    """

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method of the protocol on this page."""
        return self._browser.call(method, self._session, **given)

    def go(self, url: str) -> None:
        """Go to a URL, and wait until it is loaded.

        Raises
        ------
        ChromiumError
            If it cannot be had.
        """
        # The former document may be complete already, so that another one is waited for.
        self.evaluate("window.former = true")
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            raise ChromiumError(f"{url}: {failed}")
        self.wait("!window.former && document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression; what it promises is waited for.

        Raises
        ------
        ChromiumError
            If it throws.
        """
        told = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise ChromiumError(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 10.0) -> None:
        """Wait until an expression is true.

        Raises
        ------
        ChromiumError
            If it is not in time; says what the page shows.
        """
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise ChromiumError(f"never came true: {condition}\n{self.text()[:2000]}")
            time.sleep(_LOOK_S)

    def text(self, selector: str = "body") -> str:
        """Return the text of an element as it is shown."""
        return str(self.evaluate(f"document.querySelector({_quoted(selector)}).innerText"))

    def pdf(self, file: Path) -> None:
        """Write what would be printed, on A4."""
        told = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        file.write_bytes(base64.b64decode(told["data"]))

    def _prepare(self, width: int, height: int, scheme: str, media: str) -> None:
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def _hear(self, told: dict[str, Any]) -> None:
        given = told["params"]
        match told["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(given["request"]["url"])
            case "Log.entryAdded" if given["entry"]["level"] in ("error", "warning"):
                self.complaints.append(given["entry"]["text"])
            case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                self.complaints.append(str([arg.get("value") for arg in given["args"]]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(given["exceptionDetails"]))


def _pipe() -> tuple[int, int]:
    """Make a pipe whose descriptors leave those below 10 to the browser."""
    low = os.pipe()
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in low]
    for each in low:
        os.close(each)
    return high[0], high[1]


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
