"""Runs the commands of a page of documentation, in order, as a reader would type them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ELSEWHERE", "ROOT", "Block", "Run", "blocks", "pages", "run_page"]

ROOT = Path(__file__).resolve().parents[1]

ELSEWHERE: Mapping[str, str] = {
    "needs a container engine": "its files are validated by tests of their own",
    "needs Kubernetes": "its files are validated by tests of their own",
    "needs systemd": "its files are validated by tests of their own",
    "takes hours": ".ci/run runs the same with other numbers",
    "run by .ci/run": "in a fresh virtual environment",
}
"""Titles of the blocks that are not run here: why, and what holds them instead."""

_FENCE = re.compile(
    r"^```(?P<language>[\w-]+)?(?: title=\"(?P<title>[^\"]+)\")?[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILES = ("toml", "json", "python")
_PORT = re.compile(r"\b91[01]\d\b")
_BROKERS = "localhost:9092"
_PROMPT = "\x1e"
_READING_S = 1.5
"""A reader takes a moment from one block to the next, in which processes go on."""
_TIMEOUT_S = 240.0
_GRACE_S = 30.0


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its title (empty: none), its text and its line."""

    language: str
    title: str
    text: str
    line: int


@dataclass(frozen=True)
class Run:
    """What came of a page's commands.

    Attributes
    ----------
    done
        Blocks that ended well, in their order.
    failed
        The block that did not; None: all went well.
    output
        What was printed, of all blocks, on both streams.
    """

    done: tuple[Block, ...]
    failed: Block | None
    output: str


def pages() -> list[Path]:
    """List the pages whose commands hold: README, what stands in docs, and what leads a deployment.

    Examples
    --------
    >>> pages()[0].name
    'README.md'
    """
    deploy = ROOT / "deploy" / "README.md"
    return [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *([deploy] * deploy.exists()),
    ]


def blocks(page: Path) -> Iterator[Block]:
    """Read the fenced blocks of a page."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        yield Block(
            found["language"] or "",
            found["title"] or "",
            found["text"],
            text.count("\n", 0, found.start()) + 1,
        )


def run_page(page: Path, folder: Path, brokers: str | None) -> Run:
    """Run a page's commands in one shell, and end whatever they leave running.

    Parameters
    ----------
    page
        Each block in `sh` without a title is run; each of `_FILES` with a title is a file that the
        page shows, written first.
    folder
        Empty; the commands run in it.
    brokers
        Address of the Kafka that stands in for whichever the page names.
    """
    every = list(blocks(page))
    commands = [block for block in every if block.language == "sh" and not block.title]
    replaced = _replacements(commands, brokers)
    for block in every:
        if block.language in _FILES and block.title:
            (folder / block.title).write_text(_replace(block.text, replaced))
    script = ["set -euo pipefail"]
    for number, block in enumerate(commands):
        script += [
            f"printf '{_PROMPT}%s\\n' {number}",
            _replace(block.text, replaced),
            f"sleep {_READING_S}",
        ]
    script += [f"printf '{_PROMPT}%s\\n' {len(commands)}", ""]
    (folder / ".page.sh").write_text("\n".join(script))
    hung = ""
    with (folder / ".output").open("w+b") as output:
        shell = subprocess.Popen(
            ["bash", ".page.sh"],
            cwd=folder,
            env=_environment(folder, brokers, replaced),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            hung = f"\nnot at its end within {_TIMEOUT_S:g} s"
        finally:
            _end(shell)
        output.seek(0)
        told = output.read().decode(errors="replace")
    reached = max((int(each) for each in re.findall(rf"{_PROMPT}(\d+)", told)), default=0)
    failed = commands[reached] if reached < len(commands) else None
    return Run(tuple(commands[:reached]), failed, told.replace(_PROMPT, "== block ") + hung)


def _replacements(commands: list[Block], brokers: str | None) -> dict[str, str]:
    """Choose free ports for those that the page names, and the Kafka for the one it names."""
    named = sorted({port for block in commands for port in _PORT.findall(block.text)} | {"9108"})
    with ExitStack() as held:
        free = {}
        for port in named:
            taken = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            free[port] = str(taken.getsockname()[1])
    return free if brokers is None else {**free, _BROKERS: brokers}


def _replace(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        text = re.sub(rf"\b{re.escape(old)}\b", new, text)
    return text


def _environment(folder: Path, brokers: str | None, replaced: Mapping[str, str]) -> dict[str, str]:
    """Set what differs between the page's surroundings and these; variables win over files."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_AL")}
    given["PATH"] = f"{Path(sys.executable).parent}:{given['PATH']}"
    given["STREAM_AL__SERVE__PORT"] = replaced["9108"]
    given["STREAM_AL__LOOP__STATE_DIR"] = str(folder / "state")
    # Whoever restores a log waits for the seats that it holds; not for three quarters of a minute.
    given["STREAM_AL__LOOP__SESSION_TIMEOUT_S"] = "6"
    if brokers is not None:
        given["STREAM_AL__LOG__BROKERS"] = brokers
        given["STREAM_AL__SECURITY__PROTOCOL"] = "PLAINTEXT"
    return given


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End the shell and all that it started: first in good order, then at once."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(shell.pid, how)
        except ProcessLookupError:
            break
        _await_group(shell)
    shell.wait()


def _await_group(shell: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _GRACE_S
    while time.monotonic() < end:
        shell.poll()
        try:
            os.killpg(shell.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
