"""A node dies without a word every ten seconds and is started again."""

import random
import threading
import time

from cluster import NODES, Cluster
from processes import until

EVERY, DOWN = 10.0, 1.0


class Killer:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills = 0
        self.leaders = 0
        self.fault = ""

    def begin(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as err:
            self.fault = f"the killing of nodes failed: {err}"

    def _work(self) -> None:
        self._over.wait(2)
        while not self._over.is_set():
            since = time.monotonic()
            leader = self._cluster.leader()
            # The first is the leader, so that there is one in every storm.
            node = leader if self.kills == 0 else random.choice(NODES)
            self._cluster.kill(node)
            self.kills += 1
            self.leaders += node == leader
            time.sleep(DOWN)
            self._cluster.restart(node)
            # Two of three must live, so the next one waits until this one is back.
            until("all nodes to answer", 30, self._whole)
            self._over.wait(max(0.0, since + EVERY - time.monotonic()))

    def _whole(self) -> bool:
        return all(node["term"] > 0 for node in self._cluster.ask("cluster", "status")["nodes"])

    def stop(self) -> None:
        """Ends the killing; all nodes are up afterwards."""
        self._over.set()
        self._thread.join()

    def note(self) -> str:
        return f"{self.kills} nodes killed, {self.leaders} of them leaders" if self.kills else ""
