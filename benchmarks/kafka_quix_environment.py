"""Where Quix Streams is installed: a virtual environment of its own, made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from _processes import BenchmarkError

__all__ = ["QUIX", "quix_python"]

QUIX = "3.28.1"
"""The release that is measured."""


def quix_python() -> Path:
    """Return the interpreter that has Quix Streams; installs it in the user's cache at first.

    Raises
    ------
    BenchmarkError
        If it cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "stream-al" / f"quixstreams-{QUIX}"
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [str(python), "-m", "pip", "install", "--quiet", f"quixstreams=={QUIX}"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stdout + done.stderr).strip()[-1000:]
                raise BenchmarkError(f"Quix Streams cannot be installed in {str(home)!r}: {said}")
        complete.touch()
    return python
