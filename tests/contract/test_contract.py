"""One suite on the machine in memory and on a real one over SSH, so that the rehearsal can't lie."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Trouble
from homek8s_tui.cli.wiring import GivenSecrets
from homek8s_tui.home.inventory import parse
from homek8s_tui.hosts.doer import Doer
from homek8s_tui.hosts.exchange import parse_states, state_question
from homek8s_tui.hosts.host import Asker
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.model import Cancel, Change, Chunk, Ended, Job, Outcome, Question
from homek8s_tui.hosts.ssh import SshHost
from homek8s_tui.plan.operations import Artefact, File, Operation, Packages, Unit, User
from homek8s_tui.plan.operations import Secret as SecretOperation
from homek8s_tui.plan.values import HostSecret, show
from homek8s_tui.rehearsal.home import RehearsalHome

from ..conftest import HOME

KEY = "/etc/wireguard/contract.key"


class Machine(Asker, Doer, Protocol):
    """Both halves of a machine."""


@pytest.fixture(scope="module", params=["rehearsal", pytest.param("lab", marks=pytest.mark.lab)])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The proxy, bare, once in memory and once in the lab."""
    if request.param == "rehearsal":
        numbers = random.Random(1)
        yield RehearsalHome(parse(HOME, "homek8s.yaml"), numbers.randbytes).machines["proxy"]
        return
    lab = request.getfixturevalue("lab")
    lab.restore()
    lab.reset("proxy")
    keys = HostKeys(tmp_path_factory.mktemp("keys") / "known_hosts", lambda _question: True)
    host = SshHost(
        "proxy", lab.proxy.address, 22, "root", keys, GivenSecrets({}, None), identities=[str(lab.keys.plain)]
    )
    yield host
    host.close()


def state(machine: Machine, kind: str, *arguments: str) -> tuple[str, str]:
    """A resource's state and extra text."""
    question = state_question(kind, [arguments])
    return parse_states(machine.ask([question])[question.name])[0]


def change(machine: Machine, operation: Operation, arguments: tuple[str, ...], before: str, **more: Any) -> Outcome:
    """Makes a change as the engine does."""
    after = more.pop("after", None) or operation.wanted({}) or ""
    return machine.change(Change(operation.kind, operation.state(), before, after, arguments, **more))


def write(machine: Machine, path: str, text: str, before: str = "absent", undo: str = "", mode: str = "644") -> Outcome:
    """Writes a file."""
    operation = File(host="proxy", path=path, content=(text,), mode=mode)
    return change(machine, operation, ("write", mode, "root", "root"), before, payload=text, undo=undo)


def run(machine: Machine, job: Job, offset: int = 0) -> tuple[str, str, int | None]:
    """Starts and follows a job."""
    started, _ = machine.start(job)
    pieces: list[str] = []
    for piece in machine.follow(job.id, offset, Cancel()):
        if isinstance(piece, Chunk):
            pieces.append(piece.text)
        elif isinstance(piece, Ended):
            return started, "".join(pieces), piece.status
    raise AssertionError("it never ended")


def install(machine: Machine) -> None:
    """Installs WireGuard's tools unless a test before did."""
    names = ("wireguard-tools",)
    if state(machine, "packages", *names)[0] != "wireguard-tools=installed":
        run(
            machine,
            Job("contract-0", "packages", ("install", *names), "packages", names, "*", "wireguard-tools=installed"),
        )


def digest(text: str) -> str:
    """A text's digest."""
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_is_written_held_and_refused(machine: Machine) -> None:
    path = "/etc/contract/one.conf"
    assert state(machine, "file", path, "", "", "proxy") == ("absent", "")
    assert write(machine, path, "one\n", mode="640").result == "changed"
    assert state(machine, "file", path, "", "", "proxy") == (f"file 640 root root {digest('one' + chr(10))}", "one")
    assert write(machine, path, "one\n", mode="640").result == "already"
    refused = write(machine, path, "two\n", before=f"file 640 root root {digest('else')}")
    assert refused.result == "refused"
    assert refused.now == f"file 640 root root {digest('one' + chr(10))}"
    assert state(machine, "file", path, "", "", "proxy")[1] == "one"


def test_undo_material_brings_back_what_was(machine: Machine) -> None:
    path, kept = "/etc/contract/two.conf", "/var/lib/homek8s/undo/contract"
    first = f"file 644 root root {digest('old' + chr(10))}"
    write(machine, path, "old\n", undo=f"{kept}/1")
    write(machine, path, "new\n", before=first, undo=f"{kept}/2")
    back = File(host="proxy", path=path, content=None, restore=f"{kept}/2", wanted_state=first)
    assert change(machine, back, (f"{kept}/2", "", "", ""), "file *").result == "changed"
    assert state(machine, "file", path, "", "", "proxy") == (first, "old")
    gone = File(host="proxy", path=path, content=None, restore=f"{kept}/1", wanted_state="absent")
    assert change(machine, gone, (f"{kept}/1", "", "", ""), first).result == "changed"
    assert state(machine, "file", path, "", "", "proxy") == ("absent", "")


def test_a_program_is_replaced_and_put_back(machine: Machine, tmp_path: Path) -> None:
    path, kept = "/usr/local/bin/contract", "/var/lib/homek8s/undo/contract"
    states = []
    for number, text in enumerate(("old", "new"), 3):
        source = tmp_path / text
        source.write_text(text)
        put = Artefact(host="proxy", path=path, url="", sha256=digest(text))
        before = states[-1] if states else "absent"
        done = change(machine, put, ("put", digest(text), "", "755"), before, undo=f"{kept}/{number}", stream=source)
        assert done.result == "changed"
        states.append(done.now)
    back = Artefact(
        host="proxy", path=path, url="", sha256="", present=False, restore=f"{kept}/4", wanted_state=states[0]
    )
    assert change(machine, back, ("restore", f"{kept}/4"), states[1]).now == states[0]
    gone = Artefact(host="proxy", path=path, url="", sha256="", present=False, restore=f"{kept}/3")
    assert change(machine, gone, ("restore", f"{kept}/3"), states[0]).now == "absent"


def test_what_is_gone_can_be_put_back_as_well(machine: Machine) -> None:
    path, kept = "/etc/contract/gone.conf", "/var/lib/homek8s/undo/contract/5"
    first = write(machine, path, "old\n").now
    second = write(machine, path, "new\n", before=first, undo=kept).now
    remove = File(host="proxy", path=path, content=None)
    assert change(machine, remove, ("remove", "", "", ""), second).now == "absent"
    back = File(host="proxy", path=path, content=None, restore=kept, wanted_state=first)
    assert change(machine, back, (kept, "", "", ""), second).now == first
    # what somebody made there in the meantime is not nothing
    theirs = write(machine, path, "theirs\n", before=first).now
    assert change(machine, back, (kept, "", "", ""), second).result == "refused"
    assert state(machine, "file", path, "", "", "proxy")[0] == theirs


def test_what_is_no_longer_kept_can_not_be_put_back(machine: Machine) -> None:
    path, nowhere = "/etc/contract/kept.conf", "/var/lib/homek8s/undo/nowhere/1"
    write(machine, path, "new\n")
    first = f"file 644 root root {digest('old' + chr(10))}"
    back = File(host="proxy", path=path, content=None, restore=nowhere, wanted_state=first)
    with pytest.raises(Trouble, match="no longer kept in /var/lib/homek8s/undo/nowhere/1, so it stays as it is"):
        change(machine, back, (nowhere, "", "", ""), "file *")
    assert state(machine, "file", path, "", "", "proxy")[1] == "new"


def test_packages_are_installed_by_a_job_at_most_once(machine: Machine) -> None:
    operation = Packages(host="proxy", names=("wireguard-tools",))
    before, _ = state(machine, "packages", *operation.state())
    assert before == "wireguard-tools=absent"
    job = Job(
        "contract-1",
        "packages",
        ("install", "wireguard-tools"),
        "packages",
        operation.state(),
        "*",
        "wireguard-tools=installed",
    )
    started, output, status = run(machine, job)
    assert (started, status) == ("started", 0)
    assert "Setting up wireguard-tools" in output
    assert state(machine, "packages", *operation.state())[0] == "wireguard-tools=installed"
    again, same, status = run(machine, job)
    assert (again, same, status) == ("attached", output, 0)
    half = len(output.encode()) // 2
    assert run(machine, job, half)[1].encode() == output.encode()[half:]
    needless = Job(
        "contract-2", "packages", job.arguments, "packages", operation.state(), "*", "wireguard-tools=installed"
    )
    assert machine.start(needless)[0] == "already"
    assert state(machine, "job", "contract-1")[0] == "present"
    assert state(machine, "job", "contract-2")[0] == "absent"


def test_a_job_that_fails_says_so(machine: Machine) -> None:
    job = Job("contract-3", "k3s-install", ("/nowhere/install.sh",), "k3s-installed", ("server",), "*", "installed")
    started, output, status = run(machine, job)
    assert started == "started"
    assert status not in (0, None)
    assert output
    assert state(machine, "k3s-installed", "server")[0] == "absent"
    assert list(machine.follow("never-started", 0, Cancel())) == [Ended(None)]


def test_a_key_is_made_there_once_and_only_its_public_half_is_told(machine: Machine) -> None:
    install(machine)
    operation = SecretOperation(host="proxy", path=KEY, make="wg-private-key")
    made = change(machine, operation, ("make",), "absent")
    assert made.result == "changed"
    assert re.fullmatch(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw480]=", made.outputs["public"])
    private = machine.read_secret(KEY)
    assert isinstance(private, Secret)
    assert made.outputs["sha256"] == digest(private.reveal())
    again = change(machine, operation, ("make",), "absent")
    assert again.result == "already"
    assert dict(again.outputs) == dict(made.outputs)
    told, extra = state(machine, "secret", *operation.state())
    assert told == f"present 600 root {made.outputs['sha256']}"
    assert private.reveal().strip() not in extra + told


def test_secrets_in_a_file_are_spliced_in_there_and_masked_here(machine: Machine) -> None:
    install(machine)
    change(machine, SecretOperation(host="proxy", path=KEY, make="wg-private-key"), ("make",), "absent")
    private = machine.read_secret(KEY).reveal().strip()
    content = ("[Interface]\nPrivateKey = ", HostSecret("proxy", KEY), "\nMTU = 1420\n")
    path = "/etc/wireguard/contract.conf"
    operation = File(host="proxy", path=path, content=content, mode="600", mask=("PrivateKey",))
    assert (
        change(machine, operation, ("write", "600", "root", "root"), "absent", payload=show(content)).result
        == "changed"
    )
    told, extra = state(machine, "file", *operation.state())
    assert told == operation.wanted({})
    assert f"{extra}\n" == show(content)
    assert machine.read_secret(path).reveal() == f"[Interface]\nPrivateKey = {private}\nMTU = 1420\n"
    # another key in its place is hidden, and counts as another text
    other = File(
        host="proxy",
        path="/etc/wireguard/other.conf",
        content=("[Interface]\nPrivateKey = b3RoZXI=\n",),
        mode="600",
        mask=("PrivateKey",),
    )
    machine.change(
        Change(
            "file",
            ("/etc/wireguard/other.conf", "", "", "proxy"),
            "absent",
            "file *",
            ("write", "600", "root", "root"),
            "",
            show(other.content or ()),
        )
    )
    assert "b3RoZXI" not in state(machine, "file", *other.state())[1]
    assert "PrivateKey = <hidden>" in state(machine, "file", *other.state())[1]


def test_a_copied_secret_is_the_same_by_its_digest(machine: Machine) -> None:
    value = "c2hhcmVkc2hhcmVkc2hhcmVkc2hhcmVkc2hhcmVkMTI=\n"
    operation = SecretOperation(
        host="proxy",
        path="/etc/wireguard/contract.psk",
        make="wg-preshared-key",
        digest=(digest(value),),
        copy_of=HostSecret("pi4", "/x"),
    )
    assert change(machine, operation, ("copy",), "absent", payload=value).result == "changed"
    assert state(machine, "secret", *operation.state())[0] == f"present 600 root {digest(value)}"
    removed = SecretOperation(host="proxy", path="/etc/wireguard/contract.psk", make="wg-preshared-key", present=False)
    assert change(machine, removed, ("remove",), "present *").result == "changed"


def test_a_unit_runs_with_what_its_files_say(machine: Machine) -> None:
    service = "/etc/systemd/system/contract.service"
    text = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    write(machine, service, text)
    operation = Unit(host="proxy", unit="contract", watch=(service, "/etc/contract/unit.conf"))
    assert state(machine, "unit", *operation.state())[0] == "disabled inactive current"
    start = ("yes", "yes", "restart")
    assert change(machine, operation, start, "*").result == "changed"
    assert state(machine, "unit", *operation.state())[0] == "enabled active current"
    assert change(machine, operation, start, "*").result == "already"
    write(machine, "/etc/contract/unit.conf", "changed\n")
    assert state(machine, "unit", *operation.state())[0] == "enabled active stale"
    assert change(machine, operation, start, "*").result == "changed"
    assert state(machine, "unit", *operation.state())[0] == "enabled active current"
    stopped = Unit(host="proxy", unit="contract", enabled=False, active=False)
    assert change(machine, stopped, ("no", "no", "restart"), "*").result == "changed"
    assert state(machine, "unit", *operation.state())[0] == "disabled inactive current"


def test_what_can_not_start_is_a_sentence(machine: Machine) -> None:
    with pytest.raises(Trouble, match="unit traefik"):
        change(machine, Unit(host="proxy", unit="traefik"), ("yes", "yes", "restart"), "*")


def test_a_user_comes_and_goes(machine: Machine) -> None:
    operation = User(host="proxy", user="contract")
    make = ("make", operation.shell, operation.home)
    assert change(machine, operation, make, "absent").result == "changed"
    assert state(machine, "user", "contract")[0] == "present /usr/sbin/nologin /nonexistent"
    assert change(machine, operation, make, "absent").result == "already"
    gone = User(host="proxy", user="contract", present=False)
    assert change(machine, gone, ("remove", gone.shell, gone.home), "present *").result == "changed"
    assert state(machine, "user", "contract")[0] == "absent"


def test_questions_travel_together_and_an_unknown_secret_is_a_sentence(machine: Machine) -> None:
    questions = [
        Question("nodes", "nodes"),
        state_question("user", [("root-not",), ("nobody-not",)]),
        state_question("job", [("x",)]),
    ]
    before = machine.exchanges  # type: ignore[attr-defined]  # both count them
    answers = machine.ask(questions)
    assert machine.exchanges == before + 1  # type: ignore[attr-defined]
    assert list(answers) == [question.name for question in questions]
    assert "architecture=" in answers["nodes"].output
    assert [told for told, _ in parse_states(answers["state:user"])] == ["absent", "absent"]
    with pytest.raises(Trouble, match="read the secret"):
        machine.read_secret("/nowhere")


def test_a_runs_material_goes_and_that_of_others_stays(machine: Machine) -> None:
    folder = "/var/lib/homek8s"
    for run in ("one", "two"):
        write(machine, f"/etc/contract/{run}.txt", "x\n", undo=f"{folder}/undo/{run}/1")
    assert machine.change(Change("material", (folder, "one"), "*", "absent")).result == "changed"
    assert state(machine, "material", folder, "one")[0] == "absent"
    assert state(machine, "material", folder, "two")[0] == "present"
    assert state(machine, "material", folder)[0] == "present"
    assert machine.change(Change("material", (folder, "two"), "*", "absent")).result == "changed"


def test_nothing_of_ours_stays_when_it_is_cleared(machine: Machine) -> None:
    write(machine, "/etc/contract/last.conf", "x\n", undo="/var/lib/homek8s/undo/contract/9")
    assert state(machine, "material", "/var/lib/homek8s")[0] == "present"
    assert machine.change(Change("material", ("/var/lib/homek8s",), "*", "absent")).result == "changed"
    assert state(machine, "material", "/var/lib/homek8s")[0] == "absent"
