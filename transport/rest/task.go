package rest

import (
	"net/http"
	"strconv"

	"github.com/limpet-dev/limpet/fsm"
	"github.com/limpet-dev/limpet/transport"
)

// mostAttempts bounds the number of an attempt in a query.
const mostAttempts = 1 << 30

// task describes a task run. SDKs count attempts from 1.
func (s *server) task(r *http.Request, tenant fsm.TenantID) (any, error) {
	q := newQuery(r)
	attempt := q.number("attempt", 0, 1, mostAttempts)
	if q.err != nil {
		return nil, q.err
	}
	view, t, run, err := s.findTask(r, tenant)
	if err != nil {
		return nil, err
	}
	if attempt != 0 && attempt != int(t.Attempt)+1 {
		return nil, refusal(fsm.CodeNotFound, "attempt", strconv.Itoa(attempt),
			"only the latest attempt is kept, which is "+strconv.Itoa(int(t.Attempt)+1), "leave it out")
	}
	return newDescriber(view, true, run).task(run, t), nil
}

// findTask finds the task run that the path names, and its run, in the state or
// in the history, and the view in which they are.
func (s *server) findTask(r *http.Request, tenant fsm.TenantID) (fsm.View, *fsm.TaskRun, *fsm.Run, error) {
	id, err := checkID("task", r.PathValue("task"))
	if err != nil {
		return fsm.View{}, nil, nil, err
	}
	type both struct {
		task *fsm.TaskRun
		run  *fsm.Run
	}
	look := func(v fsm.View) (both, bool) {
		t, ok := v.TaskRun(fsm.TaskRunID(id))
		if !ok || t.Tenant != tenant {
			return both{}, false
		}
		run, ok := v.Run(t.Run)
		return both{t, run}, ok
	}
	view, found, ok, err := find(r.Context(), s, look)
	if err == nil && !ok {
		if view, _, err = transport.Past(r.Context(), s.Backend, tenant, id); err == nil {
			found, ok = look(view)
		}
	}
	if err != nil {
		return view, nil, nil, err
	}
	if !ok {
		return view, nil, nil, refusal(fsm.CodeNotFound, "task", id, "task run not found",
			"check the id; finished runs are kept for a limited time")
	}
	return view, found.task, found.run, nil
}
