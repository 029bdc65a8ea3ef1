package fsm

import "time"

// What is young is never forgotten, whatever the limits say: its result may
// not have been fetched yet. Lost workers without live pins go after a while.
const (
	// minRetention is short because all that ends within it is in each snapshot, and
	// what is read of a run afterwards comes from the history as well.
	minRetention    = 15 * time.Second
	workerRetention = time.Hour
	// placeRetention is for workers with an identity: the place may be empty over
	// a weekend.
	placeRetention = 7 * 24 * time.Hour
)

// forgetAt is when a lost worker without live pins is forgotten.
func (w *Worker) forgetAt() Instant {
	if w.Identity != "" && !w.superseded() {
		return w.Lease.Since.Add(placeRetention)
	}
	return w.Lease.Since.Add(workerRetention)
}

// purge forgets a bounded number of old things, and gives the runs among them.
func (m *Machine) purge() []*Archived {
	m.forgetRequests()
	s := m.st
	var gone []*Archived
	for range purgeLimit(s.finished.Len() - int(s.settings.RetentionRuns)) {
		k, ok := s.finished.Min()
		if !ok {
			break
		}
		age := s.stamp.Instant.Sub(k.at)
		if age < minRetention || (age < s.settings.RetentionAge && s.finished.Len() <= int(s.settings.RetentionRuns) && !s.crowded()) {
			break
		}
		s.finished.Delete(k)
		if a := m.forgetRun(RunID(k.id)); a != nil {
			gone = append(gone, a)
		}
	}
	m.forgetWorkers()
	return gone
}

// crowded reports whether finished runs should make room for the payloads and lines
// of others: before anything is refused or dropped for want of it.
func (s *State) crowded() bool {
	return s.payload > s.maxLiveBytes()/4*3 || s.lineBytes > maxAllLineBytes/4*3
}

// purgeLimit is how many things one entry may forget when so many are too many.
func purgeLimit(excess int) int {
	const share = 8
	return min(max(minPurge, excess/share), maxPurge)
}

func (m *Machine) forgetRun(id RunID) *Archived {
	s := m.st
	r, ok := s.runs.Get(id)
	if !ok {
		return nil
	}
	a := s.archiveOf(r)
	lines, _ := s.lines.Get(id)
	s.lineBytes -= lines
	s.payload -= len(r.Input) + len(r.Metadata)
	for _, t := range a.Tasks {
		s.payload -= len(t.Output)
	}
	for _, t := range r.Tasks {
		s.tasks.Delete(t)
		s.forgetSpawned(t)
		if len(a.Logs)+len(a.Chunks) > 0 {
			s.forgetLines(t)
		}
	}
	s.lines.Delete(id)
	s.pins.Delete(id)
	s.runOrder.Delete(r.Seq)
	s.runs.Delete(id)
	return a
}

// forgetSpawned lets a task run spawn its children anew.
func (s *State) forgetSpawned(t TaskRunID) {
	var keys []string
	s.scanSpawned(t, func(k string, _ RunID) { keys = append(keys, k) })
	for _, k := range keys {
		s.children.Delete(k)
	}
}

func (m *Machine) forgetWorkers() {
	s := m.st
	var old []WorkerID
	looked := 0
	s.gone.Scan(func(k ageKey) bool {
		looked++
		if k.at > s.stamp.Instant || looked > minPurge {
			return false
		}
		id := WorkerID(k.id)
		if p, ok := s.pinned.first(pinKey{worker: id}); !ok || p.worker != id {
			old = append(old, id)
		}
		return true
	})
	for _, id := range old {
		if w, ok := s.workers.Get(id); ok {
			s.deleteWorker(w)
		}
	}
}
