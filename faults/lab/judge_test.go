package lab

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/limpet-dev/limpet/faults/history"
)

// What waits for its delivery, or is carried out, may after that wait as long to
// be scheduled again, and all that time nothing moves that the judge looks at.
func TestTheJudgeWaitsForTimeoutsInARow(t *testing.T) {
	for what, row := range map[string]time.Duration{
		"not delivered, then not scheduled":                deliveryTimeout + scheduleTimeout,
		"too long in execution, then not scheduled":        executionTimeout + scheduleTimeout,
		"not delivered, then too long, then not scheduled": deliveryTimeout + executionTimeout + scheduleTimeout,
	} {
		if stillPatience <= row {
			t.Errorf("%s takes %v, and the judge gives up after %v", what, row, stillPatience)
		}
	}
	if endPatience <= stillPatience {
		t.Errorf("the judge never waits %v: it waits %v for the end", stillPatience, endPatience)
	}
}

func TestNodesThatEndedByThemselves(t *testing.T) {
	const s = time.Second
	stop := func(code int, told string) history.Event {
		return history.Event{Kind: history.NodeStop, Node: "node-1", At: 60 * s, Detail: exited(code), Cause: told}
	}
	fault := func(kind history.Kind, op, node string, at time.Duration) history.Event {
		return history.Event{Kind: kind, Op: op, Detail: node, At: at, Since: at}
	}
	kill, term := syscall.SIGKILL.String(), syscall.SIGTERM.String()
	for _, c := range []struct {
		name   string
		faults history.History
		stop   history.Event
		itself bool
	}{
		{"killed", nil, stop(killed, kill), false},
		{"killed by somebody else", nil, stop(killed, ""), true},
		{"told to stop", nil, stop(0, term), false},
		{"told to stop, and not in time", nil, stop(exitFailure, term), false},
		{"told to stop, and broken by it", nil, stop(2, term), true},
		{"failed", nil, stop(exitFailure, ""), true},
		{"stopped", nil, stop(0, ""), true},
		{"no disk fault", nil, stop(diskExit, ""), true},
		{"another fault", history.History{fault(history.FaultBegin, clockOff, "node-1", 50*s)}, stop(diskExit, ""), true},
		{"the disk of another node", history.History{fault(history.FaultBegin, diskFails, "node-2", 50*s)}, stop(diskExit, ""), true},
		{"a disk fault", history.History{fault(history.FaultBegin, diskFails, "node-1", 50*s)}, stop(diskExit, ""), false},
		{"a full disk", history.History{fault(history.FaultBegin, diskFull, "node-1", 50*s)}, stop(diskExit, ""), false},
		{"a panic with a disk fault", history.History{fault(history.FaultBegin, diskFails, "node-1", 50*s)}, stop(2, ""), true},
		{"a disk fault after that", history.History{fault(history.FaultBegin, diskFails, "node-1", 61*s)}, stop(diskExit, ""), true},
		{"a disk fault just before", history.History{
			fault(history.FaultBegin, diskStalls, "node-1", 50*s), fault(history.FaultEnd, diskStalls, "node-1", 55*s),
		}, stop(diskExit, ""), false},
		{"a disk fault long before", history.History{
			fault(history.FaultBegin, diskStalls, "node-1", 10*s), fault(history.FaultEnd, diskStalls, "node-1", 15*s),
		}, stop(diskExit, ""), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := gaveUp(append(c.faults, c.stop)); (err != nil) != c.itself {
				t.Errorf("found %v", err)
			}
		})
	}
}

// A process remembers by which signal it was asked to end.
func TestAProcessRemembersWhoEndedIt(t *testing.T) {
	for _, c := range []struct {
		signals []syscall.Signal
		want    string
	}{
		{[]syscall.Signal{syscall.SIGCONT, syscall.SIGTERM}, syscall.SIGTERM.String()},
		{[]syscall.Signal{syscall.SIGKILL}, syscall.SIGKILL.String()},
		{nil, ""},
	} {
		life := "60"
		if c.signals == nil {
			life = "0"
		}
		p, err := spawn(filepath.Join(t.TempDir(), "log"), nil, []string{"sleep", life})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		for _, s := range c.signals {
			p.signal(s)
		}
		<-p.done
		if got := p.cause(); got != c.want {
			t.Errorf("after %v its cause is %q, want %q", c.signals, got, c.want)
		}
	}
}
