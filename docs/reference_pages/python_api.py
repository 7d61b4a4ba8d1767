"""The page of the Python API: which modules are public; mkdocstrings writes the rest."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PUBLIC", "python_page"]

PUBLIC: Mapping[str, tuple[str, ...]] = {
    "The library": ("stream_al", "stream_al.records", "stream_al.training", "stream_al.errors"),
    "Deciding": (
        "stream_al.engine",
        "stream_al.gate.gate",
        "stream_al.gate.scores",
        "stream_al.gate.policies",
        "stream_al.gate.exploration",
        "stream_al.gate.checks",
    ),
    "Learning": (
        "stream_al.learner.fold",
        "stream_al.learner.models",
        "stream_al.learner.snapshot",
    ),
    "Labels": ("stream_al.labels.ledger", "stream_al.labels.outcomes"),
    "Replaying": ("stream_al.replay.sources", "stream_al.replay.runner", "stream_al.replay.verify"),
    "Running": (
        "consumers.log",
        "consumers.machine",
        "consumers.loop",
        "consumers.drivers",
        "consumers.errors",
        "consumers.topics",
    ),
    "Testing what you build on it": (
        "consumers.testing.broker",
        "consumers.testing.simulated_log",
        "consumers.testing.checker",
        "consumers.testing.crash",
    ),
}
"""Modules that others may build on, by what for; of each what its `__all__` names."""


def python_page() -> str:
    """Write the page."""
    parts = [
        "# Python API\n\nWhat each public module's `__all__` names. The engine and what it is made "
        "of (`gate`, `learner`, `labels`) are pure: no broker, no clock, no thread."
    ]
    for title, modules in PUBLIC.items():
        parts.append(f"## {title}")
        parts += [f"::: {module}\n    options:\n      heading_level: 3" for module in modules]
    return "\n\n".join(parts) + "\n"
