"""Starts each workflow once and says which workers its tasks ran on.

Ends with status 1 if a sticky run was spread over more than one worker.
"""

import sys
from typing import Any

from workflows import HardInput, hard_workflow, sticky_workflow


def report(what: str, result: dict[str, Any]) -> bool:
    places = {task: output["worker"] for task, output in result.items()}
    for output in result.values():
        if "child" in output:
            places["child"] = output["child"]
    kept = len(set(places.values())) == 1 and all(places.values())
    where = ", ".join(f"{task} on {worker}" for task, worker in places.items())
    print(f"{'kept  ' if kept else 'SPREAD'}  {what}: {where}", flush=True)
    return kept


def main() -> int:
    kept = [
        report(sticky_workflow.name, sticky_workflow.run()),
        report(hard_workflow.name, hard_workflow.run(HardInput())),
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
