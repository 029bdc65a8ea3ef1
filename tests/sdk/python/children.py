"""Sticky children run where their parent runs, and the two kinds that cannot are
refused before anything is created."""

import asyncio
import re
from typing import Any

from stage import Config, Report, Stage, one_at_each
from workflows import FamilyInput, declare

PARENTS = 30
TIMEOUT = 80


def children(config: Config) -> Report:
    report = Report()
    stage = Stage(config, 50, one_at_each)
    try:
        # The only worker that knows the child that the parents' workers do not.
        stage.start_worker("stranger", 50, 1, "absent", "child")
        stage.workers_ready()
        families = asyncio.run(_families(stage))
        _judge(families, stage, report)
        stage.hashes(report)
    finally:
        stage.stop()
    return report


async def _families(stage: Stage) -> list[dict[str, Any]]:
    parent = declare(stage.hatchet)["parent"]
    runs = (parent.aio_run(FamilyInput(try_forbidden=number == 0)) for number in range(PARENTS))
    async with asyncio.timeout(TIMEOUT):
        return [result["spawn"] for result in await asyncio.gather(*runs)]


def _judge(families: list[dict[str, Any]], stage: Stage, report: Report) -> None:
    spawned = together = 0
    for family in families:
        spawned += len(family["children"])
        together += family["children"].count(family["worker"])
        if set(family["children"]) != {family["worker"]}:
            report.faults.append(f"the parent ran on {family['worker']}, its children on {family['children']}")
    plain, absent = families[0]["plain"], families[0]["absent"]
    if not re.search("sticky|strategy", plain, re.IGNORECASE):
        report.faults.append(f"a child without a strategy: {plain!r}")
    if not re.search("regist", absent, re.IGNORECASE):
        report.faults.append(f"a child that this worker has not registered: {absent!r}")
    for name in ("storm-python-child-plain", "storm-python-child-absent"):
        runs = stage.cluster.ask("run", "list", "--workflow", name)
        if runs:
            report.faults.append(f"{len(runs)} runs of {name} were created")
    report.parts += [
        f"{together}/{spawned} children with their parents",
        f"without a strategy: {' '.join(plain.split()) or 'NOT REFUSED'}",
        f"not registered: {' '.join(absent.split()) or 'NOT REFUSED'}",
    ]
