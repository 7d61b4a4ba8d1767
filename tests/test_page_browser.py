"""The live page in a real browser: its figures, hostile streams, and a process that goes away."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from chromium import Chromium, Page
from page_world import Figures, World

from consumers.annotator import Truths
from consumers.feed import message
from consumers.log import Out
from stream_al.config import (
    Config,
    GateConfig,
    LearnerConfig,
    LogConfig,
    LoopConfig,
    MessageConfig,
    ServeConfig,
)
from stream_al.replay.sources import open_source

EVENTS = 1500
LIVE = "document.body.className === 'live'"
STALE = "document.body.className === 'stale'"
HOSTILE = (
    "<script>window.hit = 1</script>",
    "</script><img src=x onerror='window.hit = 2'>",
    '"><img src=x onerror="window.hit = 3">',
    "\u202etxt.exe",
    "n" * 500,
)
CLASSES = ("<b onclick=alert(1)>good</b>", '"><svg onload="window.hit = 4">')


def config_of(folder: Path, port: int = 0) -> Config:
    """Return a small configuration."""
    return Config(
        learner=LearnerConfig(committee=False, classes=("0", "1")),
        gate=GateConfig(budget=0.2),
        log=LogConfig(path=str(folder / "log.db"), name="cards", instance="one"),
        loop=LoopConfig(poll_s=0.02),
        serve=ServeConfig(port=port),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run all roles over a stream that has come to its end, so that figures stand still."""
    config = config_of(tmp_path_factory.mktemp("page"))
    source = f"cards:{EVENTS}"
    truths = Truths(open_source(source, config.source))
    world = World(config, ("gate", "ledger", "annotator"), truths)
    rows = enumerate(open_source(source, config.source).rows())
    outs = [message(row, n, world.topics.events, 1, "cards") for n, row in rows]
    get = world.process.telemetry.get
    # In two parts, or all would be decided before there is a model.
    world.send(outs[: EVENTS // 2])
    world.until(lambda: world.process.idle and get("model_version") > 0)
    world.send(outs[EVENTS // 2 :])
    world.until(lambda: world.process.idle and not math.isnan(get("rolling_accuracy_ratio")))
    yield world
    world.close()


def shown(page: Page, name: str) -> float:
    """Return the exact figure behind an element."""
    return float(page.evaluate(f"document.getElementById('{name}').value"))


def one(figures: Figures, name: str, **labels: str) -> float:
    """Return a metric's sum over the series that have these labels."""
    wanted = set(labels.items())
    found = [
        value
        for (each, theirs), value in figures.items()
        if each == f"stream_al_{name}" and wanted <= set(theirs)
    ]
    assert found, name
    return sum(found)


def test_figures_of_the_page_are_those_of_the_metrics(finished: World, chromium: Chromium) -> None:
    """What a browser shows is what `/metrics` says at the same moment, in digits and in text."""
    for _ in range(5):
        before = finished.figures()
        with chromium.open(finished.url) as page:
            page.wait(LIVE)
            found = {
                name: shown(page, name)
                for name in (
                    *("query-ratio", "budget-ratio", "asked", "decided", "saved", "burst"),
                    *("accuracy", "accuracy-lower", "accuracy-upper", "naive", "watermark-lag"),
                    *("warnings-on", "open-requests", "early-labels", "answers"),
                )
            }
            text = page.text()
            complaints = page.complaints
        if before == finished.figures():
            break
    asked, auto = (one(before, "predictions_total", action=each) for each in ("ask", "auto"))
    limits = {
        each: one(before, "rolling_accuracy_limit_ratio", limit=each) for each in ("lower", "upper")
    }
    assert found == {
        "query-ratio": one(before, "query_ratio"),
        "budget-ratio": one(before, "budget_ratio"),
        "asked": asked,
        "decided": asked + auto,
        "saved": auto,
        "burst": one(before, "budget_burst_requests"),
        "accuracy": one(before, "rolling_accuracy_ratio"),
        "accuracy-lower": limits["lower"],
        "accuracy-upper": limits["upper"],
        "naive": one(before, "rolling_accuracy_naive_ratio"),
        "watermark-lag": one(before, "accuracy_watermark_lag_events"),
        "warnings-on": one(before, "warning"),
        "open-requests": one(before, "open_requests"),
        "early-labels": one(before, "early_labels"),
        "answers": one(before, "labels_total"),
    }
    assert found["decided"] == EVENTS
    share = f"{100 * found['query-ratio']:.2f} % of the last {EVENTS:,} events, all since this"
    assert share in text
    assert f"{100 * found['accuracy']:.2f} % of recent predictions" in text
    assert f"{auto:,.0f} events were decided without asking anyone" in text
    assert complaints == []


def test_the_page_shows_the_past_and_the_last_decisions(
    finished: World, chromium: Chromium
) -> None:
    """A page opened late has lines of more than one point, named charts, and twenty decisions."""
    finished.until(lambda: len(finished.told()["points"]) > 2)
    with chromium.open(finished.url) as page:
        page.wait(LIVE)
        lines = page.evaluate(
            "[...document.querySelectorAll('.drawn.query, .drawn.accuracy, .drawn.naive')]"
            ".map((line) => line.points.length)"
        )
        assert len(lines) == 3
        assert all(count > 1 for count in lines)
        named = page.evaluate(
            "[...document.querySelectorAll('svg[role=img]')].map((svg) =>"
            " svg.querySelector('title').textContent + '|' +"
            " svg.querySelector('desc').textContent)"
        )
        assert len(named) == 3
        assert all(len(each.split("|")[1]) > 10 for each in named)
        rows = page.evaluate(
            "[...document.querySelectorAll('#decisions tr')].map((row) => row.innerText)"
        )
        assert len(rows) == 20
        assert all("● asked" in row and "Asked by" in row for row in rows[:10])
        assert all("○ not asked" in row and "Not asked." in row for row in rows[10:])
        assert page.evaluate("document.querySelectorAll('.weighed li').length") > 10


def test_who_asked_too_much_is_judged_only_where_partitions_stayed(
    tmp_path: Path, chromium: Chromium
) -> None:
    """Over budget and burst is told as such, unless partitions moved and took their burst along."""
    world = World(config_of(tmp_path), ("gate",))
    telemetry = world.process.telemetry
    try:
        world.until(lambda: not math.isnan(telemetry.get("budget_ratio")))
        with chromium.open(world.url) as page:
            page.wait(LIVE)
            assert page.text("#spending") == "Within the budget."
            telemetry.add(Counter({("predictions_total", "ask"): 30}), "gate")
            page.wait("document.querySelector('#spending').innerText.startsWith('More than')")
            telemetry.add_one("restores_total", "gate")
            page.wait("document.querySelector('#spending').innerText.includes('have moved')")
    finally:
        world.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_nothing_is_wider_than_the_window(
    finished: World, chromium: Chromium, width: int, scheme: str
) -> None:
    """On phone and desktop nothing has to be scrolled sideways, and the scheme is followed."""
    with chromium.open(finished.url, width=width, scheme=scheme) as page:  # type: ignore[arg-type]
        page.wait(LIVE)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 200) == (scheme == "dark")


def test_no_request_leaves_the_host(finished: World, chromium: Chromium) -> None:
    """The page asks for its own files and figures, and nothing else at all."""
    with chromium.open(finished.url) as page:
        page.wait(LIVE)
        page.wait("performance.getEntriesByName(new URL('page.json', location)).length > 1")
        asked = page.requests
    names = ("", "page.css", "page.js", "chart.js", "page.json")
    assert set(asked) == {finished.url + name for name in names}


def hostile_events(count: int) -> list[bytes]:
    """Make events whose names, values and ids try to be more than text."""
    rows = []
    for n in range(count):
        row: dict[str, object] = dict.fromkeys(HOSTILE, n % 7 / 7)
        row |= {"value": HOSTILE[n % 4] + "v" * (10_000 if n % 5 == 0 else 0)}
        row |= {"id": f"{HOSTILE[n % 4]}{n}"}
        rows.append(json.dumps(row).encode())
    return [
        *rows,
        json.dumps({"id": "long", "n" * 10_000: 1}).encode(),
        b'{"id": "\\ud800", "value": "\\udfff"}',
    ]


def test_a_hostile_stream_is_shown_as_text(tmp_path: Path, chromium: Chromium) -> None:
    """Names, values, classes and ids that are markup neither run nor break the page."""
    config = msgspec.structs.replace(
        config_of(tmp_path),
        learner=LearnerConfig(committee=False, classes=CLASSES),
        gate=GateConfig(budget=1.0, explore=0.0),
        message=MessageConfig(id="id"),
    )
    world = World(config)
    get, topics = world.process.telemetry.get, world.topics
    try:
        world.send(Out(topics.events, each, None, (), 0) for each in hostile_events(40))
        world.until(lambda: get("open_requests") == 40)
        requests = [json.loads(r.value or b"") for r in world.log.read(topics.label_requests, 0)]
        answers = [
            {"request_id": each["request_id"], "label": CLASSES[n % 2], "annotator": HOSTILE[0]}
            for n, each in enumerate(requests)
        ]
        world.send(
            Out(topics.labels, json.dumps(each).encode(), each["request_id"].encode(), (), 0)
            for each in answers
        )
        world.until(lambda: get("model_version") > 40)
        world.send(Out(topics.events, each, None, (), 0) for each in hostile_events(15))
        world.until(lambda: get("predictions_total", "ask") == 55)
        with chromium.open(world.url, width=390) as page:
            page.wait(LIVE)
            page.wait("document.querySelectorAll('#decisions .weighed li').length > 20")
            assert page.evaluate("window.hit") is None
            assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
            assert page.evaluate("document.querySelectorAll('main b, td svg').length") == 0
            text = page.text("#decisions")
            for hostile in (*HOSTILE[:3], "\\u202etxt.exe", *CLASSES):
                assert hostile in text
            assert "\u202e" not in text
            assert "n" * 119 + "…" in text
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            assert page.complaints == []
            assert {each.rpartition("/")[0] for each in page.requests} == {world.url[:-1]}
        assert get("dead_letters_total", "gate", "message", "too-large") == 2
    finally:
        world.close()


def test_a_process_that_goes_away_and_comes_back(tmp_path: Path, chromium: Chromium) -> None:
    """A ledger alone shows what it knows; without it the page says since when, and goes on."""
    world = World(config_of(tmp_path), ("ledger",))
    port = int(world.url.rstrip("/").rpartition(":")[2])
    with chromium.open(world.url) as page:
        page.wait(LIVE)
        text = page.text()
        assert "label requests wait for an answer" in text
        assert "Rolling accuracy" not in text
        assert "Last decisions" not in text
        world.close()
        page.wait(STALE)
        assert "Stale since" in page.text("#status")
        assert page.evaluate("document.getElementById('open-requests').value") == "0"
        again = World(config_of(tmp_path, port), ("ledger",))
        try:
            page.wait(LIVE)
            assert "Live" in page.text("#status")
        finally:
            again.close()
