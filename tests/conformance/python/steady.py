"""Promises about workers that stay: one round puts each to several runs."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from evidence import Line
from hatchet_sdk.connection import new_conn
from hatchet_sdk.contracts.dispatcher_pb2 import WorkerRegisterRequest
from hatchet_sdk.contracts.dispatcher_pb2_grpc import DispatcherStub
from hatchet_sdk.utils.api_auth import create_authorization_header

import snippet
from promised import FAILURES, Declared, FamilyInput, RefusedInput, SlotInput
from theatre import Theatre, one_line


async def times(count: int, call: Callable[[int], Awaitable[None]]) -> None:
    await asyncio.gather(*(call(number) for number in range(count)))


def places(lines: list[Line]) -> str:
    return ", ".join(f"{line.task}#{line.attempt} on {line.name}" for line in lines)


def together(lines: list[Line]) -> bool:
    """Whether all bodies ran in one worker process and were given its one id."""
    return len({(line.name, line.worker) for line in lines}) == 1 and lines[0].worker != ""


class Steady:
    def __init__(self, theatre: Theatre, declared: Declared) -> None:
        self._theatre = theatre
        self._ledger = theatre.ledger
        self._declared = declared

    async def round(self, runs: int, fan_outs: int, slot_runs: int) -> None:
        beside = [
            asyncio.create_task(self._one_slot(slot_runs)),
            asyncio.create_task(times((runs + 1) // 2, lambda _: self._refusals())),
        ]
        await asyncio.gather(self._dags("soft", runs), self._dags("hard", runs))
        await asyncio.gather(times(runs, self._retry), self._snippet(runs))
        for way in ("run", "runmany"):
            promise = f"child-on-parents-worker-{way}"
            await times(runs, lambda _, way=way, promise=promise: self._family(way, 2, promise))  # type: ignore[misc]
        await self._webhook()
        # One at a time: two parents on one worker would need more slots than it has.
        for _ in range(fan_outs):
            await self._family("runmany", 100, "fan-out-100")
        await asyncio.gather(*beside)

    async def _dags(self, strategy: str, runs: int) -> None:
        workflow = getattr(self._declared, strategy)
        promise = f"{strategy}-same-worker"

        async def one(_: int) -> None:
            ended = await self._theatre.play(lambda: workflow.aio_run(wait_for_result=False))
            if ended.answer is None:
                self._ledger.miss(promise, f"run {ended.run or '(not acknowledged)'}: {ended.error}")
                return
            lines = self._theatre.begun(ended.run)
            ids = [ended.answer.get(task, {}).get("worker", "") for task in ("left", "right", "join")]
            whole = {line.task for line in lines} == {"left", "right", "join"}
            self._ledger.check(promise, whole and together(lines), f"run {ended.run}: {places(lines)}", ids[0])
            same = len(set(ids)) == 1 and ids[0] != "" and {line.worker for line in lines} == set(ids)
            self._ledger.check("worker-id-equal-in-all-tasks", same, f"run {ended.run} answered {ids}")
            roots = [line for line in lines if line.task != "join"]
            ok = len(roots) > 1 and together(roots)
            self._ledger.check("parallel-roots-together", ok, f"run {ended.run}: {places(roots)}", ids[0])

        await times(runs, one)

    async def _retry(self, number: int) -> None:
        promise = "retries-stay-on-the-worker"
        workflow = self._declared.flaky_hard if number % 2 else self._declared.flaky_soft
        ended = await self._theatre.play(lambda: workflow.aio_run(wait_for_result=False))
        lines = self._theatre.begun(ended.run)
        # Attempts elsewhere break the promise even if the run did not end well.
        if ended.answer is None and (not lines or together(lines)):
            self._ledger.miss(promise, f"run {ended.run}: {ended.error}")
            return
        attempts = sum(1 for line in lines if line.task == "flaky")
        ok = attempts > FAILURES and together(lines)
        self._ledger.check(promise, ok, f"run {ended.run}: {places(lines)}", lines[0].worker if lines else None)

    async def _family(self, way: str, count: int, promise: str) -> None:
        given = FamilyInput(way=way, count=count)
        ended = await self._theatre.play(lambda: self._declared.parent.aio_run(given, wait_for_result=False))
        if ended.answer is None:
            self._ledger.miss(promise, f"run {ended.run}: {ended.error}")
            return
        answer = ended.answer["spawn"]
        here = answer["children"].count(answer["worker"])
        ok = here == count == len(answer["children"])
        text = f"{here} of {len(answer['children'])} children on the parent's worker"
        self._ledger.check(promise, ok, text, answer["worker"])

    async def _snippet(self, runs: int) -> None:
        """The page's program drops its child's answer: the nodes still have what the child said."""
        ended = await asyncio.gather(
            *(
                self._theatre.play(lambda: snippet.sticky_workflow.aio_run(wait_for_result=False))
                for _ in range(runs)
            )
        )
        await asyncio.to_thread(self._judge_snippet, ended)

    def _judge_snippet(self, all_ended: list[Any]) -> None:
        ask = self._theatre.cluster.ask
        children = {
            run.get("parent_task_run"): run["id"]
            for run in ask("run", "list", "--workflow", "StickyChildWorkflow", "--limit", "1000")
        }
        for ended in all_ended:
            if ended.answer is None:
                self._ledger.miss("snippet", f"run {ended.run}: {ended.error}")
                continue
            own = [ended.answer.get(task, {}).get("worker") for task in ("step1a", "step1b", "step2")]
            step2 = next(task["id"] for task in self._theatre.show(ended.run)["tasks"] if task["name"] == "step2")
            if step2 not in children:
                self._ledger.miss("snippet", f"run {ended.run}: its child is not listed")
                continue
            output = self._theatre.show(children[step2])["tasks"][0].get("output") or "{}"
            found = re.search('"worker": ?"([^"]*)"', output)
            own.append(found[1] if found else None)
            ok = len(set(own)) == 1 and bool(own[0])
            self._ledger.check("snippet", ok, f"step1a, step1b, step2 and the child on {own}", own[0])

    async def _refusals(self) -> None:
        await asyncio.gather(
            self._refusal("child-refused-without-strategy", "plain", "strateg"),
            self._refusal("child-refused-not-registered", "absent", "regist"),
        )

    async def _refusal(self, promise: str, kind: str, expected: str) -> None:
        given = RefusedInput(kind=kind)
        ended = await self._theatre.play(lambda: self._declared.refused.aio_run(given, wait_for_result=False))
        if ended.answer is None:
            self._ledger.miss(promise, f"run {ended.run}: {ended.error}")
            return
        for way in ("run", "runmany"):
            text = ended.answer["spawn"][way]
            if text and not re.search(expected, text, re.IGNORECASE):
                self._ledger.miss(promise, f"{way}: {text}")
                continue
            self._ledger.check(promise, text != "", f"{way}: not refused")
            if text:
                self._ledger.note(promise, f"{way}: {text}")
        name = f"conform-python-{kind}"
        created = await asyncio.to_thread(self._theatre.cluster.ask, "run", "list", "--workflow", name)
        if created:
            self._ledger.check(promise, False, f"{len(created)} runs of {name} were created")

    async def _webhook(self) -> None:
        """The registration call as a webhook worker makes it, over the SDK's own channel."""
        promise = "webhook-worker-refused"
        config = snippet.hatchet.config
        request = WorkerRegisterRequest(
            worker_name="webhook",
            actions=["conform-python-child:where"],
            slots=1,
            webhook_id="5d3fb4d7-6b6f-4c1a-9d0e-2f1f0a7c9b11",
        )
        channel = new_conn(config, True)
        try:
            metadata = create_authorization_header(config.token)
            await DispatcherStub(channel).Register(request, timeout=10, metadata=metadata)
            self._ledger.check(promise, False, "a worker with a webhook id was registered")
        except grpc.aio.AioRpcError as err:
            text = err.details() or one_line(err)
            if "webhook" in text.lower():
                self._ledger.check(promise, True, "")
                self._ledger.note(promise, f"{err.code().name}: {text}")
            else:
                self._ledger.miss(promise, text)
        finally:
            await channel.close()

    async def _one_slot(self, runs: int) -> None:
        """Parents that wait for their sticky child on a worker with one slot."""
        promise = "slots-1-parent"
        numbers = iter(range(runs))
        stuck = 0

        async def lane() -> None:
            nonlocal stuck
            for number in numbers:
                # What is stuck keeps the only slot; two of them tell enough.
                if stuck == 2:
                    return
                hard = number % 2 == 0
                what = f"{'HARD' if hard else 'SOFT'} child"
                since = time.monotonic()
                given = SlotInput(hard=hard)
                ended = await self._theatre.play(
                    lambda: self._declared.slot_parent.aio_run(given, wait_for_result=False)
                )
                seconds = time.monotonic() - since
                if ended.answer is None:
                    if not ended.run or self._theatre.dropped(ended.run):
                        self._ledger.miss(promise, ended.error)
                        continue
                    stuck += 1
                    text = f"{what}: run {ended.run} ended after {seconds:.1f} s: {ended.error}"
                    self._ledger.check(promise, False, text)
                    continue
                answer = ended.answer["spawn"]
                self._judge_slot(promise, what, hard, answer)

        await asyncio.gather(lane(), lane())

    def _judge_slot(self, promise: str, what: str, hard: bool, answer: dict[str, str]) -> None:
        refused, here = answer["refused"], answer["child"] == answer["worker"]
        if refused and "slot" not in refused.lower():
            self._ledger.miss(promise, f"{what}: {refused}")
        else:
            text = f"{what} on {answer['child']}, its parent on {answer['worker']}"
            self._ledger.check(promise, bool(refused) or here or not hard, text)
        how = f"refused: {refused}" if refused else f"done on {'the parent' if here else 'another worker'}"
        self._ledger.note(promise, f"{what} {how}" + ("'s worker" if here and not refused else ""))
