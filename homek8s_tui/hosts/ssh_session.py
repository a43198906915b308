"""One exchange on an SSH connection: what is sent, what comes back, and every way in which it breaks."""

from __future__ import annotations

import contextlib
import secrets as random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko

from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import Kind, Trouble
from homek8s_tui.hosts import exchange
from homek8s_tui.hosts.become import Become
from homek8s_tui.hosts.exchange import Reply
from homek8s_tui.hosts.model import Cancel

PARAMIKO = (paramiko.SSHException, EOFError, OSError)
"""Whatever paramiko may raise because of the network or the other side; nothing of it may get further up."""
DEAD_SECONDS = 15
"""How long a machine may be silent where it should not be."""
_OPEN_SECONDS = 10.0
_RUN_SECONDS = 10.0
_PAUSE = 0.2
_BLOCK = 1 << 16
_ERRORS_LIMIT = 1 << 16


def broken(tried: str, where: str, words: str) -> Trouble:
    """Returns the trouble of a connection that broke."""
    words = one_line(words)
    return Trouble(
        tried,
        where,
        f"the connection broke in the middle of it{f' ({words})' if words else ''}",
        "See whether the machine is still on the network; then try again.",
        Kind.UNREACHABLE,
    )


class Session:
    """One exchange.

    Args:
        transport: The connection.
        channel: A new session channel on it.
        tried: What it is for, for errors.
        where: The machine, for errors.
        seconds: Its deadline, or None where its reader ends it.
    """

    def __init__(
        self, transport: paramiko.Transport, channel: paramiko.Channel, tried: str, where: str, seconds: float | None
    ) -> None:
        self._transport = transport
        self._channel = channel
        self._tried = tried
        self._where = where
        self._seconds = seconds
        self._errors = bytearray()
        # paramiko waits without limit in some places; closing the channel ends every one of these waits
        self._watch = None if seconds is None else _Watch(channel, seconds)

    def run(self, command: str | None, data: bytes, more: bool) -> None:
        """Runs the command, unless a shell waits there already, and sends its input, which ends there unless more follows.

        Raises:
            Trouble: If the connection breaks or the machine runs no commands.
        """
        with self._sentences():
            if command is not None:
                self._channel.exec_command(command)
            self._write(data)
            if not more:
                self._channel.shutdown_write()

    def send_all(self, blocks: Iterator[bytes]) -> None:
        """Streams bytes and ends the standard input; the other side may stop listening, and says why.

        Raises:
            Trouble: If the connection breaks or the deadline passes.
        """
        for block in blocks:
            with self._sentences():
                self._write(block)
        with self._sentences():
            self._channel.shutdown_write()

    def lines(self, cancel: Cancel | None = None, silence: float | None = None) -> Iterator[bytes]:
        """Yields the lines of the output with their ends, and at last what has none.

        Args:
            cancel: A request to stop.
            silence: How many seconds of silence mean that the connection is dead; it is closed then.

        Raises:
            Trouble: If the connection breaks, the deadline passes, or far too much comes.
        """
        buffer = bytearray()
        total = searched = 0
        heard = time.monotonic()
        while cancel is None or not cancel.cancelled:
            with self._sentences():
                self._channel.settimeout(_PAUSE)
                self._drain()
                try:
                    data = self._channel.recv(_BLOCK)
                except TimeoutError:
                    if silence is not None and time.monotonic() - heard > silence:
                        self._transport.close()
                        raise broken(self._tried, self._where, f"nothing came for {silence:g} s") from None
                    continue
            self._check_deadline()
            heard = time.monotonic()
            buffer += data
            # what is followed may be long; a line of it may not
            total = len(buffer) if self._seconds is None else total + len(data)
            if total > exchange.REPLY_LIMIT:
                raise Trouble(
                    self._tried,
                    self._where,
                    f"it answered more than {exchange.REPLY_LIMIT >> 20} MiB",
                    "Look at the machine; something there prints without end.",
                )
            start = 0
            while (end := buffer.find(b"\n", max(start, searched))) >= 0:
                yield bytes(buffer[start : end + 1])
                start = end + 1
            del buffer[:start]
            searched = len(buffer)
            if not data:
                if buffer:
                    yield bytes(buffer)
                return

    def reply(self, output: bytes) -> Reply:
        """Returns the reply once `lines` has come to its end.

        Args:
            output: What counts as its output.

        Raises:
            Trouble: If the connection broke, so that there is no exit status.
        """
        with self._sentences():
            while not self._channel.status_event.wait(_PAUSE):
                self._drain()
            self._drain()
        self._check_deadline()
        status = self._channel.exit_status
        if status == -1 and not self._transport.is_active():
            raise broken(self._tried, self._where, "")
        return Reply(status, output, self._errors.decode("utf-8", "replace"))

    def close(self) -> None:
        """Ends the exchange, wherever it is."""
        if self._watch is not None:
            self._watch.cancel()
        with contextlib.suppress(*PARAMIKO):
            self._channel.close()

    def _write(self, data: bytes) -> None:
        self._channel.settimeout(DEAD_SECONDS if self._seconds is None else None)
        sent = 0
        while sent < len(data):
            # the other side may end before it has read everything: what it says on its way out is the better error
            if self._channel.status_event.is_set() or self._channel.eof_received:
                return
            try:
                sent += self._channel.send(data[sent : sent + _BLOCK])
            except TimeoutError:
                raise
            except OSError:
                if self._late or not self._transport.is_active():
                    raise
                return

    def _drain(self) -> None:
        # both outputs share one window: unless this one is read too, the other stops
        while self._channel.recv_stderr_ready():
            data = self._channel.recv_stderr(_BLOCK)
            if not data:
                return
            self._errors += data[: max(0, _ERRORS_LIMIT - len(self._errors))]

    @property
    def _late(self) -> bool:
        return self._watch is not None and self._watch.late

    def _check_deadline(self) -> None:
        if self._late:
            raise Trouble(
                self._tried,
                self._where,
                f"it did not answer within {self._seconds or 0:g} s",
                "See whether the machine is overloaded or its disk hangs.",
                Kind.UNREACHABLE,
            )

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except PARAMIKO as error:
            self._check_deadline()
            if not self._transport.is_active():
                raise broken(self._tried, self._where, str(error)) from None
            raise Trouble(
                self._tried,
                self._where,
                f"its sshd ended the session ({one_line(str(error)) or 'without a word'})",
                "See whether the login may run commands there (its shell, ForceCommand).",
                Kind.UNREACHABLE,
            ) from None


class _Watch:
    """Closes a channel at its deadline."""

    def __init__(self, channel: paramiko.Channel, seconds: float) -> None:
        self._channel = channel
        self.late = False
        """Whether the deadline has passed."""
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Forgets the deadline."""
        self._timer.cancel()

    def _end(self) -> None:
        self.late = True
        with contextlib.suppress(*PARAMIKO):
            self._channel.close()


@dataclass(frozen=True)
class Shell:
    """A shell that waits for the script of one exchange."""

    channel: paramiko.Channel
    """Its session channel."""
    nonce: str
    """The line that the script comes after."""


def enter(transport: paramiko.Transport, way: Become) -> tuple[Shell | None, int, str]:
    """Has a shell of root's started. Nothing follows a password before that shell itself says that it is there.

    Returns:
        The shell, unless anything else was said before it, as a lecture is; 0 if it was started, else the status that
        the try ended with; and all that was said.

    Raises:
        EOFError, OSError, paramiko.SSHException: If the connection breaks or it takes too long.
    """
    channel = transport.open_session(timeout=_OPEN_SECONDS)
    nonce = random.token_hex(16)
    greeting = f"{nonce}\n"
    watch = _Watch(channel, _RUN_SECONDS)
    kept = False
    try:
        channel.set_combine_stderr(True)
        channel.exec_command(exchange.command(nonce, way.prefix, greet=True))
        if way.first:
            channel.sendall(way.first)
        said = channel.recv(_BLOCK)
        if said == greeting.encode():
            channel.set_combine_stderr(False)
            kept = True
            return Shell(channel, nonce), 0, ""
        # sudo waits for another password; without input it ends, and so does a shell that came after other words
        channel.shutdown_write()
        words, status = _rest(channel, said)
    finally:
        watch.cancel()
        if not kept:
            channel.close()
    if watch.late:
        raise TimeoutError(f"no shell came in {_RUN_SECONDS:g} s")
    return None, 0 if greeting in words else status, words.replace(greeting, "")


def _rest(channel: paramiko.Channel, said: bytes) -> tuple[str, int]:
    """Returns what was said and all that still comes, and the exit status."""
    words = bytearray(said)
    while block := channel.recv(_BLOCK):
        words += block[: max(0, _ERRORS_LIMIT - len(words))]
    return words.decode("utf-8", "replace"), channel.recv_exit_status()
