"""What the worker offers and the runner starts: one definition of each workflow."""

import asyncio

from hatchet_sdk import Context, EmptyModel, Hatchet, StickyStrategy
from pydantic import BaseModel

# Token, address and TLS strategy come from HATCHET_CLIENT_* in the environment.
hatchet = Hatchet()

sticky_workflow = hatchet.workflow(
    name="StickyWorkflow",
    # 👀 Specify a sticky strategy when declaring the workflow
    sticky=StickyStrategy.SOFT,
)

# The child declares a strategy too: only a sticky child can follow its parent.
sticky_child_workflow = hatchet.workflow(
    name="StickyChildWorkflow", sticky=StickyStrategy.SOFT
)


@sticky_workflow.task()
def step1a(input: EmptyModel, ctx: Context) -> dict[str, str | None]:
    return {"worker": ctx.worker_id}


@sticky_workflow.task()
def step1b(input: EmptyModel, ctx: Context) -> dict[str, str | None]:
    return {"worker": ctx.worker_id}


@sticky_workflow.task(parents=[step1a, step1b])
async def step2(input: EmptyModel, ctx: Context) -> dict[str, str | None]:
    ref = await sticky_child_workflow.aio_run(
        sticky=True,
        wait_for_result=False,
    )

    result = await ref.aio_result()

    return {"worker": ctx.worker_id, "child": result["child"]["worker"]}


@sticky_child_workflow.task()
def child(input: EmptyModel, ctx: Context) -> dict[str, str | None]:
    return {"worker": ctx.worker_id}


class HardInput(BaseModel):
    """`sleep` is for how many seconds hard1a is busy: time to end its worker."""

    sleep: float = 0


# The same strategy with no second choice: if its worker goes, the run waits for it.
hard_workflow = hatchet.workflow(
    name="StickyHardWorkflow",
    sticky=StickyStrategy.HARD,
    input_validator=HardInput,
)


@hard_workflow.task()
async def hard1a(input: HardInput, ctx: Context) -> dict[str, str | None]:
    await asyncio.sleep(input.sleep)
    return {"worker": ctx.worker_id}


@hard_workflow.task()
def hard1b(input: HardInput, ctx: Context) -> dict[str, str | None]:
    return {"worker": ctx.worker_id}


@hard_workflow.task(parents=[hard1a, hard1b])
def hard2(input: HardInput, ctx: Context) -> dict[str, str | None]:
    return {"worker": ctx.worker_id}


WORKFLOWS = [sticky_workflow, sticky_child_workflow, hard_workflow]
