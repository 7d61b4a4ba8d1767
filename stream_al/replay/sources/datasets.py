"""Streams that need no file: datasets inside river, and generated card payments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import msgspec

from stream_al.errors import ConfigError
from stream_al.replay.cards import cards
from stream_al.replay.sources.base import Reading, Row, Source
from stream_al.replay.sources.objects import Item, read_items

__all__ = ["CardsSource", "RiverSource", "local_datasets"]

_CARDS = 100_000


def local_datasets() -> dict[str, Any]:
    """List river's classification datasets that ship inside river, by name.

    Examples
    --------
    >>> {"Bananas", "ImageSegments", "Phishing"} <= local_datasets().keys()
    True
    """
    from river import datasets  # here, because river imports slowly and files need none of it

    tasks = (datasets.base.BINARY_CLF, datasets.base.MULTI_CLF)
    found = {}
    for name, kind in inspect.getmembers(datasets, inspect.isclass):
        if issubclass(kind, datasets.base.FileDataset) and not issubclass(
            kind, datasets.base.RemoteDataset
        ):
            dataset: Any = kind()
            if dataset.task in tasks:
                found[name] = dataset
    return found


def _item(line: int, values: dict[str, Any], truth: object, reading: Reading) -> Item:
    label = reading.config.label
    if label in values:
        raise ConfigError(
            f"a column of {reading.name}, whose label comes apart; expected another name",
            f"source.label = {label!r}",
        )
    return Item(line, {**values, label: truth})


class RiverSource(Source):
    """A classification dataset that ships inside river, by ``river:NAME``.

    The label comes with the dataset, under whatever name ``source.label`` gives it.

    Parameters
    ----------
    name
        Of the dataset, as of the class in `river.datasets`.
    reading
        How rows become events.

    Raises
    ------
    ConfigError
        If there is no such dataset inside river.
    """

    def __init__(self, name: str, reading: Reading) -> None:
        super().__init__(reading)
        local = local_datasets()
        if name not in local:
            near = get_close_matches(name, local, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"no classification dataset {name!r} ships inside river{hint} "
                f"(those that do: {', '.join(local)})",
                reading.name,
            )
        self._dataset = local[name]

    def rows(self) -> Iterator[Row]:
        """Begin a pass; see `Source.rows`."""
        self._reading.restart()
        items = (
            _item(line, values, truth, self._reading)
            for line, (values, truth) in enumerate(self._dataset, 1)
        )
        return read_items(items, self._reading)

    def count(self) -> int:
        """Count the rows in advance; see `Source.count`."""
        return self._reading.within(self._dataset.n_samples)


class CardsSource(Source):
    """Generated card payments, by ``cards``, ``cards:N`` or ``cards:N:SEED``.

    Its columns ``time``, ``id`` and ``key`` have these roles without being asked for. The label
    comes under whatever name ``source.label`` gives it.

    Parameters
    ----------
    spec
        What follows ``cards``: nothing, the number of payments, or number and seed.
    reading
        How rows become events.

    Raises
    ------
    ConfigError
        If number and seed are none.
    """

    def __init__(self, spec: str, reading: Reading) -> None:
        config = reading.config
        config = msgspec.structs.replace(
            config, time=config.time or "time", id=config.id or "id", key=config.key or "key"
        )
        super().__init__(Reading(reading.name, config, reading.classes, reading.limit))
        numbers = [int(t) if t.isdecimal() else -1 for t in spec.split(":")[1:]]
        if len(numbers) > 2 or min(numbers, default=1) < 0 or 0 in numbers[:1]:
            raise ConfigError(
                "expected cards, cards:N or cards:N:SEED with N from 1 and SEED from 0",
                reading.name,
            )
        self._n, self._seed = (*numbers, *(_CARDS, 0)[len(numbers) :])

    def rows(self) -> Iterator[Row]:
        """Begin a pass; see `Source.rows`."""
        self._reading.restart()
        items = (
            _item(line, {**features, "time": time, "id": name, "key": key}, label, self._reading)
            for line, (features, time, name, key, label) in enumerate(cards(self._n, self._seed), 1)
        )
        return read_items(items, self._reading)

    def count(self) -> int:
        """Count the rows in advance; see `Source.count`."""
        return self._reading.within(self._n)
