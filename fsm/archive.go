package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Archived is all that is kept of a finished run that the state has forgotten:
// what [Outcome.Forgotten] hands out and a history store keeps.
type Archived struct {
	Run    *Run
	Tasks  []*TaskRun
	Pin    *Pin // nil for none
	Logs   []*LogLine
	Chunks []*Chunk
}

// archiveOf collects what there is of a run.
func (s *State) archiveOf(r *Run) *Archived {
	a := &Archived{Run: r, Tasks: make([]*TaskRun, 0, len(r.Tasks))}
	a.Pin, _ = s.pins.Get(r.ID)
	_, wrote := s.lines.Get(r.ID)
	for _, id := range r.Tasks {
		t, ok := s.tasks.Get(id)
		if !ok {
			continue
		}
		a.Tasks = append(a.Tasks, t)
		if !wrote {
			continue
		}
		for l := range (View{st: s}).Logs(id) {
			a.Logs = append(a.Logs, l)
		}
		for c := range (View{st: s}).Chunks(id, 0, 0) {
			a.Chunks = append(a.Chunks, c)
		}
	}
	return a
}

// Size is about what the record takes, in memory or encoded.
func (a *Archived) Size() int {
	const each = 256
	n := each + len(a.Run.Input) + len(a.Run.Metadata)
	for _, t := range a.Tasks {
		n += each + len(t.Output) + len(t.Error)
	}
	for _, l := range a.Logs {
		n += l.cost()
	}
	for _, c := range a.Chunks {
		n += c.cost()
	}
	return n
}

// Encode appends the record's bytes to b: the frames of a snapshot, the run's
// first.
func (a *Archived) Encode(b []byte) []byte {
	var c codec
	add := func(kind byte, o object) { b = appendFrame(b, kind, &c, o) }
	add(kindRun, a.Run)
	for _, t := range a.Tasks {
		add(kindTaskRun, t)
	}
	if a.Pin != nil {
		add(kindPin, a.Pin)
	}
	for _, l := range a.Logs {
		add(kindLogLine, l)
	}
	for _, c := range a.Chunks {
		add(kindChunk, c)
	}
	return b
}

// appendFrame appends the kind, the length and the bytes of an object to b.
func appendFrame(b []byte, kind byte, c *codec, o object) []byte {
	at := len(b) + 1
	b = c.encode(append(b, kind), o)
	var room [binary.MaxVarintLen64]byte
	return slices.Insert(b, at, binary.AppendUvarint(room[:0], uint64(len(b)-at))...)
}

// DecodeArchived reads a record. Frames of a kind that this build does not know
// are skipped.
func DecodeArchived(b []byte) (*Archived, error) {
	a := &Archived{}
	for len(b) > 0 {
		body, rest, err := cutFrame(b)
		if err != nil {
			return nil, err
		}
		if err := a.load(b[0], body); err != nil {
			return nil, fmt.Errorf("archived run: %w", err)
		}
		b = rest
	}
	if a.Run == nil {
		return nil, errors.New("archived run: there is no run in it: it is damaged")
	}
	return a, nil
}

// cutFrame gives the body of the first frame, whose kind is its first byte, and
// what follows it.
func cutFrame(b []byte) (body, rest []byte, err error) {
	n, size := uint64(0), 0
	if len(b) > 1 {
		n, size = binary.Uvarint(b[1:])
	}
	if size <= 0 || n > uint64(len(b)-1-size) {
		return nil, nil, errors.New("archived run: cut short: it is damaged")
	}
	at := 1 + size
	return b[at : at+int(n)], b[at+int(n):], nil
}

func (a *Archived) load(kind byte, body []byte) (err error) {
	switch kind {
	case kindRun:
		a.Run = &Run{}
		err = decode(body, a.Run)
	case kindTaskRun:
		a.Tasks, err = appendDecoded(a.Tasks, body)
	case kindPin:
		a.Pin = &Pin{}
		err = decode(body, a.Pin)
	case kindLogLine:
		a.Logs, err = appendDecoded(a.Logs, body)
	case kindChunk:
		a.Chunks, err = appendDecoded(a.Chunks, body)
	}
	return err
}

func appendDecoded[T any, P objectPtr[T]](list []P, body []byte) ([]P, error) {
	o := P(new(T))
	err := decode(body, o)
	return append(list, o), err
}

// Past gives the view with archived runs in the place of its own: what reads a
// view can so read the history. All else (workflows, workers) is as it is now.
// It is for reading only, not for Fork.
func (v View) Past(list ...*Archived) View {
	s := *v.st
	s.runs, s.tasks, s.pins = newRecalled[RunID, *Run](), newRecalled[TaskRunID, *TaskRun](), newTable[RunID, *Pin]()
	s.runOrder, s.logs, s.chunks = newTable[Seq, RunID](), newTable[string, *LogLine](), newTable[string, *Chunk]()
	for _, a := range list {
		s.runs.Set(a.Run.ID, a.Run)
		s.runOrder.Set(a.Run.Seq, a.Run.ID)
		for _, t := range a.Tasks {
			s.tasks.Set(t.ID, t)
		}
		if a.Pin != nil {
			s.pins.Set(a.Pin.Run, a.Pin)
		}
		for _, l := range a.Logs {
			s.logs.Set(l.key(), l)
		}
		for _, c := range a.Chunks {
			s.chunks.Set(c.key(), c)
		}
	}
	return View{st: &s}
}
