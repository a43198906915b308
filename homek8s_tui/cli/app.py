"""The command line."""

from __future__ import annotations

import datetime as dt
import functools
import gc
import getpass
import os
import secrets as random
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from homek8s_tui import __version__
from homek8s_tui.base.findings import Finding, Intent, Severity
from homek8s_tui.base.safe_text import one_line
from homek8s_tui.base.troubles import CHANGES, DONE, EXIT_CODES, Kind, Trouble
from homek8s_tui.cli import printing, wiring
from homek8s_tui.engine.crash import write_report
from homek8s_tui.engine.journal import Done
from homek8s_tui.engine.service import Service
from homek8s_tui.features.overview import view as overview
from homek8s_tui.features.setup.plans import PARTS, parts
from homek8s_tui.home import inventory, places
from homek8s_tui.home.inventory import Home
from homek8s_tui.hosts.known_hosts import HostKeyQuestion
from homek8s_tui.plan.model import Plan, decode, encode
from homek8s_tui.plan.review import review
from homek8s_tui.rehearsal.home import RehearsalHome

if TYPE_CHECKING:
    from homek8s_tui.ui.questions import Questions

EPILOG = """Exit codes: 0 done; 1 failed, or the doctor found a blocker; 2 the plan has changes, or the doctor found a
warning; 3 a machine is not as planned; 4 a machine was not reached; 5 a secret or a host key's approval is needed;
64 the command line or the inventory can't be used."""


@dataclass
class Session:
    """What the options of the program decide for every command."""

    home_file: Path | None
    secrets: dict[str, str]
    host_keys: dict[str, str]
    read_only: bool
    verbose: bool

    def home(self) -> Home:
        """Returns the inventory."""
        return inventory.load(inventory.find(self.home_file, Path.cwd(), places.config(os.environ)))

    @functools.cached_property
    def service(self) -> Service:
        """The service of the home."""
        person = sys.stdin.isatty() and sys.stderr.isatty()
        secrets = wiring.GivenSecrets(self.secrets, (lambda prompt: getpass.getpass(f"{prompt}: ")) if person else None)
        keys = wiring.host_keys(self.host_keys, _approve_host_key if person else None)
        return wiring.real_service(self.path(), keys, secrets, self.read_only)

    def console(self) -> int:
        """Opens the console: at the set-up where there is no inventory, else at the home screen."""
        from homek8s_tui.ui.questions import Questions

        questions = Questions(wiring.GivenSecrets(self.secrets, None), self.host_keys)
        keys = wiring.host_keys(self.host_keys, questions.approve)
        path = self.path()
        service = wiring.real_service(path, keys, questions, self.read_only)
        return _console(service, "home" if path.is_file() else "setup", questions, self.read_only)

    def path(self) -> Path:
        """Returns the inventory's path, or where the first one would be written."""
        try:
            return inventory.find(self.home_file, Path.cwd(), places.config(os.environ))
        except Trouble:
            return Path.cwd() / inventory.FILE_NAME


pass_session = click.make_pass_decorator(Session)


def _approve_host_key(question: HostKeyQuestion) -> bool:
    click.echo(
        f"{question.name} ({question.address}:{question.port}) has a {question.key_type} host key never seen before:",
        err=True,
    )
    click.echo(f"  {question.fingerprint}", err=True)
    return click.confirm("Is that its key?", default=False, err=True)


def _pairs(_context: click.Context, option: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, found, rest = value.partition("=")
        if not found or not name:
            raise click.BadParameter(f"write NAME=..., not '{one_line(name)}'", param=option)
        pairs[name] = rest
    return pairs


@click.group(
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="homek8s")
@click.option(
    "--home",
    "home_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The inventory; else ./homek8s.yaml, else the one in ~/.config/homek8s.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    callback=_pairs,
    metavar="NAME=SOURCE",
    help="A secret: NAME=fd:N or NAME=command:COMMAND. Names: sudo:HOST, login:HOST, passphrase:FILE.",
)
@click.option(
    "--host-key",
    "host_keys",
    multiple=True,
    callback=_pairs,
    metavar="HOST=SHA256:...",
    help="Approve a machine's host key, by its fingerprint.",
)
@click.option("--read-only", is_flag=True, help="Change nothing, whatever is asked.")
@click.option("-v", "--verbose", is_flag=True, help="Show what long steps say.")
@click.pass_context
def cli(
    context: click.Context,
    home_file: Path | None,
    secrets: dict[str, str],
    host_keys: dict[str, str],
    read_only: bool,
    verbose: bool,
) -> None:
    """A K3s cluster at home that the internet can reach. Without a command it opens the console."""
    session = context.obj = Session(home_file, secrets, host_keys, read_only, verbose)
    if context.invoked_subcommand is None:
        if not _terminal():
            raise click.UsageError("the console needs a terminal; 'homek8s --help' lists the commands that do without")
        context.exit(session.console())


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=inventory.FILE_NAME)
def init(file: Path) -> None:
    """Write a commented inventory to start from."""
    try:
        with file.open("x") as fresh:
            fresh.write(inventory.commented())
    except FileExistsError:
        raise Trouble(
            "write the inventory", str(file), "it exists already", "Edit it, or name another file.", Kind.USAGE
        ) from None
    except OSError as error:
        raise Trouble("write the inventory", str(file), str(error), "Name another file.", Kind.USAGE) from None
    click.echo(f"{file} is written. Fill it in; then 'homek8s plan setup' shows what would be done.")


@cli.command()
def schema() -> None:
    """Print the inventory's JSON schema, for editors."""
    click.echo(inventory.json_schema())


@cli.command()
@click.argument("what", type=click.Choice(["setup"]))
@click.option("--stage", "stages", default="", help=f"Only these parts, comma separated: {', '.join(PARTS)}.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the plan to a file, to be applied later.")
@click.option("--waive", multiple=True, metavar="FINDING", help="Judge the exit code as if this finding were waived.")
@pass_session
def plan(session: Session, what: str, stages: str, output: Path | None, waive: tuple[str, ...]) -> int:
    """Show what would be done, and do nothing."""
    home = session.home()
    made = session.service.plan(home, _set_up(stages))
    click.echo(review(made), nl=False)
    if output is not None:
        _write_private(output, encode(made))
        click.echo(f"{what} is planned in {output}; 'homek8s apply {output}' shows it again and asks.")
    return _plan_code(made, frozenset(waive))


@cli.command()
@click.argument("what")
@click.option("--stage", "stages", default="", help=f"Only these parts of the set-up: {', '.join(PARTS)}.")
@click.option("--yes", is_flag=True, help="Approve the set-up's plan without being asked.")
@click.option("--approve", metavar="DIGEST", help="Approve a plan from a file, by its digest.")
@click.option(
    "--waive",
    multiple=True,
    metavar="FINDING",
    help="Go on in spite of a finding that may be waived: ID or ID:MACHINE.",
)
@pass_session
def apply(session: Session, what: str, stages: str, yes: bool, approve: str | None, waive: tuple[str, ...]) -> int:
    """Plan, show, ask and do it: WHAT is 'setup' or a plan's file."""
    if what == "setup":
        if approve:
            raise click.UsageError("--approve goes with a plan's file; for the set-up there is --yes")
        return _apply(session, session.service.plan(session.home(), _set_up(stages)), yes, waive)
    if yes or stages:
        raise click.UsageError(
            "a plan's file is approved by its digest (--approve) or at the prompt; --yes and --stage are for 'setup'"
        )
    try:
        made = decode(Path(what).read_bytes(), what)
    except OSError as error:
        raise Trouble(
            "read the plan",
            what,
            error.strerror or str(error),
            "Name 'setup' or a file that 'homek8s plan -o' wrote.",
            Kind.USAGE,
        ) from None
    if approve and approve != made.digest:
        raise Trouble("apply the plan", what, f"its digest is {made.digest}", "Look at the plan again.", Kind.USAGE)
    return _apply(session, made, bool(approve), waive)


@cli.command()
@pass_session
def resume(session: Session) -> int:
    """Go on with the run that was not finished."""
    home = session.home()
    run = session.service.unfinished(home)
    if run is None:
        click.echo("No run is unfinished.")
        return DONE
    # the checksums that the approval pinned are no edit
    if msgspec.structs.replace(run.plan.home, artefacts=home.artefacts) != home:
        click.echo("The inventory was edited since; this run goes on with what was approved.")
    return printing.RunPrinter(session.service.resume(run), session.verbose).run()


@cli.command()
@click.argument("run", required=False)
@click.option("--packages", is_flag=True, help="Remove the packages that the run installed, too.")
@click.option("--yes", is_flag=True, help="Approve without being asked; what is destroyed needs --confirm, too.")
@click.option("--confirm", metavar="HOME", help="The home's name, where something is destroyed.")
@pass_session
def undo(session: Session, run: str | None, packages: bool, yes: bool, confirm: str | None) -> int:
    """Take a run back: the newest that changed something, unless one is named."""
    home = session.home()
    asked = (("run", run or ""), ("packages", "yes" if packages else "no"))
    made = session.service.plan(home, Intent("undo", asked))
    if made.destroys and yes and confirm != home.name:
        click.echo(review(made), nl=False)
        raise Trouble(
            "take the run back",
            "",
            "it destroys what is listed above",
            f"Give '--confirm {home.name}' if that is wanted.",
            Kind.USAGE,
        )
    return _apply(session, made, yes, ())


@cli.command("journal")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_session
def journal_command(session: Session, run: str | None, as_json: bool) -> None:
    """List the runs, or show one with its steps."""
    journal = session.service.journal
    if run is None:
        runs = journal.runs(session.home().name)
        if as_json:
            click.echo(msgspec.json.encode([msgspec.to_builtins(info) for info in runs]))
            return
        for info in runs:
            click.echo(f"{info.id}  {_when(info.began)}  {info.result}")
        return
    loaded = journal.load(run)
    steps = {step.number: step for step in loaded.plan.steps}
    if as_json:
        click.echo(
            msgspec.json.encode(
                [
                    {"kind": record.kind, "step": record.step, "at": record.at, "body": msgspec.Raw(record.body)}
                    for record in journal.records(run)
                ]
            )
        )
        return
    click.echo(review(loaded.plan), nl=False)
    for record in journal.records(run):
        if record.kind in ("outcome", "proof"):
            done = msgspec.json.decode(record.body, type=Done)
            what = (
                f"{record.step:>3} {steps[record.step].host} {done.result} ({done.seconds:.1f} s)"
                if record.step
                else done.now
            )
            click.echo(f"{_when(record.at)}  {what}")
            for line in filter(None, (done.trouble, *done.words.splitlines())):
                click.echo(f"    {line}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_session
def status(session: Session, as_json: bool) -> int:
    """Show the machines, the tunnel and the cluster as they are now."""
    shown = _picture(session)
    click.echo(msgspec.json.encode(shown) if as_json else "\n".join(overview.lines(shown)))
    return EXIT_CODES[Kind.UNREACHABLE] if any(not machine.reachable for machine in shown.machines) else DONE


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@pass_session
def doctor(session: Session, as_json: bool) -> int:
    """Look for what is wrong, and change nothing."""
    found = _picture(session).findings
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        for finding in found:
            click.echo(
                f"{finding.severity.value.upper()} {finding.subject}: {one_line(finding.what)} {one_line(finding.how_we_know, 1000)} {finding.do}".rstrip()
            )
        if not found:
            click.echo("Nothing is wrong.")
    severities = {finding.severity for finding in found}
    return (
        EXIT_CODES[Kind.FAILED]
        if Severity.BLOCKER in severities
        else CHANGES
        if Severity.WARNING in severities
        else DONE
    )


@cli.command()
@click.argument("machine")
@pass_session
def trust(session: Session, machine: str) -> None:
    """Forget the pinned host key of a machine or jump host, so that its next one is shown and asked about."""
    session.service.trust(session.home().hosts, machine)
    click.echo(f"The host key of {machine} is pinned.")


@cli.command()
@click.option("--headless", is_flag=True, help="Print the walk, also where there is a terminal.")
def demo(headless: bool) -> int:
    """Open the console on a home in memory: the real planner and the real engine, no machine touched.

    Without a terminal it prints the first set-up of such a home.
    """
    home = inventory.parse(inventory.commented(), "the rehearsal's inventory")
    with tempfile.TemporaryDirectory(prefix="homek8s-demo-") as name:
        folder = Path(name)
        if not headless and _terminal():
            return _console(wiring.demo_service(home, random.token_bytes, folder), "home", note="rehearsal")
        service = wiring.rehearsed_service(RehearsalHome(home, random.token_bytes), folder)
        inventory.write_text(service.path, inventory.commented())
        made = service.plan(home, Intent("setup"))
        click.echo(review(made), nl=False)
        click.echo("\nApproved, in memory only:\n")
        code = printing.RunPrinter(service.begin(made), verbose=False).run()
        click.echo("")
        for line in overview.lines(overview.picture(home, service.look(home, overview.ROOMS))):
            click.echo(line)
        again = service.plan(home, Intent("setup"))
        service.journal.close()
    click.echo(f"\nPlanned again: {len(again.steps)} steps, {len(again.held)} already so.")
    return code


def _console(
    service: Service, first: str, questions: Questions | None = None, read_only: bool = False, note: str = ""
) -> int:
    # nothing that the start makes is garbage; the console looks for some again once its first frame is there
    gc.disable()
    from homek8s_tui.cli.console import console

    opened = console(service, first, questions, read_only, note)
    code = opened.run()
    service.ways.close()
    return opened.return_code or code or DONE


def _set_up(stages: str) -> Intent:
    chosen = parts(stages)
    return Intent("setup", (("stages", ",".join(chosen)),) if chosen else ())


def _apply(session: Session, made: Plan, yes: bool, waive: tuple[str, ...]) -> int:
    click.echo(review(made), nl=False)
    waived = frozenset(waive)
    blockers = made.blockers(waived)
    if blockers:
        click.echo(
            "Nothing was changed: " + "; ".join(f"{finding.name} stands against it" for finding in blockers) + ".",
            err=True,
        )
        return _blocked_code(blockers)
    if not yes and made.steps and not _approved_at_prompt(made):
        click.echo("Nothing was changed.")
        return DONE
    return printing.RunPrinter(session.service.begin(made, waive), session.verbose).run()


def _approved_at_prompt(made: Plan) -> bool:
    if not sys.stdin.isatty():
        raise Trouble(
            "apply the plan",
            "",
            "nobody can be asked here",
            "Give --yes, or '--approve DIGEST' for a plan's file.",
            Kind.USAGE,
        )
    if made.destroys:
        return bool(
            click.prompt(f"Type the home's name ({made.home.name}) to go on", default="", show_default=False)
            == made.home.name
        )
    return click.confirm("Apply this plan?", default=False)


def _picture(session: Session) -> overview.Picture:
    home = session.home()
    return overview.picture(home, session.service.look(home, overview.ROOMS))


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _plan_code(made: Plan, waived: frozenset[str]) -> int:
    blockers = made.blockers(waived)
    return _blocked_code(blockers) if blockers else CHANGES if made.steps else DONE


def _blocked_code(blockers: Sequence[Finding]) -> int:
    found = {finding.id for finding in blockers}
    kind = Kind.UNREACHABLE if "unreachable" in found else Kind.SECRET if "secret-needed" in found else Kind.FAILED
    return EXIT_CODES[kind]


def _write_private(path: Path, data: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise Trouble(
            "write the plan", str(path), error.strerror or str(error), "Name another file.", Kind.USAGE
        ) from None


def _when(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the program and ends the process with the exit code of the table."""
    # a command's life is short: going through all that is loaded again and again costs it more than it frees
    gc.set_threshold(50_000, 20, 50)
    sys.exit(
        _guarded(
            lambda: cli.main(
                args=list(arguments) if arguments is not None else None, prog_name="homek8s", standalone_mode=False
            )
        )
    )


def _guarded(run: Callable[[], object]) -> int:
    try:
        code = run()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_CODES[Kind.USAGE]
    except click.Abort:
        click.echo("Stopped; nothing more was done.", err=True)
        return EXIT_CODES[Kind.FAILED]
    except Trouble as trouble:
        click.echo(str(trouble), err=True)
        return trouble.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence: a traceback is no sentence
        click.echo(
            f"homek8s met an error of its own ({type(error).__name__}); "
            f"{write_report(places.state(os.environ), traceback.format_exc())}",
            err=True,
        )
        return EXIT_CODES[Kind.FAILED]
    return code if isinstance(code, int) else DONE


if __name__ == "__main__":
    main()
