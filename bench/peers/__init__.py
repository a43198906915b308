"""The peers: where they live, what they are given to hold, and how one run of each is timed and believed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import BenchError
from bench.timing import must, timed
from homek8s_tui.plan.operations import Await, File, LocalFile, Operation, Packages, Secret, Unit, User
from homek8s_tui.plan.values import fill, places
from tests.lab.machines import PASSWORD, Host

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements.txt"
# Pipelining and connections that outlive a task are what its documentation advises; the rest spares it looking for
# Python and for facts that nobody reads.
_ANSIBLE = """\
[defaults]
forks = 10
interpreter_python = /usr/bin/python3
[ssh_connection]
pipelining = True
"""
_RECAP = re.compile(r"^\S+ +: ok=\d+ +changed=0 +unreachable=0 +failed=0 ", re.MULTILINE)


def version(package: str, requirements: Path = REQUIREMENTS) -> str:
    """Returns the pinned version of a peer, with its name."""
    found = re.search(rf"^{package}==(\S+)", requirements.read_text(), re.MULTILINE)
    if found is None:
        raise BenchError(f"{requirements} does not pin {package}")
    return f"{package} {found[1]}"


def environment() -> Path:
    """Returns the folder of the peers' programs: a virtual environment in the user's cache, made when missing."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homek8s-bench"
    folder = cache / key
    if not (folder / ".made").exists():
        print("Installing the peers ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
        subprocess.run([folder / "bin" / "python", *install, REQUIREMENTS], check=True)
        (folder / ".made").touch()
    return folder / "bin"


@dataclass
class Share:
    """What of a plan the peers can hold, too."""

    resources: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    """By machine, then by ``packages``, ``users``, ``files`` or ``units``; a file's text is its ``text``."""
    secret: list[str] = field(default_factory=list)
    """Resources left out because they hold secrets."""
    other: list[str] = field(default_factory=list)
    """Resources left out because the peers have no equal that is worth comparing: downloads, installers."""

    @property
    def count(self) -> int:
        """How many resources the peers hold."""
        return sum(len(items) for kinds in self.resources.values() for items in kinds.values())

    def words(self) -> str:
        """Returns what is compared and what is left out, for people."""
        kinds: dict[str, int] = {}
        for found in self.resources.values():
            for kind, items in found.items():
                kinds[kind] = kinds.get(kind, 0) + len(items)
        each = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        return (
            f"{self.count} resources compared ({each}); the peers are spared {len(self.secret)} that hold secrets and "
            f"{len(self.other)} downloads and commands, ours looks at those as well"
        )


def share(hosts: Iterable[str], operations: Iterable[Operation]) -> Share:
    """Returns what of a plan's operations the peers can hold.

    Args:
        hosts: The machines.
        operations: In order; the last one on a resource counts.
    """
    found = Share({host: {"packages": [], "users": [], "files": [], "units": []} for host in hosts})
    for operation in {operation.resource.key: operation for operation in operations}.values():
        if isinstance(operation, Await):
            continue
        kinds = found.resources.get(operation.host, {})
        name = f"{operation.host} {operation.kind} {operation.resource.name}"
        match operation:
            case Packages():
                kinds["packages"].append({"names": list(operation.names)})
            case User():
                kinds["users"].append({"name": operation.user, "home": operation.home, "shell": operation.shell})
            case Unit():
                unit = {"name": operation.unit, "enabled": operation.enabled, "active": operation.active}
                kinds["units"].append(unit)
            case File(content=tuple() as content) if not (operation.mask or operation.secrets or places(content)):
                text = fill(content, {})
                if text is None:
                    raise BenchError(f"{name} is known only after another step: the peers need it now")
                place = {"path": operation.path, "owner": operation.owner, "group": operation.group}
                kinds["files"].append({**place, "mode": f"0{operation.mode}", "text": text})
            case File() | Secret() | LocalFile():
                found.secret.append(name)
            case _:
                found.other.append(name)
    return found


def playbook(held: Share) -> list[dict[str, Any]]:
    """Returns what is held as an Ansible playbook: a task a resource, as people write them.

    What several machines hold under the same name is one task for all of them; only a file's text differs then.
    """
    tasks: dict[tuple[str, str], dict[str, Any]] = {}
    hosts: dict[tuple[str, str], list[str]] = {}
    for host, kinds in held.resources.items():
        for kind, items in kinds.items():
            for item in items:
                name, task = _task(kind, item)
                key = (kind, json.dumps(task, sort_keys=True))
                tasks[key] = {"name": name, **task}
                hosts.setdefault(key, []).append(host)
    for key, names in hosts.items():
        if len(names) < len(held.resources):
            tasks[key]["when"] = f"inventory_hostname in {names}"
    return [{"hosts": "all", "gather_facts": False, "tasks": list(tasks.values())}]


def _task(kind: str, item: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    match kind:
        case "packages":
            names = " ".join(item["names"])
            options = {"name": item["names"], "state": "present", "install_recommends": False}
            return f"packages {names}", {"ansible.builtin.apt": options}
        case "users":
            options = {"name": item["name"], "home": item["home"], "shell": item["shell"]}
            return f"user {item['name']}", {"ansible.builtin.user": {**options, "system": True, "create_home": False}}
        case "files":
            options = {"src": f"{{{{ sources['{item['path']}'] }}}}", "dest": item["path"], "owner": item["owner"]}
            return f"file {item['path']}", {
                "ansible.builtin.copy": {**options, "group": item["group"], "mode": item["mode"]}
            }
        case _:
            state = "started" if item["active"] else "stopped"
            options = {"name": item["name"], "enabled": item["enabled"], "state": state}
            return f"unit {item['name']}", {"ansible.builtin.systemd_service": options}


@dataclass(frozen=True)
class Peers:
    """Both peers, ready to hold the same on the same machines.

    Args:
        programs: What `environment` returned.
        folder: An empty folder for their files.
        hosts: The machines, by name.
        held: What they hold.
        key: The SSH key that the machines let in.
    """

    programs: Path
    folder: Path
    hosts: Mapping[str, Host]
    held: Share
    key: Path

    def lay_out(self) -> None:
        """Writes the files that they read."""
        shutil.copy(HERE / "deploy.py", self.folder)
        known = self.folder / "known_hosts"
        known.write_text("".join(host.known_hosts.read_text() for host in self.hosts.values()))
        pyinfra, ansible = [], {}
        for name, host in self.hosts.items():
            resources = {**self.held.resources[name], "files": self._files(name)}
            become = host.user != "root"
            way = {"ssh_hostname": host.address, "ssh_user": host.user, "ssh_key": str(self.key)}
            way |= {"ssh_known_hosts_file": str(known), "ssh_strict_host_key_checking": "yes"}
            pyinfra.append((name, {**way, "_sudo": become, "_sudo_password": PASSWORD, **resources}))
            ansible[name] = {
                "ansible_host": host.address,
                "ansible_user": host.user,
                "ansible_ssh_private_key_file": str(self.key),
                "ansible_ssh_common_args": f"-F /dev/null -o UserKnownHostsFile={known}",
                "ansible_become": become,
                "ansible_become_password": PASSWORD,
                "sources": {file["path"]: file["src"] for file in resources["files"]},
            }
        (self.folder / "inventory.py").write_text(f"hosts = {pyinfra!r}\n")
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": ansible}}))
        (self.folder / "playbook.json").write_text(json.dumps(playbook(self.held)))
        (self.folder / "ansible.cfg").write_text(_ANSIBLE)

    def _files(self, host: str) -> list[dict[str, str]]:
        """Writes the texts of a machine's files; returns the files with the texts' places."""
        files = []
        for number, file in enumerate(self.held.resources[host]["files"]):
            text = self.folder / f"{host}-{number}"
            text.write_text(file["text"])
            files.append({**{name: value for name, value in file.items() if name != "text"}, "src": str(text)})
        return files

    @property
    def contenders(self) -> dict[str, Callable[[], float]]:
        """One timed look that finds nothing to do, by peer."""
        return {version("pyinfra"): self._pyinfra, version("ansible-core"): self._ansible}

    def _timed(self, *argv: str) -> tuple[float, subprocess.CompletedProcess[str]]:
        variables = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        variables |= {"ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        # every run of everybody begins without a connection: those that ssh keeps last a minute, and whoever plans
        # again does so hours later
        variables["ANSIBLE_SSH_CONTROL_PATH_DIR"] = tempfile.mkdtemp(prefix="cp", dir=self.folder)
        return timed([self.programs / argv[0], *argv[1:]], variables, self.folder)

    def _pyinfra(self) -> float:
        seconds, done = self._timed("pyinfra", "--dry", "--json", "inventory.py", "deploy.py")
        plan = json.loads(done.stdout)["plan"] if done.returncode == 0 else []
        changes = [item for item in plan if item["hosts_with_change"] or item["hosts_with_conditional_change"]]
        looked = sum(len(item["names"]) for item in plan)
        must(looked == self.held.count and not changes, "pyinfra", done)
        return seconds

    def _ansible(self) -> float:
        seconds, done = self._timed("ansible-playbook", "--check", "-i", "inventory.json", "playbook.json")
        well = done.returncode == 0 and len(_RECAP.findall(done.stdout)) == len(self.hosts)
        looked = len(re.findall(r"^ok: \[", done.stdout, re.MULTILINE))
        must(well and looked == self.held.count, "Ansible", done)
        return seconds
