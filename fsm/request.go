package fsm

import "time"

// Requests are remembered for this long and up to this many, so that a retry
// after an unknown outcome applies once. The longest call retries for far less.
const (
	requestAge   = 2 * time.Minute
	requestCount = 100_000
)

// request is what is remembered of one: its answer.
type request struct {
	ID    string
	Seq   Seq
	At    Instant
	IDs   []string
	Code  Code
	Field string
	Got   string
	Want  string
	Hint  string
}

func (r *request) fields(c *codec) {
	str(c, 1, &r.ID)
	num(c, 2, &r.Seq)
	num(c, 3, &r.At)
	strs(c, 4, &r.IDs)
	num(c, 5, &r.Code)
	str(c, 6, &r.Field)
	str(c, 7, &r.Got)
	str(c, 8, &r.Want)
	str(c, 9, &r.Hint)
}

func (r *request) result() Result {
	res := Result{IDs: r.IDs}
	if r.Code != CodeNone {
		res.Refusal = &Refusal{r.Code, r.Field, r.Got, r.Want, r.Hint}
	}
	return res
}

func (m *Machine) remember(id string, res Result) {
	s := m.st
	r := &request{ID: id, Seq: s.seq, At: s.stamp.Instant, IDs: res.IDs}
	if no := res.Refusal; no != nil {
		r.Code, r.Field, r.Got, r.Want, r.Hint = no.Code, no.Field, no.Got, no.Want, no.Hint
	}
	s.requests.Set(id, r)
	s.recent.Set(r.Seq, id)
}

func (m *Machine) forgetRequests() {
	s := m.st
	for range purgeLimit(s.recent.Len() - requestCount) {
		seq, id, ok := s.recent.Min()
		if !ok {
			return
		}
		r, _ := s.requests.Get(id)
		if s.recent.Len() <= requestCount && s.stamp.Instant.Sub(r.At) < requestAge {
			return
		}
		s.recent.Delete(seq)
		s.requests.Delete(id)
	}
}
