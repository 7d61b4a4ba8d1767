"""The flags that set keys of the configuration: one table, shared by all commands."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from msgspec.inspect import BoolType, FloatType, IntType, LiteralType, NoneType

from stream_al.cli.config_keys import KEYS, SECTIONS, Key
from stream_al.cli.settings import PREFIX, Settings, load, overlay
from stream_al.errors import ConfigError

__all__ = ["config_options", "section_options", "settings_from_flags"]

_REPLAY = ("source", "learner", "gate", "annotator", "replay")


@dataclass(frozen=True)
class _Flag:
    """A flag and the keys that it sets.

    Attributes
    ----------
    name
        As typed; with a slash, the flag for true and the one for false.
    keys
        One key, or several of one type that all get the value.
    help
        Where the meaning of the one key does not do.
    repeated
        May be given several times, for one item of a list each.
    metavar
        What the help calls a value that is text.
    """

    name: str
    keys: tuple[str, ...]
    help: str = ""
    repeated: bool = False
    metavar: str = "TEXT"

    @property
    def key(self) -> Key:
        return KEYS[self.keys[0]]

    @property
    def parameter(self) -> str:
        """A name that no parameter of a command itself has."""
        return f"set_{self.keys[0].replace('.', '_')}"

    def as_typed(self, value: object) -> str:
        true, _, false = self.name.partition("/")
        return false if value is False else true


_FLAGS: tuple[_Flag, ...] = (
    _Flag("--label", ("source.label",), metavar="COLUMN"),
    _Flag("--time", ("source.time",), "Column or key of event time.", metavar="COLUMN"),
    _Flag("--id", ("source.id",), "Column or key of the user's id.", metavar="COLUMN"),
    _Flag("--key", ("source.key",), "Column or key of the partitioning key.", metavar="COLUMN"),
    _Flag("--ignore", ("source.ignore",), repeated=True, metavar="COLUMN"),
    _Flag("--categorical", ("source.categorical",), repeated=True, metavar="COLUMN"),
    _Flag("--partitions", ("source.partitions",)),
    _Flag("--on-error", ("source.on_error",)),
    _Flag("--classes", ("learner.classes",), metavar="A,B,..."),
    _Flag("--model", ("learner.model",)),
    _Flag("--committee/--plain", ("learner.committee",)),
    _Flag("--calibrate/--no-calibrate", ("learner.calibrate",)),
    _Flag("--score", ("gate.score",)),
    _Flag("--risk-class", ("gate.risk_class",)),
    _Flag("--policy", ("gate.policy",)),
    _Flag("--budget", ("gate.budget",)),
    _Flag("--explore", ("gate.explore",)),
    _Flag("--burst", ("gate.burst",)),
    _Flag("--threshold", ("gate.threshold",)),
    _Flag("--step", ("gate.step",)),
    _Flag("--observe-every", ("gate.observe_every",)),
    _Flag("--delay", ("annotator.delay",)),
    _Flag("--delay-distribution", ("annotator.delay_distribution",)),
    _Flag("--noise", ("annotator.noise",), metavar="RATE|JSON"),
    _Flag("--abstain", ("annotator.abstain",)),
    _Flag("--capacity", ("annotator.capacity_per_day",)),
    _Flag("--limit", ("replay.limit",)),
    _Flag("--batch-size", ("replay.batch_size",)),
    _Flag(
        "--seed",
        ("learner.seed", "gate.salt", "annotator.seed"),
        "Seed of learner and annotator, and key of the gate's draws.",
    ),
    _Flag("--driver", ("log.driver",)),
    _Flag("--path", ("log.path",), metavar="FILE"),
    _Flag("--brokers", ("log.brokers",), metavar="HOST:PORT,..."),
    _Flag("--name", ("log.name",)),
    _Flag("--instance", ("log.instance",), metavar="NAME"),
    _Flag("--events-topic", ("log.events",), metavar="TOPIC"),
    _Flag("--log-partitions", ("log.partitions",)),
    _Flag("--message-id", ("message.id",), metavar="PATH"),
    _Flag("--message-time", ("message.time",), metavar="PATH"),
    _Flag("--message-key", ("message.key",), metavar="PATH"),
    _Flag("--features", ("message.features",), metavar="PATH"),
    _Flag("--include", ("message.include",), repeated=True, metavar="PATH"),
    _Flag("--exclude", ("message.exclude",), repeated=True, metavar="PATH"),
    _Flag("--missing", ("message.missing",)),
    _Flag("--numeric-text", ("message.numeric_text",)),
    _Flag("--state-dir", ("loop.state_dir",), metavar="FOLDER"),
    _Flag("--expire-after-s", ("ledger.expire_after_s",)),
    _Flag("--host", ("serve.host",)),
    _Flag("--port", ("serve.port",)),
)


def _of(names: Sequence[str]) -> tuple[_Flag, ...]:
    """Choose the flags of sections, or of single keys."""
    chosen = set(names)
    if unknown := chosen - set(SECTIONS) - set(KEYS):
        raise ValueError(f"no sections or keys: {', '.join(sorted(unknown))}")
    return tuple(flag for flag in _FLAGS if chosen & {flag.key.section, flag.key.path})


def _option(flag: _Flag) -> click.Option:
    """Make click's option of a flag: its type, default and help are those of its key."""
    key = flag.key
    kinds = [kind for kind in key.kinds if not isinstance(kind, NoneType)]
    kind = kinds[0] if len(kinds) == 1 else None
    settings: dict[str, Any] = {}
    if isinstance(kind, LiteralType):
        settings["type"] = click.Choice(list(kind.values))
    elif isinstance(kind, IntType):
        settings["type"] = click.INT
    elif isinstance(kind, FloatType):
        settings["type"] = click.FLOAT
    elif not isinstance(kind, BoolType):
        settings |= {"type": click.STRING, "multiple": flag.repeated, "metavar": flag.metavar}
    told = f"{flag.help or key.meaning}{' Repeatable.' if flag.repeated else ''}"
    return click.Option(
        [flag.name, flag.parameter],
        default=key.default,
        show_default=True,
        help=f"{told}  [{', '.join(flag.keys)}]",
        **settings,
    )


def _given(ctx: click.Context, flags: Sequence[_Flag]) -> dict[str, tuple[str, object]]:
    """Take the flags that were typed, by key; what was not typed sets nothing."""
    typed = [
        flag
        for flag in flags
        if ctx.get_parameter_source(flag.parameter) is ParameterSource.COMMANDLINE
    ]
    values = {flag: ctx.params[flag.parameter] for flag in typed}
    return {
        path: (flag.as_typed(values[flag]), values[flag]) for flag in typed for path in flag.keys
    }


def _where_given(error: ConfigError, settings: Settings) -> ConfigError:
    """Name the place of a value instead of its key, where a command finds the mistake."""
    key, blank, value = error.where.partition(" ")
    origin = settings.origins.get(key, "default")
    if origin == "default":
        return error
    named = origin.startswith(("--", PREFIX))
    return ConfigError(
        error.what, f"{origin}{blank}{value}" if named else f"{origin}: {error.where}"
    )


def section_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `--config` and the flags of sections; it receives `settings: Settings`.

    The settings are read from file, environment and flags before the command's body runs, which
    raises `ConfigError` where they are wrong.

    Parameters
    ----------
    names
        Sections (``log``), or keys where few of a section matter (``replay.limit``).

    Examples
    --------
    >>> @click.command
    ... @section_options("log")
    ... def where(settings: Settings) -> None:
    ...     click.echo(f"{settings.config.log.path}, {settings.origins['log.path']}")
    >>> where(["--path", "live.db"], standalone_mode=False)
    live.db, --path
    """
    flags = _of(names)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_settings(config_file: Path | None, **parameters: object) -> object:
            ctx = click.get_current_context()
            for flag in flags:
                del parameters[flag.parameter]
            settings = load(config_file, os.environ, _given(ctx, flags))
            try:
                return command(settings=settings, **parameters)
            except ConfigError as error:
                raise _where_given(error, settings) from error

        # Click reads a function's options from the last to the first.
        options = [*getattr(with_settings, "__click_params__", []), *reversed(_options(flags))]
        with_settings.__click_params__ = options  # type: ignore[attr-defined]
        return with_settings

    return decorate


config_options = section_options(*_REPLAY)
"""The flags of everything that a replay needs."""


def _options(flags: Sequence[_Flag]) -> list[click.Option]:
    file = click.Option(
        ["--config", "config_file"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file (TOML); STREAM_AL__SECTION__KEY variables and flags win over it.",
    )
    return [file, *map(_option, flags)]


def settings_from_flags(arguments: Sequence[str], base: Settings) -> Settings:
    """Lay flags, as they would be typed, over settings: the arms of a comparison.

    Parameters
    ----------
    arguments
        Flags and their values, as in `sys.argv`; no `--config`, which is common to all arms.
    base
        What holds where `arguments` set nothing.

    Raises
    ------
    ConfigError
        With the arguments and every mistake in them.

    Examples
    --------
    >>> from stream_al.cli.settings import DEFAULTS
    >>> arm = settings_from_flags(["--policy", "random"], DEFAULTS)
    >>> arm.config.gate.policy, arm.origins["gate.policy"]
    ('random', '--policy')
    """
    where = shlex.join(arguments)
    flags = _of(_REPLAY)
    parser = click.Command("arm", params=[_option(flag) for flag in flags], add_help_option=False)
    try:
        ctx = parser.make_context("arm", list(arguments))
    except click.UsageError as error:
        raise ConfigError(" ".join(error.format_message().split()), where) from error
    try:
        return overlay(base, _given(ctx, flags))
    except ConfigError as error:
        lines = [f"{where}: {line}" for line in str(error).splitlines()]
        raise ConfigError("\n".join(lines)) from error
