"""A storm worker: worker.py NAME SLOTS EVIDENCE-DIR"""

import sys
from pathlib import Path

from hatchet_sdk import Hatchet

from evidence import Recorder
from workflows import declare


def main() -> None:
    name, slots, directory = sys.argv[1:]
    hatchet = Hatchet()
    workflows = declare(hatchet, Recorder(Path(directory), name))
    hatchet.worker(name, slots=int(slots), workflows=list(workflows.values())).start()


# The SDK starts its listener as a second process that imports this file again.
if __name__ == "__main__":
    main()
