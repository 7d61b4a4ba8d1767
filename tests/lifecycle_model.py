"""A reference for the life of labels, from dictionaries and what the documentation promises.

Nothing of the product is used but its configuration and the formula of limits: what comes in is
JSON as the test made it, what has to come out is JSON as it stands in the topics.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stream_al.config import Config
from stream_al.learner.interval import radius

__all__ = ["Accuracies", "Json", "Letter", "Message", "Offices", "Result", "bare"]

Json: TypeAlias = dict[str, Any]

Letter: TypeAlias = tuple[str, int, int, str, str, bytes | None]
"""A dead letter: topic, partition and offset of what it is about, stage, kind and bytes."""

CHANGES = {
    None: {},
    1: {"theft": "fraud", "stolen": "fraud"},
    2: {"stolen": "fraud"},
    3: {},
}
"""By version of the label schema that an answer is of: what its classes are called now."""

_QUESTION = (
    "request_id",
    "request_no",
    "topic",
    "partition",
    "offset",
    "model_version",
    "prediction",
    "probabilities",
    "explored",
    "propensity",
    "block",
)
_UNSAID: Json = {
    "annotator": "",
    "annotator_kind": "person",
    "answered_at": None,
    "assumed": False,
    "block": None,
    "comment": "",
    "confidence": None,
    "correction": "",
    "late": False,
    "opinions": [],
    "was": None,
    "weight": 1.0,
}


def bare(record: Json) -> Json:
    """Return a training record without what goes without saying."""
    return {k: v for k, v in record.items() if k not in _UNSAID or v != _UNSAID[k]}


@dataclass(frozen=True)
class Message:
    """What stands in a topic: JSON, or something that is refused for a reason."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    body: Json
    bad: str = ""


@dataclass
class Result:
    """What a batch has to put out, in order."""

    training: list[Json] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    asks: list[tuple[int, Json]] = field(default_factory=list)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)


@dataclass
class _Asked:
    """A request: the last answer of each annotator while it is open, its class afterwards."""

    request: Json
    since: float
    answers: dict[str, Json] = field(default_factory=dict)
    disagreed: bool = False
    label: str | None = None
    known: str | None = None
    assumed: bool = False

    @property
    def classes(self) -> list[Json]:
        return [answer for answer in self.answers.values() if answer["kind"] in ("label", "revise")]

    @property
    def heard(self) -> int:
        return sum(answer["kind"] != "retract" for answer in self.answers.values())


class _Office:
    """Where the requests and labels of one partition meet."""

    def __init__(self, config: Config, gold: Json | None) -> None:
        self.config = config
        self.gold = gold
        self.now = 0.0
        self.open: dict[str, _Asked] = {}
        self.ended: dict[str, _Asked] = {}
        self.early: list[tuple[float, Message]] = []
        self.result = Result()

    def due(self, expiry: float, patience: float) -> bool:
        return any(asked.since <= expiry for asked in self.open.values()) or any(
            since <= patience for since, _ in self.early
        )

    def expire(self, expiry: float, patience: float) -> None:
        silence = self.config.ledger.on_expiry
        for asked in [asked for asked in self.open.values() if asked.since <= expiry]:
            if asked.known is not None:
                kind = "expired"
                self.put_away(asked)
            elif asked.classes and not asked.disagreed:
                self.agree(asked)
                kind = "labelled"
            elif asked.classes or silence == "missing":
                kind = "expired"
                self.end(asked, self.ending("closed", asked, reason=kind, opinions=said(asked)))
            else:
                kind = "assumed"
                about = {name: asked.request[name] for name in ("id", "time", "features")}
                label = silence.removeprefix("class:")
                self.end(asked, self.ending("labelled", asked, **about, label=label, assumed=True))
            self.result.counts["labels_total", kind] += 1
        while self.early and (
            self.early[0][0] <= patience or len(self.early) > self.config.ledger.early_limit
        ):
            _, message = self.early.pop(0)
            self.result.counts["labels_total", "unknown"] += 1
            self.refuse(message, "label", "unknown")

    def ask(self, message: Message) -> None:
        """Take in a request."""
        if message.bad:
            self.refuse(message, "request", message.bad)
            return
        request = message.body
        name = request["request_id"]
        if request["disagreed"] or name.count(":") == 3:
            return
        known = name in self.open or name in self.ended
        ids = {asked.request["id"] for asked in self.open.values() if asked.known is None} - {""}
        if known or request["id"] in ids:
            self.refuse(message, "request", "not-opened")
            if not known:
                record = self.ending("closed", _Asked(request, 0.0), reason="refused")
                self.result.training.append(record)
            return
        self.open[name] = _Asked(request, self.now)
        if self.gold is not None and f"{name}:1" not in {*self.open, *self.ended}:
            self.ask_gold(request, self.gold, message.partition)
        for each in (name, f"{name}:1"):
            if each not in self.open:
                continue
            waiting = [early for _, early in self.early if early.body["request_id"] == each]
            self.early = [each for each in self.early if each[1] not in waiting]
            for early in waiting:
                self.take(early)

    def ask_gold(self, request: Json, case: Json, partition: int) -> None:
        """Put a case whose class is known behind a request."""
        hidden: Json = {"prediction": None, "probabilities": {}, "weighed": {}, "block": None}
        hidden |= {"explored": False, "opinions": 1}
        name = f"{request['request_id']}:1"
        shown = {each: case[each] for each in ("features", "id")}
        gold = {**request, **hidden, **shown, "request_id": name}
        self.open[name] = _Asked(gold, self.now, known=case["label"])
        self.result.asks.append((partition, gold))

    def take(self, message: Message) -> None:
        """Take in a label."""
        label = message.body
        if message.bad:
            self.refuse(message, "label", message.bad)
            return
        if "request_id" not in label:
            self.charge_back(message)
            return
        name = label["request_id"]
        asked = self.open.get(name) or self.ended.get(name)
        if asked is None:
            self.early.append((self.now, message))
            kind = "early"
        else:
            kind = self.answer(asked, label, message.partition)
        self.result.counts["labels_total", kind] += 1
        if kind in ("refused", "conflicting"):
            self.refuse(message, "label", kind)

    def answer(self, asked: _Asked, label: Json, partition: int) -> str:
        kind, reasons = label["kind"], self.config.ledger.reasons
        if reasons and label["reason"] not in ("", *reasons):
            return "refused"
        if kind == "flag":
            self.result.training.append(
                {"type": "flagged", "request_id": name_of(label), **by(label)}
            )
            return "flagged"
        if kind in ("label", "revise"):
            version = label["schema"]
            if version not in CHANGES:
                return "refused"
            name = CHANGES[version].get(label["label"], label["label"])
            if self.config.learner.classes and name not in self.config.learner.classes:
                return "refused"
            label = {**label, "label": name}
        if asked.known is not None:
            return self.answer_gold(asked, label)
        if name_of(label) in self.ended:
            return self.answer_ended(asked, label)
        return self.answer_open(asked, label, partition)

    def answer_gold(self, asked: _Asked, label: Json) -> str:
        """Take the first class, however late; it stands."""
        kind, was = label["kind"], asked.label
        name = label["label"] if kind in ("label", "revise") else None
        if was is None and (name is not None or name_of(label) in self.open):
            places = ("request_id", "topic", "partition", "offset", "id", "time")
            kept = {each: asked.request[each] for each in places}
            record = {"type": "gold", **kept, **by(label), "label": name, "known": asked.known}
            self.end(asked, record)
            return {"skip": "skipped", "retract": "retracted"}.get(kind, "gold")
        if was is None or kind == "skip" or name == was:
            return "repeated"
        return "conflicting" if kind == "label" else "refused"

    def answer_ended(self, asked: _Asked, label: Json) -> str:
        kind, was = label["kind"], asked.label
        if kind == "skip" or (kind == "retract" and was is None):
            return "repeated"
        if kind == "retract":
            self.end(asked, self.ending("closed", asked, label, reason="retracted", was=was))
            return "retracted"
        late = was is None or asked.assumed
        if label["label"] == was and not late:
            return "repeated"
        if kind == "label" and not late:
            return "conflicting"
        self.label(asked, label, was=was, late=late)
        return "late" if late else "revised"

    def answer_open(self, asked: _Asked, label: Json, partition: int) -> str:
        kind, who = label["kind"], label["annotator"]
        own = asked.answers.get(who, {"kind": "none"})
        has_class = own["kind"] in ("label", "revise")
        if kind == "retract":
            if own["kind"] == "retract":
                return "repeated"
            if asked.disagreed or own["kind"] == "none":
                self.end(asked, self.ending("closed", asked, label, reason="retracted"))
            else:
                asked.answers[who] = label
            return "retracted"
        if has_class and kind != "revise":
            return "repeated" if own.get("label") == label["label"] else "conflicting"
        if own["kind"] == kind == "skip":
            return "repeated"
        if asked.disagreed:
            if kind == "skip":
                closed = {"reason": "skipped", "opinions": said(asked)}
                self.end(asked, self.ending("closed", asked, label, **closed))
                return "skipped"
            self.label(asked, label, opinions=[*said(asked), opinion(label)])
            return "labelled"
        asked.answers.pop(who, None)
        asked.answers[who] = label
        if asked.heard < asked.request["opinions"]:
            return "noted"
        found = {answer["label"] for answer in asked.classes}
        if not found:
            self.end(asked, self.ending("closed", asked, label, reason="skipped"))
            return "skipped"
        if len(found) == 1:
            self.agree(asked)
            return "labelled"
        asked.disagreed = True
        self.result.asks.append((partition, {**asked.request, "disagreed": True}))
        return "disagreed"

    def agree(self, asked: _Asked) -> None:
        several = asked.request["opinions"] > 1
        self.label(asked, asked.classes[0], opinions=said(asked) if several else [])

    def label(self, asked: _Asked, label: Json, **more: Any) -> None:
        about = {name: asked.request[name] for name in ("id", "time", "features")}
        given = {name: label[name] for name in ("label", "weight", "confidence")}
        self.end(asked, self.ending("labelled", asked, label, **about, **given, **more))

    def end(self, asked: _Asked, record: Json) -> None:
        asked.label, asked.assumed = record.get("label"), record.get("assumed", False)
        self.result.training.append(record)
        self.put_away(asked)

    def put_away(self, asked: _Asked) -> None:
        name = asked.request["request_id"]
        if name in self.open:
            self.ended[name] = self.open.pop(name)
            if len(self.ended) > self.config.ledger.remember:
                del self.ended[next(iter(self.ended))]

    def ending(self, kind: str, asked: _Asked, by_whom: Json | None = None, **more: Any) -> Json:
        question = {name: asked.request[name] for name in _QUESTION}
        answer = {} if by_whom is None else by(by_whom)
        return {"type": kind, **question, "asked": asked.request["reason"], **answer, **more}

    def charge_back(self, message: Message) -> None:
        body, classes = message.body, self.config.learner.classes
        features = {name: body[name] for name in ("amount",) if name in body}
        known = [*self.ended.values(), *self.open.values()]
        matching = [
            asked.request
            for asked in known
            if asked.request["id"] == body["id"] and asked.known is None
        ]
        if classes and body["label"] not in classes:
            self.refuse(message, "label", "refused")
        elif not features and not matching:
            self.refuse(message, "label", "no-features")
        else:
            self.result.counts["labels_total", "unsolicited"] += 1
            self.result.training.append(
                {
                    "type": "unsolicited",
                    "topic": message.topic,
                    "partition": message.partition,
                    "offset": message.offset,
                    "id": body["id"],
                    "time": 5.0,
                    "features": features or matching[-1]["features"],
                    "label": body["label"],
                    "source": body["source"],
                    "request_id": "" if features else matching[-1]["request_id"],
                }
            )

    def refuse(self, message: Message, stage: str, kind: str) -> None:
        self.result.counts["dead_letters_total", stage, kind] += 1
        where = message.topic, message.partition, message.offset
        self.result.letters.append((*where, stage, kind, message.value))


def name_of(label: Json) -> str:
    """Return the request that an answer is to."""
    name: str = label["request_id"]
    return name


def by(label: Json) -> Json:
    """Return who answered, as it stands in the training log."""
    return {
        "annotator": label["annotator"],
        "annotator_kind": label["annotator_kind"],
        "answered_at": when(label),
        "correction": label["reason"],
        "comment": label["comment"],
    }


def opinion(label: Json) -> Json:
    """Return one annotator's class, as it stands in the training log."""
    return {"annotator": label["annotator"], "label": label["label"], "time": when(label)}


def when(label: Json) -> float:
    """Return when an answer was given; of one that does not say, when it was written."""
    return 5.0 if label["time"] is None else float(label["time"])


def said(asked: _Asked) -> list[Json]:
    """Return the classes given so far."""
    return [opinion(label) for label in asked.classes]


class Offices:
    """All partitions."""

    def __init__(self, config: Config, partitions: int, gold: Json | None = None) -> None:
        self.config = config
        self.parts = [_Office(config, gold) for _ in range(partitions)]

    @property
    def open(self) -> dict[int, int]:
        """Count the open requests, by partition."""
        return {number: len(part.open) for number, part in enumerate(self.parts)}

    @property
    def early(self) -> dict[int, int]:
        """Count the labels that wait, by partition."""
        return {number: len(part.early) for number, part in enumerate(self.parts)}

    def _limits(self, number: int, drained: dict[tuple[str, int], float]) -> tuple[float, float]:
        """Return since when requests have expired, and labels waited for too long."""
        ledger, never = self.config.ledger, -math.inf
        after = math.inf if ledger.expire_after_s is None else ledger.expire_after_s
        labels, requests = (drained.get((topic, number), never) for topic in ("labels", "requests"))
        return labels - after, requests - ledger.early_wait_s

    def due(self, drained: dict[tuple[str, int], float]) -> bool:
        """Tell whether anything has run out of time."""
        return any(
            part.due(*self._limits(number, drained)) for number, part in enumerate(self.parts)
        )

    def process(
        self,
        requests: Iterable[Message],
        labels: Iterable[Message],
        now: float,
        drained: dict[tuple[str, int], float],
    ) -> Result:
        """Say what a batch has to put out."""
        result = Result()
        for number, part in enumerate(self.parts):
            part.result = result
            questions = [message for message in requests if message.partition == number]
            answers = [message for message in labels if message.partition == number]
            limits = self._limits(number, drained)
            if not questions and not answers and not part.due(*limits):
                continue
            part.now = max(part.now, now)
            for message in questions:
                part.ask(message)
            for message in answers:
                part.take(message)
            part.expire(*limits)
        return result


class Accuracies:
    """The accuracy of all predictions, computed anew from how every request stands now."""

    def __init__(self) -> None:
        self.last: dict[int, dict[int, Json]] = {}

    def take(self, record: Json) -> None:
        """Take note of a training record."""
        if record["type"] in ("labelled", "closed"):
            self.last.setdefault(record["partition"], {})[record["request_no"]] = record

    def estimate(self) -> Json:
        """Compute what `stream_al.learner.accuracy.Accuracy` is to say, limits aside."""
        terms: list[tuple[float | None, float, float]] = []
        picked: list[tuple[bool, bool]] = []
        events = unpredicted = 0
        confident, length = 0.0, 0.0
        watermark = {}
        for partition, ended in sorted(self.last.items()):
            number, current = 0, None
            while number in ended:
                current, number = ended[number]["block"], number + 1
            watermark[f"events:{partition}"] = 0 if current is None else current["begin"]
            if current is None:
                continue
            unpredicted += current["before"].get("unpredicted", 0)
            for count, confidence, _ in current["before"].get("classes", {}).values():
                events += count
                confident += confidence
            for record in (ended[each] for each in range(number)):
                if record["block"]["number"] < current["number"] and record["prediction"]:
                    answered = record["type"] == "labelled"
                    right = record.get("label") == record["prediction"]
                    picked.append((answered, right))
                    if record["explored"]:
                        length = float(record["block"]["length"])
                        sure = record["probabilities"][record["prediction"]]
                        wrong, hit = -length * sure, length * (1.0 - sure)
                        terms.append(((hit if right else wrong) if answered else None, wrong, hit))
        found = [value for value, _, _ in terms if value is not None]
        value, worst, best, lower, upper = None, 0.0, 1.0, 0.0, 1.0
        if found and events:
            silent = [(wrong, hit) for value, wrong, hit in terms if value is None]
            known = confident + sum(found)
            value = _share((confident + sum(found) * len(terms) / len(found)) / events)
            worst = _share((known + sum(wrong for wrong, _ in silent)) / events)
            best = _share((known + sum(hit for _, hit in silent)) / events)
            # All probabilities are of two classes.
            squares, scale = sum(value**2 for value in found), len(terms) / len(found)
            below = radius({length: squares}, length, 0.025)
            above = radius({length / 2: squares}, length / 2, 0.025)
            lower = _share((confident + scale * (sum(found) - below)) / events)
            upper = _share((confident + scale * (sum(found) + above)) / events)
        labelled = [right for answered, right in picked if answered]
        return {
            "value": value,
            "lower": lower,
            "upper": upper,
            "worst": worst,
            "best": best,
            "events": events,
            "unpredicted": unpredicted,
            "blocks": len(terms),
            "unanswered": len(terms) - len(found),
            "watermark": watermark,
            "naive": sum(labelled) / len(labelled) if labelled else None,
            "rolling": value if len(found) > 1 else None,
        }


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
