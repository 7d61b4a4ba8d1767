"""The scheduler of a simulation: who steps next, who is interrupted, what goes wrong."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import structlog

from consumers.errors import StopError
from consumers.telemetry import Telemetry
from consumers.testing.actors import Actor, Replica
from consumers.testing.checker import Watcher
from consumers.testing.faults import STEPS, Crash, Faults
from consumers.testing.plan import Plan
from consumers.testing.simulated_broker import SimulatedBroker
from consumers.testing.simulated_storage import SimulatedClock
from stream_al.errors import ConfigError

__all__ = ["Scheduler"]

_TRACED = 300
_NESTED = 3
_ABOUT_COMMITS = ("drained", "send", "commit:before", "commit:prepared", "commit:after", "abort")


class Scheduler:
    """Steps processes on one simulated broker, and makes go wrong what the plan says.

    Attributes
    ----------
    actors
        Who takes part.
    doubles
        Those of them that have another's identity; they leave when faults end.
    violations
        What was seen that must not be.
    faults, counts
        What was injected, by ``step:kind``; what processes went through.
    trace
        The last things that happened.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = random.Random(f"schedule {plan.seed}")  # noqa: S311 - no secret
        self.clock = SimulatedClock()
        self.broker = SimulatedBroker(self.clock, plan.seed)
        self.telemetry = Telemetry(["gate", "ledger", "annotator"])
        self.actors: list[Actor] = []
        self.doubles: list[Replica] = []
        self.violations: list[str] = []
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.trace: deque[str] = deque(maxlen=_TRACED)
        self._watcher = Watcher()
        self._busy: list[Actor] = []
        self._chaos = True

    def take_in(self, actors: Sequence[Actor], doubles: Sequence[Replica]) -> None:
        """Let actors take part; `doubles` are among them."""
        self.actors, self.doubles = [*actors, *doubles], list(doubles)

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
        # What is tested are the replicas, and most of all how they commit.
        draw *= 4.0 if not isinstance(actor, Replica) else 0.35 if step in _ABOUT_COMMITS else 1.0
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
                self.some_step()

    def some_step(self) -> None:
        """Let one process, whichever it is, do a little."""
        plan = self.plan
        if self.rng.random() < plan.jump:
            self.tell("the clock leaps")
            self.clock.sleep(2 * plan.config.loop.session_timeout_s)
        if self.rng.random() < plan.compact:
            self.broker.compact()
        self.clock.sleep(0.02 * self.rng.random())
        free = [actor for actor in self.actors if actor not in self._busy]
        if free:
            self.step(self.rng.choice(free))

    def step(self, actor: Actor) -> bool:
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
        fenced = bool(self.doubles) and "identity" in str(error)
        if not str(error).startswith("injected") and not fenced:
            self.violations.append(f"{actor.name} stopped by itself: {error}")
        try:
            actor.stop()
        except Crash:
            actor.die()

    def _go_down(self, actor: Actor, how: str) -> None:
        self.counts["ends"] += 1
        down_s = self.rng.choice([0.0, 1.0, 30.0])
        # Who was fenced by a double may learn of it only after the end of faults.
        actor.down_until = self.clock.now() + (down_s if self._chaos else 0.0)
        self.tell(f"{actor.name} {how}")

    def _watch(self) -> None:
        for name, group in self.broker.groups.items():
            self._watcher.see({name: group.committed})
        self.violations += self._watcher.violations
        self._watcher.violations.clear()

    def end_faults(self) -> None:
        """Let nothing go wrong any more, and start whatever is down."""
        self._chaos = False
        self.tell("faults end")
        for double in self.doubles:
            double.stop()
            self.actors.remove(double)
        for actor in self.actors:
            if actor.down_until is not None:
                actor.down_until = 0.0

    @contextmanager
    def traced(self) -> Iterator[None]:
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
    def __init__(self, scheduler: Scheduler, actor: Actor) -> None:
        self._scheduler = scheduler
        self._actor = actor

    def at(self, step: str) -> None:
        self._scheduler.trouble(self._actor, step)
