package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/cluster/history"
	"github.com/limpet-dev/limpet/fsm"
)

const (
	historyDir = "history"
	// pastTimeout is how long another node has to look into its history.
	pastTimeout = time.Second
	// maxPastCalls bounds the searches at other nodes at a time.
	maxPastCalls = 16
)

// HistoryConfig bounds what the node keeps on disk of finished runs.
type HistoryConfig struct {
	MaxAge   time.Duration
	MaxBytes int64
}

// openHistory opens the node's own history. It is never the reason not to start.
func (n *Node) openHistory() {
	cfg := history.Config{MaxAge: n.cfg.History.MaxAge, MaxBytes: n.cfg.History.MaxBytes, Logger: n.log.Named("history")}
	if n.cfg.DataDir != "" {
		cfg.Dir = filepath.Join(n.cfg.DataDir, historyDir)
	}
	var err error
	if n.history, err = history.Open(cfg); err != nil {
		n.log.Error("the history cannot be opened; finished runs are kept in memory, a few, until the next start", "error", err)
		cfg.Dir = ""
		if n.history, err = history.Open(cfg); err != nil {
			n.fatal(err) // cannot be: memory needs no opening
		}
	}
	n.machine.onForgotten, n.machine.onSnapshot = n.history.Add, func() {
		if err := n.history.Flush(); err != nil {
			n.log.Error("finished runs could not be written to the history before a snapshot; they are lost if this node ends before it can", "error", err)
		}
	}
}

// Past finds a finished run that the state has forgotten, by its id or by that
// of one of its task runs: in this node's history, or else in those of the others.
// Nil without an error means that none has it; ErrUnavailable, that a node which
// may have it cannot be asked.
func (n *Node) Past(ctx context.Context, id string) (*fsm.Archived, error) {
	a, _, err := n.history.Get(id)
	if a != nil {
		return a, nil
	}
	if err != nil {
		n.log.Warn("a finished run cannot be read; asking the other nodes", "id", id, "error", err)
	}
	return n.askPast(ctx, id)
}

// PastRuns visits the finished runs in this node's history, those that ended
// last first, until visit says no.
func (n *Node) PastRuns(visit func(*fsm.Archived) bool) error {
	if err := n.history.Newest(visit); err != nil {
		return fmt.Errorf("read the history of node %q: %w", n.cfg.Name, err)
	}
	return nil
}

// HistoryStats are figures of the node's history.
func (n *Node) HistoryStats() history.Stats { return n.history.Stats() }

// askPast asks the other nodes, one after the other: a node that came by a
// snapshot has not seen what was forgotten before.
func (n *Node) askPast(ctx context.Context, id string) (*fsm.Archived, error) {
	others := n.otherServers()
	if len(others) == 0 {
		return nil, nil
	}
	select {
	case n.pastCalls <- struct{}{}:
		defer func() { <-n.pastCalls }()
	default:
		return nil, fmt.Errorf("%w: %d searches for finished runs at other nodes go on; try again in a second", ErrOverloaded, maxPastCalls)
	}
	var silent error
	for _, s := range others {
		a, err := n.askPastOf(ctx, string(s.Address), id)
		if a != nil {
			return a, nil
		}
		if err != nil {
			silent = fmt.Errorf("%w: node %q cannot say whether it has finished run %q: %w", ErrUnavailable, s.ID, id, err)
		}
	}
	return nil, silent
}

func (n *Node) askPastOf(ctx context.Context, addr, id string) (*fsm.Archived, error) {
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	defer cancel()
	conn, err := n.peers.conn(ctx, addr)
	if err != nil {
		return nil, err
	}
	f, err := conn.call(ctx, &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_HistoryRequest{HistoryRequest: &limpetv1.HistoryRequest{Id: id}}})
	if err != nil {
		return nil, err
	}
	switch a := f.GetHistoryAnswer(); {
	case a == nil:
		return nil, errors.New("its build does not know this request")
	case a.GetError() != "":
		return nil, errors.New(a.GetError())
	case len(a.GetRecord()) == 0:
		return nil, nil
	default:
		return fsm.DecodeArchived(a.GetRecord())
	}
}

// localPast answers a node that asks for a finished run.
func (n *Node) localPast(r *limpetv1.HistoryRequest) *limpetv1.HistoryAnswer {
	a, ok, err := n.history.Get(r.GetId())
	switch {
	case err != nil:
		return &limpetv1.HistoryAnswer{Error: err.Error()}
	case !ok:
		return &limpetv1.HistoryAnswer{}
	case a.Size() > maxCommandBytes:
		return &limpetv1.HistoryAnswer{Error: fmt.Sprintf("the record has about %d bytes; %d fit: ask node %q itself", a.Size(), maxCommandBytes, n.cfg.Name)}
	}
	return &limpetv1.HistoryAnswer{Record: a.Encode(nil)}
}
