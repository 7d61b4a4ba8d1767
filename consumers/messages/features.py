"""Features of a message: which of its values they are, and what each may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

from consumers.messages.errors import BadMessage, quoted
from consumers.messages.json_object import type_name
from stream_al.config import MessageConfig
from stream_al.records import Features

__all__ = ["FeatureReader", "spells_number"]

_USED: Final = 1
_CATEGORY: Final = 2
_UNUSED: Final = 3
_EXCLUDED: Final = 4

_FLOATS: Final = frozenset({float})

_NAMES_KEPT = 4096
_LONGEST_NAME = 512

_LEAST, _BEYOND = -(1 << 63), 1 << 63

# Possessive, so that a long run of digits is read once.
_NUMBER = re.compile(r"\s*+[+-]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?\s*+").fullmatch


def spells_number(text: str) -> bool:
    """Tell whether text is what a person would write for a number.

    Examples
    --------
    >>> [spells_number(text) for text in ("1", " -2.5e3 ", ".5", "nan", "1_000", "0x1F", "")]
    [True, True, True, False, False, False, False]
    """
    return _NUMBER(text) is not None


def _pattern(path: str) -> str:
    """Translate to a pattern that fits the path and all that is under it.

    What stands between two stars is matched where it comes first, for good: that is as general,
    and a name cannot make it take long.
    """
    first, *rest = [re.escape(part) for part in path.split("*")]
    if not rest:
        return rf"{first}(?:\..*)?"
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + rf".*{last}(?:\..*)?"


class _Paths:
    """Paths with stars, as one pattern."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._fits = re.compile("|".join(map(_pattern, paths)) or r"(?!)", re.DOTALL).fullmatch

    def __contains__(self, name: str) -> bool:
        return self._fits(name) is not None


class FeatureReader:
    """Finds the features in messages.

    Parameters
    ----------
    config
        As the user has it.

    Examples
    --------
    >>> reader = FeatureReader(MessageConfig(id="id", exclude=("card.*",), categorical=("mcc",)))
    >>> reader.read({"id": 7, "amount": 12.5, "mcc": 5411, "card": {"pan": [1]}})
    {'amount': 12.5, 'mcc': '5411'}
    """

    def __init__(self, config: MessageConfig) -> None:
        begin = f"{config.features}." if config.features else ""
        roles = (config.id, config.time, config.key, config.label, config.source)
        self._roles = {
            role.removeprefix(begin) for role in roles if role and role.startswith(begin)
        }
        self._include = _Paths(config.include or ("*",))
        self._exclude = _Paths(config.exclude)
        self._categorical = _Paths(config.categorical)
        self._allow_missing = config.missing == "allow"
        self._numeric_text = config.numeric_text
        self._longest_names = config.max_bytes
        self._verdicts: dict[str, int] = {}
        self._numbers: frozenset[str] | None = None
        self._required = tuple(
            path
            for path in config.include
            if not ("*" in path or path in self._roles or path in self._exclude)
            and not self._allow_missing
        )

    def read(self, scope: dict[str, Any]) -> Features:
        """Return the features of an event, at least one.

        Parameters
        ----------
        scope
            The object that holds them.

        Raises
        ------
        BadMessage
            ``no-features``, ``missing-field``, ``wrong-type``, ``not-finite``, ``out-of-range``,
            ``numeric-text``, ``duplicate-name`` or ``too-large``.
        """
        # Most streams bring the same numbers with each event: those need no looking at one by one.
        if scope.keys() == self._numbers and _FLOATS.issuperset(map(type, scope.values())):
            return scope
        features: Features = {}
        self._collect(scope, "", features)
        if self._required:
            self._see_required(features)
        if not features:
            raise BadMessage("no-features", "no feature at all; expected at least one")
        if _FLOATS.issuperset(map(type, scope.values())):
            used = all(self._verdicts.get(name) == _USED for name in scope)
            self._numbers = frozenset(scope) if used else None
        return features

    def read_if_any(self, scope: dict[str, Any]) -> Features:
        """Return the features of what may have none; if it has some, as `read` does.

        Raises
        ------
        BadMessage
            As `read`, except for ``no-features``.
        """
        features: Features = {}
        self._collect(scope, "", features)
        if features:
            self._see_required(features)
        return features

    def _see_required(self, features: Features) -> None:
        for name in self._required:
            if name not in features and not any(at.startswith(f"{name}.") for at in features):
                raise BadMessage("missing-field", f"{quoted(name)}: missing; expected a feature")

    def _collect(self, scope: dict[str, Any], begin: str, features: Features) -> None:
        """Add the features of an object, those of objects within it included."""
        verdict_of = self._verdicts.get
        nested = False
        shared = bool(begin)
        for key, value in scope.items():
            name = begin + key if begin else key
            verdict = verdict_of(name) or self._judge(name)
            kind = type(value)
            if kind is dict:
                if verdict != _EXCLUDED:
                    self._collect(value, f"{name}.", features)
                    nested = shared = True
                continue
            if verdict != _USED or not (
                kind is float
                or (kind is int and _LEAST <= value < _BEYOND)
                or (kind is str and not _NUMBER(value))
                or kind is bool
            ):
                if verdict >= _UNUSED or (value is None and self._allow_missing):
                    continue
                value = self._convert(value, name, verdict)
            if shared and name in features:
                what = f"{quoted(name)}: stands twice, as a name and as a path"
                raise BadMessage("duplicate-name", what)
            features[name] = value
        if nested and not begin:
            size = len("".join(features).encode())
            if size > self._longest_names:
                what = f"names of features take {size} bytes; at most {self._longest_names}"
                raise BadMessage("too-large", what)

    def _convert(self, value: object, name: str, verdict: int) -> float | str:
        """Convert what is not a feature as it stands."""
        if isinstance(value, str):
            return value if verdict == _CATEGORY else self._number(value, name)
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if verdict == _CATEGORY:
                return repr(value)
            raise BadMessage("out-of-range", f"{quoted(name)}: expected at most 64 bits")
        if value is None:
            what = f"{quoted(name)}: null; expected a number, text or a boolean"
            raise BadMessage("missing-field", what)
        expected = f"expected a number, text or a boolean, not {type_name(value)}"
        raise BadMessage("wrong-type", f"{quoted(name)}: {expected}")

    def _number(self, text: str, name: str) -> float | str:
        if self._numeric_text == "category":
            return text
        if self._numeric_text == "refuse":
            what = f"{quoted(name)}: a number spelled as text; expected a number"
            raise BadMessage("numeric-text", what)
        number = float(text)
        if not math.isfinite(number):
            what = f"{quoted(name)}: beyond 1.8e308; expected a finite number"
            raise BadMessage("not-finite", what)
        return number

    def _judge(self, name: str) -> int:
        """Tell what a path is; the answer is kept, for paths recur."""
        if len(name) > _LONGEST_NAME:
            what = f"{quoted(name)}: expected names of at most {_LONGEST_NAME} characters"
            raise BadMessage("too-large", what)
        if name in self._roles or name in self._exclude:
            verdict = _EXCLUDED
        elif name not in self._include:
            verdict = _UNUSED
        else:
            verdict = _CATEGORY if name in self._categorical else _USED
        if len(self._verdicts) >= _NAMES_KEPT:
            self._verdicts.clear()
        self._verdicts[name] = verdict
        return verdict
