"""What a test does without something that not every machine has."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["missing"]


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be missing (`STREAM_AL_REQUIRE_KAFKA=1`)."""
    if os.environ.get("STREAM_AL_REQUIRE_KAFKA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
