"""What the ledger keeps of a request, and what becomes of an answer."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from stream_al.records import Label, LabelRequest
from stream_al.training import Closed, Flagged, Gold, Labelled

__all__ = ["OUTCOMES", "UNUSABLE", "Open", "Outcome", "OutcomeKind", "Past", "refused", "repeated"]

OutcomeKind: TypeAlias = Literal[
    "labelled",
    "late",
    "revised",
    "retracted",
    "skipped",
    "flagged",
    "noted",
    "disagreed",
    "gold",
    "expired",
    "assumed",
    "repeated",
    "conflicting",
    "unknown",
    "refused",
]
OUTCOMES: tuple[OutcomeKind, ...] = get_args(OutcomeKind)

UNUSABLE: tuple[OutcomeKind, ...] = ("conflicting", "refused")
"""What somebody has to look at: the answer changes nothing, and is no double."""


class Open(msgspec.Struct, frozen=True, gc=False):
    """An open request.

    Attributes
    ----------
    since
        Since when; None where time plays no role.
    given
        The answers so far, where several annotators are asked.
    missing
        How many are to come.
    passed, withdrew
        Who could not tell, and who took an answer back, where several annotators are asked.
    known
        The class of a gold case; None: it is none.
    """

    request: LabelRequest
    since: float | None = None
    given: tuple[Label, ...] = ()
    missing: int = 1
    passed: tuple[str, ...] = ()
    withdrew: tuple[str, ...] = ()
    known: str | None = None


class Past(msgspec.Struct, frozen=True, gc=False):
    """A request that has ended: as JSON, which is small, and the class that it has; None: none.

    Attributes
    ----------
    known
        As in `Open`.
    assumed
        Whether the class is what silence was taken for: anybody's answer counts for more.
    """

    request: msgspec.Raw
    label: str | None
    known: str | None = None
    assumed: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What became of an answer.

    Attributes
    ----------
    kind
        Learnt from: ``labelled``; ``late`` (nobody had answered in time); ``revised``. Without a
        label: ``skipped``; ``retracted``; ``expired`` (nobody answered in time, or ``assumed``
        where silence means a class). ``gold``: tells of the annotator, and nothing is learnt.
        Nothing has ended: ``flagged``; ``noted`` (another's answer is to come); ``disagreed`` (the
        last word is asked for); ``repeated`` (said before). Not usable, `why` says:
        ``conflicting`` (the request is answered otherwise); ``unknown`` (no such request);
        ``refused``.
    why
        For people; empty where there is nothing to say.
    record
        What goes to the training log, if anything does.
    entry
        What the request becomes, where it stays open and has changed.
    ask
        What is to be asked now.
    silent
        The gold request that ends without a record; empty: none.
    """

    kind: OutcomeKind
    why: str = ""
    record: Labelled | Closed | Gold | Flagged | None = None
    entry: Open | None = None
    ask: LabelRequest | None = None
    silent: str = ""

    @property
    def ends(self) -> str:
        """The request that ends, or ends anew, with it; empty: none."""
        if self.record is None or isinstance(self.record, Flagged):
            return self.silent
        return self.record.request_id


def refused(why: str) -> Outcome:
    """Refuse an answer."""
    return Outcome("refused", why)


def repeated(was: str | None, name: str | None, label: Label) -> Outcome:
    """Tell a double of class `name` from a contradiction, where the class was `was`."""
    if was == name:
        return Outcome("repeated", f"request {label.request_id!r} is answered so already")
    return Outcome(
        "conflicting",
        f"request {label.request_id!r} is answered {was!r} already; kind 'revise' changes that",
    )
