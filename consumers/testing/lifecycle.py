"""The rules of the ledger once more, written from what it promises: what answers come to.

Nothing here is the ledger's own code, so that a mistake in one of them shows as a difference.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from stream_al.config import Config
from stream_al.records import Label, LabelRequest, class_name
from stream_al.training import Closed, Ended, Flagged, Gold, Labelled

__all__ = [
    "ANSWERED",
    "Course",
    "GoldCourse",
    "Said",
    "Told",
    "gold_question_of",
    "question_of",
    "read_answer",
    "told_by",
]

Told: TypeAlias = dict[str, Any]
"""What a training record says beyond repeating its request."""

ANSWERED: tuple[str, ...] = ("annotator", "annotator_kind", "answered_at", "correction", "comment")
"""What every record keeps of who gave it its cause."""

_SAID = {*ANSWERED, "was", "opinions", "label", "weight", "late", "assumed", "confidence", "reason"}
_REPEATED = tuple(name for name in Ended.__struct_fields__ if name not in _SAID)
_NOBODY = Label(request_id="")
_OF_THE_EVENT = ("id", "time", "features")


class Said(msgspec.Struct, frozen=True):
    """An answer in the log.

    Attributes
    ----------
    place
        ``topic:partition:offset`` of the answer.
    number
        How many stand in its partition up to this one.
    time
        When it was stored, epoch seconds.
    name
        Its class in the current label schema; None: it names none.
    fits
        Whether a request can take it at all, by the configuration.
    letter
        Which kind of dead letter it has become, if any.
    """

    place: str
    number: int
    time: float
    label: Label
    name: str | None
    fits: bool
    letter: str | None


def read_answer(config: Config, label: Label) -> tuple[str | None, bool]:
    """Return the class that an answer names in the current schema, and whether it can be used."""
    ledger, declared = config.ledger, config.learner.classes
    fits = not (label.reason and ledger.reasons and label.reason not in ledger.reasons)
    if label.kind not in ("label", "revise"):
        return None, fits
    name, version = class_name(label.label), label.schema
    if version is not None and not 1 <= version <= ledger.schema:
        return None, False
    while version is not None and version < ledger.schema:
        version += 1
        name = ledger.schema_changes.get(str(version), {}).get(name, name)
    return name, fits and (not declared or name in declared)


class Course:
    """What becomes of one request, from its opening on.

    Attributes
    ----------
    told
        The training records so far.
    asked_again
        Whether those asked have disagreed.
    open
        Whether it waits for an answer.

    Parameters
    ----------
    opinions
        How many are asked.
    silence
        The class that silence means; None: none.
    """

    def __init__(self, opinions: int, silence: str | None) -> None:
        self.told: list[Told] = []
        self.asked_again = False
        self.open = True
        self._opinions = opinions
        self._silence = silence
        self._voices: dict[str, tuple[Label, str]] = {}
        self._passed: set[str] = set()
        self._withdrew: set[str] = set()
        self._class: str | None = None
        self._assumed = False

    def hear(self, said: Said) -> str | None:
        """Take an answer; return the kind of dead letter that it becomes, if it does."""
        label = said.label
        if not said.fits:
            return "refused"
        if label.kind == "flag":
            self.told.append({"type": "flagged", **_answer(label)})
            return None
        if not self.open:
            return self._hear_again(label, said.name)
        if label.kind == "retract":
            self._take_back(label)
            return None
        if label.kind == "skip":
            return self._pass(label)
        return self._speak(label, said.name or "")

    def refuse(self) -> None:
        """Do not open it."""
        self._close("refused", _NOBODY, ())

    def run_out(self) -> None:
        """Let its time be over."""
        if not self.open:
            return
        if self._voices and not self.asked_again:
            self._label(*next(iter(self._voices.values())), self._heard())
        elif self._silence is not None and not self._voices:
            self._label(_NOBODY, self._silence, (), assumed=True)
        else:
            self._close("expired", _NOBODY, self._heard())

    def _take_back(self, label: Label) -> None:
        who = label.annotator
        if who in self._withdrew:
            return
        if self.asked_again or not (who in self._voices or who in self._passed):
            self._close("retracted", label, ())
            return
        self._voices.pop(who, None)
        self._passed.discard(who)
        self._withdrew.add(who)

    def _speak(self, label: Label, name: str) -> str | None:
        before = self._voices.get(label.annotator)
        if before is not None and label.kind == "label":
            return None if before[1] == name else "conflicting"
        if self.asked_again:
            self._label(label, name, (*self._heard(), (label.annotator, name, label.time)))
            return None
        self._passed.discard(label.annotator)
        self._withdrew.discard(label.annotator)
        # Who changes an answer speaks last.
        self._voices.pop(label.annotator, None)
        self._voices[label.annotator] = label, name
        if len(self._voices) + len(self._passed) == self._opinions:
            if len({said for _, said in self._voices.values()}) == 1:
                self._label(*next(iter(self._voices.values())), self._heard())
            else:
                self.asked_again = True
        return None

    def _pass(self, label: Label) -> str | None:
        if label.annotator in self._voices:
            return "conflicting"
        if self.asked_again:
            self._close("skipped", label, self._heard())
            return None
        if label.annotator in self._passed:
            return None
        self._passed.add(label.annotator)
        self._withdrew.discard(label.annotator)
        if len(self._voices) + len(self._passed) == self._opinions:
            if self._voices:
                self._label(*next(iter(self._voices.values())), self._heard())
            else:
                self._close("skipped", label, ())
        return None

    def _hear_again(self, label: Label, name: str | None) -> str | None:
        was, late = self._class, self._class is None or self._assumed
        if label.kind == "skip" or (name == was and not (late and name is not None)):
            return None
        if label.kind == "label" and not late:
            return "conflicting"
        if name is None:
            self._close("retracted", label, (), was=was)
        else:
            self._label(label, name, (), was=was, late=late)
        return None

    def _heard(self) -> tuple[tuple[str, str, float | None], ...]:
        return tuple((who, name, label.time) for who, (label, name) in self._voices.items())

    def _label(
        self,
        label: Label,
        name: str,
        opinions: tuple[tuple[str, str, float | None], ...],
        was: str | None = None,
        late: bool = False,
        assumed: bool = False,
    ) -> None:
        self.open, self._class, self._assumed = False, name, assumed
        self.told.append(
            {
                "type": "labelled",
                **_answer(label),
                "label": name,
                "weight": label.weight,
                "confidence": label.confidence,
                "was": was,
                "late": late,
                "assumed": assumed,
                "opinions": opinions if self._opinions > 1 else (),
            }
        )

    def _close(
        self,
        reason: str,
        label: Label,
        opinions: tuple[tuple[str, str, float | None], ...],
        was: str | None = None,
    ) -> None:
        self.open, self._class, self._assumed = False, None, False
        told = {"type": "closed", **_answer(label), "reason": reason, "was": was}
        self.told.append({**told, "opinions": opinions})


class GoldCourse(Course):
    """What becomes of one gold request, from its opening on.

    Parameters
    ----------
    known
        Its class.
    """

    def __init__(self, known: str) -> None:
        super().__init__(1, None)
        self._known = known

    def hear(self, said: Said) -> str | None:
        """Take an answer; return the kind of dead letter that it becomes, if it does."""
        label, was = said.label, self._class
        if not said.fits or label.kind == "flag":
            return super().hear(said)
        if was is not None:
            if label.kind == "skip" or said.name == was:
                return None
            return "conflicting" if label.kind == "label" else "refused"
        if self.open or said.name is not None:
            self.open, self._class = False, said.name
            told = {"type": "gold", **_answer(label), "label": said.name}
            self.told.append({**told, "known": self._known})
        return None

    def run_out(self) -> None:
        """Let its time be over, of which nothing is told."""
        self.open = False


def _answer(label: Label) -> Told:
    return {
        "annotator": label.annotator,
        "annotator_kind": label.annotator_kind,
        "answered_at": label.time,
        "correction": label.reason,
        "comment": label.comment,
    }


def told_by(record: Labelled | Closed | Gold | Flagged) -> Told:
    """Return what a training record says, beyond what it repeats."""
    if isinstance(record, Gold):
        said = (*ANSWERED, "label", "known")
        return {"type": "gold", **{name: getattr(record, name) for name in said}}
    if isinstance(record, Flagged):
        return {"type": "flagged", **{name: getattr(record, name) for name in ANSWERED}}
    told: Told = {"type": "closed" if isinstance(record, Closed) else "labelled"}
    told |= {name: getattr(record, name) for name in record.__struct_fields__ if name in _SAID}
    told["opinions"] = tuple((each.annotator, each.label, each.time) for each in record.opinions)
    return told


def question_of(record: LabelRequest | Labelled | Closed, *, event: bool) -> int:
    """Hash what a request and its ending have in common; with `event`, its features as well."""
    names = {name: name for name in (*_REPEATED, *(_OF_THE_EVENT if event else ()))}
    if isinstance(record, LabelRequest):
        names["asked"] = "reason"
    common = [getattr(record, name) for name in names.values()]
    return hash(msgspec.json.encode(common, order="sorted"))


def gold_question_of(record: LabelRequest | Gold) -> int:
    """Hash what a gold request and its answer have in common."""
    names = ("request_id", "topic", "partition", "offset", "id", "time")
    return hash(msgspec.json.encode([getattr(record, name) for name in names]))
