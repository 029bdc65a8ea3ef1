package rest

import (
	"net/http"
	"strconv"

	"github.com/limpet-dev/limpet/fsm"
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
	t, run, err := s.findTask(r, tenant)
	if err != nil {
		return nil, err
	}
	if attempt != 0 && attempt != int(t.Attempt)+1 {
		return nil, refusal(fsm.CodeNotFound, "attempt", strconv.Itoa(attempt),
			"only the latest attempt is kept, which is "+strconv.Itoa(int(t.Attempt)+1), "leave it out")
	}
	return newDescriber(s.Backend.View(), true, run).task(run, t), nil
}

// findTask finds the task run that the path names, and its run.
func (s *server) findTask(r *http.Request, tenant fsm.TenantID) (*fsm.TaskRun, *fsm.Run, error) {
	id, err := checkID("task", r.PathValue("task"))
	if err != nil {
		return nil, nil, err
	}
	type both struct {
		task *fsm.TaskRun
		run  *fsm.Run
	}
	found, ok, err := find(r.Context(), s, func(v fsm.View) (both, bool) {
		t, ok := v.TaskRun(fsm.TaskRunID(id))
		if !ok || t.Tenant != tenant {
			return both{}, false
		}
		run, ok := v.Run(t.Run)
		return both{t, run}, ok
	})
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, refusal(fsm.CodeNotFound, "task", id, "task run not found",
			"check the id; finished runs are kept for a limited time")
	}
	return found.task, found.run, nil
}
