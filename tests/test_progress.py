"""Progress is shown on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from stream_al.cli.progress import progress_bar


class Terminal(io.StringIO):
    """Standard error of somebody who looks."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@pytest.mark.parametrize(("length", "shown"), [(7, "100%"), (None, "7")])
def test_a_terminal_sees_how_far_it_is(
    length: int | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar is drawn whether or not it is known how long the work is."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(length, "decisions") as advance:
        assert advance is not None
        advance(3)
        advance(4)
    assert "decisions" in terminal.getvalue()
    assert shown in terminal.getvalue()


def test_a_pipe_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not read by people gets no bar."""
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress_bar(None, "decisions") as advance:
        assert advance is None
    assert pipe.getvalue() == ""
