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
	view, t, err := s.findTask(r, tenant)
	if err != nil {
		return nil, err
	}
	if attempt != 0 && attempt != int(t.Attempt)+1 {
		return nil, refusal(fsm.CodeNotFound, "attempt", strconv.Itoa(attempt),
			"only the latest attempt is kept, which is "+strconv.Itoa(int(t.Attempt)+1), "leave it out")
	}
	run, _ := view.Run(t.Run)
	return newDescriber(view, true, run).task(run, t), nil
}

// findTask finds the task run that the path names, in the state or in the
// history, and the view in which it and its run are.
func (s *server) findTask(r *http.Request, tenant fsm.TenantID) (view fsm.View, t *fsm.TaskRun, err error) {
	id, err := checkID("task", r.PathValue("task"))
	if err != nil {
		return view, nil, err
	}
	look := func(v fsm.View) (*fsm.TaskRun, bool) {
		view = v
		t, ok := v.TaskRun(fsm.TaskRunID(id))
		if !ok || t.Tenant != tenant {
			return nil, false
		}
		_, ok = v.Run(t.Run)
		return t, ok
	}
	t, ok, err := find(r.Context(), s, look)
	if err == nil && !ok {
		if view, _, err = transport.Past(r.Context(), s.Backend, tenant, id); err == nil {
			t, ok = look(view)
		}
	}
	if err != nil {
		return view, nil, err
	}
	if !ok {
		return view, nil, refusal(fsm.CodeNotFound, "task", id, "task run not found",
			"check the id; finished runs are kept for a limited time")
	}
	return view, t, nil
}
