"""What every mode needs: a cluster, workers, a client, and their end."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hatchet_sdk import Hatchet

from cluster import NODES, Cluster
from evidence import Line, read_evidence
from processes import end, signal_group, start, until

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Config:
    binary: Path
    directory: Path
    runs: int  # of each strategy
    sleep_seconds: float
    # Unfinished runs at a time. With twice as many slots on every worker no run ever
    # finds its worker full, so a SOFT run has no reason to move.
    window: int


@dataclass
class Report:
    """What a mode has to say in the end. Faults make it fail."""

    parts: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Stage:
    def __init__(self, config: Config, slots: int, seats: Callable[[int], list[int]]) -> None:
        """Seats say which node each worker tries first; the client tries the leader first."""
        self._dir = config.directory
        shutil.rmtree(self._dir, ignore_errors=True)
        self._evidence = self._dir / "evidence"
        self._evidence.mkdir(parents=True)
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self.cluster = Cluster(config.binary, self._dir / "cluster")
        try:
            leader = self.cluster.leader()
            for number, node in enumerate(seats(leader), start=1):
                self.start_worker(f"worker-{number}", slots, node)
            # The client reads its settings from the environment, as in any program.
            os.environ.update(self.cluster.env(leader))
            self.hatchet = Hatchet()
            self.workers_ready()
        except BaseException:
            self.stop()
            raise

    def start_worker(self, name: str, slots: int, node: int, *workflows: str) -> None:
        command = (sys.executable, str(HERE / "worker.py"), name, str(slots), str(self._evidence), *workflows)
        self._workers[name] = start(self._dir / f"{name}.log", self.cluster.env(node), *command)

    def workers_ready(self) -> None:
        def ask() -> bool:
            if self.lost():
                raise RuntimeError(f"{self.lost()} ended, see the logs in {self._dir}")
            return self._workers.keys() <= self.cluster.live_workers()

        until(f"workers {', '.join(self._workers)} to register", 90, ask)

    def kill_worker(self, name: str) -> None:
        """SIGKILL to both processes of a worker at once."""
        child = self._workers.pop(name)
        signal_group(child, signal.SIGKILL)
        child.wait()

    def lost(self) -> list[str]:
        """Names of workers that should be running and are not."""
        return [name for name, child in self._workers.items() if child.poll() is not None]

    def lines(self) -> list[Line]:
        return read_evidence(self._evidence)

    def hashes(self, report: Report) -> None:
        """Compares the nodes' states once they stand at one seq."""
        try:
            seq, hashes = self.cluster.converged("all three nodes at one seq", 40)
        except TimeoutError as err:
            report.faults.append(str(err))
            return
        if len(set(hashes)) == 1 and hashes[0]:
            report.parts.append(f"states equal at seq {seq}")
        else:
            report.faults.append(f"states differ at seq {seq}: {hashes}")

    def stop(self) -> None:
        for child in self._workers.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self._workers.values():
            end(child, signal.SIGTERM, 4)
        self.cluster.stop()


def one_at_each(_: int) -> list[int]:
    """One worker at each node, so that any node's end is felt by one of them."""
    return list(NODES)


def all_at_one_follower(leader: int) -> list[int]:
    return [next(node for node in NODES if node != leader)] * 3
