"""The loop: an approved plan, stage by stage, a lane a machine, every step remembered before and after."""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from homek8s_tui.base.troubles import EXIT_CODES, Kind, Trouble
from homek8s_tui.engine.events import Event, Proved, RunEnded, Say, StageBegan, StepBegan, StepEnded, StepSaid
from homek8s_tui.engine.executors import Work, carry_out, wait_until
from homek8s_tui.engine.journal import Done, Journal, Run
from homek8s_tui.engine.observe import ask_all, read_states, state_questions
from homek8s_tui.engine.world import World
from homek8s_tui.hosts.model import Cancel
from homek8s_tui.plan.checks import Check, Verdict
from homek8s_tui.plan.facts import Room
from homek8s_tui.plan.model import Approval, Plan, Step
from homek8s_tui.plan.standing import matches


class ApplyRun:
    """A run, from its approval to its last proof. It outlives whoever watches it.

    Args:
        plan: The plan.
        approval: Its approval.
        world: The outside.
        journal: Where it is remembered.
        rooms: The rooms whose facts the plan's premises are.
        say: Takes the events; called from several threads, one at a time.
    """

    def __init__(
        self, plan: Plan, approval: Approval, world: World, journal: Journal, rooms: Sequence[Room], say: Say
    ) -> None:
        self._plan = plan
        self._approval = approval
        self._world = world
        self._journal = journal
        self._rooms = rooms
        self._say = say
        self._guard = threading.Lock()
        self._crash: Exception | None = None
        self.cancel = Cancel()
        """Asks the run to stop: steps that run are finished, no further one begins."""
        self.events: list[Event] = []
        """Everything told so far."""

    def run(self) -> RunEnded:
        """Carries the plan out and verifies it.

        Returns:
            How it ended, which is also the last event.

        Raises:
            Trouble: If it may not begin: not approved, blocked, drifted, or another run is under way.
            Exception: An error of the program's own, met in a lane; what it did is remembered.
        """
        plan, approval = self._plan, self._approval
        if approval.digest != plan.digest:
            raise Trouble(
                "apply the plan",
                "",
                "the approval names another plan",
                "Look at the plan again and approve it.",
                Kind.USAGE,
            )
        blockers = plan.blockers(frozenset(approval.waived))
        if blockers:
            raise Trouble(
                "apply the plan", "", "; ".join(finding.what for finding in blockers), "Mend that, then plan again."
            )
        began = self._world.clock.monotonic()
        with _lock(self._world.state / f"{plan.home.name}.lock"):
            run = self._journal.open_run(plan, approval, self._world.token())
            try:
                self._refuse_drift()
            except Trouble as trouble:
                if not run.done and not run.in_doubt:
                    # nothing was touched, so there is nothing to resume
                    self._journal.end(run.id, "failed", self._world.clock.now())
                raise trouble from None
            worst = self._stages(run)
            if worst == 0 and not self.cancel.cancelled:
                verdicts = [self._prove(run, check) for check in plan.proofs]
                worst = EXIT_CODES[Kind.FAILED] if any(verdict.state == "fails" for verdict in verdicts) else 0
                result = "failed" if worst else "done"
                self._journal.end(run.id, "failed" if worst else "done", self._world.clock.now())
            else:
                result = "unfinished"
                worst = worst or EXIT_CODES[Kind.FAILED]
            ended = RunEnded(result, worst, self._world.clock.monotonic() - began)
            self._tell(ended)
            return ended

    def _stages(self, run: Run) -> int:
        worst = 0
        for stage in self._plan.stages:
            steps = [step for step in self._plan.steps if step.stage == stage.name and step.number not in run.done]
            if not steps:
                continue
            self._tell(StageBegan(stage, self._world.clock.now()))
            lanes: dict[str, list[Step]] = {}
            for step in steps:
                lanes.setdefault(step.host, []).append(step)
            codes: list[int] = []
            threads = [
                threading.Thread(target=self._lane, args=(run, lane, codes), name=f"lane-{host}", daemon=True)
                for host, lane in lanes.items()
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    try:
                        thread.join(0.2)
                    except KeyboardInterrupt:
                        self.cancel.cancel()
            if self._crash is not None:
                raise self._crash
            worst = max(codes, default=0)
            if worst or self.cancel.cancelled:
                break
        return worst

    def _lane(self, run: Run, steps: Sequence[Step], codes: list[int]) -> None:
        for step in steps:
            # another lane's failure lets this one finish its step, and no more
            if self.cancel.cancelled or codes:
                return
            try:
                done = self._step(run, step)
            except Trouble as trouble:  # the journal itself could not be written
                self._tell(StepEnded(step, Done("failed", trouble=str(trouble), exit_code=trouble.exit_code)))
                codes.append(trouble.exit_code)
                return
            except Exception as error:  # noqa: BLE001 - an error of our own would end this thread and not the run
                self._crash = error
                codes.append(EXIT_CODES[Kind.FAILED])
                return
            if not done.well:
                codes.append(done.exit_code or EXIT_CODES[Kind.FAILED])

    def _step(self, run: Run, step: Step) -> Done:
        clock = self._world.clock
        began = clock.monotonic()
        begun = step.number in run.in_doubt
        if not begun:
            self._journal.append(run.id, "intent", step.number, clock.now(), Done("already"))
        self._tell(StepBegan(step, clock.now()))
        work = Work(
            world=self._world,
            home=self._plan.home,
            run=run.id,
            step=step,
            chain=tuple(
                other for other in self._plan.steps if other.operation.resource.key == step.operation.resource.key
            ),
            attempt=run.attempts.get(step.number, 0),
            begun=begun,
            outputs=_outputs(run),
            say=lambda line: self._tell(StepSaid(step, line)),
            cancel=self.cancel,
        )
        try:
            outcome = carry_out(work)
        except Trouble as trouble:
            done = Done(
                "failed",
                seconds=clock.monotonic() - began,
                trouble=str(trouble),
                exit_code=trouble.exit_code,
                words="\n".join(work.last),
            )
        else:
            # what a step that was in doubt left behind is ours, although it is found already done
            result = "changed" if outcome.result == "already" and begun else outcome.result
            done = Done(
                result,
                outcome.now,
                tuple(sorted(outcome.outputs.items())),
                clock.monotonic() - began,
                words="\n".join(work.last),
            )
            if outcome.result == "refused":
                drift = drift_trouble(step, outcome.now)
                done = Done("refused", outcome.now, (), done.seconds, str(drift), drift.exit_code)
        if done.well or done.exit_code != EXIT_CODES[Kind.UNREACHABLE]:
            self._journal.append(run.id, "outcome", step.number, clock.now(), done)
        # without an answer nobody knows whether it was done: the intent stays open, and the next look decides
        if done.well:
            with self._guard:
                run.done[step.number] = done
        self._tell(StepEnded(step, done))
        return done

    def _refuse_drift(self) -> None:
        """Looks once more at what the plan rests on: its premises and what it found already held."""
        plan = self._plan
        questions, asked = state_questions(held.resource for held in plan.held)
        hosts = {premise.host for premise in plan.premises}
        for room in self._rooms:
            for host, asks in room.questions(plan.home).items():
                if host in hosts:
                    questions.setdefault(host, []).extend(asks)
        if not questions:
            return
        answers = ask_all(self._world.askers, questions)
        for answer in answers.values():
            if isinstance(answer, Trouble):
                raise answer
        states = read_states(answers, asked)
        for held in plan.held:
            observed = states.get(held.resource.key)
            if observed is not None and not matches(observed.state, held.state):
                raise Trouble(
                    "apply the plan",
                    held.resource.host,
                    f"{held.resource.kind} {held.resource.name} was '{held.state}' when it was planned "
                    f"and is now '{observed.state}'",
                    "Plan again: more has to be done than was approved.",
                    Kind.DRIFT,
                )
        parsed: dict[tuple[str, str], object] = {}
        for room in self._rooms:
            for host in hosts & set(room.questions(plan.home)):
                answer = answers[host]
                if not isinstance(answer, Trouble):
                    parsed[host, room.name] = room.parse(plan.home, host, answer).settled
        for premise in plan.premises:
            room_name, _, field = premise.name.partition(".")
            now = str(getattr(parsed.get((premise.host, room_name)), field, "unknown"))
            if now != premise.value:
                raise Trouble(
                    "apply the plan",
                    premise.host,
                    f"its {field} was {premise.value} when it was planned and is now {now}",
                    "Plan again.",
                    Kind.DRIFT,
                )

    def _prove(self, run: Run, check: Check) -> Verdict:
        verdict = wait_until(self._world, self._plan.home, check, self.cancel)
        self._journal.append(
            run.id,
            "proof",
            0,
            self._world.clock.now(),
            Done(
                "already" if verdict.state != "fails" else "failed",
                now=f"{check.title}: {verdict.words}",
                outputs=(("check", check.id), ("state", verdict.state), ("words", verdict.words)),
            ),
        )
        self._tell(Proved(check, verdict))
        return verdict

    def _tell(self, event: Event) -> None:
        with self._guard:
            self.events.append(event)
            self._say(event)


def drift_trouble(step: Step, now: str) -> Trouble:
    """Returns the trouble of a step whose resource is neither as planned from nor as planned to be."""
    resource = step.operation.resource
    return Trouble(
        f"change {resource.kind} {resource.name}",
        step.host,
        f"it was '{step.before}' when it was planned and is now '{now}', so somebody else changed it; nothing was done",
        "Plan again to see what that means.",
        Kind.DRIFT,
    )


def _outputs(run: Run) -> dict[tuple[int, str], str]:
    return {(step, name): value for step, done in dict(run.done).items() for name, value in done.outputs}


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Trouble(
                    "apply the plan", "this console", "another run of this home is under way", "Wait for it to end."
                ) from None
            yield
    except OSError as error:
        raise Trouble(
            "take the lock", str(path), str(error), "Look at the folder's owner and the free space."
        ) from None
