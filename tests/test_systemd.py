"""The systemd units: understood by systemd, of one mind with the program and its configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.shipped import DEPLOY
from wanting import missing

from stream_al.cli.settings import load

SYSTEMD = DEPLOY / "systemd"
UNIT = SYSTEMD / "stream-al@.service"
ROLES = ("gate", "ledger")


def value(key: str) -> list[str]:
    """Return what a key of the unit is set to."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("role", ROLES)
def test_systemd_understands_the_unit(tmp_path: Path, role: str) -> None:
    """systemd-analyze finds nothing amiss in the unit and its drop-in, and holds it contained."""
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze: Debian's package systemd has it")
    # It looks whether the program is there, which here is another.
    text = UNIT.read_text().replace("/opt/stream-al/bin/stream-al", sys.executable)
    folder = tmp_path / "stream-al@.service.d"
    folder.mkdir()
    (tmp_path / UNIT.name).write_text(text)
    (folder / "kafka.conf").write_text((SYSTEMD / "kafka.conf").read_text())
    unit = f"stream-al@{role}.service"
    done = subprocess.run(
        ["systemd-analyze", "verify", unit],
        cwd=tmp_path,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    exposure = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", f"./{unit}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposure.returncode == 0, exposure.stdout


def test_configuration_and_variables_are_understood() -> None:
    """Each role's file and variables give a configuration, with a port and instance of its own."""
    ports = set()
    for role in ROLES:
        lines = (SYSTEMD / f"{role}.env").read_text().splitlines()
        lines += [each.replace("%l", "machine") for each in value("Environment")]
        environment = dict(line.split("=", 1) for line in lines)
        config = load(SYSTEMD / "stream-al.toml", environment, {}).config
        assert config.log.instance == "machine"
        assert config.serve.host == "127.0.0.1"
        assert config.loop.state_dir == f"/var/lib/{value('StateDirectory')[0]}"
        assert config.log.path.startswith(f"{config.loop.state_dir}/")
        ports.add(config.serve.port)
    assert len(ports) == len(ROLES)


def test_the_password_is_a_credential() -> None:
    """With Kafka the password is handed over as a file, under the name that the variable tells."""
    text = (SYSTEMD / "kafka.conf").read_text()
    named = re.search(r"^LoadCredential=([\w-]+):/etc/", text, re.MULTILINE)
    told = re.search(r"^Environment=(\w+)=%d/([\w-]+)$", text, re.MULTILINE)
    assert named is not None
    assert told is not None
    assert named[1] == told[2]
    assert told[1] == "STREAM_AL__SECURITY__PASSWORD_FILE"


def test_what_would_fail_again_is_not_started_again() -> None:
    """Usage, configuration and bad input end for good; what `run` says may be repeated, is."""
    assert value("Restart") == ["on-failure"]
    assert value("RestartPreventExitStatus") == ["2 3"]
    assert value("User") == ["stream-al"]
    assert (SYSTEMD / "sysusers.conf").read_text().startswith("u stream-al ")
