"""The stand-in for K3s behaves as the product may expect of K3s. Its tests build on each other, in this order."""

from __future__ import annotations

import hashlib
import json
import shlex
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.ground import LabError, wait_until
from tests.lab.lab import Lab
from tests.lab.machines import PASSWORD, Host

from . import artefacts, build

SERVER = "https://10.1.10.1:6443"
STATE = "/var/lib/rancher/k3s"
DISK = f"cat {STATE}/server/db/state.db*"
CONFIG = """\
tls-san: [home.example, 192.168.1.4]
disable: [traefik]
node-ip: 10.1.10.1
flannel-iface: k8s-tunnel
secrets-encryption: true
node-label: [lab/role=first]
"""
INSTALL = "INSTALL_K3S_SKIP_DOWNLOAD=true INSTALL_K3S_SKIP_START=true"


def tunnel(lab: Lab, host: Host, number: int) -> None:
    """A link that stands for the tunnel: what runs below it is none of the stand-in's business."""
    here, lan, port = lab.ground.namespace(host.name), lab.ground.namespace("lan"), f"tunnel{number}"
    pair = ["type", "veth", "peer", "name", port, "netns", lan]
    lab.ground.run(["ip", "link", "add", "k8s-tunnel", "netns", here, *pair])
    lab.ground.run(["ip", "-n", lan, "link", "set", port, "master", "br0", "up"])
    lab.ground.run(["ip", "-n", here, "link", "set", "k8s-tunnel", "up"])
    lab.ground.run(["ip", "-n", here, "addr", "add", f"10.1.10.{number}/24", "dev", "k8s-tunnel"])


def output(host: Host, script: str, timeout: float = 60) -> str:
    """What a script says on both its streams, and `exit N`."""
    return host.run(f"exec 2>&1\n( {script}\n)\necho exit $?", timeout=timeout)


def kubectl(host: Host, command: str) -> Any:
    """The JSON answer of kubectl on the server."""
    return json.loads(host.run(f"k3s kubectl {command} -o json"))


def is_ready(server: Host, name: str) -> bool:
    """Whether the cluster counts a node as Ready."""
    for node in kubectl(server, "get nodes")["items"]:
        if node["metadata"]["name"] == name:
            conditions = node["status"].get("conditions", [])
            return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return False


def agent_log(host: Host, token: str, seconds: float = 3) -> str:
    """What an agent says that is started by hand and cut short."""
    command = f"timeout {seconds} k3s agent --node-ip 10.1.10.2 --flannel-iface k8s-tunnel"
    return output(host, f"K3S_URL={SERVER} K3S_TOKEN={shlex.quote(token)} {command}")


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Iterator[Lab]:
    """Two bare machines with the tunnel's addresses, the program and the installer."""
    lab.restore()
    lab.reset("pi4", "pi5")
    for number, host in enumerate((lab.pi4, lab.pi5), 1):
        tunnel(lab, host, number)
        host.write("/root/install.sh", (build.HERE / "install.sh").read_text())
    yield lab
    lab.reset("pi4", "pi5")


@pytest.fixture(scope="module")
def server(pair: Lab) -> Host:
    """pi4 as the K3s server, set up as the product does it."""
    host = pair.pi4
    host.run("install -m 755 /opt/lab-tools/k3s /usr/local/bin/k3s")
    host.write("/etc/rancher/k3s/config.yaml", CONFIG)
    host.run(f"chmod 600 /etc/rancher/k3s/config.yaml; {INSTALL} sh /root/install.sh")
    assert host.run("systemctl is-active k3s", check=False) == "inactive\n"
    host.run("systemctl start k3s")
    wait_until(lambda: is_ready(host, "pi4"), "pi4 is Ready", 20, pause=0.2)
    return host


def test_a_damaged_entry_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("one")
    build._write_manifest(tmp_path)
    assert build.damage(tmp_path) is None
    (tmp_path / "program").write_text("two")
    assert build.damage(tmp_path) == "program has another content than built"
    (tmp_path / "program").write_text("three")
    assert build.damage(tmp_path) == "program has another size or mode than built"
    (tmp_path / "program").unlink()
    assert build.damage(tmp_path) == "other files than built: program"


def test_mirror_tree(lab: Lab, tmp_path: Path) -> None:
    artefacts.fill(tmp_path)
    k3s, traefik = tmp_path / artefacts.K3S_FOLDER, tmp_path / artefacts.TRAEFIK_FOLDER
    assert sorted(path.name for path in k3s.iterdir()) == ["install.sh", "k3s", "sha256sum-amd64.txt"]
    for folder, name in ((k3s, "sha256sum-amd64.txt"), (traefik, "traefik_v3.7.15_checksums.txt")):
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", name], cwd=folder, check=True)
    with tarfile.open(traefik / "traefik_v3.7.15_linux_amd64.tar.gz") as tarball:
        assert tarball.getnames() == ["CHANGELOG.md", "LICENSE.md", "traefik"]
        assert tarball.getmember("traefik").mode == 0o755
    done = subprocess.run([k3s / "k3s", "--version"], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("k3s version v1.36.3+k3s1 (")
    assert second.startswith("go version go1.")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ("INSTALL_K3S_VERSION=v1.36.3+k3s1", "Download failed"),
        (INSTALL, "Executable k3s binary not found at /usr/local/bin/k3s"),
        (f"{INSTALL} K3S_URL=http://10.1.10.1 K3S_TOKEN=x", "Only https:// URLs are supported for K3S_URL"),
        (f"{INSTALL} K3S_URL={SERVER}", "K3S_TOKEN or K3S_TOKEN_FILE is not defined"),
    ],
)
def test_installer_refuses(pair: Lab, variables: str, message: str) -> None:
    said = output(pair.pi5, f"{variables} sh /root/install.sh")
    assert message in said
    assert said.endswith("exit 1\n")
    assert not pair.pi5.exists("/etc/systemd/system/k3s-agent.service")


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        ("tls-sans: [home.example]", "", "flag provided but not defined: -tls-sans"),
        ("", "--no-such-flag", "flag provided but not defined: -no-such-flag"),
        ("tls-san: [", "", "yaml"),
        ("flannel-iface: nowhere0", "", "unable to find interface nowhere0"),
        ("flannel-iface: eth0\nnode-ip: 10.1.10.2", "", 'node IP \\"10.1.10.2\\" on interface eth0'),
        ("node-ip: 10.9.9.9", "", "not found in the host's network interfaces"),
        ("cluster-init: true", "", "does not model --cluster-init"),
    ],
)
def test_server_refuses(pair: Lab, config: str, arguments: str, message: str) -> None:
    pair.pi5.write("/root/config.yaml", config + "\n")
    command = f"timeout 5 /opt/lab-tools/k3s server --data-dir /root/data {arguments}"
    said = output(pair.pi5, f"K3S_CONFIG_FILE=/root/config.yaml {command}")
    assert message in said
    assert said.endswith("exit 1\n")
    assert not pair.pi5.exists("/root/data")


def test_unknown_command(pair: Lab) -> None:
    assert output(pair.pi5, "/opt/lab-tools/k3s frobnicate") == "No help topic for 'frobnicate'\nexit 3\n"


def test_server(server: Host, lab: Lab) -> None:
    (node,) = kubectl(server, "get nodes")["items"]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3+k3s1"
    assert {"type": "InternalIP", "address": "10.1.10.1"} in node["status"]["addresses"]
    labels = node["metadata"]["labels"]
    assert labels["node-role.kubernetes.io/control-plane"] == "true"
    assert labels["lab/role"] == "first"
    assert node["spec"]["podCIDR"] == "10.42.0.0/24"
    assert kubectl(server, "get helmcharts.helm.cattle.io -A")["items"] == []
    paths = f"/etc/rancher/k3s/k3s.yaml /etc/systemd/system/k3s.service.env {STATE}/server/token"
    assert server.run(f"stat -c %a {paths}").split() == ["600"] * 3
    assert "server: https://127.0.0.1:6443" in server.read("/etc/rancher/k3s/k3s.yaml")

    authority = server.read(f"{STATE}/server/tls/server-ca.crt")
    token = server.read(f"{STATE}/server/token")
    assert token.startswith(f"K10{hashlib.sha256(authority.encode()).hexdigest()}::server:")
    assert server.read(f"{STATE}/server/node-token") == token
    # Over the LAN address, which the certificate names too.
    context = ssl.create_default_context(cadata=authority)
    url = f"https://{server.address}:6443"
    with urllib.request.urlopen(f"{url}/cacerts", context=context, timeout=5) as answer:
        assert answer.read().decode() == authority
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/readyz", context=context, timeout=5)
    forged = urllib.request.Request(
        f"{url}/api/v1/nodes", headers={"X-Remote-User": "system:admin", "X-Remote-Group": "system:masters"}
    )
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(forged, context=context, timeout=5)


def test_commands_are_recorded(server: Host) -> None:
    mark = server.mark()
    server.ssh("sudo k3s kubectl get --raw=/readyz; sudo kubectl version --client")
    recorded = server.executions(mark)
    assert ["k3s", "kubectl", "get", "--raw=/readyz"] in recorded
    assert ["kubectl", "version", "--client"] in recorded


def test_secrets_are_encrypted(server: Host) -> None:
    server.run("kubectl create secret generic hidden --from-literal=word=pomegranate-secret")
    server.run("kubectl create configmap open --from-literal=word=pomegranate-open")
    assert server.run(f"{DISK} | grep -ac pomegranate-open", check=False).strip() != "0"
    assert server.run(f"{DISK} | grep -ac pomegranate-secret", check=False) == "0\n"
    assert server.run(f"{DISK} | grep -ac k8s:enc:aescbc:v1:aescbckey", check=False).strip() != "0"
    assert "Encryption Status: Enabled" in server.run("k3s secrets-encrypt status")


def test_bad_tokens_are_refused(server: Host, lab: Lab) -> None:
    lab.pi5.run("install -m 755 /opt/lab-tools/k3s /usr/local/bin/k3s")
    expired = server.run("k3s token create --ttl 1s").strip()
    good = server.run("k3s token create --ttl 1h").strip()
    listed = server.run("k3s token list")
    assert good.partition("::")[2][:6] in listed
    assert good.partition(".")[2] not in listed
    prefix, _, secret = good.rpartition(".")
    wrong = f"{prefix}.{'a' * len(secret)}"
    unauthorized = f"{SERVER}/v1-k3s/config: 401 Unauthorized"
    assert unauthorized in agent_log(lab.pi5, wrong)
    assert unauthorized in agent_log(lab.pi5, expired)
    foreign = "K10" + "0" * 64 + good[67:]
    mismatch = f"token CA hash does not match the Cluster CA certificate hash: {'0' * 64} != "
    assert mismatch in agent_log(lab.pi5, foreign)
    assert "invalid token format" in agent_log(lab.pi5, "K10nonsense")
    assert len(kubectl(server, "get nodes")["items"]) == 1


def test_agent_joins_and_outlives_its_token(server: Host, lab: Lab) -> None:
    agent, token = lab.pi5, server.run("k3s token create --ttl 1h").strip()
    agent.write("/etc/rancher/k3s/config.yaml", "node-ip: 10.1.10.2\nflannel-iface: k8s-tunnel\n")
    join = f"{INSTALL} K3S_URL={SERVER} K3S_TOKEN={token} sh /root/install.sh"
    agent.ssh(f"sudo -S -p '' sh -c {shlex.quote(join)}", stdin=PASSWORD + "\n")
    agent.run("systemctl start k3s-agent", timeout=20)
    wait_until(lambda: is_ready(server, "pi5"), "pi5 is Ready", 20, pause=0.2)

    assert "deleted" in server.run(f"k3s token delete {token.partition('::')[2][:6]}")
    agent.run("systemctl restart k3s-agent", timeout=20)
    assert agent.run("systemctl is-active k3s-agent") == "active\n"


def test_another_machine_cannot_take_a_name(server: Host, lab: Lab) -> None:
    token = server.run("k3s token create --ttl 1h").strip()
    lab.pi5.run("systemctl stop k3s-agent; mv /etc/rancher/node/password /root/password")
    assert "Node password rejected, duplicate hostname" in agent_log(lab.pi5, token)
    lab.pi5.run("mv /root/password /etc/rancher/node/password; systemctl start k3s-agent")


def test_pods_are_scheduled_and_run(server: Host) -> None:
    server.run("kubectl create deployment web --image=nginx --replicas=2")
    server.run("kubectl rollout status deployment/web --timeout=30s", timeout=40)
    phases = [pod["status"]["phase"] for pod in kubectl(server, "get pods -l app=web")["items"]]
    assert phases == ["Running", "Running"]


def test_a_deleted_node_needs_a_fresh_token(server: Host, lab: Lab) -> None:
    # The token of the first join was deleted above; the API goes on believing in a token for ten seconds.
    used = lab.pi5.read("/etc/systemd/system/k3s-agent.service.env").partition("::")[2].partition("'")[0]
    asking = f"KUBECONFIG=/dev/null kubectl --server {SERVER} --token {used} auth whoami"
    asking += f" --certificate-authority {STATE}/server/tls/server-ca.crt"
    wait_until(lambda: "Unauthorized" in output(server, asking), "the API forgets the token", 12, pause=0.5)
    server.run("kubectl delete node pi5")
    lab.pi5.run("systemctl restart --no-block k3s-agent")
    log = "journalctl -u k3s-agent --no-pager"
    wait_until(
        lambda: "401 Unauthorized" in lab.pi5.run(log), "the agent is refused", 30, pause=0.3
    )  # the API remembers a token for 10 s
    token = server.run("k3s token create --ttl 1h").strip()
    lab.pi5.run(f"{INSTALL} K3S_URL={SERVER} K3S_TOKEN={token} sh /root/install.sh")
    lab.pi5.run("systemctl restart k3s-agent")
    wait_until(lambda: is_ready(server, "pi5"), "pi5 is Ready again", 20, pause=0.2)


def test_a_killed_server_leaves_no_child(server: Host) -> None:
    server.run("systemctl kill --signal=KILL --kill-whom=main k3s")
    wait_until(lambda: server.run("pgrep -c kube-apiserver", check=False) == "0\n", "all is gone", 3)
    readyz = "kubectl get --raw=/readyz"
    wait_until(lambda: "ok" in server.run(readyz, check=False), "it is back", 30, pause=0.3)


def test_uninstall_leaves_nothing(server: Host, lab: Lab) -> None:
    for host, script in ((lab.pi5, "k3s-agent-uninstall.sh"), (server, "k3s-uninstall.sh")):
        host.run(f"/usr/local/bin/{script}", timeout=30)
        places = "/usr/local/bin /etc/systemd/system /etc/rancher /var/lib/rancher /var/lib/kubelet /run/k3s"
        left = host.run(f"find {places} -name '*k3s*' -o -name kubectl 2>/dev/null", check=False).split()
        assert left == []
        # A real uninstall leaves it too: a machine that joins again must still know its password.
        assert host.run("find /etc/rancher -type f").split() == ["/etc/rancher/node/password"]
        assert host.run("pgrep -f '/opt/lab-tools/[k]'", check=False) == ""
        with pytest.raises(LabError):
            host.run("systemctl cat k3s k3s-agent")
