"""Running commands on the ground the lab stands on, wherever the calling process has moved itself.

The lab's machines are managed from the machine's own (root) namespaces. A test process, though, sits in the
operator's seat: another network namespace and a mount namespace of its own. `Ground` keeps a handle on the
namespaces the process came from, and every management command is a child that first steps back into them.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_FS = 0x00000200
CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)

# Gives a command the lab's name server without touching the machine's /etc/resolv.conf.
_WITH_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class LabError(RuntimeError):
    """The lab could not do what it was asked."""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _setns(handle: int, kind: int) -> None:
    _check(_libc.setns(handle, kind), "setns")


def _mount(source: str | None, target: str, flags: int) -> None:
    origin = source.encode() if source is not None else None
    _check(_libc.mount(origin, target.encode(), None, ctypes.c_ulong(flags), None), f"mount on {target}")


def alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not, though a signal still reaches it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def wait_until(ready: Callable[[], bool], what: str, seconds: float, pause: float = 0.02) -> None:
    """Poll until `ready` says yes; LabError naming `what` when the deadline passes first."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


def mounts_below(path: Path) -> list[str]:
    """The mount points at and below a directory in the caller's mount namespace, deepest first."""
    top = str(path)
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].replace("\\040", " ")
        if point == top or point.startswith(top + "/"):
            points.append(point)
    return sorted(points, key=len, reverse=True)


class Ground:
    """The lab's prefix, its state directory, and commands in the right namespaces."""

    def __init__(self, prefix: str, directory: Path) -> None:
        self.prefix = prefix
        self.directory = directory
        self.resolver = directory / "resolv.conf"
        self._home: tuple[int, int] | None = None

    def namespace(self, name: str) -> str:
        """The machine-wide name of one of the lab's network namespaces."""
        return f"{self.prefix}-{name}"

    @property
    def entered(self) -> bool:
        """Whether the process sits in the operator's seat."""
        return self._home is not None

    def _from_home(self, argv: Sequence[str | Path]) -> tuple[list[str], tuple[int, ...]]:
        command = [str(word) for word in argv]
        if self._home is None:
            return command, ()
        net, mounts = self._home
        step = ["nsenter", f"--net=/proc/self/fd/{net}", f"--mount=/proc/self/fd/{mounts}", "--"]
        return step + command, self._home

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the root namespaces; LabError with its output when it fails and `check` is set."""
        command, handles = self._from_home(argv)
        done = subprocess.run(
            command,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            pass_fds=handles,
            env=env,
            check=False,
        )
        if check and done.returncode:
            shown = " ".join(str(word) for word in argv)
            raise LabError(f"exit {done.returncode} of: {shown}\n{done.stdout}{done.stderr}".rstrip())
        return done

    def inside(self, name: str, argv: Sequence[str | Path], *, dns: bool = True) -> list[str | Path]:
        """The command that runs `argv` in a lab namespace, with the lab's name server when `dns` is set."""
        step: list[str | Path] = ["nsenter", f"--net=/run/netns/{self.namespace(name)}", "--"]
        if dns:
            step += ["unshare", "--mount", "--propagation", "private", "sh", "-c", _WITH_RESOLVER, self.resolver]
        return [*step, *argv]

    def popen(self, argv: Sequence[str | Path]) -> subprocess.Popen[str]:
        """Start a command in the root namespaces with pipes to all three of its streams."""
        command, handles = self._from_home(argv)
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, pass_fds=handles)

    def detach(self, script: str, argument: Path, log: Path, namespace: str | None = None) -> None:
        """Start one of the lab's stand-alone Python scripts as a process of its own that outlives this one.

        The script gets the path of a JSON file, and is expected to write its process id where that says.
        """
        program = Path(__file__).resolve().parent / script
        argv: list[str | Path] = [sys.executable, "-I", "-S", program, argument]
        if namespace is not None:
            argv = self.inside(namespace, argv, dns=False)
        command, handles = self._from_home(["setsid", "--fork", *argv])
        with log.open("a") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=handles, check=False
            )
        if done.returncode:
            raise LabError(f"{script} did not start: {log.read_text()[-2000:]}")

    def connect(self, name: str, address: tuple[str, int], timeout: float) -> socket.socket:
        """A TCP connection made from one of the lab's namespaces, for use in this process."""
        result: list[socket.socket] = []
        trouble: list[BaseException] = []

        # Namespaces belong to threads, and a socket to the network namespace it was made in: a helper thread
        # goes there, makes the socket and ends; the caller never moves. The names of the namespaces are
        # to be seen only in the mount namespace that the process came from.
        def make() -> None:
            try:
                if self._home is not None:
                    _check(_libc.unshare(CLONE_FS), "unshare")
                    _setns(self._home[1], CLONE_NEWNS)
                handle = os.open(f"/run/netns/{self.namespace(name)}", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    _setns(handle, CLONE_NEWNET)
                finally:
                    os.close(handle)
                result.append(socket.create_connection(address, timeout))
            except OSError as error:
                trouble.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if trouble:
            raise trouble[0]
        return result[0]

    def enter(self, name: str) -> None:
        """Move the calling process into a lab namespace, with the lab's name server in /etc/resolv.conf.

        Threads that run already stay where they are; threads and children started afterwards come along.
        """
        if self._home is not None:
            raise LabError("this process already sits in the lab")
        where = Path.cwd()
        target = os.open(f"/run/netns/{self.namespace(name)}", os.O_RDONLY | os.O_CLOEXEC)
        net = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        mounts = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(CLONE_NEWNS), "unshare")
            try:
                _mount(None, "/", _MS_REC | _MS_PRIVATE)
                _mount(str(self.resolver), "/etc/resolv.conf", _MS_BIND)
                # A copy of the lab's own mounts would keep overlays and namespaces alive after their end.
                for point in [*mounts_below(self.directory), *self._own_handles()]:
                    _libc.umount2(point.encode(), _MNT_DETACH)
                _setns(target, CLONE_NEWNET)
            except OSError:
                _setns(mounts, CLONE_NEWNS)
                raise
        except OSError:
            os.close(net)
            os.close(mounts)
            raise
        finally:
            os.close(target)
        self._home = (net, mounts)
        os.chdir(where)

    def _own_handles(self) -> list[str]:
        return [str(path) for path in Path("/run/netns").glob(f"{self.prefix}-*")]

    def leave(self) -> None:
        """Go back to where `enter` was called. Does nothing for a process that never entered."""
        if self._home is None:
            return
        net, mounts = self._home
        where = Path.cwd()
        _setns(net, CLONE_NEWNET)
        # The kernel moves a process between mount namespaces only when nothing shares its root and cwd.
        _check(_libc.unshare(CLONE_FS), "unshare")
        _setns(mounts, CLONE_NEWNS)
        os.close(net)
        os.close(mounts)
        self._home = None
        os.chdir(where)
