"""A machine over SSH: one connection, asked and changed through it. The only module that knows paramiko."""

from __future__ import annotations

import codecs
import contextlib
import logging
import secrets as random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.become import Became, become
from homek8s_tui.hosts.host import ByteStream
from homek8s_tui.hosts.known_hosts import HostKeys
from homek8s_tui.hosts.model import Answers, Cancel, Change, Chunk, Ended, Job, Outcome, Question, Started

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False  # its tracebacks are no sentences; ours are made from its exceptions

_CONNECT_SECONDS = 5.0
_LOGIN_SECONDS = 10.0
_KEEPALIVE_SECONDS = 5
_SILENCE_SECONDS = 20.0
_MOST_KEYS = 5
_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_BLOCK = 1 << 16


class SshHost:
    """A machine of the home over SSH; an `Asker` and a `Doer`.

    Args:
        name: Its name in the inventory.
        address: Its address.
        port: The port of its sshd.
        user: Who logs in.
        keys: The pinned host keys.
        secrets: Where passphrases and passwords come from.
        identities: Private key files to try after the agent's keys.
    """

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        user: str,
        keys: HostKeys,
        secrets: SecretSource,
        identities: Sequence[str] = _IDENTITIES,
    ) -> None:
        self._name = name
        self._address = address
        self._port = port
        self._user = user
        self._keys = keys
        self._secrets = secrets
        self._identities = identities
        self._guard = threading.RLock()
        self._transport: paramiko.Transport | None = None
        self._became = Became("")
        self.exchanges = 0
        """How many exchanges were made."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self._name

    @property
    def _where(self) -> str:
        return f"{self._name} ({self._address}:{self._port})"

    def close(self) -> None:
        """Closes the connection; the next use opens another."""
        with self._guard:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def ask(self, questions: Sequence[Question], seconds: float = 30) -> Answers:
        """Asks all of the questions in one exchange; see `homek8s_tui.hosts.host.Asker.ask`."""
        limit = max([seconds, *(question.seconds + 5 for question in questions)])
        reply, _, _ = self._exchange(exchange.ask_text(questions), limit)
        return exchange.parse_answers(reply, questions, self._name)

    def dial(self, address: str, port: int, seconds: float = 5) -> ByteStream:
        """Opens a connection from the machine; see `homek8s_tui.hosts.host.Asker.dial`."""
        transport, _ = self._connected()
        try:
            channel = transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=seconds)
        except paramiko.ChannelException as refusal:
            if refusal.code == paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
                raise Trouble(
                    "look through the machine",
                    self._where,
                    "its sshd forwards no connections",
                    "Set 'AllowTcpForwarding local' in its sshd_config.",
                ) from None
            raise ConnectionRefusedError(f"{address}:{port} from {self._name}: {one_line(refusal.text)}") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            if transport.is_active():
                raise TimeoutError(f"{address}:{port} from {self._name}: no answer in {seconds:g} s") from None
            raise self._lost(error) from None
        channel.settimeout(seconds)
        return _Channel(channel)

    def change(self, change: Change) -> Outcome:
        """Changes one resource; see `homek8s_tui.hosts.doer.Doer.change`."""
        what = f"{change.kind} {change.state[0]}"
        size = change.stream.stat().st_size if change.stream else None
        reply, status, errors = self._exchange(exchange.change_text(change, size), change.seconds, change.stream)
        return exchange.parse_outcome(reply, status, errors, what, self._name)

    def start(self, job: Job) -> tuple[Started, str]:
        """Starts a job at most once; see `homek8s_tui.hosts.doer.Doer.start`."""
        reply, status, errors = self._exchange(exchange.start_text(job), 60)
        return exchange.parse_started(reply, status, errors, f"the job {job.script}", self._name)

    def follow(self, job: str, offset: int, cancel: Cancel) -> Iterator[Chunk | Ended]:
        """Follows a job; see `homek8s_tui.hosts.doer.Doer.follow`."""
        channel = self._open(exchange.follow_text(job, offset))
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = b""
        heard = time.monotonic()
        channel.settimeout(0.5)
        try:
            while not cancel.cancelled:
                try:
                    data = channel.recv(_BLOCK)
                except TimeoutError:
                    if time.monotonic() - heard > _SILENCE_SECONDS:
                        raise self._lost(TimeoutError(f"silent for {_SILENCE_SECONDS:g} s")) from None
                    continue
                if not data:
                    raise self._lost(EOFError("the connection ended"))
                heard = time.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    kind, _, word = line.decode("ascii", "replace").partition(" ")
                    if kind == "O":
                        piece = exchange.decode_chunk(word)
                        offset += len(piece)
                        yield Chunk(offset, decoder.decode(piece))
                    elif kind == "E":
                        yield Ended(int(word) if word.strip().isdigit() else None)
                        return
        except (paramiko.SSHException, OSError) as error:
            raise self._lost(error) from None
        finally:
            channel.close()

    def read_secret(self, path: str) -> Secret:
        """Reads a secret's place; see `homek8s_tui.hosts.doer.Doer.read_secret`."""
        return self._secret("read-secret", (path,), f"read the secret {path}")

    def run_secret(self, script: str, arguments: tuple[str, ...]) -> Secret:
        """Runs a script whose output is a secret; see `homek8s_tui.hosts.doer.Doer.run_secret`."""
        return self._secret(script, arguments, f"run {script}")

    def _secret(self, script: str, arguments: tuple[str, ...], tried: str) -> Secret:
        reply, status, errors = self._exchange(exchange.plain_text(script, arguments), 60)
        if status != 0 or not reply:
            raise Trouble(
                tried,
                self._name,
                one_line(errors) or f"it ended with status {status} and no output",
                "Look at the machine.",
            )
        return Secret(reply.decode("utf-8", "replace"))

    def _exchange(self, text: str, seconds: float, stream: Path | None = None) -> tuple[bytes, int, str]:
        self.exchanges += 1
        channel = self._open(text)
        try:
            end = time.monotonic() + seconds
            sent = stream is None
            reply, errors = bytearray(), bytearray()
            while True:
                # both must be drained, or the other side blocks on the one that is not
                while channel.recv_stderr_ready():
                    errors += channel.recv_stderr(_BLOCK)
                channel.settimeout(min(0.1, max(0.01, end - time.monotonic())))
                try:
                    data = channel.recv(_BLOCK)
                    if not data:
                        break
                    reply += data
                except TimeoutError:
                    if time.monotonic() > end:
                        raise Trouble(
                            "finish an exchange",
                            self._where,
                            f"it took longer than {seconds:g} s",
                            "See whether the machine is overloaded or its disk hangs.",
                            Kind.UNREACHABLE,
                        ) from None
                    if not self._active():
                        raise self._lost(EOFError("the connection ended")) from None
                if stream is not None and not sent and b"R\n" in reply:
                    sent = True
                    channel.settimeout(_SILENCE_SECONDS)
                    with stream.open("rb") as file:
                        while block := file.read(_BLOCK):
                            channel.sendall(block)
                    channel.shutdown_write()
                if len(reply) > exchange.LARGEST_REPLY:
                    raise Trouble("read a reply", self._where, "it is far too long", "Look at the machine.")
            channel.settimeout(max(0.1, end - time.monotonic()))
            while data := channel.recv_stderr(_BLOCK):
                errors += data
            if not self._active() or not channel.status_event.wait(5):
                raise self._lost(EOFError("the connection ended"))
            status = channel.recv_exit_status()
            if status == -1:
                raise self._lost(EOFError("the command was cut off"))
            return bytes(reply), status, errors.decode("utf-8", "replace")
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from None
        finally:
            channel.close()

    def _open(self, text: str) -> paramiko.Channel:
        transport, became = self._connected()
        nonce = random.token_hex(16)
        command = f"{became.prefix}sh -c '{exchange.WRAPPER}' sh {nonce}"
        password = became.password.reveal() if became.password else None
        try:
            channel = transport.open_session(timeout=_LOGIN_SECONDS)
            channel.settimeout(_SILENCE_SECONDS)
            channel.exec_command(command)
            channel.sendall(exchange.envelope(nonce, text, password))
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from None
        return channel

    def _active(self) -> bool:
        transport = self._transport
        return transport is not None and transport.is_active()

    def _lost(self, error: Exception) -> Trouble:
        self.close()
        return Trouble(
            "talk to the machine",
            self._where,
            f"the connection was lost ({one_line(str(error)) or type(error).__name__})",
            "See whether it is still on the network; then try again.",
            Kind.UNREACHABLE,
        )

    def _connected(self) -> tuple[paramiko.Transport, Became]:
        with self._guard:
            if self._transport is not None and self._transport.is_active():
                return self._transport, self._became
            transport = self._connect()
            try:
                self._login(transport)
                self._became = become(
                    self._user, self._name, lambda command, data: _run(transport, command, data), self._secrets
                )
            except (paramiko.SSHException, EOFError, OSError) as error:
                transport.close()
                raise self._lost(error) from None
            except Trouble:
                transport.close()
                raise
            self._transport = transport
            return transport, self._became

    def _connect(self) -> paramiko.Transport:
        tried = "connect by SSH"
        try:
            connection = socket.create_connection((self._address, self._port), _CONNECT_SECONDS)
        except ConnectionRefusedError:
            raise Trouble(
                tried,
                self._where,
                "it refused the connection",
                "See whether sshd runs there and at that port.",
                Kind.UNREACHABLE,
            ) from None
        except TimeoutError:
            raise Trouble(
                tried,
                self._where,
                f"nobody answered in {_CONNECT_SECONDS:g} s",
                "See whether it is on and the address is right.",
                Kind.UNREACHABLE,
            ) from None
        except socket.gaierror:
            raise Trouble(
                tried, self._where, "the name is not known", "Look at the address in the inventory.", Kind.UNREACHABLE
            ) from None
        except OSError as error:
            raise Trouble(
                tried,
                self._where,
                one_line(error.strerror or str(error)),
                "See whether this console has a way there.",
                Kind.UNREACHABLE,
            ) from None
        try:
            transport = paramiko.Transport(connection)
        except (paramiko.SSHException, OSError) as error:
            connection.close()
            raise Trouble(
                tried,
                self._where,
                f"what answers speaks no SSH ({one_line(str(error))})",
                "Look at the port.",
                Kind.UNREACHABLE,
            ) from None
        transport.banner_timeout = _CONNECT_SECONDS
        transport.auth_timeout = _LOGIN_SECONDS
        pinned = self._keys.pinned(self._address, self._port)
        if pinned is not None:
            # otherwise the server might show another of its keys, and a good machine would look like a stranger
            options = transport.get_security_options()
            same = tuple(
                name
                for name in options.key_types
                if name == pinned[0] or (pinned[0] == "ssh-rsa" and name.startswith("rsa-sha2"))
            )
            if same:
                options.key_types = same
        try:
            transport.start_client(timeout=_LOGIN_SECONDS)
            key = transport.get_remote_server_key()
            self._keys.check(self._name, self._address, self._port, key.get_name(), key.asbytes())
        except (paramiko.SSHException, EOFError, OSError) as error:
            transport.close()
            words = one_line(str(error)) or "the connection ended"
            if "incompatible" in words.lower() and pinned is not None:
                raise Trouble(
                    "trust the machine",
                    self._where,
                    f"it no longer has the {pinned[0]} host key that was pinned",
                    f"If you installed it anew, 'homek8s trust {self._name}'.",
                ) from None
            raise Trouble(
                tried,
                self._where,
                f"no SSH session came about ({words})",
                "See whether the machine is overloaded; then try again.",
                Kind.UNREACHABLE,
            ) from None
        except Trouble:
            transport.close()
            raise
        transport.set_keepalive(_KEEPALIVE_SECONDS)
        return transport

    def _login(self, transport: paramiko.Transport) -> None:
        tried: list[str] = []
        offered: tuple[str, ...] = ("publickey", "password")
        for label, key in self._private_keys():
            if len(tried) >= _MOST_KEYS:
                break
            tried.append(label)
            try:
                transport.auth_publickey(self._user, key)
            except paramiko.BadAuthenticationType as refusal:
                offered = tuple(refusal.allowed_types)
                break
            except paramiko.AuthenticationException:
                continue
            return
        if "password" in offered:
            name = f"login:{self._name}"
            with contextlib.suppress(Trouble):
                for _ in range(3):
                    password = self._secrets.get(name, f"SSH password of {self._user} on {self._name}")
                    tried.append("password")
                    try:
                        transport.auth_password(self._user, password.reveal())
                    except paramiko.BadAuthenticationType:
                        break
                    except paramiko.AuthenticationException:
                        if not self._secrets.reject(name):
                            break
                        continue
                    return
        raise Trouble(
            f"log in as {self._user}",
            self._where,
            f"it accepted none of: {', '.join(tried) or 'no key was found here'}",
            f"Put one of your public keys into ~{self._user}/.ssh/authorized_keys there, or load the right one into your agent.",
            Kind.UNREACHABLE,
        )

    def _private_keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        with contextlib.suppress(paramiko.SSHException, OSError):
            for agent_key in paramiko.Agent().get_keys():
                yield f"agent's {one_line(agent_key.comment or agent_key.get_name(), 60)}", agent_key
        for identity in self._identities:
            path = Path(identity).expanduser()
            if path.is_file():
                key = self._private_key(path)
                if key is not None:
                    yield identity, key

    def _private_key(self, path: Path) -> paramiko.PKey | None:
        name = f"passphrase:{path}"
        passphrase: Secret | None = None
        for _ in range(4):
            try:
                return paramiko.PKey.from_path(path, passphrase.reveal() if passphrase else None)
            except (paramiko.PasswordRequiredException, TypeError):
                passphrase = self._secrets.get(name, f"passphrase of {path}")
            except (paramiko.SSHException, ValueError, OSError):
                if passphrase is None:
                    return None  # no key that we can read; the others are tried, and the trouble names what was
                if not self._secrets.reject(name):
                    break
                passphrase = self._secrets.get(name, f"passphrase of {path}")
        raise Trouble(
            f"open the key {path}",
            "",
            "the passphrase is wrong",
            f"Give the right one ('--secret {name}=...').",
            Kind.SECRET,
        )


class _Channel:
    """A forwarded connection as a `ByteStream`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def send(self, data: bytes) -> None:
        """Sends all of the bytes."""
        self._channel.sendall(data)

    def receive(self, limit: int) -> bytes:
        """Returns up to that many bytes."""
        return self._channel.recv(limit)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


def _run(transport: paramiko.Transport, command: str, data: bytes) -> tuple[int, str]:
    channel = transport.open_session(timeout=_LOGIN_SECONDS)
    try:
        channel.settimeout(_LOGIN_SECONDS)
        channel.exec_command(command)
        if data:
            channel.sendall(data)
        channel.shutdown_write()
        said = bytearray()
        while block := channel.recv_stderr(_BLOCK):
            said += block
        if not channel.status_event.wait(_LOGIN_SECONDS):
            raise TimeoutError("sudo did not answer")
        return channel.recv_exit_status(), said.decode("utf-8", "replace")
    finally:
        channel.close()
