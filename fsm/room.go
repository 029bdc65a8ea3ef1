package fsm

import limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"

// liveRuns counts the runs that have not ended.
func (s *State) liveRuns() int { return s.runs.Len() - s.finished.Len() }

// maxLiveRuns is the limit for them.
func (s *State) maxLiveRuns() int {
	if n := s.settings.MaxLiveRuns; n > 0 {
		return int(n)
	}
	return defaultMaxLiveRuns
}

func (s *State) maxLiveBytes() int {
	if n := s.settings.MaxLiveBytes; n > 0 {
		return int(n)
	}
	return defaultMaxLiveBytes
}

// roomFor refuses runs that would take the live ones over the limit: the memory
// of every node is bounded by them.
func (m *Machine) roomFor(plans []plan) *Refusal {
	s := m.st
	fresh, size := 0, 0
	for i := range plans {
		if plans[i].existing == "" {
			fresh++
			size += len(plans[i].spec.GetInput()) + len(plans[i].spec.GetMetadata())
		}
	}
	switch {
	case fresh == 0:
		return nil
	case s.liveRuns()+fresh > s.maxLiveRuns():
		return s.full("runs", fresh)
	case s.payload+size > s.maxLiveBytes():
		return refuse(CodeExhausted, "input", itoa(size)+" bytes",
			"there is no room for so much more: the payloads of all runs in memory have "+itoa(s.payload)+" bytes, and "+itoa(s.maxLiveBytes())+" may be",
			"try again in a minute, when finished runs have left the memory; keep large data elsewhere, or raise the setting max-live-bytes")
	}
	return nil
}

// roomForEvents refuses events that would start runs beyond the limit. Events
// that start none are always taken: tasks may wait for them.
func (m *Machine) roomForEvents(tenant TenantID, events []*limpetv1.Event) *Refusal {
	s := m.st
	if s.liveRuns()+len(events)*s.workflows.Len() <= s.maxLiveRuns() {
		return nil // whatever they start
	}
	starts := 0
	for _, e := range events {
		starts += len(s.startedBy(tenant, e.GetKey()))
	}
	if starts == 0 || s.liveRuns()+starts <= s.maxLiveRuns() {
		return nil
	}
	return s.full("events", starts)
}

func (s *State) full(field string, more int) *Refusal {
	return refuse(CodeExhausted, field, itoa(more),
		"there is no room for so many more runs: "+itoa(s.liveRuns())+" have not ended, and "+itoa(s.maxLiveRuns())+" may be at a time",
		"try again in a second or more, when some have ended; add workers, or raise the setting max-live-runs")
}
