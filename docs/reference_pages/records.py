"""The page of the records: every struct that stands in a topic, with an example of each."""

from __future__ import annotations

import inspect
import re
from typing import get_args

import msgspec

from reference_pages.examples import examples
from reference_pages.markdown import cell, summary, table
from stream_al import records, training
from stream_al.cli.config_keys import meanings

__all__ = ["on_the_wire", "records_page"]

_ANSWERS = (records.LabelRequest, records.Label)
_PARTS = (records.Block, records.Tally, training.Opinion)

_INTRODUCTION = """# Records

What stands in the topics: JSON, one object a record. Times are epoch seconds. Unknown fields are
ignored, missing required ones are refused with the path of the field. A field with a default may
be left out. Each record that stream_al writes carries CloudEvents 1.0 headers (`ce_*`, binary
mode); the key of your event and its `traceparent` pass through unchanged. The examples were
encoded by the code when this page was built; those with a model behind them come from an engine
that decided about made-up payments.
"""


def on_the_wire() -> dict[str, tuple[type[msgspec.Struct], ...]]:
    """List the records by where they stand."""
    kinds = training.TrainingRecord.__args__
    return {
        "Predictions": (records.Prediction,),
        "Label requests and labels": _ANSWERS,
        "The training log": tuple(kinds),
        "Parts of records": _PARTS,
    }


def records_page() -> str:
    """Write the page."""
    shown = examples()
    parts = [_INTRODUCTION.rstrip()]
    for title, kinds in on_the_wire().items():
        parts.append(f"## {title}")
        parts += [_record(kind, shown[kind]) for kind in kinds]
    return "\n\n".join(parts) + "\n"


def _meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Read the fields' meanings: the class's own, else those of where the field first stands."""
    told: dict[str, str] = {}
    for each in (
        records.Label,
        training.Ended,
        records.Event,
        records.Prediction,
        *reversed(kind.__mro__),
    ):
        text = inspect.getdoc(each) or ""
        told |= meanings(text.replace("Parameters\n----------\n", "Attributes\n----------\n"))
    return told


def _record(kind: type[msgspec.Struct], example: msgspec.Struct) -> str:
    told = _meanings(kind)
    rows = []
    if tag := kind.__struct_config__.tag:
        rows.append(("`type`", f'`"{tag}"`', "", "Which kind of record it is."))
    rows += [
        (
            f"`{field.encode_name}`",
            f"`{_type(field.type)}`",
            _default(field),
            cell(told.get(field.name, "")),
        )
        for field in msgspec.structs.fields(kind)
    ]
    written = msgspec.json.format(records.encode(example), indent=2).decode()
    return (
        f"### {kind.__name__}\n\n{summary(kind)}\n\n"
        f"{table(('field', 'type', 'default', 'meaning'), rows)}\n\n```json\n{written}\n```"
    )


def _type(annotation: object) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        name = annotation.__name__
    else:
        name = str(annotation)
    name = re.sub(r"(typing|stream_al\.\w+)\.", "", name).replace("NoneType", "null")
    name = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " | "), name)
    return name.replace("None", "null").replace("|", "\\|")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return "required"
