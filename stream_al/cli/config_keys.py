"""Every key of the configuration, read off the configuration classes themselves.

Names, types, defaults and meanings are generated, so that a new field of a section needs no
change here, nor in the flags, the environment or the files that are built on this table.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.inspect import (
    BoolType,
    CollectionType,
    DictType,
    FloatType,
    IntType,
    LiteralType,
    NoneType,
    StrType,
    Type,
    UnionType,
    type_info,
)

from stream_al.config import Config

__all__ = ["KEYS", "SECTIONS", "Key", "expected", "from_text", "meanings"]


@dataclass(frozen=True)
class Key:
    """One key of the configuration.

    Attributes
    ----------
    section, name
        Where it stands: ``[section]``, ``name = ...``.
    type
        The annotation of the field.
    default
        Its value where nothing sets it.
    meaning
        What it means, from the docstring of its section's class.
    """

    section: str
    name: str
    type: Any
    default: object
    meaning: str

    @property
    def path(self) -> str:
        """``section.name``."""
        return f"{self.section}.{self.name}"

    @property
    def kinds(self) -> tuple[Type, ...]:
        """The types that a value may have, a union taken apart."""
        return _kinds(type_info(self.type))


def meanings(docstring: str) -> dict[str, str]:
    """Read the Attributes of a numpydoc docstring: name to meaning, on one line each.

    Names that share an entry (``a, b``) share its meaning.

    Examples
    --------
    >>> meanings('''A thing.
    ...
    ... Attributes
    ... ----------
    ... a, b
    ...     Where ``it``
    ...     stands.
    ... c
    ...     Its size.
    ... ''')
    {'a': 'Where it stands.', 'b': 'Where it stands.', 'c': 'Its size.'}
    """
    _, _, attributes = inspect.cleandoc(docstring).partition("Attributes\n----------\n")
    attributes = re.split(r"\n\n(?=\S+\n---)", attributes, maxsplit=1)[0]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", attributes.strip()):
        names, _, text = entry.partition("\n")
        plain = " ".join(text.split()).replace("``", "")
        found |= dict.fromkeys(re.split(r",\s*", names), plain)
    return found


def _all_keys() -> dict[str, Key]:
    found = []
    for section in msgspec.structs.fields(Config):
        told = meanings(section.type.__doc__ or "")
        defaults = getattr(Config(), section.name)
        found += [
            Key(
                section=section.name,
                name=field.name,
                type=field.type,
                default=getattr(defaults, field.name),
                meaning=told.get(field.name, ""),
            )
            for field in msgspec.structs.fields(section.type)
        ]
    return {key.path: key for key in found}


KEYS: Mapping[str, Key] = MappingProxyType(_all_keys())
"""``section.name`` to the key, in the order of the classes."""

SECTIONS: tuple[str, ...] = tuple(field.name for field in msgspec.structs.fields(Config))


def _kinds(info: Type) -> tuple[Type, ...]:
    return info.types if isinstance(info, UnionType) else (info,)


def from_text(text: str, key: Key) -> object:
    """Read a value that is given as text: an environment variable, a flag.

    Numbers and booleans as usual, ``null`` for none, lists separated by commas, tables as JSON.

    Raises
    ------
    msgspec.DecodeError
        Where the text is no such value; `expected` has the words for what was expected.

    Examples
    --------
    >>> from_text("0.02", KEYS["gate.budget"]), from_text("a, b", KEYS["learner.classes"])
    (0.02, ('a', 'b'))
    >>> from_text(".25", KEYS["annotator.noise"])
    0.25
    >>> from_text("null", KEYS["source.time"]), from_text("null", KEYS["source.label"])
    (None, 'null')
    """
    kinds = {type(kind) for kind in key.kinds}
    if NoneType in kinds and text == "null":
        return None
    if DictType in kinds and text.lstrip().startswith("{"):
        return msgspec.json.decode(text, type=key.type)
    if FloatType in kinds:
        # As a flag typed by click: `.25` is a number, though JSON has none like it.
        with contextlib.suppress(ValueError):
            return msgspec.convert(float(text), key.type)
    if any(issubclass(kind, CollectionType) for kind in kinds):
        items = [item.strip() for item in text.split(",")] if text.strip() else []
        return msgspec.convert(items, key.type, strict=False)
    return msgspec.convert(text, key.type, strict=False)


def expected(key: Key) -> str:
    """Say what values a key takes.

    Examples
    --------
    >>> expected(KEYS["gate.budget"]), expected(KEYS["annotator.noise"])
    ('a number', 'a number or a table of tables of numbers')
    """
    return _words(type_info(key.type))[0]


_PLAIN: Mapping[type[Type], tuple[str, str]] = {
    BoolType: ("true or false", "true or false"),
    IntType: ("a whole number", "whole numbers"),
    FloatType: ("a number", "numbers"),
    StrType: ("text in quotes", "texts in quotes"),
}


def _words(info: Type) -> tuple[str, str]:
    """Name one value of a type, and several."""
    if isinstance(info, UnionType):
        # Neither TOML nor a flag can write null: a reader of the words needs the rest only.
        each = [_words(kind) for kind in info.types if not isinstance(kind, NoneType)]
        return " or ".join(one for one, _ in each), " or ".join(many for _, many in each)
    if isinstance(info, LiteralType):
        names = f"one of {', '.join(map(str, info.values))}"
        return names, names
    if isinstance(info, DictType):
        _, many = _words(info.value_type)
        return f"a table of {many}", f"tables of {many}"
    if isinstance(info, CollectionType):
        _, many = _words(info.item_type)
        return f"a list of {many}", f"lists of {many}"
    name = type(info).__name__.removesuffix("Type").lower()
    return _PLAIN.get(type(info), (f"a {name}", f"{name} values"))
