"""What deploy/ ships for Compose and Kubernetes: valid, and of one mind with the configuration."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from faults.shipped import DEPLOY, grace_periods
from manifests import KUSTOMIZATIONS, Container, built, compose, containers, pods
from wanting import missing

from stream_al.cli.app import application
from stream_al.cli.settings import load
from stream_al.config import Config
from stream_al.errors import StreamAlError

KUBERNETES = "1.33"
CUSTOM = {"PodMonitor"}
"""Of the Prometheus operator: Kubernetes has no schema of it."""

SPECIFICATION = "github.com/compose-spec/compose-go/v2"
PROBES = {
    "startupProbe": "/healthz",
    "livenessProbe": "/healthz",
    "readinessProbe": "/readyz",
}


def settings(container: Container, folder: Path) -> Config:
    """Read the configuration that a container would."""
    file = folder / "stream-al.toml"
    file.write_text(container.config)
    return load(file, container.environment, {}).config


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kubernetes_accepts_every_document(name: str) -> None:
    """Each built document is valid by Kubernetes' own schema, unknown keys forbidden."""
    documents = built(name)
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("names", [("compose.yaml",), ("compose.kafka.yaml",)])
def test_the_compose_specification_accepts_the_files(names: tuple[str, ...]) -> None:
    """Each file is valid by the schema of the Compose specification."""
    if shutil.which("go") is None:
        missing("no Go, whose proxy has the Compose specification")
    fetch = ["go", "mod", "download", "-json", f"{SPECIFICATION}@v2.16.2"]
    done = subprocess.run(fetch, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        missing(f"no Compose specification: {done.stdout}{done.stderr}")
    schema = Path(json.loads(done.stdout)["Dir"]) / "schema" / "compose-spec.json"
    for name in names:
        file = yaml.safe_load((DEPLOY / name).read_text())
        jsonschema.validate(file, json.loads(schema.read_text()))


def test_all_arguments_and_variables_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every container's command line is understood, its file and variables give a configuration."""
    for container in containers():
        assert settings(container, tmp_path)
        with monkeypatch.context() as patched:
            for name, value in container.environment.items():
                patched.setenv(name, value)
            ctx = click.Context(application)
            name, *rest = container.arguments
            _name, command, _rest = application.resolve_command(ctx, [name])
            assert command is not None
            found = command.make_context(name, rest)
            assert str(found.params["config_file"]) == "/etc/stream-al/stream-al.toml"


def test_a_wrong_variable_would_be_found(tmp_path: Path) -> None:
    """What the tests here rely on: an unknown variable is refused."""
    one = Container("here", [], {"STREAM_AL__LOG__INSTANZE": "x"}, "")
    with pytest.raises(StreamAlError, match="INSTANCE"):
        settings(one, tmp_path)


def test_instances_are_there_and_differ(tmp_path: Path) -> None:
    """With Kafka each process that runs a role names its instance, and no two name the same."""
    found = [
        (each.where.split()[0], each.arguments[1], settings(each, tmp_path).log.instance)
        for each in containers()
        if each.arguments[0] == "run"
    ]
    assert all(instance for _, _, instance in found)
    assert len(set(found)) == len(found) > 8


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_gates_are_no_more_than_partitions(name: str) -> None:
    """A gate without a partition stands by and costs memory."""
    documents = built(name)
    config = next(
        each["data"]["stream-al.toml"] for each in documents if each["kind"] == "ConfigMap"
    )
    gates = next(
        each["spec"]["replicas"]
        for each in documents
        if each["metadata"]["name"] == "stream-al-gate" and each["kind"] == "StatefulSet"
    )
    assert gates <= tomllib.loads(config)["log"]["partitions"]


def test_every_manifest_gives_more_time_than_stopping_takes(tmp_path: Path) -> None:
    """Ending a batch takes up to loop.stop_timeout_s, and closing clients comes after it."""
    longest = max(settings(each, tmp_path).loop.stop_timeout_s for each in containers())
    periods = grace_periods()
    assert {name.split()[0] for name in periods} == {
        *("compose.yaml", "gate.yaml", "ledger.yaml", "annotator.yaml", "stream-al@.service"),
    }
    assert min(periods.values()) >= longest + 20.0


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_pods_are_restricted(name: str) -> None:
    """Every pod is what the Pod Security Standard `restricted` asks for, and read-only besides."""
    for document, pod in pods(built(name)):
        where = document["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False, where
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] >= 10_000, where
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), where
        assert not any("hostPath" in each for each in pod["volumes"]), where
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where
            assert container["resources"]["limits"]["memory"], where
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, where


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_what_is_written_is_a_volume(name: str, tmp_path: Path) -> None:
    """Of a gate the folder of snapshots is a volume of its own, and all mounts have one."""
    for document, pod in pods(built(name)):
        claims = document["spec"].get("volumeClaimTemplates", [])
        volumes = {each["name"] for each in pod["volumes"]}
        volumes |= {each["metadata"]["name"] for each in claims}
        for container in pod["containers"]:
            mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
            assert set(mounts.values()) <= volumes
            assert "/tmp" in mounts  # noqa: S108 - where it is mounted
            if container["args"][:2] == ["run", "gate"]:
                one = next(each for each in containers() if each.where.endswith("stream-al-gate"))
                assert mounts[settings(one, tmp_path).loop.state_dir or ""] == "state"


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_probes_ask_what_is_served(name: str, tmp_path: Path) -> None:
    """Ports, paths, Services and annotations are those of the configuration, in every pod."""
    port = {settings(each, tmp_path).serve.port for each in containers()}
    assert port == {9108}
    documents = built(name)
    for document, pod in pods(documents):
        if document["kind"] != "StatefulSet":
            continue
        (container,) = pod["containers"]
        assert container["ports"] == [{"name": "metrics", "containerPort": 9108}]
        probes = {key: container[key]["httpGet"] for key in PROBES}
        assert {key: each["path"] for key, each in probes.items()} == PROBES
        assert {each["port"] for each in probes.values()} == {"metrics"}
        annotations = document["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == "9108"
        service = next(
            each
            for each in documents
            if each["kind"] == "Service"
            and each["metadata"]["name"] == document["spec"]["serviceName"]
        )
        assert service["spec"]["selector"] == document["spec"]["selector"]["matchLabels"]
        assert service["spec"]["ports"][0]["targetPort"] == "metrics"


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_the_network_is_closed_but_for_what_is_configured(name: str, tmp_path: Path) -> None:
    """All pods are denied all; allowed are the port of metrics, DNS, and the brokers' ports."""
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in built(name)
        if each["kind"] == "NetworkPolicy"
    }
    for spec in policies.values():
        assert spec["podSelector"] == {"matchLabels": {"app.kubernetes.io/part-of": "stream-al"}}
    for document, _ in pods(built(name)):
        labels = document["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "stream-al"
    denied = policies.pop("stream-al-nothing-else")
    assert set(denied["policyTypes"]) == {"Ingress", "Egress"}
    assert not {"ingress", "egress"} & denied.keys()
    ours = [each for each in containers() if each.where.startswith(name)]
    config = settings(ours[0], tmp_path)
    assert ports(policies.pop("stream-al-metrics"), "ingress") == {config.serve.port}
    assert ports(policies.pop("stream-al-dns"), "egress") == {53}
    brokers = {int(each.rpartition(":")[2]) for each in config.log.brokers.split(",")}
    assert ports(policies.pop("stream-al-brokers"), "egress") == brokers
    assert policies == {}


def ports(spec: dict[str, Any], direction: str) -> set[int]:
    """Name the ports of a policy, each rule of which names peers too."""
    rules = spec[direction]
    assert all(rule.get("to") or rule.get("from") for rule in rules)
    return {each["port"] for rule in rules for each in rule["ports"]}


def test_every_image_is_pinned() -> None:
    """No image is `latest`, or whatever there is."""
    images = [each["image"] for each in compose()["services"].values()]
    for name in KUSTOMIZATIONS:
        images += [each["image"] for _, pod in pods(built(name)) for each in pod["containers"]]
    assert len(images) > 10
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+$", image), image


def test_compose_publishes_on_loopback_alone() -> None:
    """Nobody but this machine reaches a port, and no port is taken twice."""
    published = [port for each in compose()["services"].values() for port in each.get("ports", ())]
    assert len(published) > 4
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_compose_contains_its_services() -> None:
    """All run without capabilities and within limits; all but the broker on a read-only root."""
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        assert service.get("read_only", False) is (name != "kafka"), name
        assert "privileged" not in service, name
        assert "user" not in service, name


def test_secrets_stand_in_files() -> None:
    """No manifest holds a Secret or the value of one; what names one names a file."""
    secret = re.compile(r"password|secret|token|credential", re.IGNORECASE)
    for name in KUSTOMIZATIONS:
        assert not [each for each in built(name) if each["kind"] == "Secret"]
    for service in compose("compose.yaml", "compose.kafka.yaml")["services"].values():
        for variable, value in service["environment"].items():
            if secret.search(variable):
                assert variable.upper().endswith("FILE"), variable
                assert value.startswith("/run/secrets/"), variable
    ignored = (DEPLOY / ".gitignore").read_text().splitlines()
    assert "secrets/" in ignored
    for name in ("compose.yaml", "compose.kafka.yaml"):
        declared = yaml.safe_load((DEPLOY / name).read_text())["secrets"].values()
        assert all(each["file"].startswith("./secrets/") for each in declared)


def test_prometheus_and_grafana_find_what_is_mounted() -> None:
    """Targets are services that serve metrics; dashboards are mounted where Grafana looks."""
    services = compose()["services"]
    serving = {
        f"{name}:9108" for name, each in services.items() if each.get("command", [""])[0] == "run"
    }
    for file in DEPLOY.glob("prometheus/prometheus.yaml"):
        for job in yaml.safe_load(file.read_text())["scrape_configs"]:
            targets = {each for one in job["static_configs"] for each in one["targets"]}
            assert (job["job_name"], targets) == ("stream-al", serving)
    mounts = dict(each.split(":")[:2] for each in services["grafana"]["volumes"])
    for file in DEPLOY.glob("grafana/provisioning/dashboards/*.yaml"):
        for provider in yaml.safe_load(file.read_text())["providers"]:
            assert provider["options"]["path"] == mounts["./grafana/dashboards"]
