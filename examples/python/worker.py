"""A long-lived worker. Start several: every run stays on the one it began on."""

import os
import sys

from workflows import WORKFLOWS, hatchet


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else f"python-{os.getpid()}"
    hatchet.worker(name, slots=10, workflows=WORKFLOWS).start()


# The SDK starts its listener as a second process that imports this file again.
if __name__ == "__main__":
    main()
