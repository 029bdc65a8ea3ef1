package cluster

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func newStreamPort(ln net.Listener) *peerPort {
	return newPeerPort(ln, "127.0.0.1:1", tcp{}, newKeys(testKey, nil), hclog.NewNullLogger())
}

// Raft's main goroutine reads the snapshot: while nothing came of it the node did not
// vote, for as long as the connection was there.
func TestASnapshotOfWhichNothingComesIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := newStreamPort(nil)
		pair := func() (*trackedConn, net.Conn) {
			mine, theirs := net.Pipe()
			return port.track(mine, false), theirs
		}
		sends, sender := pair()
		lives, other := pair()
		frames, peer := pair()
		sends.hear()
		lives.hear()
		reads := func(from io.Reader) <-chan error {
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, from)
				ended <- err
			}()
			return ended
		}
		snapshot, calls, talk := reads(&stream{sends, port.hangUp}), reads(lives), reads(frames)
		const pieces = 5
		for range pieces { // slow is not silent
			time.Sleep(streamPatience - time.Second)
			for _, c := range []net.Conn{sender, other} {
				if _, err := c.Write([]byte("piece")); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Second)
		if _, err := other.Write([]byte("vote")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(streamPatience)
		if len(snapshot) == 0 {
			t.Error("the snapshot is still waited for")
		}
		if len(calls)+len(talk) > 0 {
			t.Error("what has nothing to do with it was broken off")
		}
		for _, c := range []net.Conn{sender, other, peer} {
			_ = c.Close()
		}
		for _, ended := range []<-chan error{snapshot, calls, talk} {
			if err := <-ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
	})
}

// stuck is a snapshot of which nothing more comes.
type stuck struct{ begun, end chan struct{} }

func (s *stuck) Read([]byte) (int, error) {
	close(s.begun)
	<-s.end
	return 0, io.EOF
}

const stuckSize = 1 << 20

func stuckSnapshot() *raft.InstallSnapshotRequest {
	return &raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, SnapshotVersion: 1, Size: stuckSize}
}

func TestANodeIsClosedAlthoughASnapshotComesToIt(t *testing.T) {
	b := newBed(t, 1, nil)
	b.start(b.names...)
	b.awaitReady()
	n := b.leader()
	delete(b.nodes, string(n.Name()))
	sender := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: newStreamPort(nil), Timeout: time.Minute, Logger: hclog.NewNullLogger()})
	t.Cleanup(func() { _ = sender.Close() })
	data := &stuck{make(chan struct{}), make(chan struct{})}
	sent := make(chan error, 1)
	go func() {
		var resp raft.InstallSnapshotResponse
		sent <- sender.InstallSnapshot("node-1", raft.ServerAddress(n.port.Addr().String()), stuckSnapshot(), &resp, io.MultiReader(&zeros{stuckSize / 2}, data))
	}()
	<-data.begun
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	close(data.end)
	if err := <-sent; err == nil {
		t.Error("it was sent")
	}
}

// The mirror of the case above: the other node takes nothing.
func TestANodeIsClosedAlthoughItSendsASnapshot(t *testing.T) {
	ln, err := tcp{}.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deafPort := newPeerPort(ln, "", tcp{}, newKeys(testKey, nil), hclog.NewNullLogger())
	go deafPort.serve()
	t.Cleanup(deafPort.shutdown)
	port := newStreamPort(nil)
	sender := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: port, Timeout: time.Hour, Logger: hclog.NewNullLogger()})
	t.Cleanup(func() { _ = sender.Close() })
	sent := make(chan error, 1)
	go func() {
		var resp raft.InstallSnapshotResponse
		sent <- sender.InstallSnapshot("node-2", raft.ServerAddress(ln.Addr().String()), stuckSnapshot(), &resp, &zeros{stuckSize})
	}()
	<-deafPort.raftConns
	for opened := 0; opened == 0; {
		port.mu.Lock()
		opened = len(port.open)
		port.mu.Unlock()
		runtime.Gosched()
	}
	port.endRaft()
	if err := <-sent; err == nil {
		t.Error("it was sent")
	}
	if conn, err := port.Dial(raft.ServerAddress(ln.Addr().String()), time.Hour); err == nil {
		t.Errorf("another connection: %v", conn)
	}
}

// zeros are some bytes.
type zeros struct{ left int }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(len(b), z.left)]
	clear(b)
	z.left -= len(b)
	return len(b), nil
}
