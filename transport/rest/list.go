package rest

import (
	"iter"
	"net/http"

	"github.com/limpet-dev/limpet/fsm"
)

type runList struct {
	Pagination pagination    `json:"pagination"`
	Rows       []taskSummary `json:"rows"`
}

type statusCount struct {
	Status string `json:"status"`
	Count  int    `json:"count"`
}

// row is a run, or one of its task runs.
type row struct {
	run  *fsm.Run
	task *fsm.TaskRun // nil for the whole run
}

// runs lists runs, or task runs, newest run first.
func (s *server) runs(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	f, worker := q.filter(), fsm.WorkerID(q.id("worker_id"))
	tasks, payloads := q.flag("only_tasks", false), q.flag("include_payloads", true)
	limit, offset := q.page(pageRows)
	if q.err != nil {
		return nil, q.err
	}
	view := s.Backend.View()
	rows := runRows(view, tenant, f, worker)
	if tasks {
		rows = taskRows(view, tenant, f, worker)
	}
	var picked []row
	var runs []*fsm.Run
	total := 0
	for at := range rows {
		if total >= offset && len(picked) < limit {
			picked, runs = append(picked, at), append(runs, at.run)
		}
		total++
	}
	d := newDescriber(view, payloads, runs...)
	out := runList{Pagination: pages(limit, offset, total), Rows: []taskSummary{}}
	for _, at := range picked {
		if at.task != nil {
			out.Rows = append(out.Rows, d.task(at.run, at.task))
		} else {
			out.Rows = append(out.Rows, d.run(at.run))
		}
	}
	return out, nil
}

// runIDs gives the ids of all runs that are selected.
func (s *server) runIDs(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	f := q.filter()
	if q.err != nil {
		return nil, q.err
	}
	ids := []string{}
	for at := range runRows(s.Backend.View(), tenant, f, "") {
		ids = append(ids, string(at.run.ID))
	}
	return ids, nil
}

// taskMetrics counts the task runs of the runs that are selected, by state.
func (s *server) taskMetrics(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	f := q.filter()
	if q.err != nil {
		return nil, q.err
	}
	counts := map[string]int{}
	for at := range taskRows(s.Backend.View(), tenant, f, "") {
		counts[statusWord(at.task.Status)]++
	}
	out := []statusCount{}
	for _, word := range statusWords() {
		out = append(out, statusCount{word, counts[word]})
	}
	return out, nil
}

// runRows gives the runs that are selected. With a worker only those of which
// it has, or had last, a task run.
func runRows(view fsm.View, tenant fsm.TenantID, f *runFilter, worker fsm.WorkerID) iter.Seq[row] {
	return func(yield func(row) bool) {
		for run := range view.Runs(true) {
			if run.Tenant == tenant && f.selects(run) && touches(view, run, worker) && !yield(row{run: run}) {
				return
			}
		}
	}
}

func touches(view fsm.View, run *fsm.Run, worker fsm.WorkerID) bool {
	if worker == "" {
		return true
	}
	for _, id := range run.Tasks {
		if t, ok := view.TaskRun(id); ok && t.Worker == worker {
			return true
		}
	}
	return false
}

// taskRows gives the task runs that are selected: the state is theirs, the rest
// is their run's.
func taskRows(view fsm.View, tenant fsm.TenantID, f *runFilter, worker fsm.WorkerID) iter.Seq[row] {
	return func(yield func(row) bool) {
		for run := range view.Runs(true) {
			if run.Tenant != tenant || !f.concerns(run) {
				continue
			}
			for _, id := range run.Tasks {
				t, ok := view.TaskRun(id)
				if !ok || !f.hasStatus(t.Status) || worker != "" && t.Worker != worker {
					continue
				}
				if !yield(row{run, t}) {
					return
				}
			}
		}
	}
}
