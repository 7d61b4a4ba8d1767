"""`--report`: pages of a replay and of a comparison, in a real browser and without one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import pytest
from chromium import Chromium, Page
from click.testing import CliRunner, Result
from wanting import missing

from stream_al.cli.app import application
from stream_al.replay.comparison import Comparison
from stream_al.replay.report.elements import element, foreign, markup
from stream_al.replay.report.standing import standing

Scheme: TypeAlias = Literal["light", "dark"]
Media: TypeAlias = Literal["screen", "print"]

HOSTILE = "<img src=x onerror=alert(1)>\"'&$\\frac{"
ARMS = ("--arm", f"{HOSTILE}:", "--arm", "</script>: --score margin", "--arm", "r: --policy random")
PHISHING = ("river:Phishing", "--label", "is_phishing", "--plain", "--limit", "300")


def run(*arguments: str) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(application, [*arguments])


def figures(page: Page) -> dict[str, tuple[Any, str]]:
    """Read every figure that a page shows: exact value and text, by its name in ``--json``."""
    found = page.evaluate(
        "Array.from(document.querySelectorAll('data'), each =>"
        " [each.dataset.figure, each.getAttribute('value'), each.textContent])"
    )
    return {name: (json.loads(value), shown) for name, value, shown in found}


def within(report: Any, path: str) -> Any:
    """Look up a dotted path."""
    for part in path.split("."):
        report = report[int(part)] if isinstance(report, list) else report[part]
    return report


def shown_as(value: float | None, shown: str) -> bool:
    """Tell whether a text is a value, rounded to the digits that it has."""
    if value is None:
        return shown == "-"
    bare = shown.replace(",", "").replace("\N{NO-BREAK SPACE}", "").removesuffix("%")
    digits = len(bare.partition(".")[2])
    scaled = value * 100 if shown.endswith("%") else value
    return abs(float(bare) - scaled) <= 0.5000001 / 10.0**digits


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no configuration of the outside leak in."""
    for name in os.environ:
        if name.startswith("STREAM_AL__"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Replay a stream whose file, features and classes are named by an enemy, with a page."""
    folder = tmp_path_factory.mktemp("hostile")
    stream = folder / "<b>&'\"$x$.jsonl"
    one, other = HOSTILE, "</style><script>document.title='run'</script>\u202e\x07"
    rows = [
        {other: (i % 7) + (9 if i > 1200 else 0), "label": one if (i * i) % 7 < 3 else other}
        for i in range(2000)
    ]
    stream.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = folder / "out.html"
    result = run(
        "replay", str(stream), "--plain", "--budget", ".2", "--report", str(page), "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "playing the stream again, asking at random, for the report\n"
    return page, json.loads(result.stdout)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Compare three arms with hostile names, three seeds and two budgets, with a page."""
    page = tmp_path_factory.mktemp("compared") / "out.html"
    flags = ("--budgets", ".1,.4", "--seeds", "3", "--jobs", "1", "--json")
    result = run("compare", *PHISHING, *ARMS, *flags, "--report", str(page))
    assert (result.exit_code, result.stderr) == (0, "")
    return page, json.loads(result.stdout)


@pytest.mark.parametrize("kind", ["hostile", "compared"])
def test_figures_of_the_page_are_those_of_the_json(
    chromium: Chromium, kind: str, request: pytest.FixtureRequest
) -> None:
    """Each figure on the page is, exactly and as shown, what ``--json`` of the same run has."""
    page, report = request.getfixturevalue(kind)
    with chromium.open(page.as_uri()) as opened:
        found = figures(opened)
    random = [name for name in found if name.startswith("random.")]
    wanted = {name: each for name, each in found.items() if name not in random}
    assert len(wanted) > 15
    for name, (value, shown) in wanted.items():
        assert value == within(report, name), name
        assert shown_as(value, shown), (name, value, shown)
    if kind == "hostile":
        assert {"events", "asked", "metrics.accuracy", "estimate.lower", "rolling.naive"} <= set(
            wanted
        )
        assert len(random) == 18
        assert (
            sum(found[f"asked_by_reason.{name}"][0] for name in report["asked_by_reason"])
            == (report["asked"])
        )
        declined = sum(report["not_asked_by_reason"].values())
        assert declined + report["asked"] == report["events"]
    else:
        assert {f"cells.{cell}.mean" for cell in range(6)} <= set(wanted)


@pytest.mark.parametrize("kind", ["hostile", "compared"])
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_the_page_asks_nobody_runs_nothing_and_fits(
    chromium: Chromium,
    kind: str,
    width: int,
    scheme: Scheme,
    request: pytest.FixtureRequest,
) -> None:
    """No request but for the file, no complaint, no element of hostile making, no overflow."""
    page, _ = request.getfixturevalue(kind)
    with chromium.open(page.as_uri(), width=width, scheme=scheme) as opened:
        assert opened.requests == [page.as_uri()]
        assert opened.complaints == []
        assert opened.evaluate("document.querySelector('script, img, link, iframe')") is None
        assert opened.evaluate("document.title").endswith("stream_al")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        ids = opened.evaluate("Array.from(document.querySelectorAll('[id]'), each => each.id)")
        paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        drawn = opened.evaluate(
            "Array.from(document.querySelectorAll('svg.chart'), each =>"
            " Math.round(each.getBoundingClientRect().width))"
        )
        text = opened.text()
    assert len(ids) == len(set(ids))
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert len(drawn) >= 7
    assert min(drawn) > 300
    assert HOSTILE in text
    assert "\x07" not in text


def test_charts_take_their_colours_from_the_page(chromium: Chromium, hostile: Any) -> None:
    """The first line of a chart is light on dark, dark on light, and dark in print."""
    page, _ = hostile
    colour = (
        "getComputedStyle(document.querySelector('#chart-learning .chart path[clip-path]')).stroke"
    )
    told = []
    looks: tuple[tuple[Scheme, Media], ...] = (
        ("light", "screen"),
        ("dark", "screen"),
        ("dark", "print"),
    )
    for scheme, media in looks:
        with chromium.open(page.as_uri(), scheme=scheme, media=media) as opened:
            told.append(opened.evaluate(colour))
    assert told[0] == told[2] != told[1]
    assert all(each.startswith("rgb(") for each in told)
    assert "#0101" not in page.read_text()


def test_print_cuts_no_chart(chromium: Chromium, compared: Any, tmp_path: Path) -> None:
    """The page prints to PDF, in which every chart's title stands on the page of its axis."""
    if shutil.which("pdftotext") is None:
        missing("no pdftotext (poppler-utils) to read a PDF with")
    page, report = compared
    printed = tmp_path / "out.pdf"
    with chromium.open(page.as_uri(), media="print") as opened:
        opened.pdf(printed)
    done = subprocess.run(
        ["pdftotext", "-layout", str(printed), "-"], capture_output=True, check=True
    )
    sheets = done.stdout.decode().split("\f")
    assert len(sheets) > 2
    for budget in report["budgets"]:
        title = f"Difference from the first arm at budget {budget:.4g}"
        sheet = next(sheet for sheet in sheets if title in sheet)
        assert "difference of weighted F1" in sheet[sheet.index(title) :]
    sheet = next(sheet for sheet in sheets if "What a label buys" in sheet)
    assert "labels learnt from" in sheet[sheet.index("What a label buys") :]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes write the same page, whatever their hash seeds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    command = ["replay", *PHISHING, "--report", "out.html"]
    page = Path("out.html")
    subprocess.run([sys.executable, "-m", "stream_al", *command], capture_output=True, check=True)
    pages = [page.read_bytes()]
    assert run(*command).exit_code == 0
    pages.append(page.read_bytes())
    assert pages[0] == pages[1]
    assert f"stream-al {' '.join(command)}".encode() in pages[0]


def test_a_page_is_well_formed(hostile: Any, compared: Any) -> None:
    """Every element that is opened is closed, in order."""

    class Nesting(HTMLParser):
        open: list[str]

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            assert not any(name.startswith("on") for name, _ in attrs)
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    for page, _ in (hostile, compared):
        parser = Nesting()
        parser.open = []
        parser.feed(page.read_text())
        parser.close()
        assert parser.open == []


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("-", "--report: expected a file: standard output has the results"),
        ("gone/out.html", "gone/out.html cannot be written: No such file or directory"),
        ("s.csv", "--report: s.csv is SOURCE already; expected a file of its own"),
        (".", "'--report': File '.' is a directory."),
    ],
)
@pytest.mark.parametrize("command", [("replay",), ("compare", "--arm", "a:")], ids=["one", "many"])
def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    target: str,
    told: str,
) -> None:
    """Exit code 2 and one line, although the stream itself could not be played either."""
    monkeypatch.chdir(tmp_path)
    Path("s.csv").write_text("x,label\noops,1\noops\n")
    name, *flags = command
    result = run(name, "s.csv", *flags, "--report", target)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["s.csv"]


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where matplotlib is missing, the command to install it is told before the run."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("replay", *PHISHING, "--report", str(tmp_path / "out.html"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install 'stream-al[report]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_the_older_page(tmp_path: Path) -> None:
    """A page appears whole or not at all."""
    page, stream = tmp_path / "out.html", tmp_path / "s.csv"
    page.write_text("older")
    stream.write_text("x,label\n1,0\noops,1\n")
    for name, *flags in (["replay"], ["compare", "--arm", "a:", "--jobs", "1"]):
        assert run(name, str(stream), *flags, "--report", str(page)).exit_code == 3
        assert page.read_text() == "older"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.html", "s.csv"]


def test_what_cannot_be_played_twice_says_so(tmp_path: Path) -> None:
    """Standard input and random asking have no second run, and the page says why."""
    page = tmp_path / "out.html"
    rows = "x,label\n" + "".join(f"{i % 3},{i % 2}\n" for i in range(300))
    arguments = ["replay", "-", "--budget", ".2", "--report", str(page)]
    refused = CliRunner().invoke(application, arguments, input=rows)
    assert refused.exit_code == 2
    assert "give it with --events" in refused.stderr
    result = CliRunner().invoke(application, [*arguments, "--events", "300"], input=rows)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Standard input can be read only once" in page.read_text()
    result = run("replay", *PHISHING, "--policy", "random", "--report", str(page))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "This run asks at random itself" in page.read_text()


def test_json_is_the_same_with_and_without_a_page(tmp_path: Path) -> None:
    """A page is written beside the results and changes none of them."""
    plain, paged = (
        json.loads(run("replay", *PHISHING, "--json", *more).stdout)
        for more in ((), ("--report", str(tmp_path / "out.html")))
    )
    for report in (plain, paged):
        del report["seconds"], report["events_per_second"]
    assert plain == paged


@pytest.mark.parametrize(
    "arguments",
    [
        ("cards:30", "--budget", "1", "--explore", "0"),
        ("cards:1",),
        (*PHISHING, "--explore", "0"),
        (*PHISHING, "--delay", "100000"),
        (*PHISHING, "--abstain", "1"),
        ("cards:600", "--partitions", "3"),
    ],
)
def test_pages_of_streams_that_tell_little(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Without labels, without exploration, with one event: a page, with what there is."""
    page = tmp_path / "out.html"
    result = run("replay", *arguments, "--report", str(page))
    assert result.exit_code == 0, result.stderr
    assert page.read_text().count("<figure") == 7


def test_nothing_gets_into_a_page_unescaped() -> None:
    """Text, attributes and names of others are escaped; control characters become visible."""
    told = element("p", HOSTILE, foreign(HOSTILE + "\x00" + "x" * 300), title=HOSTILE)
    inside = str(told).removeprefix("<p").removesuffix("</p>")
    assert "<img" not in inside
    assert 'title="&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;$\\frac{"' in inside
    assert "\\x00" in inside
    assert inside.endswith("…</bdi>")
    assert markup(["a<", element("b", ">")]) == "a&lt;<b>&gt;</b>"


def test_best_and_level_arms_follow_from_the_intervals(compared: Any) -> None:
    """The arm with the best mean leads; others are level or worse by whether 0 is within."""
    comparison = msgspec.convert(compared[1], Comparison)
    for budget in comparison.budgets:
        cells = [cell for cell in comparison.cells if cell.budget == budget]
        found = standing(cells, comparison)
        assert found is not None
        assert found.best == max(cells, key=lambda cell: cell.mean or 0.0).arm
        assert not found.unknown
        assert {found.best, *found.level, *found.worse} == {cell.arm for cell in cells}
        for arm, difference in found.differences.items():
            assert difference.low is not None
            assert difference.high is not None
            assert difference.mean <= 0.0
            assert (arm in found.level) == (difference.low <= 0.0 <= difference.high)
