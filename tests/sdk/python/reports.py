"""Watches what becomes of a worker's reports that a task has completed.

hatchet-sdk 1.43.1 opens a new channel when one report fails with UNAVAILABLE, and
closes the old one: every other report that is in flight on it is cancelled, is not
sent again, and nothing is logged. So when a node dies, its workers may lose
completions before any node has acknowledged them. The server cannot make up for
that; the task ends by its execution timeout. This notes what was acknowledged and
what was dropped, so that a test tells the SDK's losses from the server's. It
changes nothing that the SDK does.
"""

import asyncio
from typing import Any

from hatchet_sdk.clients.dispatcher.dispatcher import DispatcherClient
from hatchet_sdk.contracts.dispatcher_pb2 import STEP_EVENT_TYPE_COMPLETED

from evidence import Recorder


def watch_reports(recorder: Recorder) -> None:
    """To be called in the process that sends the reports, before it sends any."""
    send = DispatcherClient.send_step_action_event

    async def watched(self: DispatcherClient, action: Any, event_type: Any, *rest: Any) -> Any:
        def note(event: str) -> None:
            if event_type == STEP_EVENT_TYPE_COMPLETED:
                what = (action.worker_id, action.step_run_id, action.workflow_run_id, action.job_name)
                recorder.write(event, *what, action.retry_count)

        try:
            answer = await send(self, action, event_type, *rest)
        except asyncio.CancelledError:
            note("dropped")
            raise
        note("dropped" if answer is None else "acknowledged")
        return answer

    DispatcherClient.send_step_action_event = watched  # type: ignore[assignment, method-assign]
