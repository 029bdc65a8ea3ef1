package main

import (
	"os"
	"path/filepath"
	"testing"

	limpet "github.com/limpet-dev/limpet/client"
)

// The Python SDK's own losses are told apart from the server's by what its
// process wrote down.
func TestOnlyDroppedAndNeverAcknowledgedCompletionsAreExcused(t *testing.T) {
	const dropped = `{"event":"dropped","run":"r","task_run":"t"}` + "\n"
	const acknowledged = `{"event":"acknowledged","run":"r","task_run":"t"}` + "\n"
	const timeout = "TIMED_OUT: Task exceeded timeout of 1m0s"
	for _, c := range []struct {
		name, reports, message string
		excused                bool
	}{
		{"dropped", dropped, timeout, true},
		{"acknowledged", acknowledged, timeout, false},
		{"dropped, then acknowledged", dropped + acknowledged, timeout, false},
		{"acknowledged, then dropped", acknowledged + dropped, timeout, false},
		{"nothing written down", "", timeout, false},
		{"another run's", `{"event":"dropped","run":"other","task_run":"t"}` + "\n", timeout, false},
		{"failed otherwise", dropped, "SCHEDULE_TIMEOUT: waited", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &lab{dir: t.TempDir()}
			if err := os.MkdirAll(l.pythonReports(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(l.pythonReports(), "w-1.jsonl"), []byte(c.reports), 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := l.excuse([]*limpet.RunError{{RunID: "r", Task: "first", Message: c.message}})
			if (err == nil) != c.excused || (n == 1) != c.excused {
				t.Errorf("excused %d, error %v; want excused: %v", n, err, c.excused)
			}
		})
	}
}
