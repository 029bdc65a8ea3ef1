"""A storm worker: worker.py NAME SLOTS EVIDENCE-DIR [WORKFLOW ...]

It registers the named workflows, or all but `absent`.
"""

import sys
from pathlib import Path
from typing import Any

from hatchet_sdk import Hatchet
from hatchet_sdk.runnables.workflow import BaseWorkflow

from evidence import Recorder
from reports import watch_reports
from workflows import declare


def main() -> None:
    name, slots, directory, *named = sys.argv[1:]
    hatchet = Hatchet()
    workflows = declare(hatchet, Recorder(Path(directory), name))
    mine: list[BaseWorkflow[Any]] = [w for key, w in workflows.items() if (key in named if named else key != "absent")]
    hatchet.worker(name, slots=int(slots), workflows=mine).start()


# The SDK sends its reports from a second process, which imports this file again.
if __name__ == "__mp_main__":
    watch_reports(Recorder(Path(sys.argv[3]), sys.argv[1]))

if __name__ == "__main__":
    main()
