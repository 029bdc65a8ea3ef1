"""Promises about workers that pause, freeze or die.

Each step upsets one of two workers; the runs that began on the other one show
that nothing else stopped.
"""

import asyncio
import re
import signal
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from processes import until

from promised import Declared
from theatre import Theatre, one_line

WAITS = "hard-waits-and-finishes-when-worker-returns"
MOVES = "soft-moves-when-worker-goes"
REFUSED = "hard-schedule-timeout-with-message"
APART = 3.0


@dataclass(frozen=True)
class Victim:
    name: str
    id: str
    runs: list[Any]  # references of the runs that began on it


class Upset:
    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre
        self._ledger = theatre.ledger
        self._number = 0

    def start_worker(self) -> None:
        self._number += 1
        self._theatre.start_worker(f"upset-{self._number}", 60, "upset", 1 + self._number % 3)

    async def round(self, declared: Declared, runs: int) -> None:
        for step in (
            lambda: self._hold(declared, runs, "pause"),
            lambda: self._hold(declared, runs, "freeze"),
            lambda: self._kill(declared, runs),
        ):
            try:
                await step()
            except Exception as err:
                for promise in (WAITS, MOVES, REFUSED):
                    self._ledger.miss(promise, one_line(err))

    async def _start(self, workflow: Any, runs: int) -> list[Any]:
        calls = (self._theatre.trigger(lambda: workflow.aio_run(wait_for_result=False)) for _ in range(runs))
        return await asyncio.gather(*calls)

    def _victim(self, refs: list[Any]) -> Victim:
        """The worker that most of the runs are on, once all of them have begun."""
        ids = {ref.workflow_run_id for ref in refs}

        def begun() -> Any:
            lines = [line for line in self._theatre.lines() if line.event == "begin" and line.run in ids]
            return lines if {line.run for line in lines} == ids else None

        by: dict[str, list[Any]] = defaultdict(list)
        for line in until("all runs to begin", 15, begun, 0.05):
            by[line.name].append(line)
        lines = max(by.values(), key=len)
        own = {line.run for line in lines}
        return Victim(lines[0].name, lines[0].worker, [ref for ref in refs if ref.workflow_run_id in own])

    async def _hold(self, declared: Declared, runs: int, how: str) -> None:
        """The first task of each run is under way when its worker is paused or frozen for a while."""
        refs = await self._start(declared.hold, runs)
        victim = await asyncio.to_thread(self._victim, refs)
        since = time.time()
        act = self._pause if how == "pause" else self._freeze
        back = await asyncio.to_thread(act, victim)
        await asyncio.gather(*(self._judge_held(ref, victim, how, since, back) for ref in victim.runs))

    def _pause(self, victim: Victim) -> float:
        self._theatre.pause(victim.id, True)
        try:
            ids = {ref.workflow_run_id for ref in victim.runs}

            def first_ended() -> bool:
                lines = self._theatre.lines()
                ended = {line.run for line in lines if line.task == "first" and line.event == "end"}
                return ids <= ended

            until("the first tasks to end", 15, first_ended)
            time.sleep(APART)
            shown = self._theatre.show(victim.runs[0].workflow_run_id)
            second = next(task for task in shown["tasks"] if task["name"] == "second")
            text = f"run {shown['run']['status']}, task {second['status']}: {second.get('why', '')}"
            self._ledger.note(WAITS, f"while paused: {text}")
        finally:
            back = time.time()
            self._theatre.pause(victim.id, False)
        return back

    def _freeze(self, victim: Victim) -> float:
        self._theatre.signal_worker(victim.name, signal.SIGSTOP)
        time.sleep(APART + 1)
        back = time.time()
        self._theatre.signal_worker(victim.name, signal.SIGCONT)
        return back

    async def _judge_held(self, ref: Any, victim: Victim, how: str, since: float, back: float) -> None:
        ended = await self._theatre.result(ref)
        lines = self._theatre.begun(ended.run)
        elsewhere = [line for line in lines if (line.name, line.worker) != (victim.name, victim.id)]
        second = next((line for line in lines if line.task == "second"), None)
        if elsewhere:
            text = f"{how}: {elsewhere[0].task} of run {ended.run} ran on {elsewhere[0].name}, not on {victim.name}"
            self._ledger.check(WAITS, False, text)
        elif ended.answer is None and self._theatre.dropped(ended.run):
            self._ledger.miss(WAITS, f"{how}: the SDK dropped a completion of run {ended.run}: {ended.error}")
        elif ended.answer is None:
            self._ledger.check(WAITS, False, f"{how}: run {ended.run}: {ended.error}")
        elif second is None or second.at < since:
            self._ledger.miss(WAITS, f"{how}: run {ended.run} was over before")
        else:
            text = f"{how}: run {ended.run} went on after {second.at - since:.2f} s"
            self._ledger.check(WAITS, second.at >= back, f"{text}, its worker was back after {back - since:.2f} s")
        self._ledger.note(WAITS, f"by {how}")

    async def _kill(self, declared: Declared, runs: int) -> None:
        """SIGKILL: SOFT runs go on elsewhere, HARD ones wait and are refused with a reason."""
        moving, stranded = await asyncio.gather(self._start(declared.move, runs), self._start(declared.strand, runs))
        victim = await asyncio.to_thread(self._victim, [*moving, *stranded])
        at = time.time()
        await asyncio.to_thread(self._theatre.kill_worker, victim.name)
        await asyncio.gather(
            *(self._judge_moved(ref, victim, at) for ref in victim.runs if ref in moving),
            *(self._judge_stranded(ref, victim, at) for ref in victim.runs if ref in stranded),
        )
        self.start_worker()
        await asyncio.to_thread(self._theatre.ready)

    async def _judge_moved(self, ref: Any, victim: Victim, at: float) -> None:
        ended = await self._theatre.result(ref)
        after = [line for line in self._theatre.begun(ended.run) if line.at > at]
        names = {line.name for line in after}
        if ended.answer is not None and not after:
            self._ledger.miss(MOVES, f"run {ended.run} was over before")
        elif ended.answer is None and self._theatre.dropped(ended.run):
            self._ledger.miss(MOVES, f"the SDK dropped a completion of run {ended.run}: {ended.error}")
        else:
            ok = ended.answer is not None and len(names) == 1 and victim.name not in names
            where = ended.error or f"after the kill of {victim.name} it ran on {', '.join(sorted(names))}"
            self._ledger.check(MOVES, ok, f"run {ended.run}: {where}")

    async def _judge_stranded(self, ref: Any, victim: Victim, at: float) -> None:
        ended = await self._theatre.result(ref)
        elsewhere = [line for line in self._theatre.begun(ended.run) if line.name != victim.name]
        if elsewhere:
            self._ledger.check(REFUSED, False, f"run {ended.run} ran on {elsewhere[0].name}, not on {victim.name}")
        elif ended.answer is not None:
            self._ledger.miss(REFUSED, f"run {ended.run} was over before")
        else:
            text = ended.error
            ok = bool(re.search("schedul", text, re.IGNORECASE) and re.search("worker", text, re.IGNORECASE))
            self._ledger.check(REFUSED, ok, f"run {ended.run} after {time.time() - at:.0f} s: {text}")
            if ok:
                self._ledger.note(REFUSED, text)
