"""What the live page is made of: its history, its answers, and who sees decisions."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_world import World

from consumers.clock import Clock
from consumers.gate import RECENT, GateMachine
from consumers.health import RoleState
from consumers.http_server import Request
from consumers.log import Record
from consumers.machine import Tick, Work
from consumers.page import History, LivePage
from consumers.page.history import Point
from consumers.telemetry import Telemetry
from stream_al.config import Config, GateConfig, LogConfig, LoopConfig, ServeConfig, validate
from stream_al.errors import ConfigError
from stream_al.metrics import METRICS

NOTHING = Telemetry(["annotator"])
NEAR = Request("/page.json", host="127.0.0.1:9108", peer="127.0.0.1")


def point(time: float) -> Point:
    """Make a point of a time."""
    return Point.of(time, NOTHING)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 50_000))
def test_history_is_bounded_ordered_and_reaches_back(added: int) -> None:
    """After any number of points: at most 780, in order, the last 300 all there, a day long."""
    history = History()
    for number in range(added):
        history.add(point(2.0 * number))
    times = [each.time for each in history.points]
    assert len(times) <= 780
    assert times == sorted(set(times))
    assert times[-min(300, added) :] == [2.0 * n for n in range(max(0, added - 300), added)]
    assert times[0] <= max(0.0, 2.0 * added - 86_000)


def test_a_point_holds_what_the_metrics_say() -> None:
    """Figures are those of the telemetry, and what it does not have is null in JSON."""
    telemetry = Telemetry(["gate"])
    telemetry.add(Counter({("predictions_total", "ask"): 2, ("predictions_total", "auto"): 5}), "")
    telemetry.set("query_ratio", 0.25)
    told = json.loads(msgspec.json.encode(Point.of(1.5, telemetry)))
    found = dict(zip(Point.__struct_fields__, told, strict=True))
    assert (found["time"], found["query"], found["decided"]) == (1.5, 0.25, 7)
    assert found["accuracy"] is None
    assert found["open_requests"] is None


def batch(machine: GateMachine, begin: int, end: int) -> Work:
    """Have events decided, of which none is committed yet."""
    events = [
        Record("events", 0, n, None, json.dumps({"x": n % 7, "id": f"e{n}"}).encode(), (), 0.0)
        for n in range(begin, end)
    ]
    return machine.process(events, Tick(0.0))


def test_decisions_are_kept_once_committed() -> None:
    """A batch's decisions show when it is settled, the last ten that ask and ten that do not."""
    machine = GateMachine(Config(gate=GateConfig(budget=0.3)))
    machine.restore(0, [])
    work = batch(machine, 0, 200)
    assert not any(machine.recent)
    machine.settled(work.counts, work.decisions)
    asked, auto = machine.recent
    assert (len(asked), len(auto)) == (RECENT, RECENT)
    assert all(each.asked for each in asked)
    assert not any(each.asked for each in auto)
    work = batch(machine, 200, 203)
    machine.settled(work.counts, work.decisions)
    offsets = [each.prediction.offset for kind in machine.recent for each in kind]
    assert len(offsets) == 2 * RECENT
    assert set(range(200, 203)) <= set(offsets)


def live_page(**serve: str) -> LivePage:
    """Make a page whose gate has decided."""
    config = msgspec.convert({"serve": serve}, Config)
    machine = GateMachine(config)
    machine.restore(0, [])
    work = batch(machine, 0, 50)
    machine.settled(work.counts, work.decisions)
    states = {"gate": RoleState()}
    return LivePage(config, Telemetry(["gate"]), states, {"gate": machine}, History(), Clock())


@pytest.mark.parametrize(
    ("decisions", "peer", "host", "shown"),
    [
        ("loopback", "127.0.0.1", "127.0.0.1:9108", True),
        ("loopback", "127.3.2.1", "LOCALHOST:9108", True),
        ("loopback", "::1", "[::1]:9108", True),
        ("loopback", "::ffff:127.0.0.1", "127.0.0.1", True),
        ("loopback", "127.0.0.1", "gate.internal:9108", True),
        ("loopback", "127.0.0.1", "rebound.example:9108", False),
        ("loopback", "127.0.0.1", "127.0.0.1.rebound.example", False),
        ("loopback", "127.0.0.1", "localhost.rebound.example:80", False),
        ("loopback", "127.0.0.1", "", False),
        ("loopback", "10.0.0.7", "127.0.0.1:9108", False),
        ("loopback", "::ffff:10.0.0.7", "localhost", False),
        ("loopback", "", "localhost", False),
        ("anyone", "10.0.0.7", "gate.example:9108", True),
        ("anyone", "127.0.0.1", "rebound.example:9108", False),
        ("anyone", "127.0.0.1", "192.0.2.7:9108", True),
        ("nobody", "127.0.0.1", "127.0.0.1:9108", False),
        ("nobody", "10.0.0.7", "gate.example", False),
    ],
)
def test_who_sees_decisions(decisions: str, peer: str, host: str, shown: bool) -> None:
    """`serve.decisions` says who; from this host, only under names that nobody can give away."""
    page = live_page(decisions=decisions, host="gate.internal")
    answer = page(Request("/page.json", host=host, peer=peer))
    assert answer is not None
    told = json.loads(answer.body)
    assert bool(told["decisions"]) == shown
    assert (told["refusal"] is None) == shown
    assert shown or b'"e4' not in answer.body
    assert told["samples"], "figures are for everyone, as /metrics is"


def test_other_words_for_who_sees_decisions_are_refused() -> None:
    """What `serve.decisions` may be is checked before anything starts, and named."""
    with pytest.raises(ConfigError, match=r"serve\.decisions"):
        validate(Config(serve=ServeConfig(decisions="everyone")))  # type: ignore[arg-type]


def test_a_decision_says_what_it_was_made_of() -> None:
    """Each row has the event, the reason in words, and the figures of the prediction record."""
    answer = live_page()(NEAR)
    assert answer is not None
    row = json.loads(answer.body)["decisions"][0]
    assert re.fullmatch(r"events:0:\d+", row["event"])
    assert row["action"] == "ask"
    assert row["why"].startswith("Asked by ")
    assert 0 <= row["score"] <= 1
    assert row["prediction"] is None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    """Run gate and ledger on an empty log."""
    config = Config(
        log=LogConfig(path=str(tmp_path / "log.db")),
        loop=LoopConfig(poll_s=0.02),
        serve=ServeConfig(port=0),
    )
    world = World(config)
    yield world
    world.close()


def test_everything_of_the_page_comes_with_strict_headers(served: World) -> None:
    """Page, files and figures allow nothing from elsewhere, nothing inline, and no frame."""
    kinds = {
        "/": "text/html; charset=utf-8",
        "/page.css": "text/css; charset=utf-8",
        "/page.js": "text/javascript; charset=utf-8",
        "/chart.js": "text/javascript; charset=utf-8",
        "/page.json": "application/json",
    }
    for path, kind in kinds.items():
        response, body = served.get(path)
        assert (response.status, response.getheader("Content-Type")) == (200, kind)
        assert body
        policy = str(response.getheader("Content-Security-Policy"))
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.getheader("X-Content-Type-Options") == "nosniff"
        assert response.getheader("Referrer-Policy") == "no-referrer"
        assert response.getheader("Cache-Control") == "no-store"
        assert response.getheader("Access-Control-Allow-Origin") is None


def test_the_page_is_of_files_of_its_own(served: World) -> None:
    """Its HTML has no script or style inline, names no other host, and says what to do without."""
    html = served.get("/")[1].decode()
    assert re.findall(r"<script[^>]*>", html) == ['<script type="module" src="page.js">']
    assert "<style" not in html
    assert not re.search(r"\son\w+=|style=", html)
    assert "/metrics</a>" in html.partition("<noscript>")[2].partition("</noscript>")[0]
    for path in ("/", "/page.css", "/page.js", "/chart.js"):
        urls = re.findall(rb"https?://[^\s\"']+", served.get(path)[1])
        assert urls in ([], [b"http://www.w3.org/2000/svg"])


def test_the_page_has_words_for_every_outcome(served: World) -> None:
    """What can become of an answer is told apart there as the metric tells it apart."""
    script = served.get("/page.js")[1].decode()
    told = re.findall(r"^  (\w+): \"", script.partition("OUTCOMES = {")[2].partition("};")[0], re.M)
    (metric,) = (each for each in METRICS if each.name == "labels_total")
    assert tuple(told) == metric.values["outcome"]


def test_a_warning_sign_says_what_it_means_and_why(served: World) -> None:
    """Each sign that the metrics name has its meaning, and what it goes by now."""
    get = served.process.telemetry.get
    served.until(lambda: not math.isnan(get("warning", "recall")))
    told = served.told()
    assert set(told["warnings"]) == {
        labels["sign"] for name, labels, _ in told["samples"] if name == "warning"
    }
    assert all(sign["meaning"] and sign["why"] for sign in told["warnings"].values())


def test_figures_are_those_of_the_metrics(served: World) -> None:
    """Every figure that the page is given stands in `/metrics`, by name, labels and value."""
    served.until(lambda: all(state.ready for state in served.process.states.values()))
    moving = ("age_seconds", "log_")
    for _ in range(20):
        before, told, after = served.figures(), served.told(), served.figures()
        if before == after:
            break
    given_ = {
        (f"stream_al_{name}", tuple(sorted(labels.items()))): value
        for name, labels, value in told["samples"]
        if not any(part in name for part in moving)
    }
    assert len(given_) > 20
    assert given_.items() <= before.items()
    assert told["roles"]["gate"]["ready"]


def test_a_foreign_name_for_this_host_gets_figures_but_no_decisions(served: World) -> None:
    """Over real HTTP, a rebound name is refused decisions, with a sentence that says why."""
    assert served.told()["decisions"] == []
    told = served.told(Host="rebound.example")
    assert told["decisions"] is None
    assert "asked for by" in told["refusal"]
