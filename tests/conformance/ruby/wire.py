"""The calls that the Ruby SDK makes, as they were recorded, without the SDK.

It stands in where the gem is not to be had: what it shows is that the server
answers these calls as the page promises, not that the SDK works. Usage: wire.py
MODE REASON; address and token come from the environment. Prints conformance rows
of the SDK `ruby-wire`.
"""

import json
import os
import sys
import threading
import time
from collections import defaultdict

import grpc
from hatchet_sdk.contracts import dispatcher_pb2 as dispatcher
from hatchet_sdk.contracts import dispatcher_pb2_grpc as dispatcher_calls
from hatchet_sdk.contracts import workflows_pb2_grpc as workflow_calls
from hatchet_sdk.contracts.v1 import workflows_pb2 as definitions
from hatchet_sdk.contracts.v1 import workflows_pb2_grpc as definition_calls
from hatchet_sdk.contracts.v1.shared import trigger_pb2 as trigger

RUNS = 5
PATIENCE = 60
FLOWS = {
    # name: (strategy, {task: parents}); retries are 2, and `flaky` fails twice.
    "RubyWireSoft": (definitions.StickyStrategy.SOFT, {"step1a": [], "step1b": [], "step2": ["step1a", "step1b"]}),
    "RubyWireHard": (definitions.StickyStrategy.HARD, {"step1a": [], "step1b": [], "flaky": ["step1a", "step1b"]}),
    "RubyWireChild": (definitions.StickyStrategy.SOFT, {"child": []}),
}


class Wire:
    """One process's connection: a worker's, or the caller's."""

    def __init__(self) -> None:
        self.auth = [("authorization", "bearer " + os.environ["HATCHET_CLIENT_TOKEN"])]
        self.channel = grpc.insecure_channel(os.environ["HATCHET_CLIENT_HOST_PORT"])
        self.dispatcher = dispatcher_calls.DispatcherStub(self.channel)
        self.workflows = workflow_calls.WorkflowServiceStub(self.channel)
        self.admin = definition_calls.AdminServiceStub(self.channel)

    def trigger(self, name: str, **more: object) -> str:
        request = trigger.TriggerWorkflowRequest(name=name, input="{}", **more)
        return self.workflows.TriggerWorkflow(request, metadata=self.auth, timeout=20).workflow_run_id

    def result(self, run: str) -> dict[str, dict]:
        """The outputs by task, as the SDK gets them: it asks for the id twice."""
        done = threading.Event()

        def ask():
            for _ in range(2):
                yield dispatcher.SubscribeToWorkflowRunsRequest(workflow_run_id=run)
            done.wait(PATIENCE)

        try:
            for event in self.dispatcher.SubscribeToWorkflowRuns(ask(), metadata=self.auth, timeout=PATIENCE):
                for r in event.results:
                    if r.HasField("error"):
                        raise RuntimeError(f"{r.task_name}: {r.error}")
                return {r.task_name: json.loads(r.output) for r in event.results}
        finally:
            done.set()
        raise RuntimeError("the stream ended without a result")


class Worker:
    def __init__(self, name: str) -> None:
        self.wire, self.name = Wire(), name
        self.tries: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for flow, (strategy, tasks) in FLOWS.items():
            # No slot_requests and no timeout: this SDK sends neither.
            opts = [
                definitions.CreateTaskOpts(
                    readable_id=task, action=f"{flow.lower()}:{task}", inputs="{}", parents=parents, retries=2
                )
                for task, parents in tasks.items()
            ]
            request = definitions.CreateWorkflowVersionRequest(name=flow, sticky=strategy, tasks=opts)
            self.wire.admin.PutWorkflow(request, metadata=self.wire.auth, timeout=20)
        self.id = self.wire.dispatcher.Register(
            dispatcher.WorkerRegisterRequest(
                worker_name=name,
                actions=[f"{flow.lower()}:{task}" for flow, (_, tasks) in FLOWS.items() for task in tasks],
                slot_config={"default": 10},
                runtime_info=dispatcher.RuntimeInfo(language=dispatcher.SDKS.RUBY, sdk_version="0.6.0"),
            ),
            metadata=self.wire.auth,
            timeout=20,
        ).worker_id
        for loop in (self.listen, self.beat):
            threading.Thread(target=loop, daemon=True).start()

    def beat(self) -> None:
        while True:
            self.wire.dispatcher.Heartbeat(
                dispatcher.HeartbeatRequest(worker_id=self.id), metadata=self.wire.auth, timeout=5, wait_for_ready=True
            )
            time.sleep(4)

    def listen(self) -> None:
        request = dispatcher.WorkerListenRequest(worker_id=self.id)
        for action in self.wire.dispatcher.ListenV2(request, metadata=self.wire.auth):
            # The SDK does not look at the kind of order: all are run.
            threading.Thread(target=self.run, args=(action,), daemon=True).start()

    def report(self, action, kind: int, payload: str) -> None:
        event = dispatcher.StepActionEvent(
            worker_id=self.id, job_id=action.job_id, job_run_id=action.job_run_id, task_id=action.task_id,
            task_run_external_id=action.task_run_external_id, action_id=action.action_id,
            event_type=kind, event_payload=payload, retry_count=action.retry_count,
        )
        self.wire.dispatcher.SendStepActionEvent(event, metadata=self.wire.auth, timeout=20)

    def run(self, action) -> None:
        self.report(action, dispatcher.STEP_EVENT_TYPE_STARTED, "{}")
        self.tries[action.task_run_external_id].append((action.retry_count, self.id))
        if action.task_name == "flaky" and action.retry_count < 2:
            self.report(action, dispatcher.STEP_EVENT_TYPE_FAILED, '{"error":"not yet"}')
            return
        out = {"worker": self.id, "retry": action.retry_count}
        if action.task_name == "step2":
            # sticky: true never leaves this SDK; only the parent's ids do.
            child = self.wire.trigger(
                "RubyWireChild", parent_id=action.workflow_run_id,
                parent_task_run_external_id=action.task_run_external_id, child_index=0,
            )
            out["child"] = self.wire.result(child)["child"]["worker"]
        self.report(action, dispatcher.STEP_EVENT_TYPE_COMPLETED, json.dumps(out))


def main() -> None:
    mode, reason = sys.argv[1:]
    workers = [Worker(f"ruby-wire-{n}") for n in (1, 2)]
    time.sleep(1)
    wire = Wire()
    soft = [wire.result(wire.trigger("RubyWireSoft")) for _ in range(RUNS)]
    hard = [wire.result(wire.trigger("RubyWireHard")) for _ in range(RUNS)]

    def row(promise: str, kept: bool, seen: str) -> None:
        note = f"{seen}; the calls as recorded, not the SDK ({reason})"
        print("ROW", "ruby-wire", mode, promise, "kept" if kept else "broken", note, sep="\t")

    def places(outputs: dict[str, dict]) -> set[str]:
        return {o["worker"] for o in outputs.values()}

    used = {place for o in soft + hard for place in places(o)}
    row("soft-same-worker", all(len(places(o)) == 1 for o in soft), f"{RUNS} runs on {len(used)} workers")
    row("hard-same-worker", all(len(places(o)) == 1 for o in hard), f"{RUNS} runs")
    roots = [{o["step1a"]["worker"], o["step1b"]["worker"]} for o in soft + hard]
    row("parallel-roots-together", all(len(r) == 1 for r in roots), f"{len(roots)} runs")
    row("child-on-parents-worker", all(o["step2"]["child"] == o["step2"]["worker"] for o in soft), f"{RUNS} children")
    tried = [t for w in workers for t in w.tries.values() if len(t) > 1]
    stayed = len(tried) == RUNS and all([n for n, _ in t] == [0, 1, 2] for t in tried)
    row("retries-stay-on-the-worker", stayed, f"{len(tried)} tasks of three attempts")


if __name__ == "__main__":
    main()
