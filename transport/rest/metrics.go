package rest

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/limpet-dev/limpet/fsm"
)

// sample is one line of a metric: label names and values in turn, sorted by
// name, and the number.
type sample struct {
	labels []string
	value  int64
}

// exposition is a page in the text format of Prometheus.
type exposition struct{ strings.Builder }

// write adds a metric; kind is gauge or counter.
func (e *exposition) write(name, kind, help string, samples ...sample) {
	fmt.Fprintf(e, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	for _, s := range samples {
		e.WriteString(name)
		for i := 0; i+1 < len(s.labels); i += 2 {
			e.WriteString(pick(i == 0, "{", ","))
			e.WriteString(s.labels[i] + `="` + escape(s.labels[i+1]) + `"`)
		}
		e.WriteString(pick(len(s.labels) > 0, "} ", " ") + strconv.FormatInt(s.value, 10) + "\n")
	}
}

func (e *exposition) gauge(name, help string, value int64) {
	e.write(name, "gauge", help, sample{nil, value})
}

func (e *exposition) counter(name, help string, value int64) {
	e.write(name, "counter", help, sample{nil, value})
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func escape(label string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(label)
}

// metrics gives the figures of this node, in an order that never changes.
func (s *server) metrics(w http.ResponseWriter, _ *http.Request) {
	var e exposition
	e.write("limpet_build_info", "gauge", "What this node runs; always 1.",
		sample{[]string{"go_version", runtime.Version(), "version", s.Version}, 1})
	readyValue := int64(0)
	if ok, _ := s.Ready(); ok {
		readyValue = 1
	}
	e.gauge("limpet_ready", "Whether this node can serve: 1 or 0.", readyValue)
	stateMetrics(&e, s.Backend.View())
	s.nodeMetrics(&e)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(e.String()))
}

// stateMetrics are those of the replicated state as this node has applied it:
// the same on all nodes, so take the maximum and not the sum.
func stateMetrics(e *exposition, view fsm.View) {
	counts := view.Counts()
	e.gauge("limpet_fsm_seq", "Commands applied to the state since the cluster was formed.", int64(view.Seq())) //nolint:gosec // far below
	e.gauge("limpet_live_runs", "Runs that are not finished.", int64(counts.LiveRuns))
	e.gauge("limpet_runs", "Runs in the state, finished ones that are kept included.", int64(counts.Runs))
	e.write("limpet_task_runs", "gauge", "Task runs that wait for a worker (queued), wait for their pinned worker (parked), or are with one (held).",
		sample{[]string{"state", "held"}, int64(counts.Held)},
		sample{[]string{"state", "parked"}, int64(counts.Parked)},
		sample{[]string{"state", "queued"}, int64(counts.Queued)})
	leases := map[fsm.LeaseState]int64{}
	for w := range view.Workers() {
		leases[w.Lease.State]++
	}
	var workers []sample
	for _, state := range []fsm.LeaseState{fsm.LeaseLive, fsm.LeaseLost, fsm.LeaseSuspect} {
		workers = append(workers, sample{[]string{"lease", state.String()}, leases[state]})
	}
	e.write("limpet_workers", "gauge", "Registered workers by the state of their lease.", workers...)
	e.gauge("limpet_pins", "Pins of live runs.", int64(counts.Pins))
	e.gauge("limpet_deadlines", "Deadlines that are set.", int64(counts.Deadlines))
}

// nodeMetrics are those of this node alone since its process started.
func (s *server) nodeMetrics(e *exposition) {
	c := s.Counters
	e.gauge("limpet_sessions", "Worker streams open at this node.", c.Sessions.Load())
	var calls []sample
	for call, n := range c.Calls() {
		calls = append(calls, sample{[]string{"code", call.Code.String(), "method", call.Method}, n})
	}
	slices.SortFunc(calls, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.labels[3], b.labels[3]), cmp.Compare(a.labels[1], b.labels[1]))
	})
	e.write("limpet_calls_total", "counter", "gRPC calls that have ended, by method and code.", calls...)
	refused := c.Refused()
	var refusals []sample
	for code := fsm.CodeInvalid; code <= fsm.CodeFenced; code++ {
		refusals = append(refusals, sample{[]string{"code", code.String()}, refused[code]})
	}
	e.write("limpet_refusals_total", "counter", "Commands and arguments that were refused, by code.", refusals...)
	e.counter("limpet_dispatched_total", "Assignments sent to workers, repeats included.", c.Dispatched.Load())
	e.counter("limpet_cancels_total", "Orders to cancel a task run sent to workers.", c.Cancels.Load())
	e.counter("limpet_results_total", "Results of finished runs delivered to subscribers.", c.Results.Load())
	e.counter("limpet_fenced_reports_total", "Reports refused because their attempt was over.", c.Fenced.Load())
	l := s.Load()
	e.gauge("limpet_saturated", "Whether the leader, as far as this node knows, lets new runs in only as others end: 1 or 0.", l.Saturated)
	e.counter("limpet_saturation_refusals_total", "What this node refused for that: runs as the leader, calls otherwise.", l.Refused)
	e.counter("limpet_repeated_commands_total", "Commands that had no result for seconds, and that this node sends again.", l.Repeats)
	g := s.Gossip()
	e.write("limpet_gossip_workers", "gauge", "Processes of workers in this node's gossip, by state.",
		sample{[]string{"state", "alive"}, g.Alive}, sample{[]string{"state", "dead"}, g.Dead}, sample{[]string{"state", "left"}, g.Left})
	e.counter("limpet_gossip_worker_deaths_total", "How often gossip believed a worker's process dead, rightly or not; no lease ends by that alone.", g.Deaths)
	e.write("limpet_probes_total", "counter", "Workers in doubt that this node asked all nodes after while it led, by what they said.",
		sample{[]string{"verdict", "alive"}, g.ProbedAlive}, sample{[]string{"verdict", "gone"}, g.ProbedGone},
		sample{[]string{"verdict", "unsure"}, g.ProbedUnsure})
	h := s.History()
	e.gauge("limpet_history_files", "Files of finished runs on this node's disk.", int64(h.Files))
	e.gauge("limpet_history_bytes", "Their size.", h.Bytes)
	e.gauge("limpet_history_waiting", "Finished runs that wait for the disk.", int64(h.Waiting))
	e.counter("limpet_history_dropped_total", "Finished runs that found no room, as the disk took nothing for long.", int64(h.Dropped))
	e.counter("limpet_history_write_failures_total", "Writes of the history that failed; they are tried again.", int64(h.Failed))
	if s.Disk != nil {
		d := s.Disk()
		e.counter("limpet_disk_writes_total", "Writes of this node's log.", d.Writes)
		e.counter("limpet_disk_write_failures_total", "Writes of this node's log that failed or came too late; the node ends after five in a row.", d.Failures)
		e.counter("limpet_disk_write_stalls_total", "Those of them that came too late.", d.Stalls)
	}
	e.counter("limpet_oversized_total", "Payloads that were too large.", c.Oversized.Load())
}

// DiskCounts are about the writes of a node's log, since its process started.
type DiskCounts struct{ Writes, Failures, Stalls int64 }
