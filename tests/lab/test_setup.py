"""From three bare machines to a reachable cluster, as an operator does it."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from homek8s_tui.base.findings import Intent
from homek8s_tui.cli import wiring
from homek8s_tui.engine.command_log import CommandLog
from homek8s_tui.engine.observe import make_plan
from homek8s_tui.home import inventory
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.plan.model import decode

from . import picture
from .console import Console
from .ground import wait_until
from .kubernetes import artefacts
from .lab import Lab
from .machines import Host

KILLER = (str(Path(__file__).with_name("killing.py")),)


@pytest.fixture(scope="module")
def undisturbed() -> list[picture.EndState]:
    """What a set-up ends in that nothing disturbed, once a test has made one."""
    return []


@pytest.fixture
def console(fresh: Lab, tmp_path: Path) -> Console:
    """An operator in front of three bare machines."""
    artefacts.fill(fresh.artefacts_dir)
    return Console(fresh, tmp_path)


def holding(transcript: str) -> Counter[str]:
    """Counts the proofs of a transcript by how they came out."""
    return Counter(line.split()[0] for line in transcript.splitlines() if re.match(r"^   (HOLDS|PENDING|FAILS) ", line))


def install_ingress(lab: Lab) -> None:
    """A plain nginx on both nodes in the place of an ingress: PROXY protocol, TLS, the client's address in its log."""
    for name in ("pi4", "pi5"):
        lab.hosts[name].run(
            """
            export DEBIAN_FRONTEND=noninteractive
            apt-get -qq update && apt-get -qq -y install nginx-light >/dev/null
            rm -f /etc/nginx/sites-enabled/default
            [ -f /etc/nginx/web.key ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 \
                -subj /CN=home.example -keyout /etc/nginx/web.key -out /etc/nginx/web.crt 2>/dev/null
            cat >/etc/nginx/conf.d/lab.conf <<'N'
            log_format lab '$remote_addr "$request" $status';
            access_log /var/log/nginx/lab.log lab;
            set_real_ip_from 10.1.10.254;
            real_ip_header proxy_protocol;
            server { listen 80 proxy_protocol; return 204; }
            server { listen 443 ssl proxy_protocol; ssl_certificate web.crt; ssl_certificate_key web.key; return 204; }
N
            systemctl restart nginx
            """,
            timeout=120,
        )
    certificate, key = lab.pi4.read("/etc/nginx/web.crt"), lab.pi4.read("/etc/nginx/web.key")
    lab.pi5.write("/etc/nginx/web.crt", certificate)
    lab.pi5.write("/etc/nginx/web.key", key)
    lab.pi5.run("systemctl restart nginx")


def exchanges_of_a_plan(console: Console, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many exchanges planning the set-up takes, by machine, over SSH and with the operator's own files."""
    with monkeypatch.context() as operator:
        for name, value in console.environment.items():
            operator.setenv(name, value)
        home = inventory.load(console.inventory)
        keys = HostKeys(console.folder / "known_hosts", lambda _question: True)
        secrets = wiring.GivenSecrets({"sudo:pi5": f"command:cat {console.password_file}"}, None)
        connections = wiring.Connections(keys, secrets, CommandLog(wiring.SystemClock()), read_only=True)
        planner = wiring.setup_planner(str(console.kubeconfig))
        plan = make_plan(connections.world(home), home, Intent("setup"), planner)
        assert not plan.blockers(frozenset({"cgroup-v1"}))
        exchanges = {name: host.exchanges for name, host in connections.ssh().of(home.hosts).items()}
        connections.close()
        return exchanges


def secrets_of(lab: Lab) -> Iterator[str]:
    """Every secret that a set-up makes or uses."""
    for host in lab.hosts.values():
        for path in host.run("ls /etc/wireguard/*.key /etc/wireguard/*.psk 2>/dev/null", check=False).split():
            yield host.read(path).strip()
    yield lab.pi4.read("/var/lib/rancher/k3s/server/token").strip().rsplit(":", 1)[-1]
    token = lab.pi5.run("sed -n 's/^K3S_TOKEN=//p' /etc/systemd/system/k3s-agent.service.env").strip().strip("'\"")
    yield token.rsplit(":", 1)[-1].rsplit(".", 1)[-1]
    yield lab.pi4.run("sed -n 's/^ *client-key-data: *//p' /etc/rancher/k3s/k3s.yaml").strip()
    yield "raspberry"


def test_three_bare_machines_become_a_reachable_cluster_and_go_back(
    console: Console, undisturbed: list[picture.EndState], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = console.lab
    before = picture.made_of(lab)
    assert exchanges_of_a_plan(console, monkeypatch) == {"proxy": 2, "pi4": 2, "pi5": 2}

    transcript = console.set_up()
    undisturbed.append(picture.end_state(lab, console.inventory, console.kubeconfig))
    assert exchanges_of_a_plan(console, monkeypatch) == {"proxy": 2, "pi4": 2, "pi5": 2}
    assert holding(transcript) == {"HOLDS": 11, "PENDING": 1}, transcript[-3000:]

    # planned again, nothing is left to do, and the inventory kept its comments beside the new checksums
    assert "0 steps, 38 already so" in console.done("plan", "setup", "--waive", "cgroup-v1")
    assert "# the VPS" in console.inventory.read_text()
    assert console.inventory.read_text().count("mirror: https://mirror.example") == 1
    assert "checksums:" in console.inventory.read_text()

    # no secret is anywhere but in its place
    secrets = list(secrets_of(lab))
    assert len(secrets) == 13 and all(len(secret) >= 9 for secret in secrets), [len(secret) for secret in secrets]
    ours = [
        path.read_bytes()
        for folder in (console.state, console.folder / "cache")
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size < 10_000_000
    ]
    # neither in what the machines started nor in what this side did, the product itself included
    started = console.executions()
    assert [word for words in started for word in words if word.endswith("/password")], "the recorder saw nothing"
    assert any("homek8s_tui.cli.app" in words and "apply" in words for words in started)
    argv = "\n".join(
        " ".join(words) for words in [*started, *(w for host in lab.hosts.values() for w in host.executions())]
    )
    jobs = "\n".join(
        host.run("cat /var/lib/homek8s/jobs/*/* 2>/dev/null; journalctl --no-pager -o cat", check=False)
        for host in lab.hosts.values()
    )
    for secret in secrets:
        assert all(secret.encode() not in data for data in ours)
        assert secret not in argv
        assert secret not in jobs or (secret == "raspberry" and "raspberry" not in transcript)
        assert secret not in transcript
    assert oct((console.state / "journal.sqlite").stat().st_mode & 0o777) == "0o600"
    assert oct(console.kubeconfig.stat().st_mode & 0o777) == "0o600"

    # with something that listens on the nodes, the last proof holds, and a node sees who really asked
    install_ingress(lab)
    assert holding(console.set_up()) == {"HOLDS": 12}
    lab.ns("outside", ["curl", "-sS", "--max-time", "5", "-o", "/dev/null", "http://home.example/who"])
    logs = "".join(lab.hosts[name].read("/var/log/nginx/lab.log") for name in ("pi4", "pi5"))
    assert '198.51.100.77 "GET /who HTTP/1.1" 204' in logs
    for name in ("pi4", "pi5"):
        lab.hosts[name].run(
            "apt-get -qq -y purge nginx-light nginx-common >/dev/null; rm -rf /etc/nginx /var/lib/nginx", timeout=60
        )

    status = json.loads(console.done("status", "--json"))
    assert [(machine["name"], machine["node"]) for machine in status["machines"]] == [
        ("proxy", ""),
        ("pi4", "Ready"),
        ("pi5", "Ready"),
    ]
    assert {link["state"] for link in status["links"]} == {"up"}

    # what undo destroys is said first, and its name asked for
    refused = console.run("undo", "--yes")
    assert refused.returncode == 64 and "DESTROYS pi4: K3s with its whole datastore" in refused.stdout
    run = next(info["id"] for info in json.loads(console.done("journal", "--json"))[::-1])
    console.done("undo", run, "--yes", "--confirm", "lab")
    after = picture.made_of(lab)
    for name, was in before.items():
        installed = {"wg-quick", "wireguard", "bash-completion"}
        left = {
            line
            for line in after[name] ^ was
            if not any(word in line for word in installed) and not line.startswith("var/lib/ucf")
        }
        left = {
            line
            for line in left
            if not line.startswith(
                ("var/lib/nginx", "etc/ufw", "etc/default/nginx", "etc/logrotate.d/nginx", "etc/init.d/nginx")
            )
            and "nginx" not in line
        }
        assert not left, f"{name}: {sorted(left)[:20]}"
    assert not lab.pi4.exists("/var/lib/homek8s")
    assert not console.kubeconfig.exists() or "lab" not in console.kubeconfig.read_text()


def jobs_started(host: Host, since: int = 0) -> list[list[str]]:
    """The jobs that a machine's systemd was asked to start."""
    return [words for words in host.executions(since) if words[0].endswith("systemd-run")]


def last_record(console: Console) -> str:
    """The kind of the newest record of the journal, or nothing."""
    if not (console.state / "journal.sqlite").exists():
        return ""
    with contextlib.closing(sqlite3.connect(console.state / "journal.sqlite")) as journal:
        row = journal.execute("SELECT kind FROM records ORDER BY sequence DESC LIMIT 1").fetchone()
    return str(row[0]) if row else ""


def test_killed_at_every_record_it_ends_the_same(
    console: Console, undisturbed: list[picture.EndState], tmp_path: Path
) -> None:
    lab = console.lab
    if not undisturbed:
        console.set_up()
        undisturbed.append(picture.end_state(lab, console.inventory, console.kubeconfig))
        lab.reset()
        console = Console(lab, tmp_path / "killed")
    plan = console.folder / "plan.json"
    console.done("plan", "setup", "-o", str(plan), "--waive", "cgroup-v1", code=2)
    digest = re.search(r"Digest ([0-9a-f]{64})", console.run("plan", "setup").stdout)
    assert digest is not None
    first = ("apply", str(plan), "--approve", digest[1], "--waive", "cgroup-v1")
    marks = {name: host.mark() for name, host in lab.hosts.items()}
    arguments: tuple[str, ...] = first
    kills = proofs = 0
    for attempt in range(400):
        # a step is cut off right after it was announced, then right before it is remembered as done; proofs are
        # looked at anew by each resumed run, so that there the death comes one record later each time
        proofs += last_record(console) == "proof"
        when = f"after:{proofs + 1}" if proofs else "after:1" if attempt % 2 == 0 else "before:1"
        done = console.run(*arguments, program=(*KILLER, when))
        if done.returncode == 0:
            break
        assert done.returncode == -9, (
            f"attempt {attempt} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr}"
        )
        kills += 1
        arguments = ("resume",)
    else:
        pytest.fail("it did not come to its end")
    assert kills > 80
    # whatever was cut off, and wherever: nothing is missing, doubled or half done
    ended = picture.end_state(lab, console.inventory, console.kubeconfig)
    assert picture.difference(undisturbed[0], ended) == []
    assert {name: sum(lines.values()) > 400 for name, lines in ended.items()}.items() >= dict.fromkeys(
        lab.hosts, True
    ).items()
    assert ended["objects"]["Node                         <none>            pi5"] == 1
    assert "0 steps, 38 already so" in console.done("plan", "setup", "--waive", "cgroup-v1")
    started: Counter[str] = Counter()
    for name, host in lab.hosts.items():
        for words in host.executions(marks[name]):
            line = " ".join(words)
            if words[:2] == ["wg", "genkey"]:
                started[f"{name} genkey"] += 1
            if words[:2] == ["wg", "genpsk"]:
                started[f"{name} genpsk"] += 1
            if "token create" in line and words[0].endswith("k3s"):
                started[f"{name} token"] += 1
            if len(words) == 2 and words[0].endswith("sh") and words[1].endswith("k3s-install.sh"):
                started[f"{name} installer"] += 1
            if words[0].endswith("systemd-run"):
                unit = next(word for word in words if word.startswith("--unit="))
                started[f"{name} {unit}"] += 1
    assert started["proxy genkey"] == started["pi4 genkey"] == started["pi5 genkey"] == 1
    assert (started["proxy genpsk"], started["pi4 genpsk"]) == (2, 1)
    assert started["pi4 installer"] == started["pi5 installer"] == 1
    assert started["pi4 token"] == 1
    assert max(started[name] for name in started if "--unit" in name) == 1


def hang_the_api(console: Console) -> None:
    """The server runs and answers nobody: systemd calls it active, and connections to it are accepted."""
    lab = console.lab
    plan = console.folder / "plan.json"
    console.run("plan", "setup", "-o", str(plan))
    made = decode(plan.read_bytes(), str(plan))
    stages = [stage.name for stage in made.stages]
    earlier = stages[: stages.index("k3s/join")]
    # each step has two records, its intent and its outcome
    when = f"before:{2 * len([step for step in made.steps if step.stage in earlier]) + 1}"
    killed = console.run("apply", str(plan), "--approve", made.digest, "--waive", "cgroup-v1", program=(*KILLER, when))
    assert killed.returncode == -9, killed.stdout[-3000:]
    lab.faults.hang(lab.pi4, "k3s")

    # who looks meanwhile is told what does not answer, and nothing that nobody can know
    looks: list[str] = []
    looking = threading.Thread(target=lambda: looks.append(console.done("doctor", code=1)))
    looking.start()
    since = lab.pi5.mark()
    hanging = console.run("apply", "setup", "--yes", "--waive", "cgroup-v1")
    looking.join()
    assert "The API server on pi4 does not answer." in looks[0]
    assert "is not in the cluster" not in looks[0] and "clock of" not in looks[0].replace(
        "Nothing keeps the clock of", ""
    )
    assert hanging.returncode == 1
    sentence = next(line for line in hanging.stdout.splitlines() if "Could not" in line)
    assert "get the join token that lives for an hour for 'join pi5 to the cluster' on pi4 (192.168.1.4:22)" in sentence
    assert "context deadline exceeded" in hanging.stdout and "'journalctl -u k3s' says what is wrong" in hanging.stdout
    assert "'homek8s resume' goes on here" in hanging.stdout
    # nothing half-written: no job was started for want of its secret, and the machine has no agent
    assert not jobs_started(lab.pi5, since)
    assert not lab.pi5.exists("/etc/systemd/system/k3s-agent.service")
    assert lab.pi5.run("ls -A /var/lib/homek8s/jobs /run/homek8s").count("in\n") == 0

    lab.faults.unhang(lab.pi4, "k3s")
    console.done("resume")
    assert "0 steps" in console.done("plan", "setup", "--waive", "cgroup-v1")

    # that run joined pi5 and no more; taken back alone it leaves no node behind that is not ready for ever
    nodes = "KUBECACHEDIR=/run/lab-kubectl k3s kubectl get nodes -o name"
    assert lab.pi4.run(nodes).split() == ["node/pi4", "node/pi5"]
    said = console.done("undo", "--yes", "--confirm", "lab")
    assert "DESTROYS pi4: the node pi5 of the cluster, with its labels and taints" in said
    assert lab.pi4.run(nodes).split() == ["node/pi4"]
    assert not lab.pi5.exists("/etc/systemd/system/k3s-agent.service")
    assert lab.pi4.run("systemctl is-active k3s") == "active\n"


def test_what_goes_wrong_is_said_and_mended(console: Console) -> None:
    lab = console.lab
    # an unreachable machine: nothing is begun
    lab.faults.unplug("pi5")
    gone = console.run("apply", "setup", "--yes", "--waive", "cgroup-v1")
    assert gone.returncode == 4
    assert "pi5 could not be asked" in gone.stdout and "192.168.1.5:22" in gone.stdout
    lab.faults.plug("pi5")

    # a wrong sudo password is tried once, and its own exit code says what is needed
    (console.folder / "password").write_text("wrong\n")
    wrong = console.run("plan", "setup")
    assert wrong.returncode == 5
    assert "sudo did not accept the password of pi" in wrong.stdout + wrong.stderr
    assert "wrong\n" not in wrong.stdout
    (console.folder / "password").write_text("raspberry\n")

    # the apt mirror hangs in the middle of a job, and every connection drops: the job goes on, and is not run twice
    lab.apt_mirror.hang()

    def disturb() -> None:
        wait_until(lambda: bool(jobs_started(lab.pi5)), "the job runs", 30, pause=0.2)
        for host in lab.hosts.values():
            lab.faults.drop_ssh(host)
        lab.apt_mirror.resume()

    disturbance = threading.Thread(target=disturb)
    disturbance.start()
    transcript = console.done("-v", "apply", "setup", "--yes", "--waive", "cgroup-v1", "--stage", "tunnel")
    disturbance.join()
    assert "connection lost, trying again" in transcript
    assert len(jobs_started(lab.pi5)) == 1

    # a file that somebody edited between plan and apply: refused, nothing done, planned again it is mended
    plan = console.folder / "plan.json"
    lab.pi4.run("systemctl stop wg-quick@k8s-tunnel")
    console.run("plan", "setup", "--stage", "tunnel", "-o", str(plan))
    lab.pi4.run("echo '# mine' >>/etc/wireguard/k8s-tunnel.conf")
    digest = re.search(r"Digest ([0-9a-f]{64})", console.run("journal").stdout or "") or re.search(
        r"its digest is ([0-9a-f]{64})", console.run("apply", str(plan), "--approve", "0" * 64).stderr
    )
    assert digest is not None
    drifted = console.run("apply", str(plan), "--approve", digest[1], "--waive", "cgroup-v1")
    assert drifted.returncode == 3, drifted.stdout + drifted.stderr
    assert "k8s-tunnel.conf was 'file 600 root root" in drifted.stderr
    console.done("apply", "setup", "--yes", "--waive", "cgroup-v1", "--stage", "tunnel")
    assert "# mine" not in lab.pi4.read("/etc/wireguard/k8s-tunnel.conf")

    # a full disk: a sentence, nothing half-written, and a run that goes on once there is space
    lab.faults.small_directory(lab.proxy, "/usr/local/bin", "1M")
    full = console.run("apply", "setup", "--yes", "--waive", "cgroup-v1", "--stage", "proxy")
    assert full.returncode == 1
    assert lab.proxy.run("ls /usr/local/bin; ls -A /usr/local/bin | grep -c traefik || true").strip().endswith("0")
    lab.faults.mend_directory(lab.proxy, "/usr/local/bin")
    console.done("resume")
    assert "0 steps" in console.run("plan", "setup", "--stage", "proxy").stdout

    # a changed host key: refused with both fingerprints
    was = console.fingerprint("pi5")
    lab.pi5.change_host_key()
    changed = console.run("status")
    assert changed.returncode == 4 or changed.returncode == 1
    assert was in changed.stdout and "homek8s trust pi5" in changed.stdout
    console.done("trust", "pi5")
    console.done("status")

    hang_the_api(console)
