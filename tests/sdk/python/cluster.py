"""Three real nodes on this machine: `limpet dev` as a child process."""

import atexit
import json
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from processes import end, is_ours, signal_if_there, start, until

NODES = (1, 2, 3)


def free_base_port() -> int:
    """A base port with room for three nodes (ten ports each) on loopback."""
    for _ in range(50):
        # Below the range that the kernel hands out for outgoing connections.
        base = 20_000 + 30 * random.randrange(400)
        try:
            for port in range(base, base + 30):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise RuntimeError("no 30 free ports in a row between 20000 and 32000")


class Cluster:
    def __init__(self, binary: Path, directory: Path) -> None:
        """Starts three nodes with their data below the directory and waits for a leader."""
        if not binary.exists():
            raise FileNotFoundError(f"no {binary}: build it first (make build)")
        self._binary = str(binary.resolve())
        self._dir = directory.resolve()
        self._data = self._dir / "data"
        self._dir.mkdir(parents=True, exist_ok=True)
        self._starters: list[subprocess.Popen[bytes]] = []
        self.base_port = free_base_port()
        atexit.register(self._signal_all, signal.SIGKILL)
        try:
            self._spawn("dev", "dev", "--nodes", "3", "--base-port", str(self.base_port))
            until("the environment file of limpet dev", 30, lambda: (self._data / "env").exists())
            self.converged("three nodes with a leader", 30)
        except BaseException:
            self.stop()
            raise

    def _spawn(self, name: str, *args: str) -> None:
        command = (self._binary, *args, "--data-dir", str(self._data))
        self._starters.append(start(self._dir / f"{name}.log", os.environ, *command))

    def address(self, node: int) -> str:
        return f"127.0.0.1:{self.base_port + 10 * (node - 1)}"

    def file_env(self) -> dict[str, str]:
        """What `limpet dev` wrote for clients."""
        rows = (self._data / "env").read_text().splitlines()
        return dict(row.split("=", 1) for row in rows if "=" in row and not row.startswith("#"))

    def env(self, first: int) -> dict[str, str]:
        """The environment of a client whose first choice is the given node, then the others."""
        order = [first, *(node for node in NODES if node != first)]
        hosts = "ipv4:" + ",".join(self.address(node) for node in order)
        return {**os.environ, **self.file_env(), "HATCHET_CLIENT_HOST_PORT": hosts}

    def pid(self, node: int) -> int:
        return int((self._data / f"node-{node}.pid").read_text())

    def alive(self, node: int) -> bool:
        return self._live_pid(node) is not None

    def _live_pid(self, node: int) -> int | None:
        """The process of a node that lives; its file may go at any moment, for `limpet dev` removes it."""
        try:
            pid = self.pid(node)
        except (OSError, ValueError):
            return None
        return pid if is_ours(pid, "limpet") else None

    def _signal_all(self, what: signal.Signals) -> None:
        for pid in filter(None, map(self._live_pid, NODES)):
            signal_if_there(pid, what)

    def kill(self, node: int) -> float:
        """SIGKILL; returns the time of the kill."""
        pid = self.pid(node)
        if not is_ours(pid, "limpet"):
            raise RuntimeError(f"node-{node}.pid names {pid}, which is no limpet process")
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        until(f"the end of node-{node}", 5, lambda: not self.alive(node), 0.01)
        return at

    def restart(self, node: int) -> None:
        self._spawn(f"start-node-{node}", "dev", "start-node", str(node))
        until(f"node-{node} to start", 20, lambda: self.alive(node), 0.02)

    def ask(self, *args: str) -> Any:
        """Runs a command of limpet's against the first living node that answers."""
        last: Exception = RuntimeError("no node is alive")
        token = self.file_env()["HATCHET_CLIENT_TOKEN"]
        for node in filter(self.alive, NODES):
            command = [self._binary, *args, "-o", "json", "--addr", self.address(node), "--token", token]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
                return json.loads(done.stdout)
            except subprocess.CalledProcessError as err:
                last = RuntimeError(f"limpet {' '.join(args)}: {err.stderr.strip()}")
            except (subprocess.TimeoutExpired, ValueError) as err:
                last = err
        raise last

    def leader(self) -> int:
        def ask() -> int | None:
            name = self.ask("cluster", "status")["leader"]
            return int(name.removeprefix("node-")) if name else None

        return until("a leader", 15, ask)

    def converged(self, what: str, timeout: float) -> tuple[int, list[str]]:
        """Waits until all three nodes stand at one seq; returns it with their state hashes."""

        def ask() -> tuple[int, list[str]] | None:
            status = self.ask("cluster", "status")
            nodes = status["nodes"]
            if not status["leader"] or len(nodes) != 3 or len({n["seq"] for n in nodes}) != 1:
                return None
            return nodes[0]["seq"], [n["state_hash"] for n in nodes]

        return until(what, timeout, ask, 0.2)

    def live_workers(self) -> set[str]:
        """Names of the workers whose assignment stream is open."""
        return {worker["name"] for worker in self.ask("worker", "list") if worker["lease"] == "live"}

    def stop(self) -> None:
        for starter in self._starters:
            if starter.poll() is None:
                starter.send_signal(signal.SIGTERM)
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + 8
        while any(map(self.alive, NODES)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._signal_all(signal.SIGKILL)
        for starter in self._starters:
            end(starter, signal.SIGTERM, 3)
