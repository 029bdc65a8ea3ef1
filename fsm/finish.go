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
		if n.Status == Completed {
			n.begin(m.st.stamp.Wall)
		}
		m.st.setTask(&n)
		m.taskChanged(&n)
		if n.Worker != "" {
			m.departIfDone(n.Worker)
		}
		m.closeOne(n.Run)
		for _, c := range m.children(&n) {
			if stop := m.settle(c); stop.task != "" {
				child, _ := m.st.tasks.Get(c.ID)
				todo = append(todo, end{child, stop.status, nil, stop.why})
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
// last one it is ready, and the reason is given if it will never be queued.
func (m *Machine) settle(t *TaskRun) ending {
	if t.Status != Blocked || t.Waiting == 0 {
		return ending{}
	}
	n := *t
	n.Waiting--
	m.st.setTask(&n)
	if n.Waiting > 0 {
		return ending{}
	}
	next := n
	return m.ready(&next)
}

// ready takes a blocked task run on whose parents are all final: it is queued,
// waits for its conditions, or ends, for the reason given. The task run must be
// the caller's own copy.
func (m *Machine) ready(t *TaskRun) ending {
	s := m.st
	r, _ := s.runs.Get(t.Run)
	def := s.taskOf(t)
	skipped := 0
	for _, i := range def.Parents {
		p, _ := s.tasks.Get(r.Tasks[i])
		switch p.Status {
		case Failed, Cancelled:
			return ending{t.ID, Cancelled, "parent task " + itoq(s.taskOf(p).Name) + " ended " + p.Status.String()}
		case Skipped:
			skipped++
		case Blocked, Queued, Backoff, Assigned, Running, Completed:
		}
	}
	if skipped > 0 && skipped == len(def.Parents) {
		return ending{t.ID, Skipped, skippedParents}
	}
	if len(def.Conditions) > 0 {
		m.arm(t)
		return m.resolve(t)
	}
	m.enqueue(t)
	return ending{}
}

// ending is how a task run is to end that never gets a worker; the zero value
// is for none.
type ending struct {
	task   TaskRunID
	status Status
	why    string
}

// end carries an ending out.
func (m *Machine) end(e ending) {
	if e.task == "" {
		return
	}
	if t, ok := m.st.tasks.Get(e.task); ok {
		m.finish(t, e.status, nil, e.why)
	}
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
		if p, ok := s.pins.Get(id); ok {
			m.departIfDone(p.Worker)
		}
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
