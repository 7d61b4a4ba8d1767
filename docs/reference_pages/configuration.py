"""The page of the configuration: every key of every section."""

from __future__ import annotations

import msgspec

from reference_pages.markdown import cell, summary, table
from stream_al.cli.config_keys import KEYS, SECTIONS, expected
from stream_al.cli.settings import PREFIX
from stream_al.config import Config

__all__ = ["configuration_page"]


def configuration_page() -> str:
    """Write the page."""
    types = {field.name: field.type for field in msgspec.structs.fields(Config)}
    parts = [
        "# Configuration\n\n"
        "A TOML file with these sections (`stream-al config init` writes it), given as `--config`; "
        f"variables win over it (`{PREFIX}GATE__BUDGET`), and flags over both. `stream-al config "
        "show` tells the effective values and where each comes from. *null* is what holds where "
        'nothing is given; `"null"` makes a key null again.'
    ]
    for section in SECTIONS:
        rows = [
            (
                f"`{key.name}`",
                cell(expected(key)),
                "*null*"
                if key.default is None
                else f"`{msgspec.json.encode(key.default).decode()}`",
                cell(key.meaning),
            )
            for key in KEYS.values()
            if key.section == section
        ]
        body = table(("key", "takes", "default", "meaning"), rows)
        parts.append(f"## {section}\n\n{summary(types[section])}\n\n{body}")
    return "\n\n".join(parts) + "\n"
