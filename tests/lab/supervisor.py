"""The power supply of one lab host, a stand-alone script: `supervisor.py HOST.json`.

It prepares the host's disk, runs the host under systemd-nspawn, starts it again when it reboots and clears
its network away when it is off. It is a process of its own because a host must outlive the test that
started it and be mounted in the root mount namespace, where the test process no longer is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REBOOT = 133  # what systemd-nspawn --keep-unit exits with when the host asks for a reboot


def call(*argv: str, check: bool = True) -> None:
    """Run a command whose output goes to this script's log."""
    subprocess.run(argv, check=check, stdin=subprocess.DEVNULL)


def mounted(path: str) -> bool:
    """Whether something is mounted at exactly this path."""
    return any(line.split()[4] == path for line in Path("/proc/self/mountinfo").read_text().splitlines())


def release(path: str) -> None:
    """Unmount a path, patiently: the last processes of a host that lost power may still be going."""
    deadline = time.monotonic() + 1.0
    while mounted(path):
        late = time.monotonic() > deadline
        call("umount", *(["--lazy"] if late else []), path, check=False)
        if mounted(path):
            time.sleep(0.02)


def clear(host: dict[str, Any]) -> None:
    """Throw the host's disk away."""
    top = Path(host["directory"])
    release(str(top / "root"))
    for disk in top.glob("disk.*"):
        if disk.is_dir():
            release(str(disk))
            shutil.rmtree(disk)
        else:
            disk.unlink()


def prepare(host: dict[str, Any]) -> None:
    """Mount the host's root; on a new disk also write what makes it this host."""
    top = Path(host["directory"])
    root = top / "root"
    root.mkdir(exist_ok=True)
    disks = [path for path in top.glob("disk.*") if path.is_dir()]
    fresh = not disks
    # A new name each time: an overlay that went away lazily must never share its directories with the next.
    disk = disks[0] if disks else top / f"disk.{time.time_ns()}"
    disk.mkdir(exist_ok=True)
    image = top / "disk.image"
    if fresh and host["size"]:
        with image.open("w") as file:
            file.truncate(host["size"])
        call("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", str(image))
    if image.exists() and not mounted(str(disk)):
        call("mount", "-o", "loop", str(image), str(disk))
    for part in ("upper", "work"):
        (disk / part).mkdir(exist_ok=True)
        (disk / part).chmod(0o755)
    if not mounted(str(root)):
        options = f"lowerdir={':'.join(host['layers'])},upperdir={disk}/upper,workdir={disk}/work"
        call("mount", "-t", "overlay", "overlay", "-o", options, str(root))
    if fresh:
        for item in host["files"]:
            path = root / item["path"].lstrip("/")
            owner = item["owner"]
            if not path.parent.is_dir():
                path.parent.mkdir()
                path.parent.chmod(0o700)
                os.chown(path.parent, owner, owner)
            path.unlink(missing_ok=True)
            path.write_text(item["content"])
            path.chmod(item["mode"])
            os.chown(path, owner, owner)


def unplug(host: dict[str, Any]) -> None:
    """Remove the host's network namespace. Its link first: that happens at once, the rest by and by."""
    if Path("/run/netns", host["namespace"]).exists():
        link = ["ip", "-n", host["namespace"], "link", "del", "eth0"]
        subprocess.run(link, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        call("ip", "netns", "del", host["namespace"])


def plug(host: dict[str, Any]) -> None:
    """Give the host a network namespace without rules, tunnels or routes of an earlier boot."""
    unplug(host)
    here, there, port = host["namespace"], host["bridge"], host["port"]
    call("ip", "netns", "add", here)
    call("ip", "-n", here, "link", "set", "lo", "up")
    pair = ("type", "veth", "peer", "name", port, "netns", there)
    call("ip", "link", "add", "eth0", "netns", here, "address", host["mac"], *pair)
    call("ip", "-n", there, "link", "set", port, "master", "br0", "up")
    call("ip", "-n", here, "link", "set", "eth0", "up")
    call("ip", "-n", here, "addr", "add", f"{host['address']}/24", "dev", "eth0")
    if host["gateway"]:
        call("ip", "-n", here, "route", "add", "default", "via", host["gateway"])


def power(host: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start systemd-nspawn in the host's own cgroups."""
    groups = [Path(group) for group in host["cgroups"]]
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)

    def move() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    top = Path(host["directory"])
    argv = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no"]
    argv += ["--resolv-conf=off", "--timezone=off", "--console=read-only", "--capability=CAP_NET_ADMIN,CAP_NET_RAW"]
    argv += [f"--machine={host['namespace']}", f"--hostname={host['name']}", f"--directory={top / 'root'}"]
    argv += [f"--network-namespace-path=/run/netns/{host['namespace']}", *host["binds"]]
    # The lab needs a writable /proc/sys/net in the host: tunnels and forwarding are the product's business.
    environment = {**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
    with (top / "console").open("ab") as console:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=environment,
            preexec_fn=move,  # noqa: PLW1509 - one thread here
        )


def report(host: dict[str, Any], **state: Any) -> None:
    """Say how things stand, in a file that is complete whenever it can be read."""
    path = Path(host["directory"], "state.json")
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"supervisor": os.getpid(), **state}))
    fresh.rename(path)


def main() -> int:
    """Run the host until it is off."""
    host: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    top = Path(host["directory"])
    off = top / "off"
    try:
        if host["task"] in ("clear", "fresh"):
            clear(host)
        if host["task"] == "clear":
            return 0
        report(host, phase="preparing", nspawn=None, boots=0)
        prepare(host)
        boots, code = 0, REBOOT
        while code == REBOOT and not off.exists():
            plug(host)
            process = power(host)
            boots += 1
            report(host, phase="on", nspawn=process.pid, boots=boots)
            code = process.wait()
            print(f"{time.time():.3f} {host['name']}: boot {boots} ended with {code}", flush=True)
        return 0
    finally:
        if host["task"] != "clear":
            unplug(host)
            report(host, phase="off", nspawn=None, boots=0)


if __name__ == "__main__":
    sys.exit(main())
