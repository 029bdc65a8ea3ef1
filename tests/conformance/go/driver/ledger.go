package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/limpet-dev/limpet/tests/conformance/go/promises"
)

// The promises, in the order of the rows.
const (
	snippet     = "snippet"
	softSame    = "soft-same-worker"
	hardSame    = "hard-same-worker"
	roots       = "parallel-roots-together"
	childSame   = "child-on-parents-worker"
	childPlain  = "child-refused-without-strategy"
	childAbsent = "child-refused-not-registered"
	retrySame   = "retries-stay-on-the-worker"
	workerID    = "worker-id-equal-in-all-tasks"
)

func rows() []string {
	return []string{snippet, softSame, hardSame, roots, childSame, childPlain, childAbsent, retrySame, workerID}
}

// ledger counts what was observed of each promise.
type ledger struct {
	mu       sync.Mutex
	strict   bool // a call that failed breaks the promise: nothing disturbs the cluster
	kept     map[string]int
	broken   map[string][]string
	missed   map[string][]string
	notes    map[string]string
	overlaps int
	ids      map[int][]string // worker ids that a process gave its tasks
	tasks    int              // answers that named a worker
}

func newLedger(strict bool) *ledger {
	return &ledger{
		strict: strict,
		kept:   map[string]int{}, broken: map[string][]string{}, missed: map[string][]string{},
		notes: map[string]string{}, ids: map[int][]string{},
	}
}

func (l *ledger) keep(promise string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept[promise]++
}

func (l *ledger) fault(promise, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken[promise] = append(l.broken[promise], text)
}

// miss notes a call that failed before the server had promised anything.
func (l *ledger) miss(promise, text string) {
	if l.strict {
		l.fault(promise, text)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed[promise] = append(l.missed[promise], text)
}

func (l *ledger) note(promise, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes[promise] = text
}

// check keeps or breaks a promise.
func (l *ledger) check(promise string, ok bool, format string, args ...any) {
	if ok {
		l.keep(promise)
		return
	}
	l.fault(promise, fmt.Sprintf(format, args...))
}

// seen records which worker id a process gave to a task.
func (l *ledger) seen(places ...promises.Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range places {
		l.tasks++
		if !slices.Contains(l.ids[p.Process], p.Worker) {
			l.ids[p.Process] = append(l.ids[p.Process], p.Worker)
		}
	}
}

// judgeIDs holds the worker ids against the processes: one id for each, never
// empty, never shared.
func (l *ledger) judgeIDs() {
	var all []string
	for process, ids := range l.ids {
		l.check(workerID, len(ids) == 1 && ids[0] != "", "process %d gave its tasks the ids %q", process, ids)
		all = append(all, ids...)
	}
	slices.Sort(all)
	if distinct := slices.Compact(slices.Clone(all)); len(distinct) != len(all) {
		l.fault(workerID, fmt.Sprintf("processes share ids: %q", all))
	}
	l.note(workerID, fmt.Sprintf("%d tasks in %d worker processes", l.tasks, len(l.ids)))
	l.note(roots, fmt.Sprintf("%d pairs were seen at the same time", l.overlaps))
}

// print writes one row for each promise. Where all runs went to one worker
// nothing was shown, since nothing else could have happened.
func (l *ledger) print(out io.Writer, mode string) {
	l.judgeIDs()
	for _, promise := range rows() {
		verdict := "kept"
		parts := []string{fmt.Sprintf("%d observed", l.kept[promise]+len(l.broken[promise]))}
		switch {
		case len(l.broken[promise]) > 0:
			verdict = "broken"
			parts = append(parts, fmt.Sprintf("%d broken, the first: %s", len(l.broken[promise]), l.broken[promise][0]))
		case l.kept[promise] == 0:
			verdict = "n/a"
			parts = append(parts, "nothing was observed")
		case len(l.ids) < 2:
			verdict = "n/a"
			parts = append(parts, "all runs went to one worker: nothing was shown")
		}
		if missed := l.missed[promise]; len(missed) > 0 {
			parts = append(parts, fmt.Sprintf("%d calls failed, the first: %s", len(missed), missed[0]))
		}
		if text := l.notes[promise]; text != "" {
			parts = append(parts, text)
		}
		note := strings.Join(strings.Fields(strings.Join(parts, "; ")), " ")
		fmt.Fprintf(out, "ROW\tgo\t%s\t%s\t%s\t%s\n", mode, promise, verdict, note)
	}
}
