"""What task bodies themselves wrote down, independent of what any server says.

One file for each worker process, one JSON object on each line, written with a
system call of its own, so that SIGKILL loses no line.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    event: str  # begin or end of a body; acknowledged or dropped, of its report
    at: float  # seconds of the machine's clock; all processes share it
    pid: int
    name: str  # of the worker process
    worker: str  # worker id as the SDK gave it to the task
    task_run: str
    run: str
    task: str
    attempt: int  # retry_count of the assignment


class Recorder:
    def __init__(self, directory: Path, name: str) -> None:
        self._name = name
        path = directory / f"{name}-{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, event: str, worker: str, task_run: str, run: str, task: str, attempt: int) -> None:
        line = Line(event, time.time(), os.getpid(), self._name, worker, task_run, run, task, attempt)
        os.write(self._file, (json.dumps(asdict(line)) + "\n").encode())


def executions(lines: list[Line]) -> list[Line]:
    """What task bodies wrote, without what became of their reports."""
    return [line for line in lines if line.event in {"begin", "end"}]


def read_evidence(directory: Path) -> list[Line]:
    """All lines of all workers, by time, without a last one that is still being written."""
    lines: list[Line] = []
    for path in directory.glob("*.jsonl"):
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]
        lines += [Line(**json.loads(row)) for row in whole.splitlines()]
    return sorted(lines, key=lambda line: line.at)
