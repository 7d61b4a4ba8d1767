"""The pages of the reference: nothing that the code has is missing from them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from consumers.topics import specs
from stream_al.cli.app import application
from stream_al.cli.config_keys import KEYS
from stream_al.config import LogConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def reference() -> Any:
    """Import the scripts as mkdocs does, from their folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield importlib.import_module("reference_pages")


@pytest.fixture(scope="module")
def pages(reference: Any) -> dict[str, str]:
    """Write all pages once."""
    written: dict[str, str] = reference.pages()
    return written


def sections(page: str, heading: str) -> dict[str, str]:
    """Split a page by its headings of one level."""
    parts = re.split(rf"^{heading} (.+)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_key_of_the_configuration_is_told(pages: dict[str, str]) -> None:
    """Each key stands once in its section, with its default and a meaning."""
    found = sections(pages["reference/configuration.md"], "##")
    for key in KEYS.values():
        rows = re.findall(rf"^\| `{key.name}` \|.*$", found[key.section], re.MULTILINE)
        assert len(rows) == 1, key.path
        _, name, takes, default, meaning, _ = re.split(r"(?<!\\)\|", rows[0])
        assert takes.strip(), key.path
        assert meaning.strip(), key.path
        written = msgspec.json.encode(key.default).decode()
        assert default.strip() == ("*null*" if key.default is None else f"`{written}`"), name


def test_every_command_is_told(pages: dict[str, str]) -> None:
    """Each command, and each command in a group, stands there with its own options."""
    found = sections(pages["reference/cli.md"], "##")
    context = click.Context(application)
    names = {"stream-al"}
    for name in application.list_commands(context):
        names.add(f"stream-al {name}")
        command = application.resolve_command(context, [name])[1]
        if isinstance(command, click.Group):
            names |= {f"stream-al {name} {each}" for each in command.commands}
        assert command is not None
        for option in command.params:
            assert all(each in found[f"stream-al {name}"] for each in option.opts if "--" in each)
    assert set(found) == names
    assert len(names) > 18


@pytest.mark.usefixtures("reference")
def test_every_record_is_told_and_its_example_is_one(pages: dict[str, str]) -> None:
    """Each record's fields all have a meaning, and its example is read as that very record."""
    told = importlib.import_module("reference_pages.records").on_the_wire()
    kinds = {kind.__name__: kind for group in told.values() for kind in group}
    found = sections(pages["reference/records.md"], "###")
    assert set(found) == set(kinds)
    for name, kind in kinds.items():
        rows = dict(re.findall(r"^\| `(\w+)` \|.* \| (.*?) \|$", found[name], re.MULTILINE))
        for field in msgspec.structs.fields(kind):
            assert rows[field.encode_name].strip(), f"{name}.{field.encode_name}"
        example = re.findall(r"^```json\n(.*?)^```$", found[name], re.MULTILINE | re.DOTALL)
        assert isinstance(msgspec.json.decode(example[0], type=kind), kind)


def test_every_topic_is_told(pages: dict[str, str]) -> None:
    """Each topic that doctor creates stands there, with who writes it and its settings."""
    page = pages["reference/topics.md"]
    for spec in specs(LogConfig(name="NAME", events="EVENTS")):
        assert re.search(rf"^\| `{re.escape(spec.name)}` \|( [^|]+ \|){{4}}$", page, re.MULTILINE)
        if spec.name != "EVENTS":
            for name, value in spec.settings.items():
                row = re.search(rf"^\| `{re.escape(spec.name)}` \| (`.*`) \|$", page, re.MULTILINE)
                assert row is not None
                assert f"`{name}={value}`" in row[1]


@pytest.mark.usefixtures("reference")
def test_every_public_module_names_what_it_shows() -> None:
    """Each module of the Python API can be imported and has an `__all__` of what is there."""
    public = importlib.import_module("reference_pages.python_api").PUBLIC
    for name in (module for modules in public.values() for module in modules):
        module = importlib.import_module(name)
        assert module.__all__, name
        assert all(hasattr(module, each) for each in module.__all__), name
