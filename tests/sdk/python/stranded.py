"""A HARD run whose only worker is killed: it waits, says why, and ends with an error
that says so. Another worker that could do the work must not get it."""

import asyncio
import re
import time

from evidence import Line
from processes import until
from stage import Config, Report, Stage
from workflows import STRANDED_TIMEOUT, StormInput, declare

RESULT_TIMEOUT = 90


def hard_timeout(config: Config) -> Report:
    report = Report()
    stage = Stage(config, 1, lambda leader: [leader])
    try:
        asyncio.run(_play(stage, report))
        stage.hashes(report)
    finally:
        stage.stop()
    return report


async def _play(stage: Stage, report: Report) -> None:
    workflow = declare(stage.hatchet)["stranded"]
    ref = await workflow.aio_run(StormInput(number=0, sleep_seconds=0), wait_for_result=False)
    run = ref.workflow_run_id

    async def rejection() -> str:
        try:
            await asyncio.wait_for(ref.aio_result(), RESULT_TIMEOUT)
        except Exception as err:
            return " ".join(str(err).split())
        return ""

    rejected = asyncio.create_task(rejection())
    reason, killed = await asyncio.to_thread(_strand, stage, run, report)
    text = await rejected
    seconds = time.time() - killed

    if not text:
        report.faults.append("the run ended without an error")
    elif not re.search("schedul", text, re.IGNORECASE) or not re.search("worker", text, re.IGNORECASE):
        report.faults.append(f"the error should speak of the schedule timeout and of the worker: {text!r}")
    lines = [line for line in stage.lines() if line.run == run]
    if any(line.name == "bystander" for line in lines):
        report.faults.append("the HARD run went to another worker")
    begun = sum(1 for line in lines if _is_long_begin(line))
    if begun != 1:
        report.faults.append(f"{begun} long steps began on a worker with one slot")
    report.parts += [
        f"refused after {seconds:.1f}s (schedule timeout {STRANDED_TIMEOUT.total_seconds():.0f}s)",
        f"waited because: {reason or 'NO REASON'}",
        f"error: {text or 'NONE'}",
    ]


def _is_long_begin(line: Line) -> bool:
    return line.event == "begin" and line.task.startswith("join")


def _strand(stage: Stage, run: str, report: Report) -> tuple[str, float]:
    """Kills the worker in mid-flight; returns why the run waits then, and the time of the kill."""
    until(
        "one of the long steps to begin",
        20,
        lambda: any(_is_long_begin(line) for line in stage.lines() if line.run == run),
    )
    stage.kill_worker("worker-1")
    killed = time.time()
    # It has slots free and knows the workflow; only the pin keeps the run from it.
    stage.start_worker("bystander", 10, 1)

    def why() -> str | None:
        for pin in stage.cluster.ask("pin", "list"):
            if pin["run_id"] == run and pin["why_code"] == "PIN_WORKER_LOST":
                return f"{pin['why_code']}: {pin['why']}"
        return None

    reason = ""
    try:
        reason = until("pin list to name why the run waits", 30, why)
    except TimeoutError as err:
        report.faults.append(str(err))
    stage.workers_ready()
    return reason, killed
