"""Deterministic simulation: the real loops and machines on a log where everything goes wrong.

One thread steps all processes over one simulated broker. The seed decides who steps next, who is
interrupted by whom at which step of its log, which errors come, who dies and who is stopped past
its session. After a while faults end, everything has to come to rest within a bound, and the
checker recomputes the invariants from the topics.
"""

from __future__ import annotations

import traceback

import msgspec

from consumers.log import Partition
from consumers.recorded_topics import LogTopics
from consumers.testing.actors import Actor, Replica
from consumers.testing.checker import check
from consumers.testing.people import Answerer
from consumers.testing.plan import Plan, draw_plan
from consumers.testing.scheduler import Scheduler
from consumers.testing.simulated_log import SimulatedLog
from consumers.testing.surroundings import Feeder, KnownTruths, Operator
from consumers.topics import Topics, specs
from consumers.verification import LiveVerifier

__all__ = ["Outcome", "simulate"]

_ROUNDS_TO_REST = 3000


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated run came to.

    Attributes
    ----------
    violations
        What does not hold; empty where everything does.
    faults
        How often each kind of fault was injected, by ``step:kind``.
    counts
        Decisions and training records that were verified; ends of processes, generations and
        evictions of groups.
    resume_s
        Simulated seconds from the last fault until work went on at every input.
    trace
        The last things that happened, for people; kept only where something does not hold.
    """

    seed: int
    violations: tuple[str, ...]
    faults: dict[str, int]
    counts: dict[str, int]
    resume_s: float
    trace: tuple[str, ...]

    def __str__(self) -> str:
        """Tell it in lines."""
        head = f"seed {self.seed}: {len(self.violations)} violations"
        return "\n".join([*self.trace, head, *self.violations])


def simulate(seed: int, *, events: int | None = None) -> Outcome:
    """Run one schedule.

    Parameters
    ----------
    seed
        Decides everything.
    events
        How many to feed; drawn where None.

    Examples
    --------
    >>> simulate(3, events=20).violations
    ()
    """
    return _Simulation(draw_plan(seed, events)).run()


class _Simulation:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._scheduler = scheduler = Scheduler(plan)
        self._broker, self._clock = scheduler.broker, scheduler.clock
        self._topics = Topics.of(plan.config.log)
        config, truths = plan.config, KnownTruths(plan.seed, plan.events)
        SimulatedLog(config, self._broker).create(specs(config.log))

        def replicas(role: str, count: int) -> list[Actor]:
            known = truths if role == "annotator" else None
            return [
                Replica(role, f"{role}-{n}", scheduler, config, known, plan.gold)
                for n in range(count)
            ]

        scheduler.take_in(
            [
                Feeder(scheduler, config, plan.seed, plan.events),
                Answerer(scheduler, config),
                Operator(scheduler, config),
                *replicas("gate", plan.gates),
                *replicas("ledger", plan.ledgers),
                *replicas("annotator", plan.annotators),
            ],
            [Replica("gate", "gate-0", scheduler, config) for _ in range(plan.doubles)],
        )

    def run(self) -> Outcome:
        """Go through chaos to rest, and check."""
        scheduler, resume_s = self._scheduler, 0.0
        try:
            with scheduler.traced():
                for _ in range(self._plan.rounds):
                    scheduler.some_step()
                resume_s = self._come_to_rest()
                self._check()
        except Exception:  # noqa: BLE001 - whatever a process raises is what is looked for
            scheduler.violations.append(traceback.format_exc(limit=-6))
        return Outcome(
            seed=self._plan.seed,
            violations=tuple(scheduler.violations),
            faults=dict(scheduler.faults),
            counts=dict(scheduler.counts),
            resume_s=round(resume_s, 3),
            trace=tuple(scheduler.trace) if scheduler.violations else (),
        )

    def _come_to_rest(self) -> float:
        """End all faults; return how long it took until work went on everywhere."""
        scheduler, waits = self._scheduler, self._plan.config.ledger
        scheduler.end_faults()
        began, before = self._clock.now(), self._lag()
        resumed: float | None = None
        idle, leaps = 0, 0
        bound = self._rounds_to_resume()
        for n in range(_ROUNDS_TO_REST):
            worked = [scheduler.step(actor) for actor in scheduler.actors]
            lag = self._lag()
            if resumed is None and not before.items() & lag.items():
                resumed = self._clock.now() - began
                if n > bound:
                    told = f"work went on after {n} rounds only, {resumed:.1f} s; bound: {bound}"
                    scheduler.violations.append(told)
            at_rest = not any(worked) and all(actor.at_rest for actor in scheduler.actors)
            idle = idle + 1 if at_rest and not lag else 0
            if idle == 3 and leaps == 2:
                return resumed or 0.0
            if idle == 3:
                # What falls due by time does so now; then what was said about that.
                self._clock.sleep((waits.expire_after_s or 0.0) + waits.early_wait_s + 60.0)
                idle, leaps = 0, leaps + 1
            self._clock.sleep(0.2)
        told = f"not at rest after {_ROUNDS_TO_REST} rounds; unprocessed: {self._lag()}"
        scheduler.violations.append(told)
        return self._clock.now() - began

    def _rounds_to_resume(self) -> int:
        """Bound the rounds until work goes on: sessions, transactions, and a cold fold."""
        loop, records = self._plan.config.loop, self._broker.bounds(self._topics.training, 0).end
        # A round folds one record, and takes a fifth of a second, at least.
        return int(40 + 2 * records + 5 * (loop.session_timeout_s + loop.transaction_timeout_s))

    def _lag(self) -> dict[tuple[str, Partition], int]:
        """Return the committed offsets of those inputs that hold something unprocessed."""
        found, config = {}, self._plan.config.log
        inputs = {
            "gate": (self._topics.events,),
            "ledger": (self._topics.label_requests, self._topics.labels),
            "annotator": (self._topics.label_requests,) if self._plan.annotators else (),
        }
        for role, topics in inputs.items():
            group = self._broker.groups.get(f"{config.name}.{role}")
            for place in (Partition(t, n) for t in topics for n in range(config.partitions)):
                offset = group.committed.get(place, 0) if group else 0
                partition = self._broker.partition(*place)
                if partition.read(offset, 1)[0] or partition.undecided:
                    found[role, place] = offset
        return found

    def _check(self) -> None:
        name, log = self._plan.config.log.name, SimulatedLog(self._plan.config, self._broker)
        committed = {
            role: dict(group.committed)
            for role in ("gate", "ledger")
            if (group := self._broker.groups.get(f"{name}.{role}")) is not None
        }
        self._scheduler.violations += check(
            log, self._plan.config, committed=committed, gold=self._plan.gold
        )
        verified = LiveVerifier(LogTopics(log), self._plan.config.log).run()
        self._scheduler.counts["decisions"] += verified.decisions
        self._scheduler.counts["training"] += verified.records
        self._scheduler.violations += verified.first
        for group in self._broker.groups.values():
            self._scheduler.counts["generations"] += group.generation
            self._scheduler.counts["evictions"] += group.evictions
