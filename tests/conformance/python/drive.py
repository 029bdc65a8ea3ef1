"""drive.py, with CONFORMANCE_MODE (calm or kills) and LIMPET_BIN.

Prints one row for each promise: ROW, SDK, mode, promise, verdict, note.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from processes import install_exit_handlers

from killer import Killer
from ledger import Ledger
from theatre import Theatre, one_line

STORM = 40.0


async def play(theatre: Theatre, killer: Killer, calm: bool) -> None:
    # These read the client's settings, so the cluster must be there first.
    import snippet
    from promised import Declared
    from steady import Steady
    from upset import Upset

    declared = Declared(snippet.hatchet)
    steady, upset = Steady(theatre, declared), Upset(theatre)
    theatre.start_worker("main-1", 120, "main", 1)
    theatre.start_worker("main-2", 120, "main", 2)
    theatre.start_worker("narrow-1", 1, "narrow", 3)
    theatre.start_worker("narrow-2", 1, "narrow", 1)
    upset.start_worker()
    upset.start_worker()
    await asyncio.to_thread(theatre.ready)
    if calm:
        await asyncio.gather(steady.round(10, 3, 20), upset.round(declared, 16))
        return
    killer.begin()
    deadline = time.monotonic() + STORM

    async def again(one: Callable[[], Awaitable[None]]) -> None:
        while True:
            await one()
            if time.monotonic() > deadline:
                return

    await asyncio.gather(again(lambda: steady.round(6, 1, 6)), again(lambda: upset.round(declared, 8)))
    await asyncio.to_thread(killer.stop)


def main() -> int:
    mode = os.environ.get("CONFORMANCE_MODE", "calm")
    if mode not in {"calm", "kills"}:
        print(f"CONFORMANCE_MODE {mode!r} must be calm or kills", file=sys.stderr)
        return 2
    top = Path(__file__).resolve().parents[3]
    binary = Path(os.environ.get("LIMPET_BIN", top / "bin" / "limpet"))
    calm = mode == "calm"
    install_exit_handlers()
    ledger = Ledger(strict=calm)
    theatre = Theatre(binary, top / ".cache" / "conformance" / "python" / mode, ledger, 30 if calm else 60)
    killer = Killer(theatre.cluster)
    trouble = ""
    try:
        asyncio.run(play(theatre, killer, calm))
        if theatre.lost():
            trouble = f"{', '.join(theatre.lost())} ended"
    except Exception as err:
        trouble = one_line(err)
    finally:
        theatre.close()
    retried = f"{ledger.retried} client calls repeated in all" if ledger.retried else ""
    more = "; ".join(part for part in (killer.note(), retried, killer.fault, trouble) if part)
    print("\n".join(ledger.rows(mode, more)))
    return 1 if trouble or killer.fault else 0


if __name__ == "__main__":
    status = main()
    # The SDK's own threads need not be waited for, but what was printed must be out.
    sys.stdout.flush()
    sys.exit(status)
