"""Which column of a stream plays which role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from stream_al.config import SourceConfig
from stream_al.errors import ConfigError, InputError

__all__ = ["Columns", "matches", "resolve"]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names by role.

    Attributes
    ----------
    label, time, id, key
        The columns of those roles, which are no features; None where there is none.
    features
        All other columns that are not ignored, in order.
    categorical
        Those features that are categories whatever they look like.
    """

    label: str
    time: str | None
    id: str | None
    key: str | None
    features: tuple[str, ...]
    categorical: frozenset[str]


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name is, or fits, one of the patterns.

    A name with brackets, say ``a[0]``, must match itself although brackets are special.

    Examples
    --------
    >>> matches("c_job", ["c_*"]), matches("a[0]", ["a[0]"]), matches("job", ["c_*"])
    (True, True, False)
    """
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _unknown(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no such column{hint} (columns: {', '.join(names)})"


def resolve(names: Sequence[str], config: SourceConfig, source: str, line: int) -> Columns:
    """Give each column its role.

    Parameters
    ----------
    names
        The columns that the stream has, in order.
    config
        The roles and patterns.
    source, line
        Where the names stand, for messages.

    Raises
    ------
    InputError
        If there is no column for the label, a name stands twice, or no feature is left.
    ConfigError
        If another configured column or pattern matches nothing, or the label has two roles.
    """
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError("stands twice; expected different names", source, line, twice)
    if config.label not in names:
        raise InputError(_unknown(config.label, names), source, line, config.label)
    for role, name in (("time", config.time), ("id", config.id), ("key", config.key)):
        where = f"source.{role} = {name!r}"
        if name is not None and name not in names:
            raise ConfigError(f"{source}: {_unknown(name, names)}", where)
        if name == config.label:
            raise ConfigError("the label's column can have no other role", where)
    for setting, patterns in (("ignore", config.ignore), ("categorical", config.categorical)):
        for pattern in patterns:
            if not any(matches(name, (pattern,)) for name in names):
                raise ConfigError(
                    f"{source}: {_unknown(pattern, names)}", f"source.{setting} = {pattern!r}"
                )
    roles = {config.label, config.time, config.id, config.key}
    features = tuple(n for n in names if n not in roles and not matches(n, config.ignore))
    if not features:
        raise InputError("expected at least one column that is a feature", source, line)
    if "" in features:
        raise InputError("a column has no name: name it, or ignore ''", source, line)
    return Columns(
        label=config.label,
        time=config.time,
        id=config.id,
        key=config.key,
        features=features,
        categorical=frozenset(n for n in features if matches(n, config.categorical)),
    )
