"""The pages of the reference, written from the code when the site is built."""

from __future__ import annotations

from reference_pages.commands import commands_page
from reference_pages.configuration import configuration_page
from reference_pages.python_api import python_page
from reference_pages.records import records_page
from reference_pages.topics import topics_page

__all__ = ["pages"]


def pages() -> dict[str, str]:
    """Write all pages: path in the site to Markdown."""
    return {
        "reference/cli.md": commands_page(),
        "reference/configuration.md": configuration_page(),
        "reference/records.md": records_page(),
        "reference/topics.md": topics_page(),
        "reference/python.md": python_page(),
    }
