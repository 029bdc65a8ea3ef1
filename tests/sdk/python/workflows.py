"""The workflows of the storm: driver and workers declare the same ones."""

import asyncio
from datetime import timedelta
from typing import Any

from hatchet_sdk import Context, EmptyModel, Hatchet, StickyStrategy
from hatchet_sdk.runnables.workflow import Workflow
from pydantic import BaseModel

from evidence import Recorder

STORM_TASKS = ("left", "right", "join")

# Far more than a body sleeps: it only ends tasks whose completion the SDK dropped.
STORM_TIMEOUT = timedelta(seconds=20)

# How long a step of the stranded workflow may wait for its worker.
STRANDED_TIMEOUT = timedelta(seconds=15)


class StormInput(BaseModel):
    number: int
    sleep_seconds: float


def _body(recorder: Recorder | None, sleep_seconds: float | None = None) -> Any:
    """A task body that records, sleeps and says where it ran."""

    async def body(input: StormInput, ctx: Context) -> dict[str, str]:
        worker = ctx.worker_id
        what = (worker, ctx.task_run_id, ctx.workflow_run_id, ctx.task_name, ctx.retry_count)
        if recorder is not None:
            recorder.write("begin", *what)
        await asyncio.sleep(input.sleep_seconds if sleep_seconds is None else sleep_seconds)
        if recorder is not None:
            recorder.write("end", *what)
        return {"worker": worker}

    return body


def _storm(hatchet: Hatchet, recorder: Recorder | None, strategy: StickyStrategy) -> Workflow[StormInput]:
    """Two parallel roots and a step that waits for both."""
    name = f"storm-python-{strategy.name.lower()}"
    workflow = hatchet.workflow(name=name, input_validator=StormInput, sticky=strategy)
    left = workflow.task(name="left", execution_timeout=STORM_TIMEOUT)(_body(recorder))
    right = workflow.task(name="right", execution_timeout=STORM_TIMEOUT)(_body(recorder))
    workflow.task(name="join", parents=[left, right], execution_timeout=STORM_TIMEOUT)(_body(recorder))
    return workflow


def _stranded(hatchet: Hatchet, recorder: Recorder | None) -> Workflow[StormInput]:
    """Two quick roots, then two long steps.

    On a worker with one slot one of the long steps runs and the other waits:
    when that worker dies, one was never begun.
    """
    workflow = hatchet.workflow(
        name="storm-python-stranded", input_validator=StormInput, sticky=StickyStrategy.HARD
    )
    left = workflow.task(name="left")(_body(recorder, 0.05))
    right = workflow.task(name="right")(_body(recorder, 0.05))
    for name in ("join", "join-too"):
        workflow.task(
            name=name,
            parents=[left, right],
            schedule_timeout=STRANDED_TIMEOUT,
            execution_timeout=timedelta(minutes=5),
        )(_body(recorder, 120))
    return workflow


class FamilyInput(BaseModel):
    try_forbidden: bool


def _family(hatchet: Hatchet) -> dict[str, Workflow[Any]]:
    """A parent that spawns sticky children.

    One kind has no sticky strategy and one is not registered with the parent's
    worker: those must be refused.
    """

    async def where(input: EmptyModel, ctx: Context) -> dict[str, str]:
        return {"worker": ctx.worker_id}

    child = hatchet.workflow(name="storm-python-child", sticky=StickyStrategy.SOFT)
    plain = hatchet.workflow(name="storm-python-child-plain")
    absent = hatchet.workflow(name="storm-python-child-absent", sticky=StickyStrategy.SOFT)
    for workflow in (child, plain, absent):
        workflow.task(name="where")(where)
    parent = hatchet.workflow(
        name="storm-python-parent", input_validator=FamilyInput, sticky=StickyStrategy.HARD
    )

    async def refusal(workflow: Workflow[Any]) -> str:
        try:
            await workflow.aio_run(sticky=True)
        except Exception as err:
            details = getattr(err, "details", None)  # of a gRPC error, in one line
            return str(details() if callable(details) else err)
        return ""

    async def spawn(input: FamilyInput, ctx: Context) -> dict[str, Any]:
        """Says where the children ran, and how the ones it must not spawn were refused."""
        results = await asyncio.gather(*(child.aio_run(sticky=True) for _ in range(3)))
        return {
            "worker": ctx.worker_id,
            "children": [result["where"]["worker"] for result in results],
            "plain": await refusal(plain) if input.try_forbidden else "",
            "absent": await refusal(absent) if input.try_forbidden else "",
        }

    parent.task(name="spawn")(spawn)
    return {"parent": parent, "child": child, "plain": plain, "absent": absent}


def declare(hatchet: Hatchet, recorder: Recorder | None = None) -> dict[str, Workflow[Any]]:
    """Declares all of them for this client; without a recorder for a driver."""
    return {
        "hard": _storm(hatchet, recorder, StickyStrategy.HARD),
        "soft": _storm(hatchet, recorder, StickyStrategy.SOFT),
        "stranded": _stranded(hatchet, recorder),
        **_family(hatchet),
    }
