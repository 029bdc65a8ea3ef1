"""What was observed of each promise, and the rows that say so."""

import re
from dataclasses import dataclass, field

PROMISES = (
    "snippet",
    "soft-same-worker",
    "soft-moves-when-worker-goes",
    "hard-same-worker",
    "hard-waits-and-finishes-when-worker-returns",
    "hard-schedule-timeout-with-message",
    "parallel-roots-together",
    "worker-id-equal-in-all-tasks",
    "retries-stay-on-the-worker",
    "child-on-parents-worker-run",
    "child-on-parents-worker-runmany",
    "child-refused-without-strategy",
    "child-refused-not-registered",
    "webhook-worker-refused",
    "fan-out-100",
    "slots-1-parent",
)

# Of these one worker shows nothing: they could not have been broken.
NEED_TWO_WORKERS = {
    "snippet",
    "soft-same-worker",
    "hard-same-worker",
    "parallel-roots-together",
    "retries-stay-on-the-worker",
    "child-on-parents-worker-run",
    "child-on-parents-worker-runmany",
}

SHOWN_NOTES = 3
ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Entry:
    kept: int = 0
    faults: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    workers: set[str] = field(default_factory=set)


def short(text: str) -> str:
    return text if len(text) <= 260 else text[:257] + "..."


class Ledger:
    def __init__(self, strict: bool) -> None:
        """strict: nothing disturbs the cluster, so a call that fails breaks the promise."""
        self._strict = strict
        self._entries = {promise: Entry() for promise in PROMISES}
        self.retried = 0

    def check(self, promise: str, ok: bool, fault: str, worker: str | None = None) -> None:
        """Keeps or breaks a promise; says which worker the run was on."""
        entry = self._entries[promise]
        if worker is not None:
            entry.workers.add(worker)
        if ok:
            entry.kept += 1
        else:
            entry.faults.append(fault)

    def miss(self, promise: str, text: str) -> None:
        """A run of which the promise cannot be judged, since something else failed."""
        entry = self._entries[promise]
        (entry.faults if self._strict else entry.missed).append(text)

    def note(self, promise: str, text: str) -> None:
        """Something worth saying; the same text is said once, with how often."""
        notes = self._entries[promise].notes
        plain = re.sub(r"\d+s ago", "some s ago", ID.sub("ID", text))
        notes[plain] = notes.get(plain, 0) + 1

    def rows(self, mode: str, more: str) -> list[str]:
        rows = []
        for promise in PROMISES:
            verdict, parts = self._judge(promise)
            note = " ".join("; ".join(part for part in (*parts, more) if part).split())
            rows.append("\t".join(("ROW", "python", mode, promise, verdict, note)))
        return rows

    def _judge(self, promise: str) -> tuple[str, list[str]]:
        entry = self._entries[promise]
        parts = [f"{entry.kept} of {entry.kept + len(entry.faults)} kept"]
        verdict = "kept"
        if entry.faults:
            verdict = "broken"
            parts.append(f"the first fault: {short(entry.faults[0])}")
        elif entry.kept == 0:
            verdict = "n/a"
            parts = ["nothing was observed"]
        elif promise in NEED_TWO_WORKERS and len(entry.workers) < 2:
            verdict = "n/a"
            parts.append("all runs were on one worker: nothing is shown")
        if entry.workers:
            parts.append(f"on {len(entry.workers)} workers")
        if entry.missed:
            parts.append(f"{len(entry.missed)} runs not judged, the first: {short(entry.missed[0])}")
        for text, times in list(entry.notes.items())[:SHOWN_NOTES]:
            parts.append(short(text) + (f" ({times} times)" if times > 1 else ""))
        return verdict, parts
