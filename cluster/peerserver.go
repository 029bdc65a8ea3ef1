package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// maxPeerCalls bounds the questions of one peer that are worked on at once.
const maxPeerCalls = 32

// peerServer is the other end of peers: it takes the frames that other nodes
// send to this one.
type peerServer struct {
	node *Node

	mu    sync.Mutex
	conns map[*frameConn]struct{}
}

// serve reads one connection until it breaks. It owns the connection.
func (s *peerServer) serve(ctx context.Context, raw net.Conn) {
	c := newFrameConn(raw)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var calls sync.WaitGroup
	err := s.read(ctx, c, &calls)
	cancel()
	_ = raw.Close()
	calls.Wait()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		s.node.log.Debug("peer connection ended", "from", raw.RemoteAddr(), "error", err)
	}
}

// read works on frames until an error, which it gives.
func (s *peerServer) read(ctx context.Context, c *frameConn, calls *sync.WaitGroup) error {
	first, err := c.read()
	if err != nil {
		return err
	}
	from := fsm.NodeID(first.GetHello().GetNode())
	if from == "" {
		return errors.New("the peer did not say its name")
	}
	room := make(chan struct{}, maxPeerCalls)
	for {
		f, err := c.read()
		if err != nil {
			return err
		}
		switch body := f.GetBody().(type) {
		case *limpetv1.PeerFrame_Commands:
			if err := s.commands(c, body.Commands); err != nil {
				return err
			}
		case *limpetv1.PeerFrame_Vouchers:
			s.vouchers(from, body.Vouchers.GetVouchers())
		default:
			room <- struct{}{}
			calls.Go(func() {
				defer func() { <-room }()
				a := s.answer(ctx, f)
				a.Id = f.GetId()
				_ = c.write(a) // a broken connection shows in read
			})
		}
	}
}

// giveBack tells all peers that what they sent and was not answered is theirs to
// send again: this node has just stopped to lead.
func (s *peerServer) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		s.node.wg.Go(func() { // a peer that does not read must not hold up the others
			_ = c.write(&limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_Refused{Refused: &limpetv1.PeerRefused{}}})
		})
	}
}

// commands puts a peer's commands into the leader's queue; those that cannot be
// taken go back.
func (s *peerServer) commands(c *frameConn, f *limpetv1.PeerCommands) error {
	offers := make([]offer, 0, len(f.GetCommands()))
	resent := f.GetResent()
	unknown := refusal{reason: limpetv1.PeerRefused_UNKNOWN_COMMAND}
	for i, data := range f.GetCommands() {
		cmd := &limpetv1.Command{}
		if err := proto.Unmarshal(data, cmd); err != nil {
			return err
		}
		again := len(resent) > 0 && int(resent[0]) == i
		if again {
			resent = resent[1:]
		}
		if cmd.GetKind() == nil {
			unknown.ids = append(unknown.ids, string(cmd.GetRequestId()))
			continue
		}
		offers = append(offers, offer{cmd, data, again})
	}
	refusals := []refusal{unknown}
	if r := s.node.current.Load(); r != nil {
		refusals = append(refusals, r.proposer.take(offers)...)
	} else {
		elsewhere := refusal{reason: limpetv1.PeerRefused_NOT_LEADER}
		for i := range offers {
			elsewhere.ids = append(elsewhere.ids, string(offers[i].cmd.GetRequestId()))
		}
		refusals = append(refusals, elsewhere)
	}
	for i := range refusals {
		if err := sendRefused(c, &refusals[i]); err != nil {
			return err
		}
	}
	return nil
}

func sendRefused(c *frameConn, r *refusal) error {
	if len(r.ids) == 0 {
		return nil
	}
	f := &limpetv1.PeerRefused{Reason: r.reason, RetrySeconds: uint32(r.after / time.Second), RequestIds: make([][]byte, len(r.ids))} //nolint:gosec // some seconds
	for i, id := range r.ids {
		f.RequestIds[i] = []byte(id)
	}
	return c.write(&limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_Refused{Refused: f}})
}

func (s *peerServer) vouchers(from fsm.NodeID, list []*limpetv1.Voucher) {
	r := s.node.current.Load()
	if r == nil {
		return
	}
	ages := make(map[fsm.WorkerID]time.Duration, len(list))
	for _, v := range list {
		ages[fsm.WorkerID(v.GetWorkerId())] = time.Duration(v.GetAgeMillis()) * time.Millisecond
	}
	r.liveness.hear(from, ages, s.node.awake.Now())
}

// answer works on one question. A frame without body says that this build does
// not know it.
func (s *peerServer) answer(ctx context.Context, f *limpetv1.PeerFrame) *limpetv1.PeerFrame {
	n := s.node
	switch body := f.GetBody().(type) {
	case *limpetv1.PeerFrame_ReadIndexRequest:
		a := &limpetv1.ReadIndexAnswer{}
		if instant, err := n.localReadIndex(ctx); err != nil {
			a.Error = err.Error()
		} else {
			a.Instant = int64(instant)
		}
		return &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_ReadIndexAnswer{ReadIndexAnswer: a}}
	case *limpetv1.PeerFrame_NodeStatusRequest:
		return &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_NodeStatusAnswer{NodeStatusAnswer: n.localStatus(ctx, body.NodeStatusRequest)}}
	case *limpetv1.PeerFrame_BootstrapRequest:
		return &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_BootstrapAnswer{BootstrapAnswer: n.formation.promise(body.BootstrapRequest)}}
	case *limpetv1.PeerFrame_MembershipRequest:
		a := &limpetv1.MembershipAnswer{}
		if err := n.localMembership(ctx, body.MembershipRequest); err != nil {
			a.Error = err.Error()
		}
		return &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_MembershipAnswer{MembershipAnswer: a}}
	case *limpetv1.PeerFrame_ProbeRequest:
		a := &limpetv1.ProbeAnswer{Verdict: n.probe(ctx, body.ProbeRequest.GetMember())}
		return &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_ProbeAnswer{ProbeAnswer: a}}
	case *limpetv1.PeerFrame_HistoryRequest:
		return &limpetv1.PeerFrame{Body: &limpetv1.PeerFrame_HistoryAnswer{HistoryAnswer: n.localPast(body.HistoryRequest)}}
	default:
		return &limpetv1.PeerFrame{} // a question of a newer build
	}
}
