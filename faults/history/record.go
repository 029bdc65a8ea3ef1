package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Recorder collects events. Any number of goroutines may add to it.
type Recorder struct {
	start time.Time

	mu     sync.Mutex
	events History
	out    *json.Encoder
	err    error
}

// NewRecorder begins a history now. Each event is also written to w as a line,
// unless w is nil.
func NewRecorder(w io.Writer) *Recorder {
	r := &Recorder{start: time.Now()}
	if w != nil {
		r.out = json.NewEncoder(w)
	}
	return r
}

// Start is the moment that At counts from.
func (r *Recorder) Start() time.Time { return r.start }

// Since gives a moment as it is written in the history.
func (r *Recorder) Since(at time.Time) time.Duration { return at.Sub(r.start) }

// Add notes an event that happens now.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.start)
	r.add(e)
}

// AddAt notes an event of another moment: one that somebody else wrote down.
func (r *Recorder) AddAt(at time.Time, e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = at.Sub(r.start)
	r.add(e)
}

func (r *Recorder) add(e Event) {
	r.events = append(r.events, e)
	if r.out == nil || r.err != nil {
		return
	}
	if err := r.out.Encode(e); err != nil {
		r.err = fmt.Errorf("write history: %w", err)
	}
}

// History gives a copy of what was noted so far.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Err is the first error of writing.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Sort orders a history that was put together from several writers by time.
// Events of the same moment keep their order.
func (h History) Sort() {
	slices.SortStableFunc(h, func(a, b Event) int { return int(min(1, max(-1, a.At-b.At))) })
}

// Write writes a history as JSON lines.
func Write(w io.Writer, h History) error {
	enc := json.NewEncoder(w)
	for i := range h {
		if err := enc.Encode(&h[i]); err != nil {
			return fmt.Errorf("write event %d of the history: %w", i+1, err)
		}
	}
	return nil
}

// Read reads JSON lines. The last line may be torn: its writer was killed.
func Read(r io.Reader) (History, error) {
	var h History
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return h, fmt.Errorf("read history: %w", err)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return h, fmt.Errorf("line %d of the history: %w", n, err)
		}
		h = append(h, e)
	}
}
