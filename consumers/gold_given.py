"""Holding gold requests and their answers against what was asked and answered."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.answers_given import AnswersGiven
from stream_al.labels.gold import GoldCase, gold_request
from stream_al.records import LabelRequest, encode
from stream_al.training import Gold

__all__ = ["GoldGiven"]


class GoldGiven:
    """Tells whether gold requests follow from those before them, and who answered them how.

    Which cases there are, and how many of them are asked, is not to be found in the topics.

    Parameters
    ----------
    answers
        All that was answered.
    """

    def __init__(self, answers: AnswersGiven) -> None:
        self._answers = answers
        self._records: dict[str, list[tuple[int, Gold]]] = {}
        self._asked: set[str] = set()
        self._before: dict[str, LabelRequest] = {}

    def take(self, offset: int, record: Gold) -> None:
        """Take note of a training record."""
        self._records.setdefault(record.request_id, []).append((offset, record))

    def asked(self, request: LabelRequest) -> None:
        """Take note of a request of a gate."""
        self._before[request.request_id] = request

    def differences(self, raw: bytes, request: LabelRequest) -> Iterator[str]:
        """Say what is wrong with a gold request, after those before it, and with its records."""
        name = request.request_id
        if name in self._asked:
            yield f"{name} is asked again"
        self._asked.add(name)
        after = self._before.get(name.rpartition(":")[0])
        case = GoldCase(request.features, "", request.id)
        if after is None or encode(gold_request(after, case)) != raw:
            yield f"{name} does not follow from the request before it"
        answered = False
        for offset, record in self._records.pop(name, ()):
            told = self._answers.gold_difference(record, request)
            if answered:
                told = f"answers {name} again"
            if told is not None:
                yield f"training record {offset} {told}"
            answered = record.label is not None

    def strays(self) -> Iterator[str]:
        """Name the records of requests that are not there, once all were looked at."""
        for name, records in self._records.items():
            for offset, _ in records:
                yield f"training record {offset} answers {name}, which was not asked"
