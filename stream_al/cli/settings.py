"""The effective configuration: defaults, then a TOML file, then the environment, then flags.

Every value knows where it came from, and every mistake in any of the places is reported at once,
one line each, with the place named.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec.inspect import NoneType

from stream_al.cli.config_keys import KEYS, SECTIONS, Key, expected, from_text
from stream_al.cli.toml_lines import key_lines
from stream_al.config import Config, problems
from stream_al.errors import ConfigError

__all__ = ["DEFAULTS", "PREFIX", "Settings", "load", "overlay"]

PREFIX = "STREAM_AL__"
"""What the names of environment variables that set a key begin with."""


@dataclass(frozen=True)
class Settings:
    """A configuration whose values know where they came from.

    Attributes
    ----------
    config
        The effective values, checked.
    origins
        ``section.key`` to ``default``, file and line, environment variable, or flag.
    """

    config: Config
    origins: Mapping[str, str]


DEFAULTS = Settings(Config(), dict.fromkeys(KEYS, "default"))
"""What holds where nothing is set."""


@dataclass(frozen=True)
class _Given:
    """A value of the right type, and how to name its place in the origins and in a mistake."""

    key: str
    value: object
    origin: str
    place: str
    inner: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mistake:
    """One line to report; `key` where the mistake is in the value of a known key."""

    line: str
    key: str = ""


def load(
    file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, tuple[str, object]],
) -> Settings:
    """Read a configuration: file, then environment over it, then flags over both.

    Parameters
    ----------
    file
        A TOML file with a table for each section; None: no file.
    environ
        Environment variables; ``STREAM_AL__SECTION__KEY`` sets a key, others are ignored.
    flags
        ``section.key`` to the flag as typed and its value; text is parsed as a variable's is.

    Raises
    ------
    ConfigError
        With one line for each mistake: unknown sections and keys (the nearest one is suggested),
        values of a wrong type or out of range, a file that is missing or no TOML.

    Examples
    --------
    >>> variables = {"STREAM_AL__GATE__BUDGET": "0.02", "STREAM_AL__GATE__BURST": "10"}
    >>> settings = load(None, variables, {"gate.budget": ("--budget", 0.1)})
    >>> settings.config.gate.budget, settings.origins["gate.budget"]
    (0.1, '--budget')
    >>> settings.config.gate.burst, settings.origins["gate.burst"]
    (10.0, 'STREAM_AL__GATE__BURST')
    >>> load(None, {"STREAM_AL__GATE__BUDGTE": "0.02"}, {})
    Traceback (most recent call last):
        ...
    stream_al.errors.ConfigError: STREAM_AL__GATE__BUDGTE: names no key; did you mean
    STREAM_AL__GATE__BUDGET?
    """
    found: list[_Given | _Mistake] = []
    if file is not None:
        found += _from_file(file)
    found += _from_environment(environ)
    found += _from_flags(flags)
    return _settle(DEFAULTS, found)


def overlay(base: Settings, flags: Mapping[str, tuple[str, object]]) -> Settings:
    """Lay flags over settings; `flags` and errors are those of `load`.

    Examples
    --------
    >>> overlay(DEFAULTS, {"gate.policy": ("--policy", "random")}).config.gate.policy
    'random'
    """
    return _settle(base, _from_flags(flags))


def _settle(base: Settings, found: Iterable[_Given | _Mistake]) -> Settings:
    """Put values over those of `base`, the later ones winning, and check the whole."""
    origins = dict(base.origins)
    places = {
        key: key if origin == "default" else f"{origin}: {key}" for key, origin in origins.items()
    }
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    mistakes = []
    for item in found:
        if isinstance(item, _Mistake):
            mistakes.append(item)
            continue
        key = KEYS[item.key]
        values[key.section][key.name] = item.value
        origins[item.key] = item.origin
        places = {at: place for at, place in places.items() if not at.startswith(f"{item.key}.")}
        places |= {item.key: item.place, **item.inner}
    replace = msgspec.structs.replace
    sections = {name: replace(getattr(base.config, name), **new) for name, new in values.items()}
    config = replace(base.config, **sections)
    mistakes += _range_mistakes(config, origins, places, mistakes)
    if mistakes:
        raise ConfigError("\n".join(dict.fromkeys(mistake.line for mistake in mistakes)))
    return Settings(config, origins)


def _range_mistakes(
    config: Config,
    origins: Mapping[str, str],
    places: Mapping[str, str],
    known: Iterable[_Mistake],
) -> Iterator[_Mistake]:
    """Attribute what `problems` finds, except what only follows from a mistake found before."""
    spoilt = {mistake.key for mistake in known}
    for at, what in problems(config):
        key = ".".join(at.split(".")[:2])
        # A default is wrong only in company, and the company may be what could not be read.
        if key in spoilt or (spoilt and origins[key] == "default"):
            continue
        place = max((path for path in places if f"{at}.".startswith(f"{path}.")), key=len)
        rest = at.removeprefix(place).replace(".", ", ", 1)
        yield _Mistake(f"{places[place]}{rest}: {what}", key)


def _from_flags(flags: Mapping[str, tuple[str, object]]) -> Iterator[_Given | _Mistake]:
    for path, (flag, value) in flags.items():
        yield _given(KEYS[path], value, origin=flag, place=flag)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given | _Mistake]:
    keys = {f"{key.section}__{key.name}".upper(): key for key in KEYS.values()}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX)
        if name in keys:
            yield _given(keys[name], environ[variable], origin=variable, place=variable)
        else:
            yield _Mistake(f"{variable}: names no key{_nearest(name, keys, PREFIX)}")


def _given(
    key: Key,
    value: object,
    *,
    origin: str,
    place: str,
    inner: Mapping[str, str] | None = None,
    textual: bool = True,
) -> _Given | _Mistake:
    """Convert a value to its key's type; text counts as written out where `textual`."""
    try:
        if textual and isinstance(value, str):
            converted = from_text(value, key)
        elif value == "null" and any(isinstance(kind, NoneType) for kind in key.kinds):
            # TOML has no null of its own.
            converted = None
        else:
            converted = msgspec.convert(value, key.type)
    except msgspec.DecodeError:
        line = f"{place}: must be {expected(key)}, not {reprlib.repr(value)}"
        return _Mistake(line, key.path)
    return _Given(key.path, converted, origin, place, inner or {})


def _from_file(file: Path) -> Iterator[_Given | _Mistake]:
    """Read a file: the one place where settings touch the world."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        yield _Mistake(f"{file}: no such file; `stream-al config init` writes one")
        return
    except OSError as error:
        yield _Mistake(f"{file}: cannot be read: {error.strerror}")
        return
    yield from _from_toml(content, str(file))


def _from_toml(content: bytes, file: str) -> Iterator[_Given | _Mistake]:
    try:
        text = content.decode()
        tables = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield _Mistake(f"{file}, line {line}: must be UTF-8, not byte 0x{content[error.start]:02x}")
        return
    except ValueError as error:  # a whole number of thousands of digits is no TOMLDecodeError
        yield _syntax_mistake(file, text, str(error))
        return
    origins = {at: f"{file}, line {line}" for at, line in key_lines(text).items()}
    places = {at: f"{origin}: {at}" for at, origin in origins.items()}
    for section, table in tables.items():
        where = origins[section]
        if section not in SECTIONS:
            nearest = _nearest(section, SECTIONS) or _nearest_key("", section)
            yield _Mistake(f"{where}: {section!r} is no section{nearest}")
        elif not isinstance(table, dict):
            yield _Mistake(f"{where}: {section} must be a table, not {reprlib.repr(table)}")
        else:
            for name, value in table.items():
                path = f"{section}.{name}"
                if path not in KEYS:
                    nearest = _nearest_key(section, name)
                    yield _Mistake(f"{origins[path]}: {path!r} is no key{nearest}")
                    continue
                yield _given(
                    KEYS[path],
                    value,
                    origin=origins[path],
                    place=places[path],
                    inner={at: p for at, p in places.items() if at.startswith(f"{path}.")},
                    textual=False,
                )


def _syntax_mistake(file: str, text: str, told: str) -> _Mistake:
    """Put the line that a TOML error tells at the end of its text where all others have it."""
    at = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", told)
    if at is None:
        return _Mistake(f"{file}: {told}")
    what, line, column = at.groups()
    if line is None:
        return _Mistake(f"{file}, line {len(text.splitlines())}: {what} at the end of the file")
    return _Mistake(f"{file}, line {line}: {what} at column {column}")


def _nearest_key(section: str, name: str) -> str:
    """Suggest a key: of the same section where one is near, else of any."""
    own = [key.name for key in KEYS.values() if key.section == section]
    if close := difflib.get_close_matches(name, own, n=1):
        return f"; did you mean '{section}.{close[0]}'?"
    anywhere = {key.name: key.path for key in KEYS.values()}
    close = difflib.get_close_matches(name, anywhere, n=1)
    return f"; did you mean '{anywhere[close[0]]}'?" if close else ""


def _nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
