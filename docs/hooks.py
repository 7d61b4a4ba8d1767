"""Adds the pages of the reference to the site; mkdocs calls `on_files`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference_pages import pages

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

__all__ = ["on_files"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated page, as if it stood in the folder."""
    # Not above: tests look at the pages where there is no mkdocs.
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
