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

// mostPast is how far a list goes back into the history.
const mostPast = 10_000

// runs lists runs, or task runs, newest run first; then those in the history, the
// latest end first.
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
	p := picker{limit: limit, offset: offset}
	for at := range rows {
		p.take(at)
	}
	out := runList{Rows: p.describe(newDescriber(view, payloads, p.runs()...))}
	err := s.eachPast(view, func(past fsm.View, a *fsm.Archived) {
		rows := runRows(past, tenant, f, worker)
		if tasks {
			rows = taskRows(past, tenant, f, worker)
		}
		for at := range rows {
			if p.take(at) {
				out.Rows = append(out.Rows, newDescriber(past, payloads, a.Run).row(at))
			}
		}
	})
	if err != nil {
		return nil, unavailable("list runs: %v", err)
	}
	out.Pagination = pages(limit, offset, p.total)
	return out, nil
}

// picker picks the rows of one page.
type picker struct {
	limit, offset, total int
	picked               []row
}

// take counts a row, and says whether it is on the page.
func (p *picker) take(at row) bool {
	on := p.total >= p.offset && len(p.picked) < p.limit
	if on {
		p.picked = append(p.picked, at)
	}
	p.total++
	return on
}

func (p *picker) runs() []*fsm.Run {
	var out []*fsm.Run
	for _, at := range p.picked {
		out = append(out, at.run)
	}
	return out
}

func (p *picker) describe(d *describer) []taskSummary {
	out := []taskSummary{}
	for _, at := range p.picked {
		out = append(out, d.row(at))
	}
	return out
}

// row describes a row.
func (d *describer) row(at row) taskSummary {
	if at.task != nil {
		return d.task(at.run, at.task)
	}
	return d.run(at.run)
}

// eachPast visits the runs in this node's history, up to a limit, each in a view
// of its own. What the view of the state still has is left out.
func (s *server) eachPast(view fsm.View, visit func(fsm.View, *fsm.Archived)) error {
	looked := 0
	return s.Backend.PastRuns(func(a *fsm.Archived) bool {
		looked++
		if _, ok := view.Run(a.Run.ID); !ok {
			visit(view.Past(a), a)
		}
		return looked < mostPast
	})
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
