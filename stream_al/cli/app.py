"""The console entry: the commands, loaded when they are called, and the exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from threading import current_thread, main_thread
from typing import NoReturn

import click
from click.shell_completion import shell_complete

from stream_al.cli.command_line import remember
from stream_al.errors import StreamAlError

__all__ = ["application", "main"]

_NAME = "stream-al"
_INTERRUPTED = 130
_STDOUT_CLOSED = 141

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "replay": (
        "stream_al.cli.replay_command:replay",
        "Play a recorded stream: who is asked, and what is learned.",
    ),
    "compare": (
        "stream_al.cli.compare_command:compare",
        "Play a stream with several configurations, side by side.",
    ),
    "verify": (
        "stream_al.cli.verify_command:verify",
        "Recompute every decision of a replay and count differences.",
    ),
    "explain": (
        "stream_al.cli.explain_command:explain",
        "Say in plain words why an event was asked or not.",
    ),
    "run": (
        "stream_al.cli.run_command:run",
        "Run gate, ledger and annotator on a log.",
    ),
    "feed": (
        "stream_al.cli.feed_command:feed",
        "Play a recorded stream into a topic.",
    ),
    "tail": (
        "stream_al.cli.tail_command:tail",
        "Show the records of a topic, as they come.",
    ),
    "pause": (
        "stream_al.cli.control_command:pause",
        "Let the policy ask nothing; exploration goes on.",
    ),
    "resume": (
        "stream_al.cli.control_command:resume",
        "End a pause or a boost.",
    ),
    "boost": (
        "stream_al.cli.control_command:boost",
        "Let the policy ask while the budget has tokens.",
    ),
    "refold": (
        "stream_al.cli.refold_command:refold",
        "Fold the training log again without somebody's labels.",
    ),
    "answer": (
        "stream_al.cli.answer_command:answer",
        "Write answers to label requests, with their requests' keys.",
    ),
    "audit": (
        "stream_al.cli.audit_command:audit",
        "Show who answered what, when and why it was asked.",
    ),
    "doctor": (
        "stream_al.cli.doctor_command:doctor",
        "Find what is wrong with a log, and say what to do.",
    ),
    "metrics": (
        "stream_al.cli.metrics_command:metrics",
        "Print the reference of all metrics.",
    ),
    "demo": (
        "stream_al.cli.demo_command:demo",
        "See it work: no arguments, no files, no network.",
    ),
    "config": (
        "stream_al.cli.config_commands:config",
        "Write, check and show the configuration.",
    ),
}
"""Name to ``module:attribute`` and short help, so that `--help` imports no command."""

_EPILOG = f"""\b
Exit codes:
  0    fine
  1    the check found differences, or the doctor an error
  2    usage, configuration, or a model of your own
  3    bad input
  4    anything else
  5    must not go on; may be started again
  {_INTERRUPTED}  interrupted
  {_STDOUT_CLOSED}  standard output was closed before the end, as by `| head`

Results go to standard output, everything else to standard error.
"""


class _Application(click.Group):
    """A group whose commands are imported when they run, and whose errors are one line each."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or command is None:
            return name, command, rest
        module, _, attribute = _COMMANDS[name][0].partition(":")
        with _heeding_interrupts():
            return name, getattr(importlib.import_module(module), attribute), rest

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **_: object
    ) -> NoReturn:
        """Run a command line and exit; click's own would end with other exit codes."""
        sys.exit(_run(self, sys.argv[1:] if args is None else args, prog_name or _NAME))


@contextlib.contextmanager
def _heeding_interrupts() -> Iterator[None]:
    """End at once when interrupted: imports may swallow an exception, and nothing began."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(*_: object) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"error: interrupted\n")
    os._exit(_INTERRUPTED)


def _run(group: click.Group, arguments: Sequence[str], name: str) -> int:
    """Run a command line; return the exit code."""
    debug = False
    exit_code = 0
    try:
        try:
            with group.make_context(name, list(arguments)) as ctx:
                debug = ctx.params["debug"]
                remember(ctx, name, arguments)
                group.invoke(ctx)
        except click.exceptions.Exit as done:
            exit_code = done.exit_code
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return _STDOUT_CLOSED
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", _INTERRUPTED, debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        return _fail(_usage(error), error.exit_code, debug)
    except click.ClickException as error:
        return _fail(error.format_message(), 2, debug)
    except StreamAlError as error:
        return _fail(str(error), error.exit_code, debug)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", 4, debug)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends in one line and a code
        told = " ".join(f"internal: {type(error).__name__}: {error}".split())
        hint = "" if debug else f" (`{_NAME} --debug ...` shows where)"
        return _fail(f"{told}{hint}", 4, debug)
    return exit_code


def _fail(message: str, exit_code: int, debug: bool) -> int:
    # Where standard error is closed too, the exit code alone has to tell.
    with contextlib.suppress(BrokenPipeError):
        if debug:
            click.echo(traceback.format_exc(), err=True, nl=False)
        for line in message.splitlines():
            click.echo(f"error: {line}", err=True)
    return exit_code


def _usage(error: click.UsageError) -> str:
    message = " ".join(error.format_message().split())
    return f"{message} (see `{error.ctx.command_path} --help`)" if error.ctx else message


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere, or Python complains of it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@click.group(
    cls=_Application,
    name=_NAME,
    epilog=_EPILOG,
    commands={name: click.Command(name, short_help=told) for name, (_, told) in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name=_NAME, prog_name=_NAME)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def application(debug: bool) -> None:
    """Ask people for the few labels that matter, learn from them, recompute every decision."""


def main() -> NoReturn:
    """Run the command line of this process."""
    completion = "_STREAM_AL_COMPLETE"
    if instruction := os.environ.get(completion):
        sys.exit(shell_complete(application, {}, _NAME, completion, instruction))
    application.main()
