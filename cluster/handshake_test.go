package cluster

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestBothSidesProveTheKey(t *testing.T) {
	other := []byte("fedcba9876543210fedcba9876543210")
	for _, c := range []struct {
		name             string
		dialer, listener [][]byte
		kind             connKind
		ok               bool
	}{
		{"peer frames", [][]byte{testKey}, [][]byte{testKey}, kindPeer, true},
		{"raft", [][]byte{testKey}, [][]byte{testKey}, kindRaft, true},
		{"dev nodes without key", [][]byte{nil}, [][]byte{nil}, kindPeer, true},
		{"another key", [][]byte{other}, [][]byte{testKey}, kindPeer, false},
		{"no key at the dialer", [][]byte{nil}, [][]byte{testKey}, kindRaft, false},
		{"no key at the listener", [][]byte{testKey}, [][]byte{nil}, kindRaft, false},
		{"keys that change, seen by the dialer", [][]byte{testKey, other}, [][]byte{other, testKey}, kindPeer, true},
		{"a new key that is not yet accepted", [][]byte{other, testKey}, [][]byte{testKey}, kindPeer, false},
		{"an old key that is still accepted", [][]byte{testKey}, [][]byte{testKey, other}, kindRaft, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := net.Pipe()
			dialed := make(chan error, 1)
			go func() {
				err := shake(a, c.dialer, c.kind, time.Second)
				if err != nil {
					_ = a.Close()
				}
				dialed <- err
			}()
			kind, err := welcome(b, c.listener)
			if err != nil {
				_ = b.Close() // as a port does
			}
			dialErr := <-dialed
			_, _ = a.Close(), b.Close()
			if c.ok && (err != nil || dialErr != nil || kind != c.kind) {
				t.Errorf("kind %c, %v, %v", kind, err, dialErr)
			}
			if !c.ok && (!errors.Is(err, errWrongKey) || dialErr == nil) {
				t.Errorf("let in: %v, %v", err, dialErr)
			}
		})
	}
}

func TestAListenerDemandsProofOfADialerThatSkipsTheCheck(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	go func() {
		hello := make([]byte, 2+nonceSize)
		hello[0], hello[1] = byte(kindPeer), handshakeVersion
		_, _ = a.Write(hello)
		answer := make([]byte, 64)
		_, _ = io.ReadFull(a, answer)
		_, _ = a.Write(answer[32:]) // the listener's own proof, sent back
	}()
	if kind, err := welcome(b, [][]byte{testKey}); !errors.Is(err, errWrongKey) {
		t.Errorf("let in: %c, %v", kind, err)
	}
	_ = b.Close()
}

func TestAPortRefusesWhatIsNotANode(t *testing.T) {
	ln, err := tcp{}.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPeerPort(ln, "", tcp{}, newKeys(testKey, nil), hclog.NewNullLogger())
	p.onPeer = func(c net.Conn) { _ = c.Close() }
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.serve()
	}()
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\nAccept: everything\r\n\r\n", "P\x09345678901234567890123456789012"} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("answered %q to %q", got, text)
		}
		_ = conn.Close()
	}
	p.shutdown()
	<-done
}
