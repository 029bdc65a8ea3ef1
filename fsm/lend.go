package fsm

import "strings"

// A parent that waits for a child on its own worker, and holds the slots that
// the child needs there, would wait for ever. So a parent's task run lends its
// slots to its child: the child is counted in its place while it is held, and
// the slots go back with its end, in the same command, before anybody else can
// have them. A worker's slots are never exceeded.

// rubySDK names an SDK whose workers keep a lock for each slot in their own
// process: an order beyond their slots blocks the whole worker, so nothing is
// lent there.
const rubySDK = "RUBY"

// borrowKeyOf gives where a queued task run of a child may borrow: at the
// worker that its run is pinned to, or would be started on first.
func (s *State) borrowKeyOf(t *TaskRun) (borrowKey, bool) {
	r, ok := s.runs.Get(t.Run)
	if !ok || r.ParentTaskRun == "" {
		return borrowKey{}, false
	}
	at := r.Prefer
	if p, ok := s.pins.Get(t.Run); ok {
		at = p.Worker
	}
	return borrowKey{at, r.ParentTaskRun, t.QueueSeq, t.ID}, at != ""
}

// lender gives the parent task run whose slots the task run may take over at
// the worker; nil if there is none.
func (s *State) lender(t *TaskRun, w *Worker) *TaskRun {
	k, ok := s.borrowKeyOf(t)
	if !ok || k.worker != w.ID || strings.EqualFold(w.SDK, rubySDK) {
		return nil
	}
	p, ok := s.tasks.Get(k.parent)
	if !ok || p.Worker != w.ID || !p.counted() {
		return nil
	}
	return p
}

// giveBack returns the slots that an ending task run had taken over to their
// lender at the worker. They stay lent where the lender asks for more than is free:
// it goes on without them.
func (m *Machine) giveBack(t *TaskRun, w *Worker) {
	if t.Lender == "" {
		return
	}
	s := m.st
	p, ok := s.tasks.Get(t.Lender)
	if !ok || p.LentTo != t.ID || !p.Status.Held() || p.Worker != w.ID {
		return
	}
	need := s.taskOf(p).Slots
	if !w.Fits(need) {
		return
	}
	n := *p
	n.LentTo = ""
	s.setTask(&n)
	s.charge(w, need, 1, 0)
}

// Borrower gives the first queued task run that may take over the slots of a
// held one at its worker.
func (v View) Borrower(parent *TaskRun) (*TaskRun, bool) {
	s := v.st
	if !parent.counted() {
		return nil, false
	}
	k, ok := s.borrow.first(borrowKey{worker: parent.Worker, parent: parent.ID})
	if !ok || k.worker != parent.Worker || k.parent != parent.ID {
		return nil, false
	}
	t, ok := s.tasks.Get(k.task)
	w, known := s.workers.Get(parent.Worker)
	return t, ok && known && s.lender(t, w) != nil
}
