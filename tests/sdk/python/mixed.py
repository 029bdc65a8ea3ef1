"""A worker of the workflow `mixed`, which workers of several SDKs serve together: mixed.py NAME EVIDENCE-DIR"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from hatchet_sdk import Context, Hatchet, StickyStrategy
from pydantic import BaseModel

from evidence import Recorder
from reports import watch_reports


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


# The SDK sends its reports from a second process, which imports this file again.
if __name__ == "__mp_main__":
    watch_reports(Recorder(Path(sys.argv[2]), sys.argv[1]))

if __name__ == "__main__":
    hatchet.worker(sys.argv[1], slots=10, workflows=[mixed]).start()
