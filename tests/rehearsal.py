"""Building and running deploy/Dockerfile without a container engine.

Each stage is an overlay over this machine's own root, which takes the place of the base image; its
steps run in a chroot, as root, with mounts of their own. What they install from is the network's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = ["Image", "Instruction", "Stage", "build", "can_rehearse", "context", "parse"]

_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

# An interface to speak to oneself by; there is no other in a network namespace of its own.
_LOOPBACK = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))"
)


class Instruction(msgspec.Struct, frozen=True):
    """One instruction: its name, its flags, and the rest of the line as it stands."""

    name: str
    flags: dict[str, str]
    value: str

    @property
    def words(self) -> list[str]:
        """The value as an exec form or as words."""
        if self.value.startswith("["):
            found: list[str] = json.loads(self.value)
            return found
        return shlex.split(self.value)


class Stage(msgspec.Struct, frozen=True):
    """One stage of a build."""

    name: str
    base: str
    instructions: list[Instruction]

    def last(self, name: str) -> Instruction:
        """Return the instruction of this name that holds: the last."""
        return [each for each in self.instructions if each.name == name][-1]


def parse(text: str) -> list[Stage]:
    r"""Split a Dockerfile into stages; ARGs before the first are put into what they are used in.

    Examples
    --------
    >>> (stage,) = parse("ARG V=3\nFROM python:$V\nRUN a \\\n  # why\n  && b\nUSER 7")
    >>> stage.base, stage.last("RUN").value
    ('python:3', 'a && b')
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for line in filter(None, map(str.strip, whole.splitlines())):
        name, _, rest = line.partition(" ")
        flags: dict[str, str] = {}
        while flag := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[flag[1]] = flag[2]
            rest = rest[flag.end() :]
        if name == "FROM":
            base, _, called = _expand(rest, arguments).partition(" AS ")
            stages.append(Stage(called, base, []))
        elif not stages:
            key, _, value = rest.partition("=")
            arguments[key] = value
        else:
            stages[-1].instructions.append(Instruction(name, flags, rest))
    return stages


def _expand(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: known[found[1]], text)


def context(project: Path, ignore: str) -> list[Path]:
    """List what a build may see: of the project, what an ignore file excepts from `*`."""
    lines = [line for line in ignore.splitlines() if line and not line.startswith("#")]
    if lines[0] != "*":
        raise ValueError("expected an ignore file that leaves out everything first")
    return [project / line[1:] for line in lines if line.startswith("!")]


def can_rehearse() -> str:
    """Tell why an image cannot be rehearsed here; empty: it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can mount"
    for tool in ("unshare", "nsenter", "setpriv", "chroot"):
        if shutil.which(tool) is None:
            return f"no {tool}"
    return ""


class Image:
    """A root file system that grows, and how what is in it is started.

    Parameters
    ----------
    folder
        For what differs from this machine's root, on a file system that an overlay can be on.
    """

    def __init__(self, folder: Path) -> None:
        self.environment = {"PATH": _BASE_PATH}
        self.workdir = "/"
        self.user = "0:0"
        self._upper, self._work = folder / "upper", folder / "work"
        self._root, self._volumes = folder / "root", folder / "volumes"
        for each in (self._upper, self._work, self._root, self._volumes):
            each.mkdir(parents=True)
        # The base image's Python, where the base image has it.
        interpreter = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
        self._inside("/usr/local/bin").mkdir(parents=True)
        python = self._inside("/usr/local/bin/python")
        # No link: an environment that is made by it would look for the library beside the link.
        python.write_text(f'#!/bin/sh\nexec {interpreter} "$@"\n')
        python.chmod(0o755)
        for parent in interpreter.parents[:-1]:
            if not parent.stat().st_mode & 0o001:
                self._inside(str(parent)).mkdir(parents=True, mode=0o711)

    def _inside(self, path: str) -> Path:
        return self._upper / path.lstrip("/")

    def files(self, path: str) -> Path:
        """Say where something that a step has made can be looked at."""
        return self._inside(path)

    def volume(self, path: str) -> Path:
        """Say where what is written to a volume can be looked at."""
        return self._volumes / path.strip("/").replace("/", "-")

    def copy(self, source: Path, target: str) -> None:
        """Copy a file, or what is in a folder, as COPY does."""
        into = os.path.normpath(Path(self.workdir) / target)
        where = self._inside(into)
        if source.is_dir():
            shutil.copytree(source, where, symlinks=True, dirs_exist_ok=True)
            return
        where = where / source.name if target.endswith("/") else where
        where.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, where)

    def run(self, command: str, cache: str) -> None:
        """Run a step; `cache` is a folder that is kept among builds."""
        self._inside(self.workdir).mkdir(parents=True, exist_ok=True)
        mounts = []
        if cache:
            kept = Path.home() / ".cache" / "stream-al" / "rehearsal" / Path(cache).name
            kept.mkdir(parents=True, exist_ok=True)
            mounts = [f"mkdir -p {self._root}{cache}", f"mount --bind {kept} {self._root}{cache}"]
        # As a builder's own settings do: where packages come from, and who vouches for it.
        given = {name: each for name, each in os.environ.items() if name.startswith("PIP_")}
        environment = {**given, **self.environment}
        inside = f"cd {self.workdir} && {command}"
        line = ["chroot", str(self._root), "/bin/sh", "-euc", inside]
        self._call([*mounts, f"exec {shlex.join(line)}"], environment)

    def start(self, arguments: Sequence[str], volumes: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command as the image's user: read-only but for volumes and /tmp, no network."""
        root = self._root
        mounts = [f"{root}/usr/local/bin/python -c {shlex.quote(_LOOPBACK)}"]
        for path in volumes:
            kept = self.volume(path)
            if not kept.exists():
                # As an engine does: a new volume takes over what the image has there.
                shutil.copytree(self._inside(path), kept)
                found = self._inside(path).stat()
                os.chown(kept, found.st_uid, found.st_gid)
            mounts.append(f"mount --bind {kept} {root}{path}")
        mounts += [f"mount -t tmpfs tmpfs {root / 'tmp'}", f"mount -o remount,ro {root}"]
        uid, _, gid = self.user.partition(":")
        line = [
            *("chroot", str(root), "setpriv", f"--reuid={uid}", f"--regid={gid}"),
            *("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *("/bin/sh", "-c", f'cd {self.workdir} && exec "$@"', "sh", *arguments),
        ]
        script = self._script([*mounts, f"exec {shlex.join(line)}"])
        return subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation=private", "sh", "-euc", script],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def beside(self, pid: int, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command where a started one runs, as an engine runs a health check."""
        uid, _, gid = self.user.partition(":")
        enter = ["nsenter", f"--target={pid}", "--mount", "--net", "--root", "--wd"]
        return subprocess.run(
            [*enter, f"--setuid={uid}", f"--setgid={gid}", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def _script(self, commands: Sequence[str]) -> str:
        layers = f"lowerdir=/,upperdir={self._upper},workdir={self._work}"
        mounts = [
            f"mount -t overlay overlay -o {layers} {self._root}",
            *(f"mount --rbind /{each} {self._root}/{each}" for each in ("dev", "proc")),
        ]
        return "\n".join([*mounts, *commands])

    def _call(self, commands: Sequence[str], environment: Mapping[str, str]) -> None:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation=private", "sh", "-euc", self._script(commands)],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{commands[-1]}\nended with {done.returncode}:\n{done.stderr}")


def build(stages: Sequence[Stage], allowed: Sequence[Path], project: Path, folder: Path) -> Image:
    """Build all stages; return what the last one comes to.

    Raises
    ------
    RuntimeError
        With what a step said that failed.
    ValueError
        If there is an instruction that this does not know, or a COPY of what is left out.
    """
    images: dict[str, Image] = {}
    image = None
    for number, stage in enumerate(stages):
        image = images[stage.name] = Image(folder / f"stage-{number}")
        for step in stage.instructions:
            _take(image, step, images, allowed, project)
    if image is None:
        raise ValueError("there is no stage")
    return image


def _take(
    image: Image,
    step: Instruction,
    images: Mapping[str, Image],
    allowed: Sequence[Path],
    project: Path,
) -> None:
    if step.name == "RUN":
        cache = re.search(r"target=([^,]+)", step.flags.get("mount", ""))
        image.run(step.value, cache[1] if cache else "")
    elif step.name == "COPY":
        *sources, target = step.words
        for source in sources:
            if "from" in step.flags:
                image.copy(images[step.flags["from"]].files(source), target)
                continue
            found = project / source
            if not any(found == each or each in found.parents for each in allowed):
                raise ValueError(f"{source} is left out of what a build sees")
            image.copy(found, target)
    elif step.name in {"ENV", "ARG"}:
        for pair in step.words:
            name, _, value = pair.partition("=")
            image.environment[name] = _expand(value, image.environment)
    elif step.name == "WORKDIR":
        image.workdir = step.value
    elif step.name == "USER":
        image.user = step.value
    elif step.name not in {
        *("LABEL", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"),
    }:
        raise ValueError(f"{step.name}: this is not rehearsed")
