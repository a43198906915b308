"""A machine over SSH: one connection, asked and changed through it. Only the modules named ssh know paramiko."""

from __future__ import annotations

import codecs
import contextlib
import errno
import logging
import re
import secrets as random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.secrets import Secret, SecretSource
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.become import Become, become
from homek8s_tui.hosts.exchange import Reply
from homek8s_tui.hosts.host import ByteStream
from homek8s_tui.hosts.known_hosts import HostKeys, fingerprint
from homek8s_tui.hosts.model import Answers, Cancel, Change, Chunk, Ended, Job, Outcome, Question, Started
from homek8s_tui.hosts.ssh_login import Login, Reconnect
from homek8s_tui.hosts.ssh_session import DEAD_SECONDS, PARAMIKO, Session, Shell, broken, enter

T = TypeVar("T")

IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
"""The key files that are tried where none are named."""

_CONNECT_SECONDS = 5.0
_BANNER_SECONDS = 5.0
_KEY_EXCHANGE_SECONDS = 10.0
_LOGIN_SECONDS = 10.0
_OPEN_SECONDS = 10.0
_START_SECONDS = 60.0
_SECRET_SECONDS = 60.0
_KEEPALIVE_SECONDS = 5
# sshd allows ten sessions a connection (MaxSessions); two are left for whatever else runs on it
_MOST_SESSIONS = 8
_BLOCK = 1 << 16
# until somebody found out how to become root, nothing runs
_NOBODY = Become("false ")
_JUMP_OF = ", the jump host of "
# what the resolver of the jump's libc says (gai_strerror(3))
_UNKNOWN_NAME = re.compile("name|resol", re.IGNORECASE)

logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False  # its tracebacks are no sentences; ours are made from its exceptions


class SshHost:
    """A machine of the home over SSH; an `Asker` and a `Doer`. Several threads may use it at once.

    The connection is opened at the first use and again after it broke; nothing that may have run is repeated.
    Behind a jump host it is a connection inside the jump's own, which everybody behind it shares; when that one
    breaks, so do theirs, and each is opened again at its next use.

    Args:
        name: Its name in the inventory.
        address: Its address.
        port: The port of its sshd.
        user: Who logs in.
        keys: The pinned host keys.
        secrets: Where passphrases and passwords come from.
        identities: Private key files to try after the agent's keys.
        agent: Whether the keys of the ssh-agent are tried; or the socket of an agent of its own.
        only: Whether the agent's keys that no key file names are left out.
        alias: The name that its host key is pinned under, instead of address and port.
        jump: The machine to go through.
    """

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        user: str,
        keys: HostKeys,
        secrets: SecretSource,
        identities: Sequence[str | Path] = IDENTITIES,
        agent: bool | str = True,
        only: bool = False,
        alias: str = "",
        jump: SshHost | None = None,
    ) -> None:
        self._name = name
        self._address = address
        self._port = port
        self._alias = alias
        self._jump = jump
        self._where = f"{name} ({address}:{port}{f' through {jump.name}' if jump else ''})"
        files = [Path(path).expanduser() for path in identities]
        self._login = Login(user, name, self._where, secrets, files, agent, only)
        self._keys = keys
        self._secrets = secrets
        self._opening = threading.Lock()
        self._becoming = threading.Lock()
        self._counting = threading.Lock()
        self._sessions = threading.BoundedSemaphore(_MOST_SESSIONS)
        self._connection: _Connection | None = None
        self._pending: paramiko.Transport | None = None
        self._closed = 0
        self._failed: Trouble | None = None
        self.exchanges = 0
        """How many exchanges were made: questions, changes, jobs and secrets, not what a login takes."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self._name

    def close(self) -> None:
        """Closes the connection, and one that is just being opened; the next use opens another.

        May be called from any thread; whoever is in the middle of something gets a `Trouble`.
        """
        self._closed += 1
        connection, self._connection = self._connection, None
        for transport in (connection.transport if connection else None, self._pending):
            if transport is not None:
                transport.close()

    def connect(self) -> None:
        """Connects and logs in unless that is done; nobody becomes root.

        Raises:
            Trouble: If the machine, or one on the way to it, is not reached or does not let us in.
        """
        self._connected()

    def forget_key(self) -> None:
        """Forgets its pinned host key, so that its next one is asked about.

        Raises:
            Trouble: If the store can't be written.
        """
        self._keys.forget(self._address, self._port, self._alias)

    def ask(self, questions: Sequence[Question], seconds: float = 30) -> Answers:
        """Asks all of the questions in one exchange; see `homek8s_tui.hosts.host.Asker.ask`."""
        seconds = max([seconds, *(question.seconds + 5.0 for question in questions)])
        reply = self._exchange("ask it", exchange.ask_script(questions), seconds)
        return exchange.read_answers(self._where, questions, reply)

    def dial(self, address: str, port: int, seconds: float = 5) -> ByteStream:
        """Opens a connection from the machine; see `homek8s_tui.hosts.host.Asker.dial`."""
        there = f"{address}:{port} from {self._name}"
        try:
            channel = self._forward(address, port, seconds)
        except paramiko.ChannelException as refusal:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{there}: {one_line(refusal.text)}") from None
        except paramiko.SSHException as error:
            if "Timeout" in str(error):
                raise TimeoutError(errno.ETIMEDOUT, f"{there}: no answer in {seconds:g} s") from None
            # paramiko hands each refusal to one waiter only; of two at the same time the other sees this
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{there}: not connected") from None
        channel.settimeout(max(seconds, 1.0))
        return _ChannelStream(channel, there)

    def change(self, change: Change) -> Outcome:
        """Changes one resource; see `homek8s_tui.hosts.doer.Doer.change`."""
        tried = f"change the {change.kind} {one_line(change.state[0], 200)}"
        if change.stream is None:
            return exchange.read_outcome(
                self._where, tried, self._exchange(tried, exchange.change_script(change), change.seconds)
            )
        try:
            with change.stream.open("rb") as file:
                size = change.stream.stat().st_size
                script = exchange.change_script(change, size)
                with self._session(tried, script, change.seconds, more=True) as session:
                    output = bytearray()
                    for line in session.lines():
                        if line == exchange.READY:
                            session.send_all(iter(lambda: file.read(_BLOCK), b""))
                        else:
                            output += line
                    return exchange.read_outcome(self._where, tried, session.reply(bytes(output)))
        except OSError as error:
            raise Trouble(
                f"read {change.stream}", "", str(error.strerror or error), "Remove it, so that it is fetched again."
            ) from None

    def start(self, job: Job) -> tuple[Started, str]:
        """Starts a job at most once; see `homek8s_tui.hosts.doer.Doer.start`."""
        tried = f"start the job {job.script}"
        reply = self._exchange(tried, exchange.start_script(job), _START_SECONDS)
        return exchange.read_start(self._where, tried, reply)

    def follow(self, job: str, offset: int, cancel: Cancel) -> Iterator[Chunk | Ended]:
        """Follows a job until its end or until cancelled; see `homek8s_tui.hosts.doer.Doer.follow`."""
        tried = f"follow the job {one_line(job, 100)}"
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._session(tried, exchange.follow_script(job, offset), None) as session:
            for line in session.lines(cancel, DEAD_SECONDS):
                piece = exchange.read_progress(self._where, tried, line)
                if isinstance(piece, Ended):
                    rest = decoder.decode(b"", final=True)
                    if rest:
                        yield Chunk(offset, rest)
                    yield piece
                    return
                if piece:
                    text = decoder.decode(piece)
                    offset += len(piece)
                    if text:
                        # a character whose bytes have not all come is read again by whoever takes this up here
                        yield Chunk(offset - len(decoder.getstate()[0]), text)
            if not cancel.cancelled:
                exchange.check_end(self._where, tried, session.reply(b""))
                raise broken(tried, self._where, "")

    def read_secret(self, path: str) -> Secret:
        """Reads a secret's place; see `homek8s_tui.hosts.doer.Doer.read_secret`."""
        return self._secret(f"read the secret {one_line(path, 200)}", "read-secret", (path,))

    def run_secret(self, script: str, arguments: tuple[str, ...]) -> Secret:
        """Runs a script whose output is a secret; see `homek8s_tui.hosts.doer.Doer.run_secret`."""
        return self._secret(f"run {one_line(script, 60)}", script, arguments)

    def _secret(self, tried: str, script: str, arguments: tuple[str, ...]) -> Secret:
        reply = self._exchange(tried, exchange.secret_script(script, arguments), _SECRET_SECONDS)
        return exchange.read_secret(self._where, tried, reply)

    def _exchange(self, tried: str, script: str, seconds: float) -> Reply:
        with self._session(tried, script, seconds) as session:
            return session.reply(b"".join(session.lines()))

    @contextlib.contextmanager
    def _session(self, tried: str, script: str, seconds: float | None, more: bool = False) -> Iterator[Session]:
        """Begins an exchange and ends it, whatever happens.

        Args:
            tried: What it is for, for errors.
            script: The script.
            seconds: Its deadline, or None for one that its reader ends.
            more: Whether bytes follow the script.
        """
        with self._counting:
            self.exchanges += 1
        if not self._sessions.acquire(timeout=seconds or _START_SECONDS):
            raise Trouble(
                tried, self._where, "too much was asked of it at the same time", "Try again.", Kind.UNREACHABLE
            )
        try:
            try:
                connection, (shell, command, first) = self._open(tried, _Connection.shell, self._rooted)
            except paramiko.SSHException as refusal:
                raise self._no_channel(tried, refusal) from None
            session = Session(connection.transport, shell.channel, tried, self._where, seconds)
            try:
                session.run(command, first + exchange.message(shell.nonce, script), more)
                yield session
            finally:
                session.close()
        finally:
            self._sessions.release()

    def _forward(self, address: str, port: int, seconds: float) -> paramiko.Channel:
        """Opens a connection from the machine; nobody becomes root there for it.

        Raises:
            paramiko.SSHException: If nothing came of it.
            Trouble: If there is no connection to the machine, or its sshd does not allow this.
        """
        tried = f"reach {address}:{port} through it"

        def open_channel(connection: _Connection) -> paramiko.Channel:
            transport = connection.transport
            try:
                return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=seconds)
            except paramiko.ChannelException as refusal:
                raise paramiko.ChannelException(refusal.code, transport.refusal or refusal.text) from None
            except paramiko.SSHException:
                # it may be that address that does not answer, or the machine itself: any answer shows that it lives
                with contextlib.suppress(paramiko.ChannelException):
                    _open_session(transport).close()
                raise

        try:
            return self._open(tried, open_channel, self._connected)[1]
        except paramiko.ChannelException as refusal:
            if refusal.code != paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
                raise
            raise Trouble(
                tried,
                self._where,
                "its sshd forwards no connections",
                f"Set 'AllowTcpForwarding local' in its sshd_config and reload ssh; see also that neither PermitOpen "
                f"nor a 'restrict' at {self._login.user}'s key forbids it.",
            ) from None

    def _open(
        self,
        tried: str,
        open_channel: Callable[[_Connection], T],
        connect: Callable[[], _Connection],
    ) -> tuple[_Connection, T]:
        """Opens a channel; once more over a new connection if the one that was there turns out to be dead.

        Raises:
            paramiko.SSHException: If the channel was refused on a connection that lives.
            Trouble: If there is no connection.
        """
        while True:
            before = self._connection
            connection = connect()
            try:
                return connection, open_channel(connection)
            except PARAMIKO as error:
                if connection.transport.is_active() and isinstance(error, paramiko.SSHException):
                    raise
                connection.transport.close()
                if connection is not before:
                    raise broken(tried, self._where, str(error)) from None

    def _connected(self) -> _Connection:
        failed = self._failed
        with self._opening:
            connection = self._connection
            if connection is None or not connection.transport.is_active():
                if self._failed is not failed and self._failed is not None:
                    # whoever waited for that try has its result; behind a dead jump, many would try one by one
                    raise Trouble(*self._failed.args)
                try:
                    connection = self._connect()
                except Trouble as trouble:
                    self._failed = trouble
                    raise
                self._connection = connection
            return connection

    def _rooted(self) -> _Connection:
        """Returns the connection once it is known how to become root on it; a jump host is never asked that."""
        with self._becoming:
            while True:
                before = self._connection
                connection = self._connected()
                if connection.become is not _NOBODY:
                    return connection
                try:
                    connection.become = become(
                        self._login.user, self._name, self._where, connection.enter, self._secrets
                    )
                except paramiko.ChannelException as refusal:
                    raise self._no_channel("become root", refusal) from None
                except PARAMIKO as error:
                    connection.transport.close()
                    if connection is not before:
                        raise broken("become root", self._where, str(error)) from None

    def _connect(self) -> _Connection:
        closed = self._closed
        while True:
            if self._closed != closed:
                raise broken("connect by SSH", self._where, "it was closed here")
            transport = self._handshake()
            asked = time.monotonic()
            try:
                key = transport.get_remote_server_key()
                if self._keys.check(self._name, self._address, self._port, key.get_name(), key.asbytes(), self._alias):
                    # somebody looked at the fingerprint, and sshd does not wait for long
                    transport.close()
                    continue
                self._login.login(transport)
            except Reconnect:
                transport.close()
                continue
            except PARAMIKO as error:
                transport.close()
                if self._login.asked_at > asked:
                    # it was sshd that lost patience while a person typed; what was typed is kept
                    self._login.asked_at = 0.0
                    continue
                raise broken(f"log in as {self._login.user}", self._where, str(error)) from None
            except BaseException:
                transport.close()
                raise
            finally:
                self._pending = None
            transport.set_keepalive(_KEEPALIVE_SECONDS)
            return _Connection(transport)

    def _handshake(self) -> _Transport:
        pinned = self._keys.pinned(self._address, self._port, self._alias)
        connection = self._dial_sshd() if self._jump is None else self._dial_through(self._jump)
        try:
            transport = _Transport(connection)  # type: ignore[arg-type]  # it does not know that a tunnel will do
        except PARAMIKO as error:
            connection.close()
            raise self._no_session(error) from None
        self._pending = transport
        transport.banner_timeout = _BANNER_SECONDS
        transport.handshake_timeout = _KEY_EXCHANGE_SECONDS
        transport.auth_timeout = _LOGIN_SECONDS
        if pinned is not None:
            # else the server might show another of its keys, and a good machine would look like a stranger
            options = transport.get_security_options()
            names = ("rsa-sha2-512", "rsa-sha2-256") if pinned[0] == "ssh-rsa" else (pinned[0],)
            same = tuple(name for name in options.key_types if name in names)
            if same:
                options.key_types = same
        try:
            transport.start_client(timeout=_BANNER_SECONDS + _KEY_EXCHANGE_SECONDS)
            transport.get_remote_server_key()
        except IncompatiblePeer as error:
            transport.close()
            if pinned is not None and "host key" in str(error):
                raise Trouble(
                    "trust the machine",
                    self._where,
                    f"it has no {pinned[0]} host key any more; {fingerprint(pinned[1])} was pinned. Either it was "
                    "installed anew, or something else answers in its place; nothing was sent to it",
                    f"If you installed it anew, 'homek8s trust {self._name}'.",
                ) from None
            raise Trouble(
                "connect by SSH", self._where, one_line(str(error)), "Bring its sshd up to date.", Kind.UNREACHABLE
            ) from None
        except PARAMIKO as error:
            transport.close()
            raise self._no_session(error) from None
        return transport

    def _dial_sshd(self) -> socket.socket:
        try:
            connection = socket.create_connection((self._address, self._port), _CONNECT_SECONDS)
        except OSError as error:
            came_back, do = _no_connection(error)
            raise Trouble("connect by SSH", self._where, came_back, do, Kind.UNREACHABLE) from None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # with the keepalive something is always on its way: a dead machine is noticed after this, not after
            # the kernel's quarter of an hour
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_SECONDS * 1000))
        return connection

    def _dial_through(self, jump: SshHost) -> _Tunnel:
        do = f"See whether it is on and sshd runs there, and whether its firewall lets {jump.name} in."
        try:
            return _Tunnel(jump._forward(self._address, self._port, _CONNECT_SECONDS))
        except Trouble as trouble:
            if not trouble.where or _JUMP_OF in trouble.where:
                raise
            # it is the jump's trouble, and it stands where somebody looks for this machine's
            where = f"{trouble.where}{_JUMP_OF}{self._name}"
            raise Trouble(trouble.tried, where, trouble.came_back, trouble.do, trouble.kind) from None
        except paramiko.ChannelException as refusal:
            words = one_line(refusal.text, 100)
            if _UNKNOWN_NAME.search(words):
                do = f"Look at its address in the inventory, or at the DNS of {jump.name}."
            came_back = f"{jump.name} could not connect to it ({words})"
        except paramiko.SSHException as error:
            waited = "Timeout" in str(error)
            came_back = (
                f"nobody answered {jump.name} in {_CONNECT_SECONDS:g} s" if waited else f"{jump.name} did not connect"
            )
        raise Trouble("connect by SSH", self._where, came_back, do, Kind.UNREACHABLE)

    def _no_channel(self, tried: str, refusal: paramiko.SSHException) -> Trouble:
        words = refusal.text if isinstance(refusal, paramiko.ChannelException) else str(refusal)
        return Trouble(
            tried,
            self._where,
            f"its sshd opened no session ({one_line(words)})",
            "Look at MaxSessions in its sshd_config, and whether it is overloaded.",
            Kind.UNREACHABLE,
        )

    def _no_session(self, error: Exception) -> Trouble:
        words = "" if isinstance(error, OSError) else one_line(str(error))
        if "banner" in words or "Indecipherable" in words or "Invalid SSH" in words:
            came_back = f"something took the connection, but no sshd introduced itself in {_BANNER_SECONDS:g} s"
            do = "See whether the port is sshd's, and whether the machine is overloaded."
        elif not words or "No existing session" in words or "Negotiation failed" in words or "timeout" in words.lower():
            came_back = "its sshd stopped in the middle of the handshake"
            do = "See whether the machine is overloaded; then try again."
        else:
            came_back = f"the SSH handshake failed ({words})"
            do = "Try again; if it stays so, look at sshd's log on the machine."
        return Trouble("connect by SSH", self._where, came_back, do, Kind.UNREACHABLE)


@dataclass
class _Connection:
    """An open connection and, once somebody needed it, the way to root on it."""

    transport: _Transport
    become: Become = _NOBODY
    waiting: list[Shell] = field(default_factory=list)
    """The shell that finding the way to root left behind, until the first exchange takes it."""

    def enter(self, way: Become) -> tuple[int, str]:
        """Has a shell of root's started; see `homek8s_tui.hosts.become.Enter`."""
        shell, status, said = enter(self.transport, way)
        self.waiting += filter(None, [shell])
        return status, said

    def shell(self) -> tuple[Shell, str | None, bytes]:
        """Returns a channel for an exchange, the command that is still to be run on it, and its first input."""
        with contextlib.suppress(IndexError):
            shell = self.waiting.pop()
            if not shell.channel.closed:
                return shell, None, b""
        shell = Shell(_open_session(self.transport), random.token_hex(16))
        return shell, exchange.command(shell.nonce, self.become.prefix), self.become.first


class _Transport(paramiko.Transport):
    """A connection that keeps the words with which a channel was refused; paramiko only has words for the code."""

    refusal = ""
    """Those of the newest refusal."""

    def _parse_channel_open_failure(self, message: paramiko.Message) -> None:
        # RFC 4254, 5.1: the channel, the reason's code, its description
        told = paramiko.Message(message.asbytes())
        told.get_int()
        told.get_int()
        self.refusal = told.get_text()
        super()._parse_channel_open_failure(message)  # type: ignore[misc]  # overridden where it is called


class _Tunnel:
    """A channel of the jump's connection, as the socket of the one inside it: all that paramiko asks of one."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self.settimeout = channel.settimeout
        self.send = channel.send
        self.recv = channel.recv

    @property
    def _closed(self) -> bool:
        return self._channel.closed

    def close(self) -> None:
        """Closes it as a socket closes: without a word about a jump that is gone."""
        with contextlib.suppress(*PARAMIKO):
            self._channel.close()


class _ChannelStream:
    """A connection that the machine made, as a `ByteStream`."""

    def __init__(self, channel: paramiko.Channel, there: str) -> None:
        self._channel = channel
        self._there = there

    def send(self, data: bytes) -> None:
        """Sends all of the bytes."""
        try:
            self._channel.sendall(data)
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionResetError(errno.ECONNRESET, f"{self._there}: {one_line(str(error))}") from None

    def receive(self, limit: int) -> bytes:
        """Returns up to that many bytes; empty at the end."""
        try:
            return self._channel.recv(limit)
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionResetError(errno.ECONNRESET, f"{self._there}: {one_line(str(error))}") from None

    def close(self) -> None:
        """Closes the connection."""
        with contextlib.suppress(*PARAMIKO):
            self._channel.close()


def _open_session(transport: paramiko.Transport) -> paramiko.Channel:
    try:
        return transport.open_session(timeout=_OPEN_SECONDS)
    except paramiko.ChannelException:
        raise
    except paramiko.SSHException:
        # sshd answers this at once; a connection that does not is dead, whether anybody noticed or not
        transport.close()
        raise


def _no_connection(error: OSError) -> tuple[str, str]:
    if isinstance(error, socket.gaierror):
        return "the name is not known", "Look at its address in the inventory, or at this console's DNS."
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused", "See whether sshd runs there, at that port."
    if isinstance(error, TimeoutError):
        return (
            f"nobody answered in {_CONNECT_SECONDS:g} s",
            "See whether it is on, the address is right and no firewall is in between.",
        )
    if error.errno == errno.ENETUNREACH:
        return (
            "this console has no way into that network",
            "See whether this console is on the network or VPN it needs.",
        )
    if error.errno == errno.EHOSTUNREACH:
        return "there is no way to that address", "See whether it is on, and on the same network."
    return one_line(error.strerror or str(error)), "See whether this console is on the network."
