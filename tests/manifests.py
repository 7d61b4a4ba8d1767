"""What deploy/ ships for Compose and Kubernetes, read and built for tests."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from faults.shipped import DEPLOY
from wanting import missing

__all__ = ["KUSTOMIZATIONS", "Container", "built", "compose", "containers", "pods"]

KUSTOMIZE = DEPLOY / "kustomize"
KUSTOMIZATIONS = ("base", "overlays/example", "overlays/rehearsal")

Document = dict[str, Any]


class Container(msgspec.Struct, frozen=True):
    """One container of ours: where it is, its arguments, environment, and configuration file."""

    where: str
    arguments: list[str]
    environment: dict[str, str]
    config: str


@functools.cache
def built(name: str) -> list[Document]:
    """Build a kustomization."""
    found = os.environ.get("STREAM_AL_KUSTOMIZE") or shutil.which("kustomize")
    if found is None:
        missing("no kustomize: go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1")
    command = [str(found), "build", str(KUSTOMIZE / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def pods(documents: list[Document]) -> Iterator[tuple[Document, Document]]:
    """Give what makes pods, each with the specification of its pods."""
    for document in documents:
        if document["kind"] in {"StatefulSet", "Job"}:
            yield document, document["spec"]["template"]["spec"]


@functools.cache
def compose(*names: str) -> Document:
    """Read Compose files; of services that are in several, the later wins key by key."""
    whole: Document = {}
    for name in names or ("compose.yaml",):
        one = yaml.safe_load((DEPLOY / name).read_text())
        services = whole.get("services", {})
        for service, keys in one["services"].items():
            before = services.get(service, {})
            environment = before.get("environment", {}) | keys.get("environment", {})
            services[service] = before | keys | {"environment": environment}
        whole = whole | one | {"services": services}
    return whole


def containers() -> Iterator[Container]:
    """Give every container that runs the project's image, wherever it is shipped."""
    for names in (("compose.yaml",), ("compose.yaml", "compose.kafka.yaml")):
        for name, service in compose(*names)["services"].items():
            if service.get("image", "").startswith("stream-al:"):
                yield Container(
                    where=f"{names[-1]} {name}",
                    arguments=service["command"],
                    environment=service["environment"],
                    config=(DEPLOY / "compose.toml").read_text(),
                )
    for overlay in KUSTOMIZATIONS:
        documents = built(overlay)
        config = next(
            each["data"]["stream-al.toml"] for each in documents if each["kind"] == "ConfigMap"
        )
        for document, pod in pods(documents):
            for each in pod["containers"]:
                name = document["metadata"]["name"]
                variables = {one["name"]: one.get("value", name) for one in each.get("env", [])}
                yield Container(f"{overlay} {name}", each["args"], variables, config)
