"""Dialogs: a question, its answer, and a way out that has the focus where something could be lost."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input

from homek8s_tui.base.secrets import Secret
from homek8s_tui.base.tones import Line, Tone
from homek8s_tui.hosts.known_hosts import HostKeyQuestion
from homek8s_tui.plan.model import Plan, Risk
from homek8s_tui.ui.actions import Action, shown
from homek8s_tui.ui.widgets import Lines

Choice = tuple[str, str, str]
"""A button: its id, its label, its variant."""


class Dialog(ModalScreen[str]):
    """A question with buttons; it is answered by a button's id, and with nothing by escape.

    Args:
        title: The question.
        lines: What there is to know.
        choices: The buttons; the first has the focus.
    """

    BINDINGS: ClassVar = [("escape", "leave", "Leave")]

    def __init__(self, title: str, lines: Iterable[Line], choices: Iterable[Choice]) -> None:
        super().__init__()
        self._title = title
        self._lines = tuple(lines)
        self._choices = tuple(choices)

    def compose(self) -> ComposeResult:
        """Builds it."""
        with Vertical(classes="dialog"):
            yield Lines([((self._title, "strong"),)], classes="dialog-title")
            with VerticalScroll(classes="dialog-body", can_focus=False):
                yield Lines(self._lines)
            yield from self.fields()
            with Horizontal(classes="buttons"):
                for name, label, variant in self._choices:
                    yield Button(label, id=name, variant=variant, compact=True)  # type: ignore[arg-type]  # its variants are a Literal

    def fields(self) -> ComposeResult:
        """Yields what is typed into."""
        yield from ()

    def on_mount(self) -> None:
        """Gives the focus to a field, or else to the first button."""
        fields = self.query(Input)
        (fields.first() if fields else self.query(Button).first()).focus()

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """Answers."""
        event.stop()
        self.answer(event.button.id or "")

    def answer(self, button: str) -> None:
        """Ends with a button's answer."""
        self.dismiss(button)

    def action_leave(self) -> None:
        """Ends without an answer."""
        self.dismiss("")


class SecretDialog(ModalScreen[Secret | None]):
    """Asks for a password or a passphrase; what is typed is not shown.

    Args:
        prompt: What is asked for.
        again: Whether the one before was wrong.
    """

    BINDINGS: ClassVar = [("escape", "leave", "Leave")]

    def __init__(self, prompt: str, again: bool) -> None:
        super().__init__()
        self._prompt = prompt
        self._again = again

    def compose(self) -> ComposeResult:
        """Builds it."""
        wrong: Line = (("✗ The one before was not accepted.", "bad"),)
        kept: Line = (("It is kept for this session only, and never written anywhere.", "dim"),)
        with Vertical(classes="dialog"):
            yield Lines([((f"The {self._prompt}", "strong"),)], classes="dialog-title")
            yield Lines([wrong, kept] if self._again else [kept], classes="dialog-body")
            yield Input(password=True, id="secret", compact=True)
            with Horizontal(classes="buttons"):
                yield Button("Give it", id="give", variant="primary", compact=True)
                yield Button("Not now", id="leave", compact=True)

    @on(Input.Submitted)
    @on(Button.Pressed, "#give")
    def give(self) -> None:
        """Ends with what was typed."""
        typed = self.query_one(Input).value
        self.dismiss(Secret(typed) if typed else None)

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        """Ends without it."""
        self.dismiss(None)


def host_key_dialog(question: HostKeyQuestion) -> Dialog:
    """Returns the dialog about a host key that was never seen."""
    return Dialog(
        f"Is this the key of {question.name}?",
        [
            (("At ", "dim"), (f"{question.address}:{question.port}", "plain"), (" answers a machine with the", "dim")),
            ((f"{question.key_type} host key ", "dim"),),
            ((question.fingerprint, "accent"),),
            (),
            (("Compare it at the machine itself:", "dim"),),
            (("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", "plain"),),
            (),
            (("If it is the same, it is pinned; another one will be refused from then on.", "dim"),),
        ],
        [("leave", "Not sure, leave", "default"), ("approve", "It is the same: pin it", "primary")],
    )


class ApprovalDialog(Dialog):
    """The last word before a plan is applied. What is destroyed is listed, and the home's name is to be typed.

    Args:
        plan: The plan.
        waived: The findings that the operator goes on in spite of.
        given_up: The unfinished run that this one takes the place of, if there is one.
    """

    def __init__(self, plan: Plan, waived: Iterable[str], given_up: str = "") -> None:
        self._plan = plan
        risky = [step for step in plan.steps if step.risk is Risk.DISRUPTIVE]
        lines: list[Line] = [
            ((f"{len(plan.steps)} steps", "strong"), (" on ", "dim"), (_hosts(plan), "plain")),
        ]
        if risky:
            lines.append(((f"! {len(risky)} of them interrupt something that runs.", "warn"),))
        lines += [((f"! in spite of {name}", "warn"),) for name in waived]
        if given_up:
            lines.append(((f"! run {given_up}, which is not finished, is given up", "warn"),))
        lines += [(("✗ lost for good: ", "bad"), (sentence, "plain")) for sentence in plan.destroys]
        lines.append((("Plan ", "dim"), (plan.digest[:16], "dim")))
        super().__init__(
            "Take it back?" if plan.undoes else "Apply this plan?",
            lines,
            [("leave", "Leave it", "default"), ("apply", "Apply it", "error" if plan.destroys else "primary")],
        )

    def fields(self) -> ComposeResult:
        """The home's name, where something is destroyed."""
        if self._plan.destroys:
            name: Line = (
                ("Type the home's name, ", "plain"),
                (self._plan.home.name, "strong"),
                (", to go on:", "plain"),
            )
            yield Lines([name], classes="dialog-prompt")
            yield Input(id="name", compact=True)

    def on_mount(self) -> None:
        """Gives the focus to the name, or else to the way out."""
        super().on_mount()
        self._allow()

    @on(Input.Changed, "#name")
    def _allow(self) -> None:
        if self._plan.destroys:
            typed = self.query_one("#name", Input).value
            self.query_one("#apply", Button).disabled = typed != self._plan.home.name

    @on(Input.Submitted, "#name")
    def _submitted(self) -> None:
        if not self.query_one("#apply", Button).disabled:
            self.dismiss("apply")


class HelpDialog(ModalScreen[None]):
    """Explains a screen and its keys.

    Args:
        name: The screen's name.
        explained: What it is for.
        actions: Its actions with the keys that do them.
    """

    BINDINGS: ClassVar = [("escape,q,question_mark,f1,enter", "leave", "Leave")]

    def __init__(self, name: str, explained: str, actions: Iterable[tuple[Action, str, str | None]]) -> None:
        super().__init__()
        self._screen_name = name
        self._explained = explained
        self._actions = tuple(actions)

    def compose(self) -> ComposeResult:
        """Builds it."""
        with Vertical(classes="dialog large"):
            yield Lines([((self._screen_name, "strong"),), ((self._explained, "plain"),)], classes="dialog-title")
            with VerticalScroll(classes="dialog-body"):
                yield Lines(id="explained")
            yield Lines([(("esc", "accent"), (" closes this", "dim"))])

    def on_mount(self) -> None:
        """Lets the arrow keys scroll."""
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        """Wraps for the width there is."""
        self.query_one("#explained", Lines).show(self._explanation())

    def _explanation(self) -> list[Line]:
        lines: list[Line] = []
        for action, keys, reason in self._actions:
            every = " ".join(shown(key) for key in keys.split(","))
            lines += _explained(every, action, reason, max(30, min(116, self.app.size.width - 8) - _HELP_INDENT))
        lines += [
            (),
            (("Keys can be changed in ~/.config/homek8s/console.toml, by the action's name:", "dim"),),
            (('  [keys]\n  "console.help" = "f1"', "dim"),),
        ]
        return lines

    def action_leave(self) -> None:
        """Closes it."""
        self.dismiss(None)


_HELP_INDENT = 23


def _explained(keys: str, action: Action, reason: str | None, width: int) -> Iterator[Line]:
    """Yields an action's lines, its help wrapped beside its name."""
    told: list[tuple[str, Tone]] = [(line, "plain") for line in textwrap.wrap(action.help, width)]
    told += [(line, "warn") for line in textwrap.wrap(f"not now: {reason}", width) if reason is not None]
    for number, (line, tone) in enumerate(told):
        if number:
            yield ((" " * _HELP_INDENT, "plain"), (line, tone))
        else:
            yield ((f"{keys:>9}  ", "accent"), (f"{action.title:<11} ", "strong"), (line, tone))


def _hosts(plan: Plan) -> str:
    return ", ".join(dict.fromkeys(step.host for step in plan.steps))
