"""A generator of card payments with rare fraud whose patterns come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import exp, log
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_al.errors import ConfigError
from stream_al.keyed import uniform

__all__ = ["cards"]

Card: TypeAlias = tuple[dict[str, float | str | bool], float, str, str, int]
Columns: TypeAlias = tuple[list[Any], ...]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_CHUNK = 8192
_CUSTOMERS = 4000
_EVENTS_PER_DAY = 10_000
_START = 1_704_067_200.0  # 2024-01-01T00:00Z, a Monday
_HOUR, _DAY, _WEEK = 3600.0, 86_400.0, 604_800.0
_WEEKEND = (2.0, 3.0)  # days since the epoch modulo 7; the epoch was a Thursday

_CATEGORIES = (
    "grocery", "fuel", "restaurant", "clothing", "electronics", "travel", "digital", "cash",
)  # fmt: skip
_CATEGORY_SHARES = (0.30, 0.12, 0.18, 0.10, 0.05, 0.05, 0.14, 0.06)
_CATEGORY_AMOUNT = np.array([0.9, 1.3, 0.8, 1.5, 2.5, 3.0, 0.35, 2.0])
_CATEGORY_ONLINE = np.array([0.08, 0.0, 0.05, 0.5, 0.5, 0.7, 0.97, 0.0])
_CHANNELS = ("chip", "contactless", "online", "magstripe")
_CHIP, _CONTACTLESS, _ONLINE, _MAGSTRIPE = range(4)

_HOURLY = np.array(
    [0.40, 0.30, 0.25, 0.25, 0.25, 0.30, 0.45, 0.80, 1.10, 1.20, 1.25, 1.40,
     1.65, 1.45, 1.20, 1.20, 1.35, 1.65, 1.75, 1.55, 1.20, 0.90, 0.65, 0.50]
)  # fmt: skip
_DAILY = np.array([0.92, 0.92, 0.95, 1.0, 1.15, 1.2, 0.86])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of fraud: how its payments differ from the cardholders' own."""

    categories: tuple[float, ...]
    channels: tuple[float, ...]
    foreign: float = 0.0
    new_device: float = 0.0
    amount: tuple[float, float]
    """Range of the amount: in the customer's mean amounts, or in euro if `tiny`."""
    tiny: bool = False
    log_km: float = 0.0
    spree_s: float = 0.0
    """Seconds that one card is abused before the next one is; 0: every payment hits another."""
    quiet: bool = False
    """Whether it goes for the third of the cards that are used least."""


_AMOUNT_TESTS = _Kind(
    categories=(0, 0, 0, 0, 0, 0, 1, 0), channels=(0, 0, 1, 0), foreign=0.3, new_device=0.7,
    amount=(0.2, 2.0), tiny=True, spree_s=6 * _HOUR,
)  # fmt: skip
_STOLEN_CARDS = _Kind(
    categories=(0.1, 0, 0, 0.1, 0.5, 0, 0, 0.3), channels=(0.2, 0.8, 0, 0), foreign=0.03,
    amount=(3.0, 12.0), log_km=3.0, spree_s=6 * _HOUR,
)  # fmt: skip
_COMPROMISED_TERMINALS = _Kind(
    categories=(0.1, 0.55, 0, 0, 0, 0, 0, 0.35), channels=(0.2, 0, 0, 0.8),
    amount=(1.5, 6.0), log_km=4.5,
)  # fmt: skip
_BURST_ABROAD = _Kind(
    categories=(0.1, 0, 0.3, 0.3, 0.1, 0.2, 0, 0), channels=(0.4, 0.4, 0.2, 0), foreign=0.95,
    new_device=0.1, amount=(1.0, 6.0), log_km=6.0, spree_s=3 * _HOUR,
)  # fmt: skip
_ACCOUNT_TAKEOVER = _Kind(
    categories=(0, 0, 0, 0.3, 0.4, 0.3, 0, 0), channels=(0, 0, 1, 0), foreign=0.3, new_device=0.8,
    amount=(1.0, 6.0), quiet=True,
)  # fmt: skip
_KINDS = (
    _AMOUNT_TESTS, _STOLEN_CARDS, _COMPROMISED_TERMINALS, _BURST_ABROAD, _ACCOUNT_TAKEOVER,
)  # fmt: skip
_ACTIVE = 2
_KIND_SHARE = (0.002, 0.006)
_REGIME_DAYS = (2.0, 4.0)


def _generator(seed: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, purpose]))


def _pick(shares: tuple[float, ...], u: float) -> int:
    return int(np.searchsorted(np.cumsum(shares[:-1]), u, side="right"))


class _Rhythm:
    """Payments per unit of time over the week."""

    def __init__(self) -> None:
        rate = np.outer(_DAILY, _HOURLY).ravel()
        self.rate: Floats = rate / rate.mean()
        self._edges = np.arange(rate.size + 1) * _HOUR
        self._work = np.concatenate(([0.0], np.cumsum(self.rate))) * _HOUR

    def clock(self, work: Floats) -> Floats:
        """Turn seconds at the mean rate into seconds of the clock, both from the start."""
        weeks = np.floor(work / _WEEK)
        inside = np.interp(work - weeks * _WEEK, self._work, self._edges)
        return np.asarray(weeks * _WEEK + inside)


class _Regimes:
    """Which kinds of fraud are active when, and how often; drawn ahead as time needs them."""

    def __init__(self, seed: int) -> None:
        self._rng = _generator(seed, 1)
        self._ends: Floats = np.zeros(0)
        self._kinds: Ints = np.zeros((0, _ACTIVE), dtype=np.int64)
        self._shares: Floats = np.zeros((0, _ACTIVE))

    def at(self, clock: Floats) -> tuple[Ints, Floats]:
        """Return active kinds and their mean shares, each (n, `_ACTIVE`), at rising times."""
        while not self._ends.size or self._ends[-1] <= clock[-1]:
            self._draw()
        # What lies behind the first time is forgotten, so that memory does not grow.
        past = int(np.searchsorted(self._ends, clock[0], side="right"))
        self._ends, self._kinds = self._ends[past:], self._kinds[past:]
        self._shares = self._shares[past:]
        row = np.searchsorted(self._ends, clock, side="right")
        return self._kinds[row], self._shares[row]

    def _draw(self) -> None:
        rng = self._rng
        begin = self._ends[-1] if self._ends.size else 0.0
        # Kinds never stay on: every change is abrupt, and what was learnt last helps least.
        fresh = [kind for kind in range(len(_KINDS)) if kind not in self._kinds[-1:]]
        self._ends = np.append(self._ends, begin + rng.uniform(*_REGIME_DAYS) * _DAY)
        self._kinds = np.vstack([self._kinds, rng.permutation(fresh)[:_ACTIVE]])
        self._shares = np.vstack([self._shares, rng.uniform(*_KIND_SHARE, _ACTIVE)])


class _Customers:
    """The cardholders: their habits, and what their bank remembers of each card."""

    def __init__(self, seed: int) -> None:
        rng = _generator(seed, 0)
        self.mean_log: Floats = rng.normal(3.1, 0.5, _CUSTOMERS)
        self.sd_log: Floats = rng.uniform(0.4, 0.8, _CUSTOMERS)
        self.mean: Floats = np.exp(self.mean_log + self.sd_log**2 / 2)
        self.abroad: Floats = rng.beta(0.3, 12.0, _CUSTOMERS)
        activity = rng.lognormal(0.0, 0.5, _CUSTOMERS)
        activity /= activity.sum()
        self.activity_edges: Floats = np.cumsum(activity)[:-1]
        self.by_activity: Ints = np.argsort(activity)
        # Cards have a past at the start, so that no feature begins with a made-up value.
        per_day = _EVENTS_PER_DAY * activity
        self.usual: list[float] = self.mean.tolist()
        self.last: list[float] = (_START - rng.exponential(_DAY / per_day)).tolist()
        self.recent: list[float] = per_day.tolist()
        self.names = [f"card-{number:04d}" for number in range(_CUSTOMERS)]


def _chunks(seed: int, customers: _Customers) -> Iterator[Columns]:
    """Yield columns of `_CHUNK` payments: all that needs no memory of the card."""
    rng, rhythm, regimes = _generator(seed, 2), _Rhythm(), _Regimes(seed)
    category_edges = np.cumsum(_CATEGORY_SHARES[:-1])
    work = 0.0
    while True:
        # Drawing whole chunks, whatever is asked for, makes short streams prefixes of long ones.
        works = work + np.cumsum(rng.standard_exponential(_CHUNK)) * (_DAY / _EVENTS_PER_DAY)
        work = float(works[-1])
        clock = rhythm.clock(works)
        u, z = rng.random((6, _CHUNK)), rng.standard_normal((2, _CHUNK))
        who = np.searchsorted(customers.activity_edges, u[0])
        category = np.searchsorted(category_edges, u[1])
        amount = np.exp(customers.mean_log[who] + customers.sd_log[who] * z[0])
        amount *= _CATEGORY_AMOUNT[category]
        channel = np.where(amount < 50.0, _CONTACTLESS, _CHIP)
        channel[(channel == _CHIP) & (u[5] < 0.01)] = _MAGSTRIPE
        channel[u[2] < _CATEGORY_ONLINE[category]] = _ONLINE
        new_device = (channel == _ONLINE) & (u[5] < 0.05)
        foreign = u[3] < customers.abroad[who]
        log_km = np.where(foreign, 6.0, 1.5) + z[1]

        kinds, shares = regimes.at(clock)
        # Fraud keeps no office hours: even in time, its share is highest at night.
        hour_of_week = (clock % _WEEK // _HOUR).astype(np.int64)
        edges = np.cumsum(shares / rhythm.rate[hour_of_week][:, None], axis=1)
        slot = (u[4][:, None] >= edges).sum(axis=1)
        for row in np.flatnonzero(slot < _ACTIVE).tolist():
            number = int(kinds[row, slot[row]])
            kind, v = _KINDS[number], rng.random(6).tolist()
            if kind.spree_s:
                v[0] = uniform("cards", seed, number, int(clock[row] // kind.spree_s))
            low, high = kind.amount
            victim = int(v[0] * _CUSTOMERS)
            who[row] = customers.by_activity[victim // 3] if kind.quiet else victim
            category[row] = _pick(kind.categories, v[1])
            channel[row] = _pick(kind.channels, v[2])
            amount[row] = low * (high / low) ** v[3]
            amount[row] *= 1.0 if kind.tiny else customers.mean[who[row]]
            foreign[row] = v[4] < kind.foreign
            new_device[row] = v[5] < kind.new_device
            log_km[row] = kind.log_km + z[1, row]
        log_km[channel == _ONLINE] = 0.0
        yield (
            np.round(_START + clock, 3).tolist(),
            who.tolist(),
            np.maximum(np.round(amount, 2), 0.01).tolist(),
            (np.floor(clock % _DAY / _HOUR * 100) / 100).tolist(),
            category.tolist(),
            channel.tolist(),
            foreign.tolist(),
            new_device.tolist(),
            np.round(log_km, 3).tolist(),
            (slot < _ACTIVE).astype(np.int64).tolist(),
        )


def _stream(seed: int, customers: _Customers) -> Iterator[Card]:
    usual, last, recent = customers.usual, customers.last, customers.recent
    number = 0
    for chunk in _chunks(seed, customers):
        for time, who, amount, hour, category, channel, foreign, new_device, km, label in zip(
            *chunk, strict=True
        ):
            gap = time - last[who]
            count, mean = recent[who] * exp(-gap / _DAY), usual[who]
            last[who], recent[who] = time, count + 1.0
            usual[who] = mean + 0.05 * (amount - mean)
            features = {
                "amount": amount,
                "log_amount_ratio": round(log(amount / mean), 4),
                "log_hours_since_last": round(log(gap / _HOUR + 0.01), 4),
                "payments_24h": round(count, 4),
                "log_km_from_home": km,
                "hour": hour,
                "night": hour < 6.0,
                "weekend": time // _DAY % 7 in _WEEKEND,
                "category": _CATEGORIES[category],
                "channel": _CHANNELS[channel],
                "foreign": foreign,
                "new_device": new_device,
            }
            yield features, time, f"payment-{number}", customers.names[who], label
            number += 1


def cards(n: int, seed: int = 0) -> Iterator[Card]:
    """Generate card payments, about 0.8 % of them fraud, in memory that does not grow.

    What it imitates: 4,000 cardholders with their own activity, log-normal amounts and habit of
    paying abroad, 10,000 payments a day from 2024-01-01 (UTC) on, in the rhythm of day and week;
    eight categories of merchants; what a bank knows of a card before the payment (running mean
    amount, time since the last payment, count with a memory of one day, frauds included). Five
    kinds of fraud: amount tests, stolen cards, copies made at compromised terminals, a burst
    abroad, takeover of little used accounts. Two are active at a time, for 2 to 4 days; then two
    others take over at once. Some recur. Frauds are even in time, so their share is highest at
    night, and each kind's share is drawn anew for each of its times.

    What it does not: it holds no real data and was fitted to none. There are no terminals as
    such, no seasons beyond the week, no holidays, no growth, no time zones; cardholders never
    change, cards are never blocked, and fraudsters do not react to decisions. Labels are exact.

    Parameters
    ----------
    n
        Number of payments, at least 0. A shorter stream is the beginning of a longer one.
    seed
        Key of all draws, at least 0.

    Returns
    -------
    Iterator
        Of (features, time in epoch seconds, id, card, label): times do not fall, the label is 1
        for fraud. Numbers are finite and rounded; ``night``, ``weekend``, ``foreign`` and
        ``new_device`` are booleans, ``category`` and ``channel`` are text. The natural logarithm
        of kilometres from home is 0 online.

    Raises
    ------
    ConfigError
        If n or the seed is negative.

    Examples
    --------
    >>> features, time, payment, card, label = next(cards(1))
    >>> time, payment, card, label
    (1704067203.983, 'payment-0', 'card-1222', 0)
    >>> features["amount"], features["category"], features["night"]
    (114.39, 'fuel', True)
    >>> sum(label for *_, label in cards(10_000))
    93
    """
    for name, value in (("n", n), ("seed", seed)):
        if value < 0:
            raise ConfigError(f"must be at least 0, not {value}", name)
    return islice(_stream(seed, _Customers(seed)), n)
