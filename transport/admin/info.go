package admin

import (
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

func millis(wall int64) int64 { return wall / int64(time.Millisecond) }

func workerInfo(v fsm.View, w *fsm.Worker) *limpetv1.WorkerInfo {
	out := &limpetv1.WorkerInfo{
		Id: string(w.ID), Name: w.Name, Lease: w.Lease.State.String(), Mode: w.Mode.String(), Epoch: w.Lease.Epoch,
		Node: string(w.Lease.Node), Session: string(w.Lease.Session), LeaseSeconds: v.Now().Sub(w.Lease.Since).Seconds(),
		Reason: w.Lease.Reason, Actions: w.Actions, Sdk: w.SDK, Identity: w.Identity, Generation: w.Generation, Member: w.Member,
	}
	if w.QuietUntil > v.Now() {
		out.QuietSeconds = w.QuietUntil.Sub(v.Now()).Seconds()
	}
	if w.SDKVersion != "" {
		out.Sdk += " " + w.SDKVersion
	}
	for i := range w.Slots {
		out.Slots = append(out.Slots, &limpetv1.SlotInfo{Type: w.Slots[i].Type, Used: w.Used[i].Units, Total: w.Slots[i].Units})
	}
	for i := range w.Labels {
		if k := w.Labels[i].Key; k != limpetv1.LabelIdentity && k != limpetv1.LabelGeneration {
			out.Labels = append(out.Labels, k+"="+w.Labels[i].Value())
		}
	}
	for range v.Assignments(w.ID) {
		out.Running++
	}
	for range v.PinsOf(w.ID) {
		out.Pins++
	}
	return out
}

func runInfo(v fsm.View, r *fsm.Run) *limpetv1.RunInfo {
	out := &limpetv1.RunInfo{
		Id: string(r.ID), Status: r.Status.String(), Tasks: int32(len(r.Tasks)), Open: r.Open,
		CreatedMs: millis(r.CreatedWall), StartedMs: millis(r.StartedWall), FinishedMs: millis(r.FinishedWall),
		ParentTaskRun: string(r.ParentTaskRun),
	}
	if ver, ok := v.Version(r.Version); ok {
		out.Workflow, out.Sticky = ver.Name, ver.Sticky.String()
	}
	if p, ok := v.Pin(r.ID); ok {
		out.PinnedTo = string(p.Worker)
		if w, ok := v.Worker(p.Worker); ok {
			out.PinnedName = w.Name
		}
	}
	return out
}

func runDetails(v fsm.View, r *fsm.Run) *limpetv1.GetRunResponse {
	out := &limpetv1.GetRunResponse{Run: runInfo(v, r), Input: string(r.Input), Metadata: string(r.Metadata)}
	if p, ok := v.Pin(r.ID); ok {
		out.Pin = pinInfo(v, p)
	}
	for _, id := range r.Tasks {
		if t, ok := v.TaskRun(id); ok {
			out.Tasks = append(out.Tasks, taskInfo(v, t))
		}
	}
	return out
}

func taskInfo(v fsm.View, t *fsm.TaskRun) *limpetv1.TaskRunInfo {
	out := &limpetv1.TaskRunInfo{
		Id: string(t.ID), Name: v.Task(t).Name, Status: t.Status.String(), Attempt: t.Attempt, AssignedBecause: t.Reason,
		Output: string(t.Output), Error: t.Error, QueuedMs: millis(t.QueuedWall), AssignedMs: millis(t.AssignedWall),
		StartedMs: millis(t.StartedWall), FinishedMs: millis(t.FinishedWall),
	}
	if t.Worker != "" {
		out.Worker = string(t.Worker)
		if w, ok := v.Worker(t.Worker); ok {
			out.WorkerName = w.Name
		}
	}
	if t.Status == fsm.Queued || t.Status == fsm.Backoff || t.Status == fsm.Blocked {
		out.WhyCode, out.Why = v.WaitReason(t)
	}
	if t.Status == fsm.Queued {
		out.FailsInSeconds = t.ScheduleBy.Sub(v.Now()).Seconds()
	}
	return out
}

func pinInfo(v fsm.View, p *fsm.Pin) *limpetv1.PinInfo {
	out := &limpetv1.PinInfo{
		RunId: string(p.Run), Strategy: p.Strategy.String(), Worker: string(p.Worker), Lease: "unknown", Cause: p.Cause.String(),
		AgeSeconds: v.Now().Sub(p.Since).Seconds(), Moves: p.Moves, Overflows: p.Overflows,
	}
	if w, ok := v.Worker(p.Worker); ok {
		out.WorkerName, out.Lease = w.Name, w.Lease.State.String()
		if w.Mode != fsm.ModeActive {
			out.Lease += ", " + w.Mode.String()
		}
	}
	r, ok := v.Run(p.Run)
	if !ok {
		return out
	}
	if ver, ok := v.Version(r.Version); ok {
		out.Workflow = ver.Name
	}
	for _, id := range r.Tasks {
		if t, ok := v.TaskRun(id); ok && t.Status == fsm.Queued {
			out.WaitingTask = v.Task(t).Name
			out.WhyCode, out.Why = v.WaitReason(t)
			out.FailsInSeconds = t.ScheduleBy.Sub(v.Now()).Seconds()
			break
		}
	}
	return out
}
