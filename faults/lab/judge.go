package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/faults/check"
	"github.com/limpet-dev/limpet/faults/history"
)

const (
	// endPatience is how long the judge waits for all runs to end: longer than
	// every timeout of a task that may begin when all is healed.
	endPatience = scheduleTimeout + executionTimeout + 105*time.Second
	// stillPatience is how long nothing may change before nothing will: longer than
	// all these timeouts one after the other, as a deadline that fires changes
	// neither the seq nor, if the task is tried again, the number of live runs.
	stillPatience = deliveryTimeout + executionTimeout + scheduleTimeout + 15*time.Second
	// resultsPatience is how long it then waits for clients to be told.
	resultsPatience = 45 * time.Second
)

// judge waits for the end of all runs, collects what everybody wrote down, and
// asks the checkers.
func (l *Lab) judge(ctx context.Context, s Scenario, broken error) (*Report, error) {
	ended := l.awaitEnd(ctx)
	if ended != nil {
		l.say("%v", ended)
	}
	_ = until(ctx, resultsPatience, "results to be told", func() bool { return l.load.waiting.Load() == 0 })
	rest := l.history.Since(time.Now())
	seq, equal := l.compare(ctx)
	late := l.lateness()
	for _, c := range l.crews {
		l.stopCrew(c, syscall.SIGKILL)
	}
	for _, n := range l.nodes {
		l.stopNode(n, syscall.SIGKILL)
	}
	bodies, err := readEvidence(l.evidence(), l.history)
	if err != nil {
		return nil, err
	}
	l.readNodeLogs()
	log, hashes, torn := readJournals(l.journals())
	r := newReplayer(l.history)
	r.want = seq
	r.learn(l.history.History(), hashes)
	if err := r.play(log); err != nil {
		return nil, err
	}
	if r.wantHash != "" {
		l.history.Add(history.Event{Kind: history.Hash, Node: theReplay, Seq: seq, Hash: r.hashLike(equal)})
	}
	r.at = l.history.Start().Add(rest)
	l.history.AddAt(r.at, history.Event{Kind: history.Rest})
	kept, open := r.kept()
	h := l.history.History()
	h.Sort()
	nameRuns(h, r.calls)
	report := l.newReport(s, h, check.Run(h))
	report.Bodies, report.Kept, report.Open, report.Entries, report.Late = bodies, kept, open, len(log), late
	var after error
	if s.after != nil {
		after = s.after(h)
	}
	for _, e := range []error{broken, torn, after, gaveUp(h)} {
		if e != nil {
			report.Broken = append(report.Broken, e.Error())
		}
	}
	return report, l.keep(report, h)
}

// nameRuns puts the run into the events of the call that started it, also where
// the client was never told.
func nameRuns(h history.History, calls map[string]string) {
	for i, e := range h {
		if e.Op == history.OpTrigger && e.Run == "" && calls[e.Call] != "" {
			h[i].Run = calls[e.Call]
		}
	}
}

// gaveUp names the nodes that ended by themselves: nobody told them to, or not
// with that code, and no disk failed them.
func gaveUp(h history.History) (err error) {
	for _, e := range h {
		if e.Kind != history.NodeStop || whyEnded(h, e) != byItself {
			continue
		}
		err = errors.Join(err, fmt.Errorf("%s ended by itself at %v: %s", e.Node, e.At, e.Detail))
	}
	return err
}

// ordered reports whether a node ended as one does that the lab told to: killed,
// or, after SIGTERM, with or without having closed all in time.
func ordered(stop history.Event) bool {
	switch stop.Cause {
	case syscall.SIGKILL.String():
		return true
	case syscall.SIGTERM.String():
		return stop.Detail == exited(0) || stop.Detail == exited(exitFailure)
	}
	return false
}

// byItself is why a node ended that nobody and nothing made end.
const byItself = "by itself"

// whyEnded says what ended a node.
func whyEnded(h history.History, stop history.Event) string {
	switch {
	case ordered(stop):
		return "as the lab told it"
	case stop.Detail == exited(diskExit) && spoilt(h, stop):
		return "as its disk was bad"
	}
	return byItself
}

// spoilt reports whether the disk of a node was bad when it stopped, or a short
// time before: a node takes its time to stop.
func spoilt(h history.History, stop history.Event) bool {
	const toStop = 15 * time.Second
	spoilt := false
	for _, e := range h {
		if e.Detail != stop.Node || !slices.Contains([]string{diskStalls, diskFails, diskIsSlow, diskFull}, e.Op) {
			continue
		}
		switch {
		case e.Kind == history.FaultBegin && e.Since <= stop.At:
			spoilt = true
		case e.Kind == history.FaultEnd && e.At+toStop < stop.At:
			spoilt = false
		}
	}
	return spoilt
}

// awaitEnd waits until no run is live, or nothing moves any more.
func (l *Lab) awaitEnd(ctx context.Context) error {
	live, seq, moved := int64(-1), uint64(0), time.Now()
	stuck := false
	err := until(ctx, endPatience, "all runs to end", func() bool {
		one, cancel := context.WithTimeout(l.asAdmin(ctx), 3*time.Second)
		defer cancel()
		st, err := l.nodes[0].admin().GetClusterStatus(one, &limpetv1.GetClusterStatusRequest{})
		if err != nil {
			return false
		}
		newest := uint64(0)
		for _, n := range st.GetNodes() {
			newest = max(newest, n.GetSeq())
		}
		if live != st.GetLiveRuns() || seq != newest {
			live, seq, moved = st.GetLiveRuns(), newest, time.Now()
		}
		time.Sleep(pollEvery)
		stuck = time.Since(moved) > stillPatience
		return stuck || live == 0 && st.GetLeader() != ""
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w; %d are live", err, live)
	case stuck:
		return fmt.Errorf("nothing has changed for %s, and %d runs are live", stillPatience, live)
	}
	return nil
}

// compare reads the hash of every node's state at one point of the log, and
// gives that point and the hashes.
func (l *Lab) compare(ctx context.Context) (seq uint64, hashes []string) {
	const patience = 30 * time.Second
	var nodes []*limpetv1.NodeInfo
	err := until(ctx, patience, "all nodes to be at one point of the log", func() bool {
		st := &limpetv1.GetClusterStatusResponse{}
		if l.ask(ctx, 3*time.Second, func(ctx context.Context, a limpetv1.AdminClient) (err error) {
			st, err = a.GetClusterStatus(ctx, &limpetv1.GetClusterStatusRequest{})
			return err
		}) != nil {
			return false
		}
		nodes = st.GetNodes()
		same := len(nodes) == len(l.nodes)
		for _, n := range nodes {
			same = same && n.GetError() == "" && n.GetSeq() == nodes[0].GetSeq() && n.GetStateHash() == nodes[0].GetStateHash()
		}
		time.Sleep(pollEvery)
		return same
	})
	if err != nil {
		l.say("%v", err)
	}
	for _, n := range nodes {
		if n.GetError() != "" {
			l.say("%s cannot be asked at the end: %s", n.GetName(), n.GetError())
			continue
		}
		seq = n.GetSeq()
		hashes = append(hashes, n.GetStateHash())
		l.history.Add(history.Event{Kind: history.Hash, Node: n.GetName(), Seq: n.GetSeq(), Hash: n.GetStateHash()})
	}
	return seq, hashes
}

// readNodeLogs finds in the nodes' own logs who led when.
func (l *Lab) readNodeLogs() {
	for _, n := range l.nodes {
		f, err := os.Open(filepath.Join(l.dir, n.name+".log"))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if !strings.Contains(lines.Text(), `"lead`) {
				continue
			}
			var line struct {
				At   string `json:"@timestamp"`
				Text string `json:"@message"`
				Term uint64 `json:"term"`
			}
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			at, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", line.At)
			if err != nil {
				continue
			}
			switch line.Text {
			case "leading":
				l.history.AddAt(at, history.Event{Kind: history.Leader, Node: n.name, Term: line.Term})
			case "leader duties ended":
				l.history.AddAt(at, history.Event{Kind: leaderEnd, Node: n.name})
			}
		}
		_ = f.Close()
	}
}

// leaderEnd is told for the timeline only.
const leaderEnd history.Kind = "node.deposed"
