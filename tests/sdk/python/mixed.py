"""A worker of the workflow `mixed`, which workers of several SDKs serve together: mixed.py NAME"""

import asyncio
import sys
from typing import Any

from hatchet_sdk import Context, Hatchet, StickyStrategy
from pydantic import BaseModel


class Hold(BaseModel):
    FirstMs: int
    AgainMs: int


hatchet = Hatchet()
mixed = hatchet.workflow(name="mixed", input_validator=Hold, sticky=StickyStrategy.HARD)


async def body(input: Hold, ctx: Context) -> dict[str, Any]:
    attempt = ctx.retry_count
    await asyncio.sleep((input.AgainMs if attempt > 0 else input.FirstMs) / 1000)
    return {"Worker": ctx.worker_id, "Attempt": attempt}


@mixed.task()
async def first(input: Hold, ctx: Context) -> dict[str, Any]:
    return await body(input, ctx)


@mixed.task(parents=[first])
async def second(input: Hold, ctx: Context) -> dict[str, Any]:
    return await body(input, ctx)


# The SDK starts its listener as a second process that imports this file again.
if __name__ == "__main__":
    hatchet.worker(sys.argv[1], slots=10, workflows=[mixed]).start()
