"""The lab's machines: bare Debian hosts under systemd-nspawn."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ground import Ground, LabError, alive, wait_until
from .network import DNS_ADDRESS, MIRROR_NAME, Place

USER = "pi"
PASSWORD = "raspberry"
CONTROLLERS = ("systemd", "memory", "freezer", "cpu", "cpuacct", "pids", "unified")
CGROUPS = Path("/sys/fs/cgroup")
_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Keys:
    """The operator's SSH keys: one as it is, one that a passphrase protects. Every host lets both in."""

    plain: Path
    guarded: Path
    passphrase: str

    @property
    def authorized(self) -> str:
        """What authorized_keys holds."""
        return "".join(path.with_suffix(".pub").read_text() for path in (self.plain, self.guarded))


@dataclass(frozen=True)
class Model:
    """What a kind of machine is made of, and who may do what on it."""

    place: Place
    layers: tuple[Path, ...]
    user: str
    sudo: str | None = None
    tools: Path | None = None


def make_keys(directory: Path) -> Keys:
    """Make the operator's keys in this directory, unless they are there."""
    keys = Keys(directory / "id_ed25519", directory / "id_guarded", "open sesame")
    directory.mkdir(mode=0o700, exist_ok=True)
    for path, passphrase in ((keys.plain, ""), (keys.guarded, keys.passphrase)):
        if not path.exists():
            _keygen(path, passphrase, "operator@lab")
    return keys


def _keygen(path: Path, passphrase: str, comment: str) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", comment, "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def cgroup_parents(ground: Ground) -> list[Path]:
    """The lab's cgroup directory in each hierarchy: one in version 2, one a controller in version 1."""
    name = f"homek8s-{ground.prefix}"
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / name]
    found = {(CGROUPS / controller).resolve() for controller in CONTROLLERS if (CGROUPS / controller).is_dir()}
    return sorted(path / name for path in found)


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] not in ("Z", "X"):
                found.append(int(entry.name))
    return found


def _kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it was faster
        os.kill(pid, number)


class Host:
    """One machine of the lab."""

    def __init__(self, ground: Ground, model: Model, keys: Keys) -> None:
        self._ground = ground
        self._model = model
        self._keys = keys
        self.name = model.place.name
        self.place = model.place
        self.address = model.place.address
        #: Who logs in by SSH.
        self.user = model.user
        self.directory = ground.directory / "hosts" / self.name
        self.console = self.directory / "console"

    # -- power ---------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Start the host on the disk it has (a fresh one when it has none). Does not wait for SSH."""
        self._start("on", None)

    def power_off(self, seconds: float = 100) -> None:
        """Shut the host down in good order; pulls the plug when that takes too long."""
        state = self._state()
        supervisor, nspawn = state.get("supervisor"), state.get("nspawn")
        if supervisor is None or not self._supervised(supervisor):
            return
        self.thaw()
        (self.directory / "off").touch()
        if nspawn is not None:
            _kill(nspawn, signal.SIGTERM)  # nspawn hands it on as an order to power off
        try:
            wait_until(lambda: not alive(supervisor), f"{self.name} is off", seconds)
        except LabError:
            self.power_cut()

    def power_cut(self) -> None:
        """Take the host's power away, in the middle of whatever it does."""
        supervisor = self._state().get("supervisor")
        if supervisor is None or not self._supervised(supervisor):
            return
        self.thaw()
        (self.directory / "off").touch()

        # Killing nspawn itself would leave its host running without anybody to end it. Its child is the
        # host's first process: with that one gone the kernel ends all the others, and nspawn tidies up.
        def gone() -> bool:
            nspawn = self._state().get("nspawn")
            if nspawn is not None:
                for pid in _children(nspawn):
                    _kill(pid, signal.SIGKILL)
            return not alive(supervisor)

        wait_until(gone, f"{self.name} is off", 15)

    def reset(self, *, disk: str | None = None) -> None:
        """Put a bare host in place of this one: new disk, same identity. `disk="100M"` makes it a small one.

        Does not wait for SSH.
        """
        self.power_cut()
        self._start("fresh", disk)

    def reboot(self, seconds: float = 60) -> None:
        """Order a reboot from inside and wait until SSH answers again."""
        before = self.boot_id()
        self.run("systemctl reboot", check=False)
        self.wait_reboot(before, seconds)

    def wait_reboot(self, before: str, seconds: float = 60) -> None:
        """Wait until the host runs with another boot id than `before` and answers SSH."""

        def again() -> bool:
            try:
                return self.boot_id() not in ("", before)
            except LabError:
                return False

        wait_until(again, f"{self.name} has rebooted", seconds)
        self.wait_ssh(seconds)

    def discard(self) -> None:
        """Cut the power and throw the disk away."""
        self.power_cut()
        config = self._configure("clear", None)
        supervisor = Path(__file__).resolve().parent / "supervisor.py"
        self._ground.run([sys.executable, "-I", "-S", supervisor, config])

    @property
    def is_on(self) -> bool:
        """Whether the host has power."""
        state = self._state()
        return bool(state.get("nspawn")) and self._supervised(state["supervisor"])

    @property
    def init(self) -> int:
        """The process id of the host's first process as the machine sees it."""
        nspawn = self._state().get("nspawn")
        children = _children(nspawn) if nspawn is not None else []
        if not children:
            raise LabError(f"{self.name} is off")
        return min(children)

    # -- talking to it -------------------------------------------------------------------------------

    def wait_ssh(self, seconds: float = 30) -> None:
        """Wait until the host's user can log in by SSH from the operator's seat."""
        wait_until(self._banner, f"{self.name} answers on port 22", seconds)

        def login() -> bool:
            try:
                return self.ssh("true", check=False, timeout=10).returncode == 0
            except subprocess.TimeoutExpired:
                return False

        wait_until(login, f"{self.user}@{self.name} can log in", seconds)

    def _banner(self) -> bool:
        try:
            with self._ground.connect("operator", (self.address, 22), 1) as connection:
                return connection.recv(8).startswith(b"SSH-2.0")
        except OSError:
            return False

    def ssh_command(self, *, user: str | None = None, key: Path | None = None) -> list[str]:
        """The ssh command line up to and including the destination (to run in a namespace of the lab)."""
        options = {
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "3",
            "LogLevel": "ERROR",
        }
        argv = ["ssh", "-F", "/dev/null", "-i", str(key or self._keys.plain)]
        argv += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [*argv, f"{user or self.user}@{self.address}"]

    def ssh(
        self,
        command: str | Sequence[str],
        *,
        user: str | None = None,
        key: Path | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host by SSH from the operator's namespace."""
        line = command if isinstance(command, str) else shlex.join(command)
        argv = self._ground.inside("operator", [*self.ssh_command(user=user, key=key), line], dns=False)
        return self._ground.run(argv, stdin=stdin, check=check, timeout=timeout)

    def run(
        self,
        script: str,
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
        arguments: Sequence[str] = (),
    ) -> str:
        """Run a bash script as root straight in the host, past its network and SSH; returns its stdout.

        `arguments` are its $1, $2 and so on.
        For a test's own errands: these do not show in `executions`.
        """
        # A host that goes down stops and continues all its processes. nsenter, waiting for one, would stop
        # along with it for good and never collect it, and the host's end would wait for that: so a shell,
        # itself still outside the host's process namespace, does the waiting.
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--no-fork"]
        step = ["nsenter", "--target", str(self.init), *spaces, "--", "/bin/sh", "-c", '"$@"; exit $?', "lab"]
        clean = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        argv = [*step, "env", "-i", *clean, "LAB_SILENT=1", "bash", "-c", script, "lab", *arguments]
        # The way to `env` is itself a program start in the host, so the silence has to begin before it.
        silent = {**os.environ, "LAB_SILENT": "1"}
        return self._ground.run(argv, check=check, timeout=timeout, stdin=stdin, env=silent).stdout

    def read(self, path: str) -> str:
        """The content of a file on the host."""
        return self.run(f"cat -- {shlex.quote(path)}")

    def write(self, path: str, content: str) -> None:
        """Write a file on the host, and the directories it needs."""
        target = shlex.quote(path)
        self.run(f'mkdir -p -- "$(dirname -- {target})" && cat > {target}', stdin=content)

    def exists(self, path: str) -> bool:
        """Whether the host has such a file."""
        return self.run(f"test -e {shlex.quote(path)} && echo yes", check=False) == "yes\n"

    def boot_id(self) -> str:
        """Tells one boot from another."""
        try:
            return Path(f"/proc/{self.init}/root/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            raise LabError(f"{self.name} is going down or coming up") from None

    # -- what it did ---------------------------------------------------------------------------------

    @property
    def _record(self) -> Path:
        return self.directory / "record" / "executions"

    def mark(self) -> int:
        """A point in the record of program starts, for `executions(since=...)`."""
        return self._record.stat().st_size

    def executions(self, since: int = 0) -> list[list[str]]:
        """The argument lists of the programs that were started on the host, in order.

        Dynamically linked programs only; the record is emptied by a reset and goes on over a reboot.
        """
        return read_record(self._record, since)

    # -- identity ------------------------------------------------------------------------------------

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the key that this host really has."""
        return self.directory / "known_hosts"

    @property
    def host_key(self) -> str:
        """The public host key, as `type base64`."""
        return " ".join((self.directory / "hostkey.pub").read_text().split()[:2])

    def change_host_key(self) -> None:
        """Give the host another SSH key, as a reinstalled machine or an impostor would have.

        `known_hosts` of the lab keeps up; what the product remembers does not.
        """
        self._new_host_key()
        if self.is_on:
            key = shlex.quote("/etc/ssh/ssh_host_ed25519_key")
            self.run(f"umask 077; cat > {key}", stdin=(self.directory / "hostkey").read_text())
            self.run(f"cat > {key}.pub", stdin=(self.directory / "hostkey.pub").read_text())
            self.run("systemctl restart ssh")

    def _new_host_key(self) -> None:
        for name in ("hostkey", "hostkey.pub"):
            (self.directory / name).unlink(missing_ok=True)
        _keygen(self.directory / "hostkey", "", self.name)
        self.known_hosts.write_text(f"{self.address} {self.host_key}\n")

    # -- time stands still ---------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stop every process of the host. Its network still answers pings and opens connections."""
        self._freezer("FROZEN", "1")
        path, _, frozen = self._freezer_state()
        wait_until(lambda: frozen in path.read_text().split("\n"), f"{self.name} is frozen", 10)

    def thaw(self) -> None:
        """Let the host go on after `freeze`."""
        self._freezer("THAWED", "0")

    def _freezer_state(self) -> tuple[Path, bool, str]:
        for parent in cgroup_parents(self._ground):
            group = parent / self.name
            if (group / "freezer.state").exists():
                return group / "freezer.state", False, "FROZEN"
            if (group / "cgroup.freeze").exists() and len(cgroup_parents(self._ground)) == 1:
                return group / "cgroup.events", True, "frozen 1"
        return Path("/nonexistent"), False, ""

    def _freezer(self, old: str, new: str) -> None:
        path, unified, _ = self._freezer_state()
        if unified:
            path.with_name("cgroup.freeze").write_text(new)
        elif path.exists():
            path.write_text(old)

    # -- inside --------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads((self.directory / "state.json").read_text())
        except FileNotFoundError:
            return {}
        return state

    def _supervised(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return False
        return str(self.directory / "host.json") in words and alive(pid)

    def _start(self, task: str, disk: str | None) -> None:
        state = self._state()
        supervisor = state.get("supervisor")
        if supervisor is not None and self._supervised(supervisor):
            if state["phase"] != "off":
                raise LabError(f"{self.name} is on already")
            wait_until(lambda: not alive(supervisor), f"{self.name} is off", 5)
        for name in ("state.json", "off"):
            (self.directory / name).unlink(missing_ok=True)
        config = self._configure(task, disk)
        if task == "fresh":
            self._record.write_text("")
        log = self.directory / "supervisor.log"
        self._ground.detach("supervisor.py", config, log)
        wait_until(lambda: self._state().get("phase") in ("on", "off"), f"{self.name} is powered", 20, pause=0.005)
        if self._state()["phase"] == "off":
            raise LabError(f"{self.name} did not start:\n{log.read_text()[-2000:]}")

    def _configure(self, task: str, disk: str | None) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        record = self.directory / "record"
        record.mkdir(exist_ok=True)
        self._record.touch()
        self._record.chmod(0o666)
        if not (self.directory / "hostkey").exists():
            self._new_host_key()
        binds = ["--bind=/dev/net/tun", f"--bind={record}:/var/log/lab-record"]
        if self._model.tools is not None:
            binds.append(f"--bind-ro={self._model.tools}:/opt/lab-tools")
        place = self.place
        config = {
            "task": task,
            "name": self.name,
            "directory": str(self.directory),
            "layers": [str(layer) for layer in self._model.layers],
            "size": _bytes(disk) if disk else None,
            "namespace": self._ground.namespace(self.name),
            "bridge": self._ground.namespace(place.bridge),
            "port": place.port,
            "mac": place.mac,
            "address": place.address,
            "gateway": place.gateway,
            "cgroups": [str(parent / self.name) for parent in cgroup_parents(self._ground)],
            "binds": binds,
            "files": self._files(),
        }
        path = self.directory / "host.json"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    def _files(self) -> list[dict[str, Any]]:
        """What makes a bare system this host."""

        def item(path: str, content: str, mode: int = 0o644, owner: int = 0) -> dict[str, Any]:
            return {"path": path, "content": content, "mode": mode, "owner": owner}

        hostkey = self.directory / "hostkey"
        sshd = "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        sshd += "PermitRootLogin " + ("prohibit-password" if self.user == "root" else "no") + "\n"
        home, owner = ("/root", 0) if self.user == "root" else (f"/home/{self.user}", 1000)
        files = [
            item("/etc/hostname", self.name + "\n"),
            item("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n"),
            item("/etc/resolv.conf", f"nameserver {DNS_ADDRESS}\noptions timeout:2 attempts:2\n"),
            item("/etc/apt/sources.list", f"deb [trusted=yes] http://{MIRROR_NAME}/debian ./\n"),
            item("/etc/ssh/sshd_config.d/10-lab.conf", sshd),
            item("/etc/ssh/ssh_host_ed25519_key", hostkey.read_text(), 0o600),
            item("/etc/ssh/ssh_host_ed25519_key.pub", hostkey.with_suffix(".pub").read_text()),
            item(f"{home}/.ssh/authorized_keys", self._keys.authorized, 0o600, owner),
        ]
        if self._model.sudo is not None:
            files.append(item(f"/etc/sudoers.d/{self.user}", f"{self.user} ALL=(ALL) {self._model.sudo}\n", 0o440))
        return files

    def forget_identity(self) -> None:
        """Remove the host key that outlives resets; the next reset makes a new one."""
        for name in ("hostkey", "hostkey.pub", "known_hosts"):
            (self.directory / name).unlink(missing_ok=True)


def read_record(path: Path, since: int = 0) -> list[list[str]]:
    """The argument lists in a record of program starts, from a point on."""
    with path.open("rb") as file:
        file.seek(since)
        lines = file.read().decode(errors="replace").split("\n")[:-1]
    return [[_unescape(word) for word in line.split("\t")[2:]] for line in lines]


def _bytes(size: str) -> int:
    unit = _SIZES.get(size[-1:].upper())
    return int(size[:-1]) * unit if unit else int(size)


def _unescape(word: str) -> str:
    if "\\" not in word:
        return word
    letters = iter(word)
    plain = {"n": "\n", "t": "\t", "\\": "\\"}
    return "".join(plain.get(next(letters, ""), "") if letter == "\\" else letter for letter in letters)
