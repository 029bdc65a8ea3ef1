package fsm

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
)

// profileKey names a group of workers that are alike to the scheduler: same
// tenant, actions, labels and slot types. Placement looks at one entry per
// profile and then takes its least loaded worker, so its cost does not grow
// with the number of workers.
type profileKey string

// Profile is what the workers of one group have in common.
type Profile struct {
	Key     string
	Tenant  TenantID
	Actions []string
	Labels  []Label
	// Most is the largest capacity among the workers that joined, by type.
	Most  []Slots
	count int
}

// CouldHold reports whether a worker of the profile may have so many slots.
func (p *Profile) CouldHold(need []Slots) bool {
	w := Worker{Slots: p.Most}
	return w.CouldFit(need)
}

// IdentityPrefix begins the labels that tell one worker from another rather
// than say what it can do: they do not split profiles.
const IdentityPrefix = "limpet."

func profileOf(w *Worker) profileKey {
	h := fnv.New128a()
	_, _ = fmt.Fprintf(h, "%s\x00%q\x00", w.Tenant, w.Actions)
	for i := range w.Labels {
		if l := &w.Labels[i]; !strings.HasPrefix(l.Key, IdentityPrefix) {
			_, _ = fmt.Fprintf(h, "%q=%t%q%d\x00", l.Key, l.IsNumber, l.Text, l.Number)
		}
	}
	for i := range w.Slots {
		_, _ = fmt.Fprintf(h, "%q\x01", w.Slots[i].Type)
	}
	return profileKey(fmt.Sprintf("%x", h.Sum(nil)))
}

func commonLabels(labels []Label) []Label {
	var out []Label
	for i := range labels {
		if !strings.HasPrefix(labels[i].Key, IdentityPrefix) {
			out = append(out, labels[i])
		}
	}
	return out
}

func (s *State) joinProfile(w *Worker) {
	p, ok := s.profiles.Get(w.profile)
	if !ok {
		p = &Profile{Key: string(w.profile), Tenant: w.Tenant, Actions: w.Actions, Labels: commonLabels(w.Labels)}
		for _, a := range w.Actions {
			s.actions.Set(actionKey{w.Tenant, a, w.profile})
		}
	}
	n := *p
	n.count++
	n.Most = slices.Clone(p.Most)
	for _, have := range w.Slots {
		i := slices.IndexFunc(n.Most, func(m Slots) bool { return m.Type == have.Type })
		if i < 0 {
			n.Most = append(n.Most, have)
		} else {
			n.Most[i].Units = max(n.Most[i].Units, have.Units)
		}
	}
	s.profiles.Set(w.profile, &n)
}

func (s *State) leaveProfile(w *Worker) {
	p, ok := s.profiles.Get(w.profile)
	if !ok {
		return
	}
	if p.count > 1 {
		n := *p
		n.count--
		s.profiles.Set(w.profile, &n)
		return
	}
	s.profiles.Delete(w.profile)
	for _, a := range w.Actions {
		s.actions.Delete(actionKey{w.Tenant, a, w.profile})
	}
}
