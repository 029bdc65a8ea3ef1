package fsm

import (
	"fmt"
	"iter"
	"strings"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// MaxLineBytes is how much is kept of the log lines and chunks of a run, in
// bytes, with lineCost for each, and maxAllLineBytes of all runs in the state.
// Further lines are dropped, further chunks refused.
const (
	MaxLineBytes    = 8 << 20
	maxAllLineBytes = 1 << 30
	lineCost        = 128
)

// LogLine is a line that a task wrote.
type LogLine struct {
	Task     TaskRunID
	Run      RunID
	Seq      Seq
	Attempt  int32
	Wall     int64 // the sender's clock, Unix nanoseconds
	Level    string
	Message  string
	Metadata []byte
}

func (l *LogLine) fields(c *codec) {
	str(c, 1, &l.Task)
	str(c, 2, &l.Run)
	num(c, 3, &l.Seq)
	num(c, 4, &l.Attempt)
	num(c, 5, &l.Wall)
	str(c, 6, &l.Level)
	str(c, 7, &l.Message)
	raw(c, 8, &l.Metadata)
}

func (l *LogLine) key() string { return fmt.Sprintf("%s/%016x", l.Task, uint64(l.Seq)) }

// Chunk is a piece of what a task streams to those who listen to its run.
type Chunk struct {
	Task    TaskRunID
	Run     RunID
	Attempt int32 // a retry streams anew
	Index   int64 // orders the chunks of an attempt; from 0
	Wall    int64
	Message []byte
}

func (x *Chunk) fields(c *codec) {
	str(c, 1, &x.Task)
	str(c, 2, &x.Run)
	num(c, 3, &x.Index)
	num(c, 4, &x.Wall)
	raw(c, 5, &x.Message)
	num(c, 6, &x.Attempt)
}

func (x *Chunk) key() string {
	return fmt.Sprintf("%s/%08x/%016x", x.Task, uint32(x.Attempt), uint64(x.Index))
}

func (l *LogLine) cost() int { return lineCost + len(l.Message) + len(l.Metadata) }
func (x *Chunk) cost() int   { return lineCost + len(x.Message) }

// keeps counts what a line costs its run, and reports whether there is room.
func (s *State) keeps(run RunID, cost int) bool {
	n, _ := s.lines.Get(run)
	if n+cost > MaxLineBytes || s.lineBytes+cost > maxAllLineBytes {
		return false
	}
	s.lines.Set(run, n+cost)
	s.lineBytes += cost
	return true
}

func (m *Machine) putLogs(c *limpetv1.PutLogs) (Result, *Refusal) {
	s := m.st
	for i, l := range c.GetLines() {
		t, no := m.lineOf(c.GetTenantId(), l.GetTaskRunId(), i)
		if no != nil {
			return Result{}, no
		}
		attempt := l.GetAttempt()
		if attempt < 0 {
			attempt = t.Attempt
		}
		x := &LogLine{
			Task: t.ID, Run: t.Run, Seq: s.seq<<10 + Seq(i&1023), Attempt: attempt, Wall: l.GetWall(),
			Level: l.GetLevel(), Message: l.GetMessage(), Metadata: l.GetMetadata(),
		}
		if s.keeps(t.Run, x.cost()) {
			s.logs.Set(x.key(), x)
		}
	}
	return Result{}, nil
}

func (m *Machine) putChunks(c *limpetv1.PutChunks) (Result, *Refusal) {
	s := m.st
	for i, p := range c.GetChunks() {
		t, no := m.lineOf(c.GetTenantId(), p.GetTaskRunId(), i)
		if no != nil {
			return Result{}, no
		}
		x := &Chunk{Task: t.ID, Run: t.Run, Attempt: t.Attempt, Index: p.GetIndex(), Wall: p.GetWall(), Message: p.GetMessage()}
		if x.Index < 0 {
			x.Index = s.nextChunk(t)
		}
		if _, had := s.chunks.Get(x.key()); had {
			continue
		}
		if !s.keeps(t.Run, x.cost()) {
			return Result{}, refuse(CodeExhausted, "message", string(t.ID), fmt.Sprintf("the log lines and chunks of the run come to %d bytes, or those of all runs to %d, which is the limit", MaxLineBytes, maxAllLineBytes),
				"stream less, or keep large data elsewhere; the room of finished runs is free again after some minutes")
		}
		s.chunks.Set(x.key(), x)
		m.taskChanged(t)
	}
	return Result{}, nil
}

func (m *Machine) lineOf(tenant, id string, i int) (*TaskRun, *Refusal) {
	t, ok := m.st.tasks.Get(TaskRunID(id))
	if !ok || string(t.Tenant) != tenant {
		no := refuse(CodeNotFound, "task_run_external_id", id, "no such task run", "it may have been forgotten; see `limpet run list`")
		if i > 0 {
			no.Field = "[" + itoa(i) + "]." + no.Field
		}
		return nil, no
	}
	return t, nil
}

func (s *State) nextChunk(t *TaskRun) int64 {
	next := int64(0)
	s.chunks.Descend(string(t.ID)+"/~", func(_ string, x *Chunk) bool {
		if x.Task == t.ID && x.Attempt == t.Attempt {
			next = x.Index + 1
		}
		return false
	})
	return next
}

func (s *State) forgetLines(t TaskRunID) {
	var logs, chunks []string
	prefix := string(t) + "/"
	s.logs.Ascend(prefix, func(k string, _ *LogLine) bool {
		logs = append(logs, k)
		return strings.HasPrefix(k, prefix)
	})
	s.chunks.Ascend(prefix, func(k string, _ *Chunk) bool {
		chunks = append(chunks, k)
		return strings.HasPrefix(k, prefix)
	})
	for _, k := range logs {
		if strings.HasPrefix(k, prefix) {
			s.logs.Delete(k)
		}
	}
	for _, k := range chunks {
		if strings.HasPrefix(k, prefix) {
			s.chunks.Delete(k)
		}
	}
}

// Logs iterates over the lines that a task run wrote, in the order of arrival.
func (v View) Logs(t TaskRunID) iter.Seq[*LogLine] {
	return func(yield func(*LogLine) bool) {
		prefix := string(t) + "/"
		v.st.logs.Ascend(prefix, func(k string, l *LogLine) bool {
			return strings.HasPrefix(k, prefix) && yield(l)
		})
	}
}

// Chunks iterates over what a task run streamed, from an attempt and an index on.
func (v View) Chunks(t TaskRunID, attempt int32, from int64) iter.Seq[*Chunk] {
	return func(yield func(*Chunk) bool) {
		v.st.chunks.Ascend((&Chunk{Task: t, Attempt: attempt, Index: from}).key(), func(_ string, x *Chunk) bool {
			return x.Task == t && yield(x)
		})
	}
}
