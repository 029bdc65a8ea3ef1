"""Holds the answers that the SDK gave against the evidence of the task bodies."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from evidence import Line, executions
from workflows import STORM_TASKS


@dataclass
class Outcome:
    strategy: str
    run: str = ""  # acknowledged by the server; empty if the trigger call failed
    answer: dict[str, dict[str, str]] | None = None
    error: str = ""  # what the SDK raised, from the trigger or from the result

    def __str__(self) -> str:
        return f"{self.strategy} run {self.run or '(not acknowledged)'}"


@dataclass
class Findings:
    figures: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # runs, complete, on one worker
    doubled: int = 0
    client_errors: int = 0
    strays: int = 0
    dropped: int = 0  # runs that failed because the SDK dropped a completion (reports.py)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{name} {complete}/{runs} complete, {one}/{runs} one worker"
            for name, (runs, complete, one) in self.figures.items()
        ]
        parts += [f"{self.doubled} doubled", f"{self.client_errors} client errors"]
        if self.dropped:
            parts.append(f"{self.dropped} runs failed by completions that the SDK dropped")
        if self.strays:
            parts.append(f"{self.strays} repeated triggers")
        return ", ".join(parts)


def check(outcomes: list[Outcome], evidence: list[Line], node_killed: bool) -> Findings:
    """node_killed: two shortcomings of the SDK are then no faults of the server.

    The SDK repeats a trigger call whose answer was lost, and its calls carry
    nothing to tell by, so such a run may exist twice. And it drops completions
    that were under way to the node. What was acknowledged to it must be kept.
    """
    found = Findings(client_errors=sum(1 for o in outcomes if o.error))
    lines = executions(evidence)
    by_run = group(lines, lambda line: line.run)
    dropped = _dropped(evidence) if node_killed else set()
    for strategy in ("hard", "soft"):
        found.figures[strategy] = _figures(strategy, outcomes, by_run, dropped, found)

    ends = group((line for line in lines if line.event == "end"), lambda line: line.task_run)
    begins = group((line for line in lines if line.event == "begin"), lambda line: f"{line.task_run} {line.attempt}")
    for what, groups in (("a task run ended", ends), ("one attempt began", begins)):
        for executed in groups.values():
            if len(executed) > 1:
                found.doubled += 1
                found.faults.append(f"{what} {len(executed)} times: {describe(executed)}")

    strays = by_run.keys() - {outcome.run for outcome in outcomes}
    found.strays = len(strays)
    if not node_killed:
        found.faults += [f"run {run} was executed, but the client knows no such run" for run in strays]
    return found


def _dropped(evidence: list[Line]) -> set[str]:
    """Runs with a completion that the SDK dropped and that no node ever acknowledged."""
    acknowledged = {line.task_run for line in evidence if line.event == "acknowledged"}
    return {line.run for line in evidence if line.event == "dropped" and line.task_run not in acknowledged}


def _figures(
    strategy: str, outcomes: list[Outcome], by_run: dict[str, list[Line]], dropped: set[str], found: Findings
) -> tuple[int, int, int]:
    own = [outcome for outcome in outcomes if outcome.strategy == strategy]
    complete = one_worker = 0
    for outcome in own:
        executed = by_run.get(outcome.run, [])
        fault = _incomplete(outcome, executed)
        if not fault:
            complete += 1
        elif outcome.run in dropped and "TIMED_OUT" in fault:
            found.dropped += 1
        else:
            found.faults.append(f"{outcome}: {fault}; {describe(executed)}")
        workers = {line.worker for line in executed}
        workers |= {where["worker"] for where in (outcome.answer or {}).values()}
        if len(workers) == 1 and "" not in workers:
            one_worker += 1
        else:
            found.faults.append(f"{outcome} ran on {len(workers)} workers: {describe(executed)}")
    return len(own), complete, one_worker


def _incomplete(outcome: Outcome, executed: list[Line]) -> str:
    """Why a run is not complete: each task has an answer, and ended on the worker it names."""
    if outcome.answer is None:
        return outcome.error or "no answer"
    for task in STORM_TASKS:
        worker = outcome.answer.get(task, {}).get("worker", "")
        if not any(line.event == "end" and line.task == task and line.worker == worker for line in executed):
            return f"answered that {task} ran on {worker or 'nothing'}, which no evidence says"
    return ""


def describe(lines: list[Line]) -> str:
    if not lines:
        return "nothing was executed"
    return ", ".join(f"{line.at % 1000:.3f} {line.event} {line.task}#{line.attempt} {line.name}" for line in lines)


def group(lines: Iterable[Line], key: Callable[[Line], str]) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[key(line)].append(line)
    return groups


def longest_silence(lines: list[Line], since: float) -> float:
    """The longest time, in seconds, without a task body beginning, from the given time on."""
    begins = [line.at for line in lines if line.event == "begin" and line.at >= since]
    return max((b - a for a, b in zip([since, *begins], begins)), default=0.0)
