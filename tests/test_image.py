"""The image, built and run without a container engine."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
from faults.shipped import DEPLOY
from rehearsal import Image, build, can_rehearse, context, parse
from wanting import missing

PROJECT = DEPLOY.parent
STATE = "/var/lib/stream-al"


def test_the_image_is_a_small_one_that_runs_as_nobody() -> None:
    """The last stage has a pinned base, a numeric user, a signal to end by, and no compiler."""
    stages = parse((DEPLOY / "Dockerfile").read_text())
    assert [bool(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", each.base)) for each in stages] == [
        True,
        True,
    ]
    final = stages[-1]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", final.last("USER").value)
    assert final.last("STOPSIGNAL").value == "SIGTERM"
    assert final.last("ENTRYPOINT").words == ["stream-al"]
    assert final.last("EXPOSE").value in final.last("HEALTHCHECK").value
    assert "org.opencontainers.image.version" in final.last("LABEL").value
    assert not any("apt-get" in each.value for each in final.instructions)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Build the image."""
    if why := can_rehearse():
        missing(f"an image cannot be rehearsed here: {why}")
    allowed = context(PROJECT, (DEPLOY / "Dockerfile.dockerignore").read_text())
    stages = parse((DEPLOY / "Dockerfile").read_text())
    return build(stages, allowed, PROJECT, tmp_path_factory.mktemp("image"))


@pytest.mark.slow
def test_the_image_runs_on_a_read_only_root_and_says_that_it_is_healthy(image: Image) -> None:
    """As an unprivileged user it starts, answers its health check, writes its state and ends."""
    final = parse((DEPLOY / "Dockerfile").read_text())[-1]
    check = json.loads(final.last("HEALTHCHECK").value.removeprefix("CMD "))
    path = f"{STATE}/log.db"
    command = [*final.last("ENTRYPOINT").words, "run", "all", "--instance", "one", "--path", path]
    process = image.start([*command, "--state-dir", STATE], final.last("VOLUME").words)
    try:
        end = time.monotonic() + 60.0
        while (done := image.beside(process.pid, check)).returncode != 0:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < end, done.stderr
            time.sleep(0.2)
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        refused = image.beside(process.pid, ["touch", "/opt/stream-al/new"])
        assert "Read-only file system" in refused.stderr
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=40)[0].decode()
        assert process.returncode == 0, said
        assert (image.volume(STATE) / "log.db").stat().st_uid == 10001
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
def test_the_image_has_what_brokers_need_and_no_installer(image: Image) -> None:
    """Both drivers and all compressions can be read; pip is not there; versions are the pinned."""
    reading = "import confluent_kafka, crc32c, kafka, lz4.frame, snappy, zstandard, stream_al"
    process = image.start(["python", "-c", reading], [])
    said = process.communicate(timeout=60)[0].decode()
    assert (process.returncode, said) == (0, "")
    process = image.start(["python", "-m", "pip", "--version"], [])
    said = process.communicate(timeout=60)[0].decode()
    assert "No module named pip" in said
    pins = dict(
        line.split("==") for line in (DEPLOY / "constraints.txt").read_text().splitlines()[1:]
    )
    packages = image.files("/opt/stream-al/lib").glob("python3*/site-packages/*.dist-info")
    found = dict(each.name.removesuffix(".dist-info").split("-", 1) for each in packages)
    found.pop("stream_al")
    assert {name.replace("_", "-"): version for name, version in found.items()}.items() <= {
        name.replace("_", "-"): version for name, version in pins.items()
    }.items()
