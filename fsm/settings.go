package fsm

import (
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// Settings are the replicated figures that rules and scheduler use. All
// durations are cluster time.
type Settings struct {
	// SoftPatience is how long a SOFT task waits for a free slot on its pinned
	// worker before another worker may take it (docs/architecture.md, pins).
	SoftPatience time.Duration
	// ScheduleTimeout bounds the wait in a queue when a task names no bound.
	ScheduleTimeout time.Duration
	// ExecutionTimeout bounds an attempt when a task names no bound.
	ExecutionTimeout time.Duration
	// DeliveryTimeout is how long an assignment may go without STARTED before
	// it is taken back and queued again.
	DeliveryTimeout time.Duration
	// MaxRequeues caps how often a task run is queued again for reasons that
	// are not its own (worker lost, not delivered) before it fails.
	MaxRequeues int32
	// RetentionAge and RetentionRuns bound the finished runs in the state: one goes
	// to the nodes' history when it is older than the age, when there are more than
	// so many, or when room gets short; but never within minRetention of its end.
	RetentionAge  time.Duration
	RetentionRuns int32
	// CancelChildren: to cancel a task run cancels the runs that it spawned.
	CancelChildren bool
	// MaxLiveRuns bounds the runs that have not ended; 0 for defaultMaxLiveRuns.
	MaxLiveRuns int64
	// MaxLiveBytes bounds the inputs, outputs and metadata of the runs in the state;
	// 0 for defaultMaxLiveBytes.
	MaxLiveBytes int64
}

// defaultMaxLiveRuns is what a node of 8 GiB or more can hold, with payloads of
// about 1 KiB. It is not written into the state, which older builds know nothing of.
const defaultMaxLiveRuns = 2_000_000

// defaultMaxLiveBytes leaves out the same for the same reason.
const defaultMaxLiveBytes = 4 << 30

// DefaultSettings are the settings of a new cluster.
func DefaultSettings() Settings {
	return Settings{
		SoftPatience:     500 * time.Millisecond,
		ScheduleTimeout:  5 * time.Minute,
		ExecutionTimeout: time.Minute,
		DeliveryTimeout:  30 * time.Second,
		MaxRequeues:      10,
		RetentionAge:     24 * time.Hour,
		RetentionRuns:    20000,
	}
}

func (s *Settings) fields(c *codec) {
	num(c, 1, &s.SoftPatience)
	num(c, 2, &s.ScheduleTimeout)
	num(c, 3, &s.ExecutionTimeout)
	num(c, 4, &s.DeliveryTimeout)
	num(c, 5, &s.MaxRequeues)
	num(c, 6, &s.RetentionAge)
	num(c, 7, &s.RetentionRuns)
	flag(c, 8, &s.CancelChildren)
	num(c, 9, &s.MaxLiveRuns)
	num(c, 10, &s.MaxLiveBytes)
}

func (m *Machine) putSettings(cmd *limpetv1.PutSettings) (Result, *Refusal) {
	p, s := cmd.GetSettings(), DefaultSettings()
	for _, f := range []struct {
		name string
		got  int64
		set  func(int64)
	}{
		{"soft_patience", p.GetSoftPatience(), func(v int64) { s.SoftPatience = time.Duration(v) }},
		{"schedule_timeout", p.GetScheduleTimeout(), func(v int64) { s.ScheduleTimeout = time.Duration(v) }},
		{"execution_timeout", p.GetExecutionTimeout(), func(v int64) { s.ExecutionTimeout = time.Duration(v) }},
		{"delivery_timeout", p.GetDeliveryTimeout(), func(v int64) { s.DeliveryTimeout = time.Duration(v) }},
		{"max_requeues", int64(p.GetMaxRequeues()), func(v int64) { s.MaxRequeues = int32(v) }},
		{"retention_age", p.GetRetentionAge(), func(v int64) { s.RetentionAge = time.Duration(v) }},
		{"retention_runs", int64(p.GetRetentionRuns()), func(v int64) { s.RetentionRuns = int32(v) }},
		{"max_live_runs", p.GetMaxLiveRuns(), func(v int64) { s.MaxLiveRuns = v }},
		{"max_live_bytes", p.GetMaxLiveBytes(), func(v int64) { s.MaxLiveBytes = v }},
	} {
		switch {
		case f.got < 0:
			return Result{}, refuse(CodeInvalid, f.name, itoa(f.got), "must not be negative", "leave it out for the default")
		case f.got > 0:
			f.set(f.got)
		}
	}
	s.CancelChildren = p.GetCancelChildren()
	m.st.settings = s
	return Result{}, nil
}
