"""The few operations that carry everything. Each knows its resource, the state it ends in and where it may start."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

import msgspec

from homek8s_tui.plan.checks import Check
from homek8s_tui.plan.values import HostCommand, HostSecret, OutputKind, Outputs, Template, fill, places

CONSOLE_HOST = "console"
"""The name that stands for this machine where a step does not change a machine of the home."""

Wanted = str | None
"""The state to end in, as a pattern in which ``*`` stands for anything; None while a hole is open."""


class _Operation(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    host: str
    """The machine it changes."""

    kind: ClassVar[str]
    """The name of its state and change scripts."""
    gives: ClassVar[tuple[tuple[str, OutputKind], ...]] = ()
    """The outputs of its change, by name."""

    def state(self) -> tuple[str, ...]:
        """Returns the arguments of its state script; the first names the resource."""
        raise NotImplementedError(type(self).__name__)

    def wanted(self, outputs: Outputs) -> Wanted:
        """Returns the state it ends in."""
        raise NotImplementedError(type(self).__name__)

    def start(self, observed: str) -> str:
        """Returns the pattern of states it may start from, planned from the observed one."""
        return observed

    @property
    def state_kind(self) -> str:
        """The name of its state script, without ``state-``."""
        return self.kind

    @property
    def resource(self) -> Resource:
        """What it changes."""
        return Resource(self.host, self.state_kind, self.state())


class Resource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing on one machine that has a state."""

    host: str
    """The machine."""
    kind: str
    """The name of its state script, without ``state-``."""
    arguments: tuple[str, ...]
    """The arguments of its state script, the name first."""

    @property
    def name(self) -> str:
        """What it is called on its machine."""
        return self.arguments[0]

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same resource, whatever else is asked about it."""
        return self.host, self.kind, self.arguments[0]


class File(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A text file with exactly this content, owner and mode, or (content None) no file."""

    kind: ClassVar[str] = "file"
    path: str
    """The absolute path."""
    content: Template | None
    """The text; secrets in it must lie on the same machine."""
    mode: str = "644"
    """The mode, octal, without a leading zero."""
    owner: str = "root"
    """The owning user."""
    group: str = "root"
    """The owning group."""
    mask: tuple[str, ...] = ()
    """Names of fields whose values are never shown, such as ``PrivateKey``."""
    secrets: tuple[str, ...] = ()
    """Secret places that may stand in it now, beside those of the content."""
    restore: str = ""
    """A folder of undo material to take the content back from; `wanted_state` then says what it was."""
    wanted_state: str = ""
    """With `restore`, the state to end in."""

    def state(self) -> tuple[str, ...]:
        """Path, masked fields, secret places, machine."""
        inside = () if self.content is None else tuple(place.path for place in places(self.content))
        return self.path, ",".join(self.mask), " ".join(dict.fromkeys((*inside, *self.secrets))), self.host

    def wanted(self, outputs: Outputs) -> Wanted:
        """``absent``, or mode, owner, group and digest of the masked text."""
        if self.restore:
            return self.wanted_state
        if self.content is None:
            return "absent"
        text = fill(self.content, outputs)
        if text is None:
            return None
        return f"file {self.mode} {self.owner} {self.group} {hashlib.sha256(text.encode()).hexdigest()}"


class Secret(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A secret made on its machine, or a copy of one that another machine made."""

    kind: ClassVar[str] = "secret"
    gives: ClassVar[tuple[tuple[str, OutputKind], ...]] = (("sha256", "sha256"), ("public", "wg-public-key"))
    path: str
    """Where it is kept, 0600 and root's."""
    make: Literal["wg-private-key", "wg-preshared-key", "kubeconfig"]
    """What it is. A kubeconfig is made by K3s itself and only waited for; its digest is its client certificate's."""
    copy_of: HostSecret | None = None
    """The place it is copied from, where another machine makes it."""
    digest: Template = ("*",)
    """The SHA-256 it must have; anything if it is made here."""
    present: bool = True
    """False to remove it."""

    def state(self) -> tuple[str, ...]:
        """Path and what it is."""
        return self.path, self.make

    def wanted(self, outputs: Outputs) -> Wanted:
        """Present with its digest, or absent."""
        if not self.present:
            return "absent"
        digest = fill(self.digest, outputs)
        return None if digest is None else f"present 600 root {digest}"


class Packages(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Debian packages, installed or (at an undo that was asked for it) removed. Always a job."""

    kind: ClassVar[str] = "packages"
    names: tuple[str, ...]
    """The packages."""
    installed: bool = True
    """False to remove them."""

    def state(self) -> tuple[str, ...]:
        """The names."""
        return (" ".join(self.names),)

    def wanted(self, outputs: Outputs) -> Wanted:
        """All of them, or none."""
        word = "installed" if self.installed else "absent"
        return " ".join(f"{name}={word}" for name in self.names)

    def start(self, observed: str) -> str:
        """Any: installing what is half installed is no harm."""
        return "*"


class Unit(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A systemd unit, enabled or not, active or not, running with what its files say now."""

    kind: ClassVar[str] = "unit"
    unit: str
    """Its name, ending included where it is no service."""
    enabled: bool = True
    """Whether it starts at boot."""
    active: bool = True
    """Whether it runs."""
    watch: tuple[str, ...] = ()
    """Files that it must have been started or reloaded after."""
    reload: bool = False
    """Whether a changed file is taken over by a reload; a restart otherwise."""

    def state(self) -> tuple[str, ...]:
        """Name and watched files."""
        return self.unit, " ".join(self.watch)

    def wanted(self, outputs: Outputs) -> Wanted:
        """Enabled or not, active or not, current."""
        return f"{'enabled' if self.enabled else 'disabled'} {'active' if self.active else 'inactive'} current"

    def start(self, observed: str) -> str:
        """Any: packages and other steps bring units along, and a start that was cut off is just started again."""
        return "*"


class User(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A system user without a login."""

    kind: ClassVar[str] = "user"
    user: str
    """The name."""
    home: str = "/nonexistent"
    """The home folder it is given; it is not made."""
    shell: str = "/usr/sbin/nologin"
    """The shell."""
    present: bool = True
    """False to remove it."""

    def state(self) -> tuple[str, ...]:
        """The name."""
        return (self.user,)

    def wanted(self, outputs: Outputs) -> Wanted:
        """Present with that shell and home, or absent."""
        return f"present {self.shell} {self.home}" if self.present else "absent"


class Artefact(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A downloaded program, verified by its SHA-256 on the machine itself."""

    kind: ClassVar[str] = "artefact"
    path: str
    """Where it goes."""
    url: str
    """Where it comes from."""
    sha256: str
    """The digest of the download."""
    member: str = ""
    """The member of the .tar.gz to take; empty where the download is the program."""
    mode: str = "755"
    """The mode, octal."""
    by_host: bool = False
    """Whether the machine downloads it itself (it has curl); otherwise this console does and sends it."""
    present: bool = True
    """False to take it back: what it replaced comes back, or it is removed."""
    restore: str = ""
    """When taking it back: the undo material that holds what it replaced, or names the folders made for it."""
    wanted_state: str = ""
    """When taking it back: the state to end in, if it replaced something."""

    def state(self) -> tuple[str, ...]:
        """The path."""
        return (self.path,)

    def wanted(self, outputs: Outputs) -> Wanted:
        """The mode and the download's digest, or what was there before."""
        return f"file {self.mode} root {self.sha256}" if self.present else self.wanted_state or "absent"


class Command(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A script that ends in a state of its own kind. Always a job."""

    kind: ClassVar[str] = "command"
    title: str
    """What it does, as people say it: ``install K3s``."""
    script: str
    """The script in ``hosts/scripts``, without ``job-``."""
    arguments: tuple[str, ...] = ()
    """Its arguments; never secret."""
    shows: tuple[str, ...] = ()
    """What it runs, line by line, for the review."""
    secrets: tuple[HostCommand | HostSecret, ...] = ()
    """Secrets that it reads from its standard input, a line each."""
    proof: tuple[str, ...]
    """The state script's name and its arguments."""
    ends: str
    """The state it ends in, as a pattern."""
    repeatable: bool = True
    """Whether it may run again where nobody knows whether it did."""
    undo_script: str = ""
    """The script that takes it back."""
    undo_ends: str = ""
    """The state which that ends in."""
    destroys: tuple[str, ...] = ()
    """What taking it back destroys."""
    undo_then: tuple[Command, ...] = ()
    """What taking it back leaves to do on other machines; not needed where those are taken back, too."""

    @property
    def state_kind(self) -> str:
        """The name of its own state script."""
        return self.proof[0]

    def state(self) -> tuple[str, ...]:
        """The arguments of its own state script."""
        return self.proof[1:]

    def wanted(self, outputs: Outputs) -> Wanted:
        """The state that it declares."""
        return self.ends

    def start(self, observed: str) -> str:
        """Any: its own state script says whether it is still needed."""
        return "*"


class Await(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Waits until a check holds."""

    kind: ClassVar[str] = "await"
    check: Check
    """What to wait for, and how long."""

    def state(self) -> tuple[str, ...]:
        """The check's name."""
        return (self.check.id,)

    def wanted(self, outputs: Outputs) -> Wanted:
        """That it holds."""
        return "holds"

    def start(self, observed: str) -> str:
        """Any."""
        return "*"


class LocalFile(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """An entry in a file of this console's own: the kubeconfig's context of this home."""

    kind: ClassVar[str] = "local"
    path: str
    """The kubeconfig."""
    context: str
    """The name of the context, cluster and user."""
    server: str
    """The address of the API, as people outside reach it."""
    source: HostSecret | None
    """The cluster's own kubeconfig, on the server; None to remove the entry."""
    certificate: Template = ("*",)
    """The SHA-256 of the client certificate the entry must have."""

    def state(self) -> tuple[str, ...]:
        """Path and context."""
        return self.path, self.context

    def wanted(self, outputs: Outputs) -> Wanted:
        """The context with its server and certificate, or absent."""
        if self.source is None:
            return "absent"
        digest = fill(self.certificate, outputs)
        return None if digest is None else f"context {self.server} {digest}"


class Clear(_Operation, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """Removes what we keep on a machine (undo material and jobs). The last step of an undo."""

    kind: ClassVar[str] = "material"
    path: str = "/var/lib/homek8s"
    """The folder."""
    run: str = ""
    """The run whose undo material goes, beside all jobs; what other runs replaced stays for theirs. Empty for all."""

    def state(self) -> tuple[str, ...]:
        """The folder, and the run."""
        return (self.path, self.run) if self.run else (self.path,)

    def wanted(self, outputs: Outputs) -> Wanted:
        """Absent."""
        return "absent"

    def start(self, observed: str) -> str:
        """Any: whatever is kept there goes."""
        return "*"


Operation = File | Secret | Packages | Unit | User | Artefact | Command | Await | LocalFile | Clear
