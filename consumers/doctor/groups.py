"""Whether anybody works, how far behind they are, what holds them up, and what time it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consumers.doctor.facts import Finding, Group, Held, Topic, inputs
from consumers.log import Bounds, Partition
from consumers.topics import Topics
from stream_al.config import LogConfig
from stream_al.counted import counted

__all__ = ["judge_clock", "judge_groups", "judge_held", "judge_lag", "judge_version"]

_MUCH = 100_000
_SHOWN = 12
_SWEEP_S = 30.0
"""How long after its time brokers may take to end a transaction."""

_SKEW_WARN_S, _SKEW_ERROR_S = 2.0, 60.0
_OLDEST = (2, 5)


def judge_groups(
    config: LogConfig, groups: Mapping[str, Group], topics: Mapping[str, Topic]
) -> list[Finding]:
    """Judge whether each role runs and owns all of its partitions."""
    found = []
    for role, names in inputs(Topics.of(config)).items():
        group = groups.get(role)
        if group is None or group.state == "hidden":
            continue
        if role == "annotator" and group.state in ("absent", "empty"):
            continue
        check = f"{role} group"
        partitions = {
            Partition(name, number)
            for name in names
            if name in topics
            for number in range(topics[name].partitions)
        }
        if group.state in ("absent", "empty"):
            what = f"nobody runs the {role}" + (f" ({group.told})" if group.told else "")
            found.append(Finding(check, "warn", what, f"start `stream-al run {role}`"))
        elif group.state == "rebalancing":
            do = "look again in a few seconds; if it stays so, see what the processes log"
            found.append(Finding(check, "warn", f"is rebalancing ({group.told})", do))
        elif idle := partitions - group.assigned:
            what = f"nobody owns {_listed(f'{t}:{n}' for t, n in sorted(idle))}"
            do = (
                "new partitions are seen within a minute; else stop one member for longer than "
                "loop.session_timeout_s, and start it again"
            )
            found.append(Finding(check, "warn", what, do))
        else:
            members = counted(group.members, "member")
            what = f"{members} ({group.told}), {counted(len(partitions), 'partition')}"
            found.append(Finding(check, "ok", what))
    return found


def judge_lag(
    config: LogConfig, groups: Mapping[str, Group], bounds: Mapping[Partition, Bounds]
) -> list[Finding]:
    """Judge how far each group is behind what it may read."""
    found = []
    for role, names in inputs(Topics.of(config)).items():
        group = groups.get(role)
        if group is None or group.state == "hidden":
            continue
        if role == "annotator" and not group.committed:
            continue
        behind: dict[str, int] = {}
        for place in sorted(place for place in bounds if place.topic in names):
            begin, stable, end = bounds[place]
            at = group.committed.get(place, begin)
            where = f"{place.topic}:{place.number}"
            behind[where] = max(0, stable - at)
            if at < begin:
                what = f"{role} is to read {where} from {at}, and what is before {begin} is deleted"
                do = "keep the topic's records longer; set the group's offset to one that is there"
                found.append(Finding("lag", "error", what, do))
            elif at > end:
                what = f"{role} is to read {where} from {at}, and it ends at {end}"
                do = "it is another topic than before: begin anew under another log.name"
                found.append(Finding("lag", "error", what, do))
        total = sum(behind.values())
        most = sorted(behind.items(), key=lambda item: -item[1])
        what = f"{role} is {counted(total, 'offset')} behind" + (
            f": {_listed(f'{where} {count}' for where, count in most if count)}; the ends of "
            "transactions count too"
            if total
            else ""
        )
        do = "see the gate's metrics; more gates share partitions" if total > _MUCH else ""
        found.append(Finding("lag", "warn" if total > _MUCH else "ok", what, do))
    return found


def judge_held(timeout_s: float, brokers: str, held: Iterable[Held]) -> list[Finding]:
    """Judge open transactions.

    Examples
    --------
    >>> hanging = Held(Partition("events", 0), 17, 3, "fraud.gate.a", 900.0, 10.0)
    >>> judge_held(10.0, "localhost:9092", [hanging])[0].level
    'error'
    """
    found = []
    young = 0
    for each in held:
        limit = (each.timeout_s or timeout_s) + _SWEEP_S
        if each.age_s <= limit:
            young += 1
            continue
        topic, number = each.partition
        what = (
            f"{each.writer} has held {topic}:{number} at offset {each.offset} for "
            f"{each.age_s:.0f} s: {counted(each.records, 'offset')} nobody can read"
        )
        do = (
            f"kafka-transactions.sh --bootstrap-server {brokers} abort --topic {topic} "
            f"--partition {number} --start-offset {each.offset}"
        )
        found.append(Finding("transactions", "error", what, do))
    said = f"{young} under way" if young else "none is open"
    return found or [Finding("transactions", "ok", said)]


def judge_clock(skew_s: float, uncertain_s: float) -> list[Finding]:
    """Judge how far the log's clock is ahead of this one.

    Examples
    --------
    >>> [judge_clock(skew, 0.1)[0].level for skew in (0.3, -5.0, 90.0)]
    ['ok', 'warn', 'error']
    """
    beyond = abs(skew_s) - uncertain_s
    ahead = "ahead of" if skew_s > 0 else "behind"
    what = f"the controller's is {abs(skew_s):.2f} s {ahead} this one, ± {uncertain_s:.2f} s"
    do = "set both by NTP: requests expire and pauses end by these clocks"
    if beyond > _SKEW_ERROR_S:
        return [Finding("clock", "error", what, do)]
    if beyond > _SKEW_WARN_S:
        return [Finding("clock", "warn", what, do)]
    return [Finding("clock", "ok", what)]


def judge_version(version: tuple[int, ...], brokers: int, cluster: str) -> list[Finding]:
    """Judge whether brokers know what exactly once needs.

    Examples
    --------
    >>> [judge_version(version, 3, "a")[0].level for version in ((4, 1), (2, 4))]
    ['ok', 'error']
    """
    named = ".".join(map(str, version))
    if version < _OLDEST:
        what = f"Kafka {named} does not fence a group's transactions"
        do = "use 2.5 or newer; 4.1 is what is tested"
        return [Finding("version", "error", what, do)]
    what = f"Kafka {named}, {counted(brokers, 'broker')}, cluster {cluster}"
    return [Finding("version", "ok", what)]


def _listed(items: Iterable[str]) -> str:
    names = list(items)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
