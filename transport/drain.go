package transport

import (
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// DrainInfo tells how far the drain of a worker is, with at most so many
// blockers.
func DrainInfo(view fsm.View, w *fsm.Worker, limit int) *limpetv1.DrainInfo {
	d := view.Drain(w, limit)
	out := &limpetv1.DrainInfo{Drained: d.Drained, DeadlineSeconds: inSeconds(d.Deadline), EtaSeconds: inSeconds(d.ETA)}
	for _, b := range d.Blockers {
		x := &limpetv1.DrainBlocker{RunId: string(b.Run.ID), Status: b.Run.Status.String(), EndsInSeconds: inSeconds(b.EndsIn)}
		if v, ok := view.Version(b.Run.Version); ok {
			x.Workflow = v.Name
		}
		if b.Task != nil {
			x.TaskRunId, x.Task, x.Status = string(b.Task.ID), view.Task(b.Task).Name, b.Task.Status.String()
		}
		out.Blockers = append(out.Blockers, x)
	}
	return out
}

// inSeconds keeps what is negative, for none, at -1.
func inSeconds(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return d.Seconds()
}
