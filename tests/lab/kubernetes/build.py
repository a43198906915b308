"""Builds the lab's Kubernetes from Go modules, once: `python -m tests.lab.kubernetes.build`.

The programs lie in the lab's cache, in entries whose names end in a hash of what they are made from (module
files, sources, flags). Every entry holds a manifest of its files, which is looked at on each use; an entry
that does not match it is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cache

K3S_VERSION = "v1.36.3+k3s1"
HERE = Path(__file__).resolve().parent
MANIFEST = "manifest.json"
#: What kwok makes nodes and pods do, from its own module.
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
_VERSION = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Part:
    """One Go module of ours, and the programs that are built from it."""

    name: str
    module: Path
    packages: tuple[str, ...]
    settings: tuple[str, ...] = ()  # variables the linker sets
    cgo: bool = False

    @property
    def flags(self) -> list[str]:
        """Arguments of `go build`."""
        linker = ["-s", "-w", *(f"-X {setting}" for setting in self.settings)]
        return ["-trimpath", "-ldflags", " ".join(linker)]

    @property
    def key(self) -> str:
        """A hash of everything the programs are made from."""
        sources = sorted(path for path in self.module.iterdir() if path.suffix in (".go", ".mod", ".sum"))
        contents = [part for path in sources for part in (path.name, path.read_bytes())]
        return cache.digest(*contents, *self.packages, *self.flags, str(self.cgo))


# One module for all of Kubernetes: its programs share most of their packages, so each is compiled once.
KUBERNETES = Part(
    "kubernetes",
    HERE / "modules" / "kubernetes",
    tuple(
        f"k8s.io/kubernetes/cmd/{program}"
        for program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    ),
    (
        f"{_VERSION}.gitVersion={K3S_VERSION}",
        f"{_VERSION}.gitMajor=1",
        f"{_VERSION}.gitMinor=36",
        f"{_VERSION}.gitTreeState=clean",
    ),
)
# kine's SQLite is C; the pure Go one would be slower at every write.
KINE = Part("kine", HERE / "modules" / "kine", ("github.com/k3s-io/kine",), cgo=True)
KWOK = Part(
    "kwok",
    HERE / "modules" / "kwok",
    ("sigs.k8s.io/kwok/cmd/kwok",),
    ("sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0",),
)
K3S = Part("k3s", HERE / "k3s", (".",), (f"main.version={K3S_VERSION}",))
PARTS = (KUBERNETES, KINE, KWOK, K3S)


def binaries() -> Path:
    """The directory with all programs, `k3s` and `kwok-stages/`, for the hosts' /opt/lab-tools.

    The first call takes some minutes, later ones some milliseconds.
    """
    key = cache.digest(*(part.key for part in PARTS), *STAGES)
    return entry("kubernetes-tools", key, _assemble)


def k3s_program() -> Path:
    """The stand-in alone, which is what the artefact mirror serves as K3s."""
    return _part(K3S) / "k3s"


def entry(name: str, key: str, make: Callable[[Path, Path], None]) -> Path:
    """A cache entry with a manifest, made anew when its files do not match that."""

    def with_manifest(out: Path, scratch: Path) -> None:
        make(out, scratch)
        _write_manifest(out)

    found = cache.build(name, key, with_manifest)
    trouble = damage(found)
    if trouble is not None:
        print(f"{found} is damaged ({trouble}); making it anew", file=sys.stderr)
        _discard(found)
        found = cache.build(name, key, with_manifest)
    return found


def _discard(path: Path) -> None:
    """Take an entry away in one step, so that no other process can find half of it."""
    grave = Path(tempfile.mkdtemp(prefix=f".{path.name}.bad.", dir=path.parent))
    path.rename(grave / "entry")
    shutil.rmtree(grave)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_manifest(directory: Path) -> None:
    content = {}
    for path in _files(directory):
        state = path.stat()
        name = str(path.relative_to(directory))
        content[name] = {
            "sha256": _sha256(path),
            "size": state.st_size,
            "mode": state.st_mode & 0o777,
            "mtime": state.st_mtime_ns,
        }
    (directory / MANIFEST).write_text(json.dumps(content, indent=1))


def damage(directory: Path) -> str | None:
    """What is wrong with an entry, None when it is as it was built.

    A file with the size and the time it was built with counts as unchanged; one with another time (a cache
    that was copied) is read and compared.
    """
    try:
        expected = json.loads((directory / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        return f"no manifest: {error}"
    names = {str(path.relative_to(directory)) for path in _files(directory)}
    if names != set(expected):
        return f"other files than built: {', '.join(sorted(names ^ set(expected)))}"
    for name, wanted in expected.items():
        state = (directory / name).stat()
        if state.st_size != wanted["size"] or state.st_mode & 0o777 != wanted["mode"]:
            return f"{name} has another size or mode than built"
        if state.st_mtime_ns != wanted["mtime"] and _sha256(directory / name) != wanted["sha256"]:
            return f"{name} has another content than built"
    return None


def _assemble(out: Path, scratch: Path) -> None:
    for part in PARTS:
        for source in _files(_part(part)):
            target = out / source.relative_to(_part(part))
            target.parent.mkdir(exist_ok=True)
            os.link(source, target)


def _part(part: Part) -> Path:
    return entry(f"kubernetes-part-{part.name}", cache.digest(part.key, *STAGES), _maker(part))


def _maker(part: Part) -> Callable[[Path, Path], None]:
    def make(out: Path, scratch: Path) -> None:
        started = time.monotonic()
        _go(part, "build", "-mod=readonly", *part.flags, "-o", f"{out}/", *part.packages)
        if part is KWOK:
            module = Path(_go(part, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok").strip())
            (out / "kwok-stages").mkdir()
            for stage in STAGES:
                source = module / "kustomize" / "stage" / stage
                shutil.copyfile(source, out / "kwok-stages" / source.name)
        for path in _files(out):
            path.chmod(0o644 if path.suffix == ".yaml" else 0o755)
        print(f"built {part.name} in {time.monotonic() - started:.0f} s", file=sys.stderr)

    return make


def _go(part: Part, *arguments: str) -> str:
    go = shutil.which("go") or "/usr/local/go/bin/go"
    settings = {"CGO_ENABLED": "1" if part.cgo else "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    environment = {**os.environ, **settings}
    try:
        done = subprocess.run(
            [go, *arguments],
            cwd=part.module,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise cache.CacheError(f"building {part.name} for the lab needs Go: {error}") from error
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise cache.CacheError(f"building {part.name} for the lab failed:\n{tail}")
    return done.stdout


if __name__ == "__main__":
    print(binaries())
