"""The cluster, the workers beside it, and the client that starts runs."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import NODES, Cluster
from evidence import Line, read_evidence
from processes import end, signal_group, start, until

from ledger import Ledger

PROGRAM = Path(__file__).resolve().parent / "serve.py"


@dataclass(frozen=True)
class Ended:
    """A run that was acknowledged (or '' if none was), and what came of it."""

    run: str
    answer: dict[str, Any] | None
    error: str


def one_line(err: BaseException) -> str:
    return " ".join(str(err).split()) or repr(err)


class Theatre:
    def __init__(self, binary: Path, directory: Path, ledger: Ledger, patience: float) -> None:
        """patience: seconds that an acknowledged run may take."""
        shutil.rmtree(directory, ignore_errors=True)
        self._dir = directory
        self._evidence = directory / "evidence"
        self._evidence.mkdir(parents=True)
        self._patience = patience
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self.ledger = ledger
        self.cluster = Cluster(binary, directory / "cluster")
        # The client reads its settings from the environment, as in any program.
        os.environ.update(self.cluster.env(3))

    def start_worker(self, name: str, slots: int, group: str, node: int) -> None:
        command = (sys.executable, str(PROGRAM), name, str(slots), str(self._evidence), group)
        self._workers[name] = start(self._dir / f"{name}.log", self.cluster.env(node), *command)

    def ready(self) -> None:
        names = self._workers.keys()
        until(f"workers {', '.join(names)} to register", 40, lambda: names <= self.cluster.live_workers())

    def signal_worker(self, name: str, what: signal.Signals) -> None:
        signal_group(self._workers[name], what)

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

    def begun(self, run: str) -> list[Line]:
        """The lines that a run's task bodies wrote when they began."""
        return [line for line in self.lines() if line.run == run and line.event == "begin"]

    def dropped(self, run: str) -> bool:
        """Whether the SDK dropped a completion of this run before a node acknowledged it."""
        return any(line.run == run and line.event == "dropped" for line in self.lines())

    async def trigger(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Starts a run. A call that fails is made again, and counted."""
        for tries in range(8):
            try:
                async with asyncio.timeout(15):
                    return await call()
            except Exception:
                if tries == 7:
                    raise
                self.ledger.retried += 1
                await asyncio.sleep(0.3)
        raise AssertionError("not reached")

    async def result(self, ref: Any) -> Ended:
        """Waits for the end of a run; when the SDK's own wait is cut off, the nodes are asked."""
        run = ref.workflow_run_id
        try:
            async with asyncio.timeout(self._patience):
                return Ended(run, await ref.aio_result(), "")
        except Exception as err:
            text = one_line(err)
        shown = await asyncio.to_thread(self.show, run)
        status = shown["run"]["status"]
        if status != "COMPLETED":
            return Ended(run, None, f"{status}: {text}")
        self.ledger.retried += 1
        return Ended(run, {task["name"]: json.loads(task.get("output") or "null") for task in shown["tasks"]}, "")

    async def play(self, call: Callable[[], Awaitable[Any]]) -> Ended:
        """Starts a run and waits for its end."""
        try:
            return await self.result(await self.trigger(call))
        except Exception as err:
            return Ended("", None, one_line(err))

    def show(self, run: str) -> Any:
        """A run as the nodes tell it."""
        return until(f"run get {run}", 15, lambda: self.cluster.ask("run", "get", run))

    def pause(self, worker: str, paused: bool) -> None:
        """Pauses or resumes a worker through the REST interface, at the first node that answers."""
        token = self.cluster.file_env()["HATCHET_CLIENT_TOKEN"]

        def patch() -> bool:
            last: Exception = RuntimeError("no node is alive")
            for node in filter(self.cluster.alive, NODES):
                port = self.cluster.base_port + 10 * (node - 1) + 3
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/api/v1/workers/{worker}",
                    data=json.dumps({"isPaused": paused}).encode(),
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                    method="PATCH",
                )
                try:
                    with urllib.request.urlopen(request, timeout=5):
                        return True
                except (urllib.error.URLError, OSError) as err:
                    last = err
            raise last

        until(f"PATCH of worker {worker}", 20, patch)

    def close(self) -> None:
        for child in self._workers.values():
            signal_group(child, signal.SIGCONT)
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self._workers.values():
            end(child, signal.SIGTERM, 2)
        self.cluster.stop()
