"""Checks of what the ledger makes of label requests and labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import takewhile, zip_longest

from consumers.log import Record
from consumers.messages import BadMessage, LabelReader, UnsolicitedLabel
from consumers.testing.check_requests import Request, hash_of, read_requests
from consumers.testing.check_training import TrainingLog
from consumers.testing.findings import Context, Letters, place_of
from consumers.testing.lifecycle import Course, GoldCourse, Said, Told, read_answer
from stream_al.training import Unsolicited

__all__ = ["check_answers"]


def check_answers(context: Context, training: TrainingLog, asked: set[str]) -> None:
    """Check requests against decisions, and what was learnt against what was said.

    The answers to each request are gone through by the rules once more. What they come to has to
    be what its training records, its dead letters and its adjudication are: so each answer is a
    record, a dead letter or a double, and nothing else is learnt from. Only when a request ran out
    of time is not in the topics; of the moments that it may have been, one has to fit.
    """
    requests = read_requests(context)
    of_gates = {name for name, request in requests.items() if request.known is None}
    for name in sorted(asked ^ of_gates):
        told = (
            "is asked, and has no request" if name in asked else "has a request, and is not asked"
        )
        context.need(False, f"event {name} {told}")
    answers = _Answers(context, training, requests)
    answers.read()
    for name, questions in training.abouts.items():
        request = requests.get(name)
        if request is not None:
            same = all(about == request.questions[event] for about, event in questions)
            context.need(same, f"{name}: its ending is not about what was asked")
    for name in sorted(training.told.keys() - requests.keys()):
        context.need(False, f"{name} has training records, and was never asked")
    answers.check()


class _Answers:
    def __init__(
        self, context: Context, training: TrainingLog, requests: dict[str, Request]
    ) -> None:
        self._context = context
        self._training = training
        self._requests = requests
        self._said: dict[tuple[str, int], list[Said]] = defaultdict(list)
        self._by_id: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name, request in requests.items():
            if request.id and not request.refused and request.known is None:
                self._by_id[request.id, request.place[0]].append(name)
        self._matched: dict[tuple[str, int], int] = {}
        self._stored: dict[int, int] = defaultdict(int)
        loop, log = context.config.loop, context.log
        # What a transaction holds back may be read so much later than it was stored.
        self._late_s = loop.transaction_timeout_s + loop.commit_timeout_s
        self._topic, self._log = context.topics.labels, log

    def read(self) -> None:
        """Read all labels; check those that answer nothing."""
        context, topic = self._context, self._topic
        letters, reader = Letters(context, topic), LabelReader(context.config.message)
        for number in range(context.partitions[topic]):
            committed = context.committed("ledger", topic, number)
            for record in self._log.read(topic, number):
                letter = letters.kind_of(record, "label")
                place = topic, number, record.offset
                taken = self._training.unsolicited.pop(place, None)
                self._stored[number] += 1
                if record.offset < committed:
                    self._take(reader, record, letter, taken)
                    continue
                where = place_of(record)
                context.need(not context.settled, f"label {where} was never processed")
                early = letter is not None or taken is not None
                context.need(not early, f"label {where} is settled, not committed")
        letters.strays()
        for place in self._training.unsolicited:
            context.need(False, f"a training record takes a label that is not there: {place}")

    def _take(
        self, reader: LabelReader, record: Record, letter: str | None, taken: Unsolicited | None
    ) -> None:
        need, where = self._context.need, place_of(record)
        try:
            label = reader.read(record)
        except BadMessage as bad:
            need(letter == bad.kind, f"label {where} is {letter}, neither used nor refused: {bad}")
            need(taken is None, f"label {where} is learnt from: {bad}")
            return
        if isinstance(label, UnsolicitedLabel):
            self._check_unsolicited(label, where, letter, taken)
            return
        need(taken is None, f"label {where} answers a request, and is learnt from as unsolicited")
        name, fits = read_answer(self._context.config, label)
        self._said[label.request_id, record.partition].append(
            Said(
                place=where,
                number=self._stored[record.partition],
                time=record.time,
                label=label,
                name=name,
                fits=fits,
                letter=letter,
            )
        )

    def _check_unsolicited(
        self, label: UnsolicitedLabel, where: str, letter: str | None, taken: Unsolicited | None
    ) -> None:
        declared = self._context.config.learner.classes
        if declared and label.label not in declared:
            right = letter == "refused" and taken is None
        elif taken is None:
            # With the id of what was asked, it may have come before it was.
            right = letter == "no-features" and not label.features
        else:
            right = letter is None and (label.id, label.label, label.source, label.time) == (
                taken.id,
                taken.label,
                taken.source,
                taken.time,
            )
            right = right and (
                self._matches(label, taken)
                if not label.features
                else (taken.features, taken.request_id) == (label.features, "")
            )
        self._context.need(right, f"label {where}, which nobody asked for, is {letter}, {taken}")

    def _matches(self, label: UnsolicitedLabel, taken: Unsolicited) -> bool:
        """Tell whether it is learnt with a request of its id, no older than that of one before."""
        key, name = (label.id, label.partition), taken.request_id
        if name not in self._by_id[key]:
            return False
        request, last = self._requests[name], self._matched.get(key, 0)
        self._matched[key] = request.place[1]
        return hash_of(taken.features) == request.features and request.place[1] >= last

    def check(self) -> None:
        """Go through what was said of each request."""
        need, settled = self._context.need, self._context.settled
        remember = self._context.config.ledger.remember
        ended_after = self._ended_after()
        for (name, number), said in self._said.items():
            request = self._requests.get(name)
            if request is None or request.place[0] != number or request.refused or not request.done:
                for each in said:
                    given_up = each.letter == "unknown" or (each.letter is None and not settled)
                    need(given_up, f"label {each.place} answers {name}, which is not open")
        for name, request in self._requests.items():
            told = self._training.told.get(name, [])
            if not request.done:
                need(not told, f"{name} has ended, and its request is not committed")
            elif request.refused:
                nothing = Course(1, None)
                nothing.refuse()
                need(told == nothing.told, f"{name} was not opened, and has ended as {told}")
            else:
                forgotten = ended_after.get(name, 0) >= remember
                if settled or not forgotten:
                    self._check_one(name, request, told, forgotten)

    def _ended_after(self) -> dict[str, int]:
        """Count for each request those of its partition that may have ended after it had."""
        found: dict[str, int] = {}
        ended: dict[int, int] = defaultdict(int)
        told = set(self._training.ended)
        gold = {
            name: request.place[0]
            for name, request in self._requests.items()
            if request.known is not None
        }
        for name, number in gold.items():
            ended[number] += name not in told
        for name in reversed(self._training.ended):
            request = self._requests.get(name)
            if request is not None and not request.refused:
                found[name] = ended[request.place[0]]
                ended[request.place[0]] += 1
        if self._context.config.ledger.expire_after_s is not None:
            # When the time of a gold case was over is not told, even if an answer came thereafter.
            found |= {name: ended[number] for name, number in gold.items()}
        return found

    def _check_one(self, name: str, request: Request, told: list[Told], forgotten: bool) -> None:
        need, said = self._context.need, self._said.get((name, request.place[0]), [])
        ledger = self._context.config.ledger
        early = list(takewhile(_unknown, said))
        after = list(takewhile(_unknown, reversed(said[len(early) :])))
        judged = said[len(early) : len(said) - len(after)]
        limit = ledger.early_limit
        for each in early:
            waited = each.time + ledger.early_wait_s <= request.time + self._late_s
            crowded = self._stored[request.place[0]] - each.number >= limit
            need(forgotten or waited or crowded, f"label {each.place} was not kept for {name}")
        for each in after:
            need(forgotten, f"label {each.place} is {each.letter} to {name}, which has just ended")
        expires = ledger.expire_after_s is not None and request.known is None
        if not told and self._context.settled and expires:
            need(False, f"{name} is still open")
            return
        differences = min(self._courses(name, request, told, judged), key=len)
        for difference in differences:
            need(False, difference)

    def _courses(
        self, name: str, request: Request, told: list[Told], judged: list[Said]
    ) -> Iterator[list[str]]:
        """Compare with each course that it may have taken, by when its time was over."""
        ledger, settled = self._context.config.ledger, self._context.settled
        over: list[int | None] = [None]
        if ledger.expire_after_s is not None and settled:
            over = [] if self._run(request, judged, None)[0].open else [None]
        if ledger.expire_after_s is not None:
            # What was stored before it was over must have counted.
            due = request.time + ledger.expire_after_s - self._late_s
            last = max((n for n, each in enumerate(judged, 1) if each.time < due), default=0)
            over += range(last, len(judged) + 1)
        for moment in over:
            course, letters = self._run(request, judged, moment)
            yield list(_differences(name, request, course, letters, told, judged))

    def _run(
        self, request: Request, judged: Sequence[Said], over: int | None
    ) -> tuple[Course, list[str | None]]:
        means = self._context.config.ledger.silence
        known, letters = request.known, []
        course = Course(request.opinions, means) if known is None else GoldCourse(known)
        for n, said in enumerate(judged):
            if n == over:
                course.run_out()
            letters.append(course.hear(said))
        if over == len(judged):
            course.run_out()
        return course, letters


def _unknown(said: Said) -> bool:
    return said.letter == "unknown"


def _differences(
    name: str,
    request: Request,
    course: Course,
    letters: Sequence[str | None],
    told: Sequence[Told],
    judged: Sequence[Said],
) -> Iterator[str]:
    for said, letter in zip(judged, letters, strict=True):
        if said.letter != letter:
            yield f"label {said.place} to {name} is {_letter(said.letter)}, not {_letter(letter)}"
    for found, expected in zip_longest(told, course.told):
        if found != expected:
            yield f"{name} is {_record(found)}; by what was said, {_record(expected)}"
    if request.adjudicated != course.asked_again:
        again = "is asked again" if request.adjudicated else "is not asked again"
        yield f"{name} {again}, against what was said"


def _letter(kind: str | None) -> str:
    return "no dead letter" if kind is None else f"a dead letter ({kind})"


def _record(told: Told | None) -> str:
    """Tell a record in few words: what is not as it mostly is."""
    if told is None:
        return "nothing more"
    kept = {name: value for name, value in told.items() if value not in (None, "", (), False)}
    return " ".join(f"{name}={value!r}" for name, value in kept.items())
