package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	// each of these timeouts.
	stillPatience = max(scheduleTimeout, executionTimeout, deliveryTimeout) + 15*time.Second
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
	report.Bodies, report.Kept, report.Open, report.Entries = bodies, kept, open, len(log)
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

// gaveUp names the nodes that ended by themselves, but for a disk that failed.
func gaveUp(h history.History) (err error) {
	for _, e := range h {
		if e.Kind == history.NodeStop && e.Detail != exited(killed) && e.Detail != exited(0) && e.Detail != exited(diskExit) {
			err = errors.Join(err, fmt.Errorf("%s ended by itself at %v: %s", e.Node, e.At, e.Detail))
		}
	}
	return err
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
