"""The page of the command line: what every `--help` prints."""

from __future__ import annotations

from collections.abc import Iterator

import click

from stream_al.cli.app import application

__all__ = ["commands", "commands_page"]

_WIDTH = 100


def commands(
    group: click.Group = application, above: str = "stream-al"
) -> Iterator[tuple[str, click.Context]]:
    """List every command with its context, groups before what is in them.

    Examples
    --------
    >>> [name for name, _ in commands()][:2]
    ['stream-al', 'stream-al answer']
    """
    context = click.Context(group, info_name=above, terminal_width=_WIDTH, max_content_width=_WIDTH)
    yield above, context
    for name in group.list_commands(context):
        # What is listed is a name and a line; the command itself is imported when it is resolved.
        _, command, _ = group.resolve_command(context, [name])
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")
        elif command is not None:
            full = f"{above} {name}"
            yield (
                full,
                click.Context(
                    command, info_name=full, terminal_width=_WIDTH, max_content_width=_WIDTH
                ),
            )


def commands_page() -> str:
    """Write the page."""
    parts = [
        "# Commands\n\nData goes to standard output, all else to standard error. Flags in brackets "
        "(`[gate.budget]`) set that key of the [configuration](configuration.md)."
    ]
    for name, context in commands():
        parts.append(f"## {name}\n\n```text\n{context.get_help()}\n```")
    return "\n\n".join(parts) + "\n"
