"""Versions of the label schema: what a class of an older version is called now."""

from __future__ import annotations

from stream_al.config import LedgerConfig

__all__ = ["current_class"]


def current_class(config: LedgerConfig, name: str, version: int | None) -> str:
    """Return what a class of a version is called in the current one.

    Raises
    ------
    ValueError
        If there is no such version.

    Examples
    --------
    >>> config = LedgerConfig(schema=3, schema_changes={"3": {"stolen": "fraud", "fake": "fraud"}})
    >>> current_class(config, "stolen", 2), current_class(config, "stolen", 3)
    ('fraud', 'stolen')
    """
    if version is None:
        return name
    if not 1 <= version <= config.schema:
        raise ValueError(
            f"label schema {version} is not known; expected a version from 1 to {config.schema}"
        )
    for later in range(version + 1, config.schema + 1):
        name = config.schema_changes.get(str(later), {}).get(name, name)
    return name
