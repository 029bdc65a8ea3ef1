"""The workflows that show whether the promises are kept: driver and workers declare the same ones."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from evidence import Recorder
from hatchet_sdk import Context, EmptyModel, Hatchet, StickyStrategy
from hatchet_sdk.runnables.workflow import Workflow
from pydantic import BaseModel

import snippet

SOFT, HARD = StickyStrategy.SOFT, StickyStrategy.HARD

# Failing attempts of a flaky task before one succeeds.
FAILURES = 2

# Far more than a body takes: it only ends tasks whose completion the SDK dropped.
BODY = timedelta(seconds=15)
# Longer than a lease lives when the node that vouched for the worker died with it.
UPSET_BODY = timedelta(seconds=40)
PARENT = timedelta(seconds=45)
SLOT_PARENT = timedelta(seconds=12)


class FamilyInput(BaseModel):
    way: str  # run or runmany
    count: int


class RefusedInput(BaseModel):
    kind: str  # plain or absent


class SlotInput(BaseModel):
    hard: bool


class Declared:
    def __init__(self, hatchet: Hatchet, recorder: Recorder | None = None) -> None:
        """Declares all of them for this client; without a recorder for a driver."""
        self._hatchet = hatchet
        self._recorder = recorder
        self.child = self._leaf("child", SOFT)
        self.plain = self._leaf("plain", None)
        self.absent = self._leaf("absent", SOFT)
        self.slot_soft = self._leaf("slot-soft-child", SOFT)
        self.slot_hard = self._leaf("slot-hard-child", HARD)
        self.soft, self.hard = self._dag("soft", SOFT), self._dag("hard", HARD)
        self.flaky_soft, self.flaky_hard = self._flaky("flaky-soft", SOFT), self._flaky("flaky-hard", HARD)
        self.parent = self._parent()
        self.refused = self._refused()
        self.slot_parent = self._slot_parent()
        self.hold = self._chain("hold", HARD, 60, {"first": 2.0, "second": 0.02})
        self.move = self._chain("move", SOFT, 60, {"first": 0.5, "second": 1.0, "third": 0.02})
        self.strand = self._chain("strand", HARD, 4, {"first": 1.5, "second": 0.02})

    def groups(self) -> dict[str, list[Workflow[Any]]]:
        """What each kind of worker registers.

        The narrow ones, which have one slot, are also the only ones that know the
        absent child; the upset ones are paused, frozen and killed.
        """
        return {
            "main": [
                *(self.soft, self.hard, self.flaky_soft, self.flaky_hard),
                *(self.child, self.plain, self.parent, self.refused),
                *(snippet.sticky_workflow, snippet.sticky_child_workflow),
            ],
            "narrow": [self.slot_parent, self.slot_soft, self.slot_hard, self.absent],
            "upset": [self.hold, self.move, self.strand],
        }

    def _workflow(self, name: str, sticky: StickyStrategy | None, validator: type[BaseModel] = EmptyModel) -> Any:
        return self._hatchet.workflow(name=f"conform-python-{name}", sticky=sticky, input_validator=validator)

    def _write(self, event: str, task: str, ctx: Context) -> dict[str, str]:
        if self._recorder is not None:
            what = (ctx.worker_id, ctx.task_run_id, ctx.workflow_run_id, task, ctx.retry_count)
            self._recorder.write(event, *what)
        return {"worker": ctx.worker_id}

    def _body(self, task: str, seconds: float) -> Any:
        async def body(input: EmptyModel, ctx: Context) -> dict[str, str]:
            self._write("begin", task, ctx)
            await asyncio.sleep(seconds)
            return self._write("end", task, ctx)

        return body

    def _leaf(self, name: str, sticky: StickyStrategy | None) -> Any:
        workflow = self._workflow(name, sticky)
        workflow.task(name="where", execution_timeout=BODY)(self._body(name, 0.01))
        return workflow

    def _dag(self, name: str, sticky: StickyStrategy) -> Any:
        """Two parallel roots and a step that waits for both."""
        workflow = self._workflow(name, sticky)
        roots = [
            workflow.task(name=task, execution_timeout=BODY)(self._body(task, 0.15)) for task in ("left", "right")
        ]
        workflow.task(name="join", parents=roots, execution_timeout=BODY)(self._body("join", 0.02))
        return workflow

    def _chain(self, name: str, sticky: StickyStrategy, timeout: int, bodies: Mapping[str, float]) -> Any:
        """Tasks each of which waits for the one before."""
        workflow = self._workflow(name, sticky)
        before: list[Any] = []
        for task, seconds in bodies.items():
            declare = workflow.task(
                name=task, parents=before, schedule_timeout=timedelta(seconds=timeout), execution_timeout=UPSET_BODY
            )
            before = [declare(self._body(task, seconds))]
        return workflow

    def _flaky(self, name: str, sticky: StickyStrategy) -> Any:
        """A root that pins the run, then a task whose first attempts fail."""
        workflow = self._workflow(name, sticky)
        left = workflow.task(name="left", execution_timeout=BODY)(self._body("left", 0.02))
        failed: dict[str, int] = defaultdict(int)

        @workflow.task(name="flaky", parents=[left], retries=FAILURES + 1, execution_timeout=BODY)  # type: ignore[untyped-decorator]
        async def flaky(input: EmptyModel, ctx: Context) -> dict[str, str]:
            place = self._write("begin", "flaky", ctx)
            if failed[ctx.task_run_id] < FAILURES:
                failed[ctx.task_run_id] += 1
                raise RuntimeError(f"attempt {ctx.retry_count} fails on purpose")
            return place

        return workflow

    def _parent(self) -> Any:
        workflow = self._workflow("parent", SOFT, FamilyInput)

        @workflow.task(name="spawn", execution_timeout=PARENT)  # type: ignore[untyped-decorator]
        async def spawn(input: FamilyInput, ctx: Context) -> dict[str, Any]:
            place = self._write("begin", "parent", ctx)
            if input.way == "runmany":
                items = [self.child.create_bulk_run_item(sticky=True) for _ in range(input.count)]
                results = await self.child.aio_run_many(items)
            else:
                results = await asyncio.gather(*(self.child.aio_run(sticky=True) for _ in range(input.count)))
            return {**place, "children": [result["where"]["worker"] for result in results]}

        return workflow

    def _refused(self) -> Any:
        workflow = self._workflow("refused", SOFT, RefusedInput)

        async def text(call: Any) -> str:
            try:
                await call
            except Exception as err:
                details = getattr(err, "details", None)  # of a gRPC error, in one line
                return str(details() if callable(details) else err) or repr(err)
            return ""

        @workflow.task(name="spawn", execution_timeout=PARENT)  # type: ignore[untyped-decorator]
        async def spawn(input: RefusedInput, ctx: Context) -> dict[str, Any]:
            place = self._write("begin", "refused", ctx)
            child = self.plain if input.kind == "plain" else self.absent
            item = child.create_bulk_run_item(sticky=True)
            return {
                **place,
                "run": await text(child.aio_run(sticky=True, wait_for_result=False)),
                "runmany": await text(child.aio_run_many([item], wait_for_result=False)),
            }

        return workflow

    def _slot_parent(self) -> Any:
        workflow = self._workflow("slot-parent", SOFT, SlotInput)

        @workflow.task(name="spawn", execution_timeout=SLOT_PARENT)  # type: ignore[untyped-decorator]
        async def spawn(input: SlotInput, ctx: Context) -> dict[str, Any]:
            place = self._write("begin", "slot-parent", ctx)
            child = self.slot_hard if input.hard else self.slot_soft
            try:
                result = await child.aio_run(sticky=True)
            except Exception as err:
                return {**place, "child": "", "refused": str(err) or repr(err)}
            return {**place, "child": result["where"]["worker"], "refused": ""}

        return workflow
