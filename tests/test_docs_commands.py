"""The commands of the documentation do what the pages say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from docs_commands import ELSEWHERE, ROOT, Run, blocks, pages, run_page

from consumers.testing.broker import Broker

AT_ONCE = 4
"""Pages mostly wait."""

COMMANDS = [
    page
    for page in pages()
    if any(block.language == "sh" and not block.title for block in blocks(page))
]
OF_KAFKA = [page for page in COMMANDS if "localhost:9092" in page.read_text()]
OTHERS = [page for page in COMMANDS if page not in OF_KAFKA]

Runs = dict[Path, Future[Run]]


def name_of(page: Path) -> str:
    """Name a page by its path in the repository."""
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Run pages beside one another."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def runs(pool: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Begin with all pages that need no Kafka."""
    return {
        page: pool.submit(run_page, page, tmp_path_factory.mktemp(page.stem), None)
        for page in OTHERS
    }


@pytest.fixture(scope="module")
def runs_of_kafka(
    pool: ThreadPoolExecutor, own_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Runs:
    """Begin with the pages that need one, which is nobody else's: they name their topics."""
    return {
        page: pool.submit(run_page, page, tmp_path_factory.mktemp(page.stem), own_broker.address)
        for page in OF_KAFKA
    }


def check(run: Run) -> None:
    """See that a page's commands all ended well."""
    assert run.failed is None, f"line {run.failed.line}: {run.failed.text}\n{run.output}"
    assert run.done


@pytest.mark.commands
@pytest.mark.parametrize("page", OF_KAFKA, ids=name_of)
def test_commands_that_need_kafka_run(page: Path, runs_of_kafka: Runs, runs: Runs) -> None:  # noqa: ARG001 - all begin together
    """Every command of a page runs, in order, with a real Kafka."""
    check(runs_of_kafka[page].result())


@pytest.mark.commands
@pytest.mark.parametrize("page", OTHERS, ids=name_of)
def test_commands_run(page: Path, runs: Runs) -> None:
    """Every command of a page runs, in order, in an empty folder."""
    check(runs[page].result())


def test_what_is_not_run_says_why() -> None:
    """A command is left out for one of few reasons, which the reader sees as the block's title."""
    for page in pages():
        for block in blocks(page):
            where = f"{name_of(page)}, line {block.line}"
            assert block.language not in {"bash", "shell", "console", "shell-session"}, where
            if block.language == "sh" and block.title:
                assert block.title in ELSEWHERE, where
                print(f"not run: {where}: {block.title}, {ELSEWHERE[block.title]}")
            elif block.language == "sh":
                # Bash does not stop where anything but the last of these fails.
                assert " && " not in block.text, where


def test_what_ci_is_said_to_run_it_runs() -> None:
    """README's first commands are those of .ci/run."""
    script = (ROOT / ".ci" / "run").read_text()
    said = [
        block.text.strip()
        for block in blocks(ROOT / "README.md")
        if block.title == "run by .ci/run"
    ]
    assert said == ["pip install -e . && stream-al demo", "pip install -e '.[test]' && pytest"]
    assert "\nstream-al demo\n" in script
    assert r"pip install .*pytest" in script


def test_readme_stays_short() -> None:
    """README is read to its end."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_a_command_that_fails_is_found(tmp_path: Path) -> None:
    """What fails is told with its block, even in a pipe, and what runs on behind it is ended."""
    page = tmp_path / "page.md"
    page.write_text(
        '```json title="a.json"\n{}\n```\n'
        "```sh\ncat a.json\nsleep 600 &\necho $! > pid\n```\n"
        "```sh\nfalse | cat\n```\n```sh\necho never\n```\n"
    )
    run = run_page(page, tmp_path, None)
    assert [block.line for block in run.done] == [4]
    assert run.failed is not None
    assert run.failed.text == "false | cat\n"
    assert "never" not in run.output
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
