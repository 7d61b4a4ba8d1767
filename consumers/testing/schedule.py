"""Deterministic simulation: the real loops and machines on a log where everything goes wrong.

One thread steps all processes over one simulated broker. The seed decides who steps next, who is
interrupted by whom at which step of its log, which errors come, who dies and who is stopped past
its session. After a while faults end, everything has to come to rest within a bound, and the
checker recomputes the invariants from the topics.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter, deque
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn

import msgspec
import structlog

from consumers.errors import StopError
from consumers.log import Partition
from consumers.recorded_topics import LogTopics
from consumers.telemetry import Telemetry
from consumers.testing.actors import Actor, Replica
from consumers.testing.checker import Watcher, check
from consumers.testing.faults import STEPS, Crash, Faults
from consumers.testing.plan import Plan, draw_plan
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_log import SimulatedLog
from consumers.testing.simulated_storage import SimulatedClock
from consumers.testing.surroundings import Answerer, Feeder, KnownTruths, Operator
from consumers.topics import Topics, specs
from consumers.verification import LiveVerifier
from stream_al.errors import ConfigError

__all__ = ["Outcome", "simulate"]

_TRACED = 300
_NESTED = 3
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
        Records by topic, and what processes went through.
    resume_s
        Simulated seconds from the last fault until nothing was left unprocessed.
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
        self.plan = plan
        self.rng = random.Random(f"schedule {plan.seed}")  # noqa: S311 - no secret
        self.clock = SimulatedClock()
        self.broker = SimulatedBroker(self.clock, plan.seed)
        self.telemetry = Telemetry(["gate", "ledger", "annotator"])
        self.violations: list[str] = []
        self.trace: deque[str] = deque(maxlen=_TRACED)
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._watcher = Watcher()
        self._busy: list[Actor] = []
        self._chaos = True
        config = plan.config
        SimulatedLog(config, self.broker).create(specs(config.log))
        self._topics = Topics.of(config.log)
        self._doubles = [Replica("gate", "gate-0", self, config) for _ in range(plan.doubles)]
        truths = KnownTruths(plan.seed, plan.events)
        self._actors: list[Actor] = [
            Feeder(self, config, plan.seed, plan.events),
            Answerer(self, config),
            Operator(self, config),
            *(Replica("gate", f"gate-{n}", self, config) for n in range(plan.gates)),
            *(Replica("ledger", f"ledger-{n}", self, config) for n in range(plan.ledgers)),
            *(
                Replica("annotator", f"annotator-{n}", self, config, truths)
                for n in range(plan.annotators)
            ),
            *self._doubles,
        ]

    def run(self) -> Outcome:
        """Go through chaos to rest, and check."""
        resume_s = 0.0
        try:
            with self._logged():
                for _ in range(self.plan.rounds):
                    self._some_step()
                resume_s = self._come_to_rest()
                self._check()
        except Exception:  # noqa: BLE001 - whatever a process raises is what is looked for
            self.violations.append(traceback.format_exc(limit=-6))
        self.violations += self._watcher.violations
        return Outcome(
            seed=self.plan.seed,
            violations=tuple(self.violations),
            faults=dict(self.faults),
            counts=dict(self.counts),
            resume_s=round(resume_s, 3),
            trace=tuple(self.trace) if self.violations else (),
        )

    def faults_for(self, actor: Actor) -> Faults:
        """Return what goes wrong in an actor's log."""
        return _Chaos(self, actor)

    def tell(self, what: str) -> None:
        """Write a line of the trace."""
        depth = "  " * len(self._busy)
        self.trace.append(f"{self.clock.now() - 1.7e9:10.3f} {depth}{what}")

    def trouble(self, actor: Actor, step: str) -> None:
        """Let happen at an actor's step what chance will have."""
        if not self._chaos:
            return
        plan, draw = self.plan, self.rng.random()
        if not isinstance(actor, Replica):
            # What is tested is not them.
            draw *= 4.0
        if draw < plan.crash:
            self._note(actor, step, "crash")
            raise Crash
        draw -= plan.crash
        if draw < plan.fail:
            if kinds := STEPS[step]:
                kind = self.rng.choice(kinds)
                self._note(actor, step, kind.__name__)
                raise kind(f"injected at {step}")
            return
        draw -= plan.fail
        if draw < plan.pause:
            if isinstance(actor, Replica):
                self._note(actor, step, "pause")
                self._pause(actor)
            return
        draw -= plan.pause
        if draw < plan.switch:
            self._note(actor, step, "switch")
            self._interleave(self.rng.randrange(1, 8))

    def _note(self, actor: Actor, step: str, kind: str) -> None:
        self.faults[f"{step}:{kind}"] += 1
        self.tell(f"{actor.name} at {step}: {kind}")

    def _pause(self, actor: Actor) -> None:
        actor.log.fall_silent()
        self._interleave(2)
        self.clock.sleep(self.plan.config.loop.session_timeout_s * 1.1)
        self._interleave(self.rng.randrange(1, 20))
        actor.log.speak_again()

    def _interleave(self, steps: int) -> None:
        """Let others run while one is in the middle of its step."""
        if len(self._busy) < _NESTED:
            for _ in range(steps):
                self._some_step()

    def _some_step(self) -> None:
        plan = self.plan
        if self.rng.random() < plan.jump:
            self.tell("the clock leaps")
            self.clock.sleep(2 * plan.config.loop.session_timeout_s)
        if self.rng.random() < plan.compact:
            self.broker.compact()
        self.clock.sleep(0.02 * self.rng.random())
        free = [actor for actor in self._actors if actor not in self._busy]
        if free:
            self._step(self.rng.choice(free))

    def _step(self, actor: Actor) -> bool:
        """Let one process do a little; whatever ends it, it starts again later."""
        if actor.down_until is not None and self.clock.now() < actor.down_until:
            return False
        self._busy.append(actor)
        try:
            if actor.down_until is not None:
                actor.start()
                actor.down_until = None
                self.tell(f"{actor.name} starts")
            return actor.step()
        except Crash:
            actor.die()
            self._go_down(actor, "dies")
        except (StopError, ConfigError) as error:
            self._stopped(actor, error)
        finally:
            self._busy.pop()
            self._watch()
        return True

    def _stopped(self, actor: Actor, error: Exception) -> None:
        self._go_down(actor, f"stops: {error}")
        fenced = bool(self._doubles) and "identity" in str(error)
        if not str(error).startswith("injected") and not fenced:
            self.violations.append(f"{actor.name} stopped by itself: {error}")
        try:
            actor.stop()
        except Crash:
            actor.die()

    def _go_down(self, actor: Actor, how: str) -> None:
        self.counts["ends"] += 1
        actor.down_until = self.clock.now() + self.rng.choice([0.0, 1.0, 30.0])
        self.tell(f"{actor.name} {how}")

    def _watch(self) -> None:
        for name, group in self.broker.groups.items():
            self._watcher.see({name: group.committed})

    def _come_to_rest(self) -> float:
        """End all faults; return how long it took until nothing was left unprocessed."""
        self._chaos = False
        self.tell("faults end")
        for double in self._doubles:
            double.stop()
            self._actors.remove(double)
        for actor in self._actors:
            if actor.down_until is not None:
                actor.down_until = 0.0
        began, waits = self.clock.now(), self.plan.config.ledger
        resumed: float | None = None
        idle, leapt = 0, False
        for _ in range(_ROUNDS_TO_REST):
            worked = [self._step(actor) for actor in self._actors]
            if not self._lag():
                resumed = self.clock.now() - began if resumed is None else resumed
                at_rest = not any(worked) and all(actor.at_rest for actor in self._actors)
                idle = idle + 1 if at_rest else 0
            if idle == 3 and leapt:
                return resumed or 0.0
            if idle == 3:
                # What falls due by time does so now.
                self.clock.sleep((waits.expire_after_s or 0.0) + waits.early_wait_s + 60.0)
                idle, leapt = 0, True
            self.clock.sleep(0.2)
        lag = self._lag()
        self.violations.append(f"not at rest after {_ROUNDS_TO_REST} rounds; unprocessed: {lag}")
        return self.clock.now() - began

    def _lag(self) -> list[str]:
        found, name = [], self.plan.config.log.name
        inputs = {
            "gate": (self._topics.events,),
            "ledger": (self._topics.label_requests, self._topics.labels),
        }
        if self.plan.annotators:
            inputs["annotator"] = (self._topics.label_requests,)
        for role, topics in inputs.items():
            group = self.broker.groups.get(f"{name}.{role}")
            for topic in topics:
                for number in range(self.plan.config.log.partitions):
                    offset = group.committed.get(Partition(topic, number), 0) if group else 0
                    partition = self.broker.partition(topic, number)
                    if partition.read(offset, 1)[0] or partition.undecided:
                        found.append(f"{topic}:{number} from {offset}")
        return found

    def _check(self) -> None:
        name, log = self.plan.config.log.name, SimulatedLog(self.plan.config, self.broker)
        committed = {
            role: dict(group.committed)
            for role in ("gate", "ledger")
            if (group := self.broker.groups.get(f"{name}.{role}")) is not None
        }
        self.violations += check(log, self.plan.config, committed=committed)
        verified = LiveVerifier(LogTopics(log), self.plan.config.log).run()
        self.counts["decisions"] += verified.decisions
        self.counts["training"] += verified.records
        self.violations += verified.first
        for group in self.broker.groups.values():
            self.counts["generations"] += group.generation
            self.counts["evictions"] += group.evictions

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Put what the processes log into the trace."""
        before = structlog.get_config()

        def write(_: object, __: str, event: MutableMapping[str, Any]) -> NoReturn:
            what = event.pop("event")
            self.tell(f"{what} " + " ".join(f"{key}={value}" for key, value in event.items()))
            raise structlog.DropEvent

        structlog.configure(processors=[write])
        try:
            yield
        finally:
            structlog.configure(**before)


class _Chaos:
    def __init__(self, simulation: _Simulation, actor: Actor) -> None:
        self._simulation = simulation
        self._actor = actor

    def at(self, step: str) -> None:
        self._simulation.trouble(self._actor, step)
