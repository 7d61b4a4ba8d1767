"""`stream-al config`: write, check and show the configuration, offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap

import click
import msgspec

from stream_al.cli.config_keys import KEYS, SECTIONS, expected
from stream_al.cli.options import section_options
from stream_al.cli.settings import PREFIX, Settings
from stream_al.config import Config, LearnerConfig
from stream_al.errors import ConfigError

__all__ = ["config", "to_toml"]

_HEADER = f"""\
# Configuration of stream_al: every key with its default.
# Variables ({PREFIX}SECTION__KEY) win over this file, and flags over both.
# A key whose line is a comment is null until it is given a value; "null" makes one null again.
"""


def _value(value: object) -> str:
    """Write a value in TOML, on one line."""
    if isinstance(value, str):
        # TOML escapes as JSON does, and the delete character too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        items = ", ".join(f"{_value(name)} = {_value(item)}" for name, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def to_toml(config: Config) -> str:
    r"""Write a configuration as a TOML file with the meaning of every key.

    Examples
    --------
    >>> lines = to_toml(Config()).splitlines()
    >>> at = lines.index("stale_s = 60.0")
    >>> print("\n".join(lines[at - 1 : at + 1]))
    # A process whose last round is older than this is not healthy.
    stale_s = 60.0
    """
    lines = [_HEADER]
    for section in SECTIONS:
        lines.append(f"[{section}]")
        told = ""
        for key in KEYS.values():
            if key.section != section:
                continue
            if key.meaning != told:
                told = key.meaning
                lines += [f"# {line}" for line in wrap(told, 96, break_on_hyphens=False)]
            value = getattr(getattr(config, section), key.name)
            if value is None:
                lines.append(f"# {key.name} = <{expected(key)}>")
            else:
                lines.append(f"{key.name} = {_value(value)}")
        lines.append("")
    return "\n".join(lines)


@click.group
def config() -> None:
    """Write, check and show the configuration; all of it works offline."""


@config.command
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write here, where no file may be yet; default: standard output.",
)
def init(output: Path | None) -> None:
    """Write a configuration file with every key, its default and its meaning."""
    text = to_toml(Config())
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError("exists already; nothing was written", str(output)) from error
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", str(output)) from error


@config.command
@section_options(*SECTIONS)
def check(settings: Settings) -> None:
    """Check file, variables and flags: print `fine`, or every mistake with its place.

    Then what they name is looked for on this machine: the model, and the file of gold cases.
    """
    config = settings.config
    # Imported late: a check of the rest starts fast.
    if config.learner.model != LearnerConfig().model:
        from stream_al.learner.models import find_factory

        find_factory(config.learner.model)
    if config.ledger.gold_file is not None:
        from consumers.gold import read_gold

        read_gold(config)
    click.echo("fine")


@config.command
@click.option("--json", "as_json", is_flag=True, help="One JSON object: config and origins.")
@section_options(*SECTIONS)
def show(settings: Settings, as_json: bool) -> None:
    """Show the effective values, each with where it came from."""
    if as_json:
        whole = {"config": settings.config, "origins": settings.origins}
        click.echo(msgspec.json.encode(whole))
        return
    values = {
        path: getattr(getattr(settings.config, key.section), key.name) for path, key in KEYS.items()
    }
    written = {
        path: f"# {path} = null" if value is None else f"{path} = {_value(value)}"
        for path, value in values.items()
    }
    width = max(map(len, written.values()))
    for path, line in written.items():
        click.echo(f"{line:{width}}  # {settings.origins[path]}")
