"""`python -m tests.lab [shell | prepare | down]`: the lab by hand."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from . import cache
from .lab import Lab, default_prefix, why_not

HELP = """
The lab is up and this shell sits in the operator's seat: it sees the lab's network and names, nothing else.

  proxy 198.51.100.10   ssh -F {config} proxy   (root)
  pi4   192.168.1.4     ssh -F {config} pi4     (pi, sudo without a password)
  pi5   192.168.1.5     ssh -F {config} pi5     (pi, sudo asks: raspberry)

home.example leads to the proxy, https://mirror.example/ serves {artefacts}.
The lab's CA: {ca}
`exit` takes it all down.
"""


def shell(lab: Lab) -> int:
    """Boot, hand the operator's seat to the user, take down."""
    with lab:
        lab.enter_operator()
        config = lab.directory / "ssh_config"
        lines = [f"IdentityFile {lab.keys.plain}", "IdentitiesOnly yes", "StrictHostKeyChecking yes"]
        for host in lab.hosts.values():
            lines += [f"Host {host.name}", f"  HostName {host.address}", f"  User {host.user}"]
            lines += [f"  UserKnownHostsFile {host.known_hosts}"]
        config.write_text("\n".join(lines) + "\n")
        print(HELP.format(config=config, artefacts=lab.artefacts_dir, ca=lab.ca_file), flush=True)
        environment = {**os.environ, "SSL_CERT_FILE": str(lab.ca_file), "PS1": "operator$ "}
        return subprocess.run([os.environ.get("SHELL", "/bin/sh")], env=environment, check=False).returncode


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("task", nargs="?", choices=("shell", "prepare", "down"), default="shell")
    task = parser.parse_args().task
    reason = why_not()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    if task == "prepare":
        cache.prepare()
        return 0
    lab = Lab(default_prefix())
    if task == "down":
        lab.down()
        return 0
    return shell(lab)


if __name__ == "__main__":
    sys.exit(main())
