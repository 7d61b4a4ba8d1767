"""The dashboards: what they are written from, what they name, how they are laid out."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from deploy.grafana.source import DASHBOARDS as WRITTEN
from deploy.grafana.source import FOLDER, written
from deploy.grafana.source.links import RUNBOOK
from stream_al.metrics import METRICS, Metric

from .shown import THEIRS, marks, panels, rules

ROOT = Path(__file__).resolve().parents[2]
PANELS = list(panels())
EXPRESSIONS = [
    *((panel.name, each.text) for panel in PANELS for each in panel.expressions),
    *marks().items(),
]
OURS = {metric.full_name: metric for metric in METRICS}
VARIABLES = {"datasource", "job", "instance"}
BUILT_IN = {"__interval", "__interval_ms", "__rate_interval", "__range"}


def whole(name: str) -> dict[str, Any]:
    """Read a dashboard."""
    found: dict[str, Any] = msgspec.json.decode((FOLDER / f"{name}.json").read_bytes())
    return found


def selectors(text: str) -> list[tuple[str, str]]:
    """Find all metrics that an expression selects, with their matchers."""
    return re.findall(r"([a-z0-9_]+){([^}]*)}", text)


def declared(name: str) -> Metric | None:
    """Find what declares a series of that name, a histogram's parts included."""
    return OURS.get(name) or OURS.get(re.sub(r"_(bucket|sum|count)$", "", name))


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_committed_is_what_the_source_writes(name: str) -> None:
    """The JSON is never changed by hand: `python -m deploy.grafana.source` writes it."""
    assert (FOLDER / f"{name}.json").read_text() == written(name)


def test_each_dashboard_keeps_its_address() -> None:
    """Uids are fixed, and no other dashboard lies about."""
    assert {path.stem for path in FOLDER.iterdir()} == set(WRITTEN)
    assert {name: whole(name)["uid"] for name in WRITTEN} == {
        name: f"stream-al-{name}" for name in ("overview", "labels", "model", "operations")
    }


@pytest.mark.parametrize("name", WRITTEN)
def test_panels_are_told_apart_and_lie_beside_one_another(name: str) -> None:
    """Ids and titles are unique, and no two panels share a place on the grid."""
    found = whole(name)["panels"]
    assert max(Counter(panel["id"] for panel in found).values()) == 1
    titles = Counter(panel["title"] for panel in found if panel["type"] != "row")
    assert max(titles.values()) == 1
    taken = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in found)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(taken.values()) == 1
    assert {x for x, _ in taken} == set(range(24))


@pytest.mark.parametrize("name", WRITTEN)
def test_each_dashboard_can_be_narrowed_down_and_leads_on(name: str) -> None:
    """Data source, job and instance are to be chosen; links lead to the others and the runbook."""
    found = whole(name)
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert set(variables) == VARIABLES
    for chosen in ("job", "instance"):
        assert variables[chosen]["multi"]
        assert variables[chosen]["includeAll"]
        assert variables[chosen]["datasource"]["uid"] == "${datasource}"
    kinds = {link["type"]: link for link in found["links"]}
    assert set(kinds["dashboards"]["tags"]) <= set(found["tags"])
    assert kinds["dashboards"]["includeVars"]
    assert kinds["dashboards"]["keepTime"]
    assert kinds["link"]["url"] == RUNBOOK


def test_each_panel_says_what_it_is() -> None:
    """Title, unit, the data source that was chosen, and a description of more than a few words."""
    for panel in PANELS:
        assert panel.given["title"]
        assert panel.defaults["unit"]
        assert len(panel.given["description"].split()) >= 5
        assert panel.given["description"].endswith(".")
        sources = [
            panel.given["datasource"],
            *(each["datasource"] for each in panel.given["targets"]),
        ]
        assert {source["uid"] for source in sources} == {"${datasource}"}
        assert panel.expressions
        if len(panel.expressions) > 1 and panel.kind != "table":
            assert all(each.legend for each in panel.expressions)


def test_panels_lead_to_sections_of_the_runbook() -> None:
    """What a panel leads to is the section of an alert, of which each has one."""
    sections = {f"{RUNBOOK}#{rule.name.lower()}" for rule in rules() if rule.alert}
    urls = {link["url"] for panel in PANELS for link in panel.given.get("links", ())}
    assert urls
    assert urls <= sections


def test_every_metric_is_there() -> None:
    """What an expression selects is declared, with the labels and values that it asks for."""
    for place, text in EXPRESSIONS:
        found = selectors(text)
        assert found, place
        for name, matchers in found:
            metric = declared(name)
            assert metric is not None or name in THEIRS, name
            for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                if label in ("job", "instance"):
                    continue
                assert metric is not None, name
                assert label in metric.labels, f"{name} has no label {label}"
                known = metric.roles if label == "role" else metric.values[label]
                assert set(values.split("|")) <= set(known), f"{name}: {label} {values}"


def test_every_selector_is_narrowed_down() -> None:
    """Job and instance are in each selector, and no metric goes without a selector."""
    for place, text in EXPRESSIONS:
        names = {name for name, _ in selectors(text)}
        bare = re.findall(r"\b(?:stream_al|process)_\w+\b(?!{)", text)
        assert not bare, place
        assert names
        for name, matchers in selectors(text):
            assert 'job=~"$job"' in matchers, name
            assert 'instance=~"$instance"' in matchers, name
        assert set(re.findall(r"\$(\w+)", text)) <= (VARIABLES | BUILT_IN)


def test_rates_have_the_windows_that_fit_the_view() -> None:
    """A rate is over `$__rate_interval`, a rise over the range shown, nothing over a constant."""
    for place, text in EXPRESSIONS:
        windows = re.findall(r"\b(\w+)\([^()]*\[([^\]]+)\]", text)
        expected = {
            "rate": "$__rate_interval",
            "increase": "$__range",
        }
        for function, window in windows:
            assert window == expected[function], place
        assert len(windows) == text.count("[")


def test_replicas_make_one_figure_as_declared() -> None:
    """A gauge is put together by the operator that its declaration names, a counter is added up."""
    for place, text in EXPRESSIONS:
        for name, _ in selectors(text):
            metric = declared(name)
            if metric is None:
                continue
            before = text[: text.index(name + "{")]
            operator = re.search(r"(\w+)(?: by \([\w, ]*\) )?\((?:rate\(|increase\()?$", before)
            assert operator is not None, f"{place}: {name}"
            # Processes of which something holds may always be counted.
            assert operator[1] in (metric.aggregate, "count"), f"{place}: {name} by {operator[1]}"


def test_every_metric_is_shown() -> None:
    """Each declared metric stands in some panel, so that nothing is measured for nobody."""
    names = {name for _, text in EXPRESSIONS for name, _ in selectors(text)}
    shown = {metric.name for metric in map(declared, names) if metric is not None}
    assert {metric.name for metric in METRICS} - shown == set()


def test_answers_over_time_are_all_answers() -> None:
    """The groups that are stacked there hold every outcome, each of them once."""
    (panel,) = (panel for panel in PANELS if panel.name == "labels: Answers over time")
    groups = [re.findall(r'outcome=~?"([^"]*)"', each.text) for each in panel.expressions]
    told = [outcome for (group,) in groups for outcome in group.split("|")]
    assert sorted(told) == sorted(OURS["stream_al_labels_total"].values["outcome"])


def test_the_most_important_comes_first() -> None:
    """The overview begins with query rate and rolling accuracy, as figures and as graphs."""
    overview = [panel for panel in PANELS if panel.dashboard == "overview"]
    assert [panel.given["title"] for panel in overview[:2]] == ["Query rate", "Rolling accuracy"]
    graphs = [panel.given["title"] for panel in overview if panel.kind == "timeseries"]
    assert graphs[:2] == ["Query rate against budget", "Rolling accuracy with its interval"]


def test_provisioning_fits_the_dashboards() -> None:
    """Grafana is given one Prometheus, how often it scrapes, and dashboards not to be changed."""
    folder = FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    scraping = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "stream-al.yaml").read_text())[
        "providers"
    ]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"].startswith("/")
