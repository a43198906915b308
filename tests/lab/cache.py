"""What the lab downloads or builds once: the base system, its layers, the apt repository, the lab's CA.

Everything lies in one directory outside the checkout. The name of an entry ends in a hash of what the entry
was made from, so a changed recipe makes a new entry and never reuses a stale one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

SUITE = "bookworm"
BASE_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
    "procps",
)
PROXY_PACKAGES = ("curl",)
#: What the lab's apt repository can install (with everything these depend on and the base does not have).
REPOSITORY_PACKAGES = (
    "wireguard-tools",
    "wireguard-go",
    "nginx-light",
    "jq",
    "nftables",
    "iptables",
    "open-iscsi",
    "python3-minimal",
    "python3",
    "python3-apt",
    "curl",
)
SOURCE = Path(__file__).resolve().parent

# Takes out of the freshly installed system what must differ between hosts, what would reach for the
# internet, and what cannot work in a container.
_BASE_RECIPE = r"""
root=$1
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
cp "$2" "$root/usr/local/share/ca-certificates/homek8s-lab.crt"
chroot "$root" update-ca-certificates
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/etc/hostname"
rm -f "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/log/*.log
rm -rf "$root"/var/lib/apt/lists/* "$root"/etc/apt/sources.list.d/*
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"
ln -s /etc/machine-id "$root/var/lib/dbus/machine-id"
: > "$root/etc/fstab"
: > "$root/etc/default/locale"
units=$root/etc/systemd/system
for timer in apt-daily apt-daily-upgrade e2scrub_all fstrim dpkg-db-backup; do
    rm -f "$units/timers.target.wants/$timer.timer"
done
rm -f "$units"/multi-user.target.wants/e2scrub_reap.service
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-udev-trigger.service systemd-pstore.service console-getty.service; do
    ln -sf /dev/null "$units/$unit"
done
mkdir -p "$root/var/log/journal" "$root/var/log/lab-record" "$root/opt/lab-tools" "$root/usr/lib/lab"
cp "$3" "$root/usr/lib/lab/record.so"
chmod 644 "$root/usr/lib/lab/record.so"
echo /usr/lib/lab/record.so > "$root/etc/ld.so.preload"
"""

# Runs a command in a throw-away overlay of the base that can reach the machine's own package mirror.
_LAYER_RECIPE = r"""
base=$1 upper=$2 work=$3 merged=$4 mirror=$5 suite=$6 command=$7
export DEBIAN_FRONTEND=noninteractive LC_ALL=C LAB_SILENT=1
mount -t overlay overlay -o "lowerdir=$base,upperdir=$upper,workdir=$work" "$merged"
mount -t proc proc "$merged/proc"
mount --bind /dev "$merged/dev"
cat /etc/resolv.conf > "$merged/etc/resolv.conf"
echo "deb $mirror $suite main" > "$merged/etc/apt/sources.list"
chroot "$merged" sh -euc "$command"
: > "$merged/etc/apt/sources.list"
rm -rf "$merged/etc/resolv.conf" "$merged"/var/lib/apt/lists/* "$merged"/var/cache/apt/*.bin
rm -f "$merged"/var/cache/apt/archives/*.deb
umount "$merged/dev"
umount "$merged/proc"
umount "$merged"
"""
_NODE_COMMAND = "useradd --create-home --uid 1000 --shell /bin/bash pi; echo pi:raspberry | chpasswd"
_PROXY_COMMAND = "apt-get -q update; apt-get -q install -y --no-install-recommends " + " ".join(PROXY_PACKAGES)
_FETCH_COMMAND = (
    "mkdir -p /lab-debs/partial; apt-get -q update; "
    "apt-get -q install -y --no-install-recommends --download-only -o Dir::Cache::archives=/lab-debs "
    + " ".join(REPOSITORY_PACKAGES)
)
_INDEX_RECIPE = r"""
cd "$1"
apt-ftparchive packages pool > Packages
gzip -9nk Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=homek8s-lab -o APT::FTPArchive::Release::Suite=lab \
    release . > ../Release
mv ../Release Release
"""
_CA_RECIPE = r"""
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=homek8s lab CA" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$1/ca.key" -out "$1/ca.crt"
"""


class CacheError(RuntimeError):
    """Something the lab needs once could not be downloaded or built."""


def directory() -> Path:
    """The lab's cache directory (made when missing)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(home) / "homek8s-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts: str | bytes) -> str:
    """A short key for what an entry is made from."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(b"%d:" % len(data) + data)
    return total.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(name: str, key: str, make: Callable[[Path, Path], None]) -> Path:
    """The entry `name-key`, made by `make(out, scratch)` unless it is there.

    `out` becomes the entry by a rename at the end, `scratch` is thrown away: a build that dies half way
    leaves nothing that looks finished. Two processes that want the same entry wait for each other.
    """
    root = directory()
    final = root / f"{name}-{key}"
    if final.exists():
        return final
    with _locked(root / f".{name}.lock"):
        if final.exists():
            return final
        for leftover in root.glob(f".{name}.tmp.*"):  # of a build that was killed; we hold its lock now
            shutil.rmtree(leftover)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}.tmp.", dir=root))
        try:
            scratch.chmod(0o755)
            out = scratch / "out"
            out.mkdir()
            out.chmod(0o755)  # the umask must not become the mode of a host's root directory
            make(out, scratch)
            out.rename(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return final


def _script(log: str, recipe: str, *arguments: str | Path) -> None:
    """Run a recipe in a mount namespace of its own, so a killed build leaves no mount behind."""
    logs = directory() / "log"
    logs.mkdir(exist_ok=True)
    path = logs / f"{log}.log"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", recipe, "lab"]
    with path.open("w") as file:
        done = subprocess.run(
            [*command, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        tail = "\n".join(path.read_text(errors="replace").splitlines()[-15:])
        raise CacheError(f"building '{log}' for the lab failed (all of it in {path}):\n{tail}")


def machine_mirror() -> str:
    """The Debian mirror that the machine's own apt sources name."""
    found: list[tuple[str, list[str]]] = []
    apt = Path("/etc/apt")
    for path in [*sorted(apt.glob("sources.list.d/*.sources")), apt / "sources.list"]:
        if path.suffix == ".sources":
            found += _deb822(path.read_text())
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        if path.exists():
            found += _one_line(path.read_text())
    for uri, suites in found:
        if SUITE in suites:
            return uri
    for uri, _ in found:
        if urlsplit(uri).path.rstrip("/").endswith("/debian"):
            return uri
    raise CacheError("no Debian mirror in this machine's apt sources (/etc/apt/sources.list and sources.list.d)")


def _deb822(text: str) -> list[tuple[str, list[str]]]:
    found = []
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in stanza.splitlines():
            if ":" in line and not line.startswith(("#", " ", "\t")):
                name, _, value = line.partition(":")
                fields[name.strip().lower()] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            found += [(uri, fields.get("suites", "").split()) for uri in fields.get("uris", "").split()]
    return found


def _one_line(text: str) -> list[tuple[str, list[str]]]:
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words[:1] != ["deb"]:
            continue
        words = words[1:]
        if words and words[0].startswith("["):
            while words and not words.pop(0).endswith("]"):
                pass
        if len(words) >= 2:
            found.append((words[0], [words[1]]))
    return found


def authority() -> Path:
    """The directory with the lab's certificate authority: ca.crt and ca.key."""
    return build("ca", digest(_CA_RECIPE), lambda out, scratch: _script("ca", _CA_RECIPE, out))


def issue(target: Path, name: str, hosts: list[str]) -> tuple[Path, Path]:
    """Make a certificate for these host names with the lab's CA; returns its and its key's path."""
    recipe = r"""
cd "$1"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$5" -keyout "$2.key" -out "$2.csr"
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$3" > "$2.ext"
openssl x509 -req -in "$2.csr" -CA "$4/ca.crt" -CAkey "$4/ca.key" -set_serial "0x$(openssl rand -hex 12)" \
    -days 365 -extfile "$2.ext" -out "$2.crt"
rm -f "$2.csr" "$2.ext"
"""
    names = ",".join(f"DNS:{host}" for host in hosts)
    _script(f"certificate-{name}", recipe, target, name, names, authority(), hosts[0])
    return target / f"{name}.crt", target / f"{name}.key"


def recorder(where: Literal["host", "operator"] = "host") -> Path:
    """The library that writes down every program start: on a host, or of the operator's own programs.

    The operator's is named in LD_PRELOAD, and its record in LAB_RECORD.
    """
    source = SOURCE / "record.c"
    other = """-include stdlib.h -DRECORD='getenv("LAB_RECORD")' """ if where == "operator" else ""
    recipe = f'gcc -Wall -Wextra -Werror -O2 -fPIC -shared {other}-o "$1/record.so" "$2"'
    entry = build(
        "record",
        digest(recipe, source.read_bytes()),
        lambda out, scratch: _script("record", recipe, out, source),
    )
    return entry / "record.so"


def base() -> Path:
    """The root file system that all hosts have in common."""
    certificate, library = authority() / "ca.crt", recorder()
    install = f'debootstrap --variant=minbase --include={",".join(BASE_PACKAGES)} {SUITE} "$1" "$4"\n' + _BASE_RECIPE

    def make(out: Path, scratch: Path) -> None:
        _script("base", install, out, certificate, library, machine_mirror())
        out.chmod(0o755)

    return build("base", digest(install, certificate.read_bytes(), library.read_bytes()), make)


def _layer(name: str, command: str) -> Path:
    """What `command` changes in the base, as a further lower directory."""
    system = base()

    def make(out: Path, scratch: Path) -> None:
        work, merged = scratch / "work", scratch / "merged"
        work.mkdir()
        merged.mkdir()
        _script(name, _LAYER_RECIPE, system, out, work, merged, machine_mirror(), SUITE, command)

    return build(name, digest(system.name, _LAYER_RECIPE, command), make)


def repository() -> Path:
    """The lab's apt repository: the packages that plans install, and what those need beyond the base."""
    system = base()

    def make(out: Path, scratch: Path) -> None:
        upper, work, merged = scratch / "upper", scratch / "work", scratch / "merged"
        for path in (upper, work, merged):
            path.mkdir()
        mirror = machine_mirror()
        _script("repository", _LAYER_RECIPE, system, upper, work, merged, mirror, SUITE, _FETCH_COMMAND)
        (out / "pool").mkdir()
        for package in sorted((upper / "lab-debs").glob("*.deb")):
            package.rename(out / "pool" / package.name)
            (out / "pool" / package.name).chmod(0o644)
        _script("repository-index", _INDEX_RECIPE, out)

    return build("repository", digest(system.name, _LAYER_RECIPE, _FETCH_COMMAND, _INDEX_RECIPE), make)


@dataclass(frozen=True)
class Prepared:
    """Where everything lies that the lab needs once."""

    base: Path
    node: Path
    proxy: Path
    repository: Path
    authority: Path


def prepare() -> Prepared:
    """Fill the cache. Takes a minute or two the first time and no time afterwards."""
    return Prepared(
        base=base(),
        node=_layer("node", _NODE_COMMAND),
        proxy=_layer("proxy", _PROXY_COMMAND),
        repository=repository(),
        authority=authority(),
    )
