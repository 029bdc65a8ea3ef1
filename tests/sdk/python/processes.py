"""Child processes with a log file each. What was started here is ended here, by process id."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_children: list[subprocess.Popen[bytes]] = []


def start(log: Path, env: Mapping[str, str], *command: str) -> subprocess.Popen[bytes]:
    """Starts a process in a group of its own: a Python worker is two processes."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    _children.append(child)
    return child


def signal_group(child: subprocess.Popen[bytes], what: signal.Signals) -> None:
    """Signals the child and all that it started; its group lives as long as one of them."""
    try:
        os.killpg(child.pid, what)
    except ProcessLookupError:
        pass


def end(child: subprocess.Popen[bytes], what: signal.Signals, patience: float = 5) -> None:
    """Signals the child and waits for its end, then clears its whole group away."""
    if child.poll() is None:
        child.send_signal(what)
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    signal_group(child, signal.SIGKILL)
    child.wait()


def is_ours(pid: int, text: str) -> bool:
    """Whether the process exists and was started with this text in its command line."""
    try:
        return text in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def signal_if_there(pid: int, what: signal.Signals) -> None:
    """Signals a process of ours; one that has ended in the meantime is as it should be."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass


def until(what: str, timeout: float, ask: Callable[[], T | None], every: float = 0.1) -> T:
    """Asks again until there is an answer that is neither None nor False, or the time is up."""
    deadline = time.monotonic() + timeout
    last = ""
    while True:
        try:
            answer = ask()
            if answer is not None and answer is not False:
                return answer
        except Exception as err:
            last = f": {err}"
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}{last}")
        time.sleep(every)


def install_exit_handlers() -> None:
    def clear() -> None:
        for child in _children:
            if child.poll() is None:
                signal_group(child, signal.SIGKILL)

    atexit.register(clear)
    for what in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(what, lambda *_: sys.exit(130))
