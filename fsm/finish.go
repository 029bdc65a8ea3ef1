package fsm

// finish ends a task run, gives its slots back, settles its children, and ends
// the run with its last task.
func (m *Machine) finish(t *TaskRun, status Status, output []byte, why string) {
	type end struct {
		task   *TaskRun
		status Status
		output []byte
		why    string
	}
	todo := []end{{t, status, output, why}}
	for len(todo) > 0 {
		e := todo[0]
		todo = todo[1:]
		if e.task.Status.Final() {
			continue
		}
		m.freeSlots(e.task)
		n := *e.task
		n.Status, n.Output, n.Error, n.Deadline, n.FinishedWall = e.status, e.output, e.why, 0, m.st.stamp.Wall
		m.st.setTask(&n)
		m.taskChanged(&n)
		if n.Worker != "" {
			m.loseIfLeft(n.Worker)
		}
		m.closeOne(n.Run)
		for _, c := range m.children(&n) {
			if why := m.settle(c); why != "" {
				status := Cancelled
				if why == skippedParents {
					status = Skipped
				}
				child, _ := m.st.tasks.Get(c.ID)
				todo = append(todo, end{child, status, nil, why})
			}
		}
		if f, status := m.onFailure(n.Run); f != nil {
			todo = append(todo, end{f, status, nil, ""})
		}
	}
}

func (m *Machine) children(t *TaskRun) []*TaskRun {
	r, _ := m.st.runs.Get(t.Run)
	var out []*TaskRun
	for _, i := range m.st.taskOf(t).Children {
		if c, ok := m.st.tasks.Get(r.Tasks[i]); ok {
			out = append(out, c)
		}
	}
	return out
}

const skippedParents = "all parents were skipped"

// settle counts down the parents that a blocked task run waits for. With the
// last one it is queued, or the reason is given why it never will be.
func (m *Machine) settle(t *TaskRun) string {
	if t.Status != Blocked {
		return ""
	}
	s, n := m.st, *t
	n.Waiting--
	s.setTask(&n)
	if n.Waiting > 0 {
		return ""
	}
	r, _ := s.runs.Get(t.Run)
	def := s.taskOf(t)
	skipped := 0
	for _, i := range def.Parents {
		p, _ := s.tasks.Get(r.Tasks[i])
		switch p.Status {
		case Failed, Cancelled:
			return "parent task " + itoq(s.taskOf(p).Name) + " ended " + p.Status.String()
		case Skipped:
			skipped++
		case Blocked, Queued, Backoff, Assigned, Running, Completed:
		}
	}
	if skipped == len(def.Parents) {
		return skippedParents
	}
	next := n
	m.enqueue(&next)
	return ""
}

// onFailure queues the run's on-failure task once all others are final and one
// has failed; when none has, it gives the task run to be skipped.
func (m *Machine) onFailure(id RunID) (*TaskRun, Status) {
	s := m.st
	r, _ := s.runs.Get(id)
	v, _ := s.versions.Get(r.Version)
	if v.OnFailure < 0 || r.Open != 1 {
		return nil, 0
	}
	f, _ := s.tasks.Get(r.Tasks[v.OnFailure])
	if f.Status != Blocked {
		return nil, 0
	}
	for i, tid := range r.Tasks {
		if t, _ := s.tasks.Get(tid); i != v.OnFailure && t.Status == Failed {
			n := *f
			m.enqueue(&n)
			return nil, 0
		}
	}
	return f, Skipped
}

// closeOne counts a final task run; the last one ends the run.
func (m *Machine) closeOne(id RunID) {
	s := m.st
	r, _ := s.runs.Get(id)
	n := *r
	n.Open--
	if n.Open == 0 {
		n.Status = m.verdict(r)
		n.FinishedAt, n.FinishedWall = s.stamp.Instant, s.stamp.Wall
	}
	s.setRun(&n)
	if n.Open == 0 {
		m.effect(RunFinished, string(id))
	}
}

// verdict gives the final state of a run: failed if any task failed, else
// cancelled if any was cancelled, else completed.
func (m *Machine) verdict(r *Run) Status {
	out := Completed
	for _, id := range r.Tasks {
		t, _ := m.st.tasks.Get(id)
		if t.Status == Failed {
			return Failed
		}
		if t.Status == Cancelled {
			out = Cancelled
		}
	}
	return out
}
