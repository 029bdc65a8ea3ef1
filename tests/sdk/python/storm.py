"""storm.py MODE: HARD and SOFT runs under way while a node is killed, or none.

Prints one line of figures and, if something was broken, what; then ends with status 1.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from check import Outcome, check, longest_silence
from children import children
from processes import install_exit_handlers
from stage import Config, Report, Stage, all_at_one_follower, one_at_each
from stranded import hard_timeout
from workflows import StormInput, declare

SLOTS = 50
LOAD_TIMEOUT = 70  # seconds for all runs; what is not finished by then counts as failed
SHOWN_FAULTS = 10
# Seconds. The figure is for reading; only what would make SDKs give up is a fault.
LONGEST_GAP = 20


async def run_one(workflow: Any, outcome: Outcome, given: StormInput, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            ref = await workflow.aio_run(given, wait_for_result=False)
            outcome.run = ref.workflow_run_id
            outcome.answer = await ref.aio_result()
    except Exception as err:
        outcome.error = " ".join(str(err).split()) or repr(err)


async def run_load(stage: Stage, config: Config, quarter: Callable[[], Any] | None) -> list[Outcome]:
    """Starts HARD and SOFT runs in turn, a window of them at a time, and waits for all.

    The given function runs beside them, in a thread, once a quarter is finished.
    """
    workflows = declare(stage.hatchet)
    outcomes = [Outcome(strategy) for _ in range(config.runs) for strategy in ("hard", "soft")]
    numbers = iter(range(len(outcomes)))
    deadline = asyncio.get_running_loop().time() + LOAD_TIMEOUT
    finished = 0
    beside: list[asyncio.Task[Any]] = []

    async def lane() -> None:
        nonlocal finished
        for number in numbers:
            outcome = outcomes[number]
            given = StormInput(number=number, sleep_seconds=config.sleep_seconds)
            await run_one(workflows[outcome.strategy], outcome, given, deadline)
            finished += 1
            if quarter is not None and finished == len(outcomes) // 4:
                beside.append(asyncio.create_task(asyncio.to_thread(quarter)))

    await asyncio.gather(*(lane() for _ in range(config.window)))
    await asyncio.gather(*beside)
    return outcomes


def storm(config: Config, seats: Callable[[int], list[int]], victim: Callable[[Stage], int] | None) -> Report:
    report = Report()
    stage = Stage(config, SLOTS, seats)
    killed: list[tuple[int, float]] = []

    def strike() -> None:
        assert victim is not None
        node = victim(stage)
        killed.append((node, stage.cluster.kill(node)))

    try:
        outcomes = asyncio.run(run_load(stage, config, strike if victim else None))
        lines = stage.lines()
        found = check(outcomes, lines, node_killed=victim is not None)
        report.faults += found.faults
        report.faults += [f"{name} ended by itself" for name in stage.lost()]
        report.parts.append(str(found))
        if victim is not None and not killed:
            report.faults.append("no node was killed")
        for node, at in killed:
            gap = longest_silence(lines, at)
            report.parts.append(f"gap {gap:.2f}s after node-{node}")
            if gap > LONGEST_GAP:
                report.faults.append(f"no task began for {gap:.2f} s, more than {LONGEST_GAP} s")
            stage.cluster.restart(node)
        stage.hashes(report)
    finally:
        stage.stop()
    return report


def follower_of_workers(stage: Stage) -> int:
    """The follower that all workers were seated at."""
    return all_at_one_follower(stage.cluster.leader())[0]


MODES: dict[str, Callable[[Config], Report]] = {
    "calm": lambda config: storm(config, one_at_each, None),
    "leader-kill": lambda config: storm(config, one_at_each, lambda stage: stage.cluster.leader()),
    "follower-kill": lambda config: storm(config, all_at_one_follower, follower_of_workers),
    "children": children,
    "hard-timeout": hard_timeout,
}


def main() -> int:
    top = Path(__file__).resolve().parents[3]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--binary", type=Path, default=top / "bin" / "limpet")
    parser.add_argument("--dir", type=Path, default=top / ".cache" / "sdk" / "python")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--sleep", type=float, default=0.2)
    parser.add_argument("--window", type=int, default=24)
    args = parser.parse_args()
    install_exit_handlers()
    config = Config(args.binary, args.dir / args.mode, args.runs, args.sleep, args.window)
    try:
        report = MODES[args.mode](config)
    except Exception as err:
        report = Report(faults=[repr(err)])
    verdict = "BROKEN" if report.faults else "kept  "
    print(f"{verdict}  python      {args.mode}  {', '.join(report.parts)}")
    for fault in report.faults[:SHOWN_FAULTS]:
        print(f"        {fault}")
    if len(report.faults) > SHOWN_FAULTS:
        print(f"        and {len(report.faults) - SHOWN_FAULTS} more")
    return 1 if report.faults else 0


if __name__ == "__main__":
    status = main()
    # The SDK's own threads need not be waited for, but what was printed must be out.
    sys.stdout.flush()
    sys.exit(status)
