"""One machine in memory. It answers in the real machines' own words, so that the real parsers read it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from homek8s_tui.base.clock import Clock
from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts.host import ByteStream
from homek8s_tui.hosts.model import Answer, Answers, Cancel, Change, Chunk, Ended, Job, Outcome, Question, Started
from homek8s_tui.plan.standing import matches


@dataclass(frozen=True)
class Entry:
    """A file."""

    text: str
    """Its content; of a download, its digest."""
    mode: str = "644"
    """Its mode, octal."""
    owner: str = "root"
    """Its user."""
    group: str = "root"
    """Its group."""
    written: float = 0
    """When, by the rehearsal's clock."""


@dataclass
class UnitEntry:
    """A unit."""

    enabled: bool = False
    """Whether it starts at boot."""
    active: bool = False
    """Whether it runs."""
    started: float = 0
    """When it was started or reloaded last."""


class Shortage(Exception):  # noqa: N818 - it is what a machine is short of
    """Something on the machine is missing; the text is what a real one would say."""


State = Callable[["Machine", Sequence[str]], tuple[str, str]]
Script = Callable[["Machine", Sequence[str]], str]
JobScript = Callable[["Machine", Sequence[str], Sequence[str]], str]


@dataclass
class Catalogue:
    """What machines know how to do, by the names of the real scripts."""

    questions: dict[str, Script]
    """Questions: return standard output, or raise `Shortage`."""
    states: dict[str, State]
    """States beyond those every machine has."""
    jobs: dict[str, JobScript]
    """Jobs: return their output, or raise `Shortage`."""
    starts: dict[str, Callable[[Machine], None]]
    """What starting a unit does, by the beginning of its name."""


@dataclass
class Machine:
    """A machine in memory; an `Asker` and a `Doer`."""

    name: str
    """Its name in the inventory."""
    clock: Clock
    """The rehearsal's clock."""
    catalogue: Catalogue
    """What it knows."""
    random: Callable[[int], bytes]
    """Where its keys come from."""
    files: dict[str, Entry] = field(default_factory=dict)
    """Its files, by path."""
    packages: set[str] = field(default_factory=set)
    """Its packages."""
    units: dict[str, UnitEntry] = field(default_factory=dict)
    """Its units."""
    users: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Its system users: shell and home folder."""
    jobs: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The jobs it ran: output and status."""
    executed: list[str] = field(default_factory=list)
    """Everything it did, in order."""
    unplugged: bool = False
    """Whether it is off the network."""
    exchanges: int = 0
    """How many exchanges were made."""
    latency: float = 0
    """How long an exchange takes, in seconds of the rehearsal's clock."""

    def ask(self, questions: Sequence[Question], seconds: float = 30) -> Answers:
        """Asks all of the questions; see `homek8s_tui.hosts.host.Asker.ask`."""
        self._exchange()
        answers = {}
        for question in questions:
            try:
                if question.script.startswith("state-"):
                    answers[question.name] = Answer(0, self._states(question))
                elif question.script in self.catalogue.questions:
                    answers[question.name] = Answer(
                        0, self.catalogue.questions[question.script](self, question.arguments)
                    )
                else:
                    answers[question.name] = Answer(127, "", f"sh: {question.script}: not found")
            except Shortage as shortage:
                answers[question.name] = Answer(1, "", str(shortage))
        return answers

    def dial(self, address: str, port: int, seconds: float = 5) -> ByteStream:
        """Refuses: what looks at the rehearsal's network is its prober."""
        raise ConnectionRefusedError(f"{address}:{port} from {self.name}")

    def change(self, change: Change) -> Outcome:
        """Compares and changes; see `homek8s_tui.hosts.doer.Doer.change`."""
        self._exchange()
        now, extra = self.state(change.kind, change.state)
        if matches(now, change.after):
            return Outcome("already", now, _outputs(extra))
        back = change.kind in ("file", "artefact") and change.arguments[0] not in ("write", "remove", "put")
        if not matches(now, change.before) and not (back and now == "absent"):
            return Outcome("refused", now)
        try:
            getattr(self, f"_change_{change.kind}")(change, now)
        except Shortage as shortage:
            raise Trouble(
                f"change {change.kind} {change.state[0]}",
                self.name,
                str(shortage),
                "Mend that; then go on with 'homek8s resume'.",
            ) from None
        self.executed.append(f"{change.kind} {change.state[0]}")
        now, extra = self.state(change.kind, change.state)
        if not matches(now, change.after):
            raise Trouble(
                f"change {change.kind} {change.state[0]}",
                self.name,
                f"it was done, but the state is now '{now}' and not '{change.after}'",
                "Look at the machine.",
            )
        return Outcome("changed", now, _outputs(extra))

    def start(self, job: Job) -> tuple[Started, str]:
        """Starts a job at most once; see `homek8s_tui.hosts.doer.Doer.start`."""
        self._exchange()
        if job.id in self.jobs:
            return "attached", ""
        now, _ = self.state(job.state_kind, job.state)
        if matches(now, job.after):
            return "already", now
        if not matches(now, job.before):
            return "refused", now
        self.executed.append(f"job {job.script}")
        try:
            self.jobs[job.id] = self.catalogue.jobs[job.script](self, job.arguments, job.secrets), 0
        except Shortage as shortage:
            self.jobs[job.id] = f"{shortage}\n", 1
        return "started", now

    def follow(self, job: str, offset: int, cancel: Cancel) -> Iterator[Chunk | Ended]:
        """Follows a job; see `homek8s_tui.hosts.doer.Doer.follow`."""
        self._exchange()
        if job not in self.jobs:
            yield Ended(None)
            return
        output, status = self.jobs[job]
        data = output.encode()
        if len(data) > offset and not cancel.cancelled:
            yield Chunk(len(data), data[offset:].decode("utf-8", "replace"))
        yield Ended(status)

    def read_secret(self, path: str) -> Secret:
        """Reads a secret's place; see `homek8s_tui.hosts.doer.Doer.read_secret`."""
        self._exchange()
        if path not in self.files:
            raise Trouble(
                f"read the secret {path}", self.name, f"cat: {path}: No such file or directory", "Look at the machine."
            )
        return Secret(self.files[path].text)

    def run_secret(self, script: str, arguments: tuple[str, ...]) -> Secret:
        """Runs a script whose output is a secret; see `homek8s_tui.hosts.doer.Doer.run_secret`."""
        self._exchange()
        try:
            return Secret(self.catalogue.questions[script](self, arguments))
        except Shortage as shortage:
            raise Trouble(f"run {script}", self.name, str(shortage), "Look at the machine.") from None

    def state(self, kind: str, arguments: Sequence[str]) -> tuple[str, str]:
        """Returns a resource's state and extra text, as the state script of that kind tells them."""
        if kind in self.catalogue.states:
            return self.catalogue.states[kind](self, arguments)
        told: tuple[str, str] = getattr(self, f"_state_{kind}")(arguments)
        return told

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Writes a file, as a program on the machine would."""
        self.files[path] = Entry(text, mode, written=self.clock.now())

    def keep(self, path: str, folder: str) -> None:
        """Keeps what is at a path as undo material, as the change scripts do; an empty folder keeps nothing."""
        if folder and path in self.files:
            self.files[f"{folder}/content"] = self.files[path]
        elif folder:
            self.files[f"{folder}/folders"] = Entry("")

    def _put_back(self, path: str, folder: str, after: str) -> None:
        if after == "absent":
            self.files.pop(path, None)
        elif f"{folder}/content" in self.files:
            self.files[path] = replace(self.files[f"{folder}/content"], written=self.clock.now())
        else:
            raise Shortage(f"what {path} was before is no longer kept in {folder}, so it stays as it is")

    def active(self, unit: str) -> bool:
        """Tells whether a unit runs."""
        return self.units.get(unit, UnitEntry()).active

    def _exchange(self) -> None:
        self.exchanges += 1
        self.clock.wait(self.latency)
        if self.unplugged:
            raise Trouble(
                "connect by SSH",
                self.name,
                "nobody answered in 5 s",
                "See whether it is on and the address is right.",
                Kind.UNREACHABLE,
            )

    def _states(self, question: Question) -> str:
        kind = question.script.removeprefix("state-")
        words = list(question.arguments)
        lines = []
        while words:
            count = int(words.pop(0))
            arguments, words = words[:count], words[count:]
            now, extra = self.state(kind, arguments)
            lines.append(f"{now}\t{base64.b64encode(extra.encode()).decode()}.\n")
        return "".join(lines)

    def _state_file(self, arguments: Sequence[str]) -> tuple[str, str]:
        path, fields, places, host = arguments
        entry = self.files.get(path)
        if entry is None:
            return "absent", ""
        text = self._masked(entry.text, fields, places, host) if fields or places else entry.text
        # a shell drops the line ends at the end of what it keeps
        return f"file {entry.mode} {entry.owner} {entry.group} {_digest(text)}", text.rstrip("\n")

    def _masked(self, text: str, fields: str, places: str, host: str) -> str:
        shown = []
        for line in text.split("\n"):
            for place in places.split():
                value = self.files[place].text.split("\n")[0] if place in self.files else ""
                if value:
                    line = line.replace(value, f"<secret: {host}:{place}>", 1)
            key = line.replace(":", "=").split("=")[0].replace(" ", "").replace("\t", "").replace("-", "")
            if f"<secret: {host}:" not in line and line.replace(":", "=") != key and key in fields.split(","):
                line = f"{line.replace(':', '=').split('=')[0]}= <hidden>"
            shown.append(line)
        return "\n".join(shown)

    def _change_file(self, change: Change, now: str) -> None:
        path, _, places, host, action, mode, owner, group = (*change.state, *change.arguments)
        self.keep(path, change.undo)
        if action == "write":
            text = change.payload
            for place in places.split():
                mark = f"<secret: {host}:{place}>"
                if mark in text:
                    if place not in self.files:
                        raise Shortage(f"the content of {path} could not be written")
                    text = text.replace(mark, self.files[place].text.split("\n")[0])
            self.files[path] = Entry(text, mode, owner, group, self.clock.now())
        elif action == "remove":
            self.files.pop(path, None)
        else:
            self._put_back(path, action, change.after)

    def _state_secret(self, arguments: Sequence[str]) -> tuple[str, str]:
        path, make = arguments
        entry = self.files.get(path)
        if entry is None:
            return "absent", ""
        value = entry.text
        if make == "kubeconfig":
            value = next(
                (line.split(":", 1)[1].strip() for line in value.splitlines() if "client-certificate-data:" in line), ""
            )
        digest = _digest(value)
        extra = f"sha256={digest}"
        if make == "wg-private-key" and "wireguard-tools" in self.packages:
            extra += f"\npublic={public_key(value.strip())}"
        return f"present {entry.mode} {entry.owner} {digest}", extra

    def _change_secret(self, change: Change, now: str) -> None:
        path, make = change.state
        action = change.arguments[0]
        if action == "remove":
            self.files.pop(path, None)
            return
        if now == "absent":
            if action == "copy":
                value = change.payload
            elif make == "kubeconfig" or "wireguard-tools" not in self.packages:
                raise Shortage(
                    "wg could not make a key" if make != "kubeconfig" else f"no way is known to make a {make}"
                )
            else:
                value = base64.b64encode(self.random(32)).decode() + "\n"
            self.files[path] = Entry(value, "600", written=self.clock.now())
        else:
            self.files[path] = Entry(self.files[path].text, "600", written=self.clock.now())

    def _state_unit(self, arguments: Sequence[str]) -> tuple[str, str]:
        name, watched = arguments
        unit = self.units.get(name, UnitEntry())
        stale = unit.active and any(
            path in self.files and self.files[path].written > unit.started for path in watched.split()
        )
        return (
            f"{'enabled' if unit.enabled else 'disabled'} {'active' if unit.active else 'inactive'} "
            f"{'stale' if stale else 'current'}"
        ), "load=loaded"

    def _change_unit(self, change: Change, now: str) -> None:
        name, (enabled, active, _) = change.state[0], change.arguments
        unit = self.units.setdefault(name, UnitEntry())
        if active == "yes":
            for beginning, start in self.catalogue.starts.items():
                if name.startswith(beginning):
                    start(self)
            unit.started = self.clock.now()
        unit.enabled, unit.active = enabled == "yes", active == "yes"

    def _state_user(self, arguments: Sequence[str]) -> tuple[str, str]:
        shell = self.users.get(arguments[0])
        return ("absent" if shell is None else f"present {shell[0]} {shell[1]}"), ""

    def _change_user(self, change: Change, now: str) -> None:
        action, shell, folder = change.arguments
        if action == "make":
            self.users[change.state[0]] = shell, folder
        else:
            self.users.pop(change.state[0], None)

    def _state_packages(self, arguments: Sequence[str]) -> tuple[str, str]:
        return " ".join(
            f"{name}={'installed' if name in self.packages else 'absent'}" for name in arguments[0].split()
        ), ""

    def _state_artefact(self, arguments: Sequence[str]) -> tuple[str, str]:
        entry = self.files.get(arguments[0])
        return ("absent" if entry is None else f"file {entry.mode} {entry.owner} {entry.text}"), ""

    def _change_artefact(self, change: Change, now: str) -> None:
        path = change.state[0]
        if change.arguments[0] == "put":
            self.keep(path, change.undo)
            self.write(path, change.arguments[1], change.arguments[3])
        else:
            self._put_back(path, change.arguments[1], change.after)

    def _state_material(self, arguments: Sequence[str]) -> tuple[str, str]:
        return ("present" if self.jobs or self._material(arguments) else "absent"), ""

    def _change_material(self, change: Change, now: str) -> None:
        self.jobs.clear()
        for path in self._material(change.state):
            del self.files[path]

    def _material(self, arguments: Sequence[str]) -> list[str]:
        folder, *run = arguments
        return [
            path for path in self.files if path.startswith("/".join([folder, *(["undo", *run] if run else []), ""]))
        ]

    def _state_job(self, arguments: Sequence[str]) -> tuple[str, str]:
        return ("present" if arguments[0] in self.jobs else "absent"), ""


def public_key(private: str) -> str:
    """Returns the public half of a rehearsed key: a digest of it, for the rehearsal has no curve to multiply on."""
    return base64.b64encode(hashlib.sha256(private.encode()).digest()).decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _outputs(extra: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in extra.splitlines() if "=" in line)
