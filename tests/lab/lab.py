"""The whole lab: machines, networks and servers, brought up and taken down."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from . import cache, network
from .faults import Faults
from .ground import Ground, LabError, mounts_below, wait_until
from .machines import Host, Model, cgroup_parents, make_keys
from .network import DNS_ADDRESS, DOMAIN, MIRROR, MIRROR_NAME, PI4, PI5, PROXY
from .services import Mirror, NameServer

T = TypeVar("T")
TOOLS: tuple[str, ...] = (
    "debootstrap",
    "systemd-nspawn",
    "nft",
    "conntrack",
    "ip",
    "tc",
    "apt-ftparchive",
    "gcc",
    "openssl",
)
TOOLS += ("ssh", "ssh-keygen", "nsenter", "unshare", "setsid", "mkfs.ext4", "sysctl", "curl")


def state_directory(prefix: str) -> Path:
    """Where a lab with this prefix keeps its disks, keys and logs (LAB_DIR overrides the parent)."""
    return Path(os.environ.get("LAB_DIR", "/var/tmp/homek8s-lab")) / prefix


def default_prefix() -> str:
    """LAB_PREFIX lets several labs stand side by side."""
    return os.environ.get("LAB_PREFIX") or "lab"


def why_not() -> str | None:
    """Why this machine cannot host a lab, None when it can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"the lab needs {', '.join(missing)} (tests/lab/requirements.sh installs everything)"
    if not Path("/dev/net/tun").exists():
        return "the lab needs /dev/net/tun"
    if "overlay" not in Path("/proc/filesystems").read_text().split():
        subprocess.run(["modprobe", "overlay"], check=False, capture_output=True)
    parent = state_directory("x").parent
    parent.mkdir(parents=True, exist_ok=True)
    return _overlay_trouble(parent)


def _overlay_trouble(parent: Path) -> str | None:
    recipe = 'cd "$1"; mkdir lower upper work root; unshare --mount --propagation private sh -c "'
    recipe += 'mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root && touch root/file"'
    with tempfile.TemporaryDirectory(dir=parent, prefix=".probe.") as probe:
        done = subprocess.run(["sh", "-c", recipe, "lab", probe], check=False, capture_output=True, text=True)
    if done.returncode:
        return f"the lab needs an overlay file system in {parent}: {done.stderr.strip()}"
    return None


class Lab:
    """Three bare machines in their networks.

    `tools` is bound read-only to /opt/lab-tools in every machine. `prefix` and the state directory keep two
    labs apart; a second lab with the same prefix is refused while the first one lives.
    """

    def __init__(self, prefix: str | None = None, tools: Path | None = None) -> None:
        self.prefix = prefix or default_prefix()
        if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", self.prefix):
            raise LabError(f"not a prefix (a letter, then up to 7 letters and digits): {self.prefix}")
        self.directory = state_directory(self.prefix)
        self.ground = Ground(self.prefix, self.directory)
        self._tools = tools
        self._lock: IO[str] | None = None
        #: What the artefact mirror serves at https://mirror.example/. Made by `boot`, gone after `down`.
        self.artefacts_dir = self.directory / "artefacts"
        self.hosts: dict[str, Host] = {}

    # -- up and down ---------------------------------------------------------------------------------

    def boot(self) -> None:
        """Bring everything up and wait until SSH answers on all machines."""
        self._acquire()
        try:
            prepared = cache.prepare()
            self._remove()  # what a killed lab left behind
            self._lay_out(prepared)
            network.build(self.ground)
            for server in (self.dns, self.apt_mirror, self.artefact_mirror):
                server.start()
            _at_once(lambda host: host.reset(), self.hosts.values())
            _at_once(lambda host: host.wait_ssh(), self.hosts.values())
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Take everything down and leave nothing behind. Also cleans up after a lab that was killed."""
        self._acquire()
        self.leave_operator()
        try:
            self._remove()
        finally:
            self._release()

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _acquire(self) -> None:
        if self._lock is not None:
            return
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        lock = self.directory.with_name(f".{self.prefix}.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise LabError(
                f"process {holder} runs a lab with the prefix '{self.prefix}'; set LAB_PREFIX for another one"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _lay_out(self, prepared: cache.Prepared) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.artefacts_dir.mkdir(exist_ok=True)
        self.keys = make_keys(self.directory / "keys")
        #: The lab's certificate authority; the machines trust it already.
        self.ca_file = prepared.authority / "ca.crt"
        node, proxy = (prepared.node, prepared.base), (prepared.proxy, prepared.base)
        models = (
            Model(PROXY, proxy, "root", tools=self._tools),
            Model(PI4, node, "pi", sudo="NOPASSWD: ALL", tools=self._tools),
            Model(PI5, node, "pi", sudo="ALL", tools=self._tools),
        )
        self.hosts = {model.place.name: Host(self.ground, model, self.keys) for model in models}
        self.proxy, self.pi4, self.pi5 = (self.hosts[place.name] for place in (PROXY, PI4, PI5))
        self.faults = Faults(self.ground, self.hosts)
        records = dict.fromkeys((DOMAIN, f"*.{DOMAIN}"), PROXY.address)
        records[MIRROR_NAME] = MIRROR.address
        self.dns = NameServer(self.ground, "dns", DNS_ADDRESS, records)
        certificate, key = cache.issue(self.directory, "mirror", [MIRROR_NAME])
        plain = {"address": MIRROR.address, "port": 80, "certificate": None, "key": None}
        secret = {"address": MIRROR.address, "port": 443, "certificate": str(certificate), "key": str(key)}
        packages, artefacts = str(prepared.repository), str(self.artefacts_dir)
        self.apt_mirror = Mirror(self.ground, "apt-mirror", {**plain, "below": "/debian/", "directory": packages})
        self.artefact_mirror = Mirror(self.ground, "artefact-mirror", {**secret, "below": "/", "directory": artefacts})

    def _remove(self) -> None:
        found = sorted((self.directory / "hosts").glob("*/host.json"))
        _at_once(self._remove_host, [path.parent.name for path in found])
        network.tear_down(self.ground)
        for parent in cgroup_parents(self.ground):
            for group in sorted(parent.glob("**/"), key=lambda path: len(path.parts), reverse=True):
                wait_until(partial(_rmdir, group), f"{group} is empty", 5)
        for point in mounts_below(self.directory):
            self.ground.run(["umount", "--lazy", point])
        rest = mounts_below(self.directory)
        if rest:
            raise LabError(f"still mounted, so nothing is deleted: {', '.join(rest)}")
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def _remove_host(self, name: str) -> None:
        place = network.PLACES[name]
        nowhere = self.directory / "keys"
        Host(self.ground, Model(place, (), "root"), make_keys(nowhere)).discard()

    # -- machines ------------------------------------------------------------------------------------

    def reset(self, *names: str) -> None:
        """Put bare machines in place of these (of all when none is named) and wait until SSH answers."""
        hosts = [self.hosts[name] for name in names or self.hosts]

        def one(host: Host) -> None:
            host.reset()
            host.wait_ssh()

        _at_once(one, hosts)

    def restore(self) -> None:
        """End all faults of lines and servers and bring the name server's records back."""
        self.faults.restore()
        self.dns.restore()
        for server in (self.dns, self.apt_mirror, self.artefact_mirror):
            server.resume()
            server.start()
            server.forget()

    # -- places --------------------------------------------------------------------------------------

    def ns(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
        dns: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in one of the lab's namespaces, with the lab's name server."""
        return self.ground.run(self.ground.inside(name, argv, dns=dns), check=check, timeout=timeout, stdin=stdin)

    def popen(self, name: str, argv: Sequence[str | Path], *, dns: bool = True) -> subprocess.Popen[str]:
        """Start a command in one of the lab's namespaces."""
        return self.ground.popen(self.ground.inside(name, argv, dns=dns))

    def enter_operator(self) -> None:
        """Move this process into the operator's seat: from now on it sees the lab's network and names only."""
        self.ground.enter("operator")

    def leave_operator(self) -> None:
        """Move this process back."""
        self.ground.leave()


def _at_once(task: Callable[[T], None], items: Iterable[T]) -> None:
    """Do something with all items in parallel; the first trouble is raised when all have ended."""
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(task, item) for item in items]
    for job in jobs:
        job.result()


def _rmdir(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
