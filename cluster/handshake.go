package cluster

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// connKind is the first byte of a peer connection: what it is for.
type connKind byte

const (
	kindRaft connKind = 'R'
	kindPeer connKind = 'P'
)

const (
	handshakeVersion = 1
	handshakeTimeout = 3 * time.Second
	nonceSize        = 32
	// handshakeDone closes the exchange, so that a dialer learns that it was let
	// in.
	handshakeDone = 0x06
)

// errWrongKey: the other side could not prove the cluster key.
const errWrongKey = sentinelError("the other side does not hold this cluster's key: all nodes need the same one")

// proof is what a side must answer to show that it holds the key: the role is
// in it, so that an answer cannot be sent back to its maker, and so are both
// nonces, so that it is good for one connection.
func proof(key []byte, role string, kind connKind, dialer, listener []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("limpet peer 1 " + role))
	mac.Write([]byte{byte(kind)})
	mac.Write(dialer)
	mac.Write(listener)
	return mac.Sum(nil)
}

// proven reports whether the proof is of any of the keys: while keys are changed
// a node accepts more than the one that it proves.
func proven(got []byte, keys [][]byte, role string, kind connKind, dialer, listener []byte) bool {
	ok := false
	for _, key := range keys {
		ok = hmac.Equal(got, proof(key, role, kind, dialer, listener)) || ok
	}
	return ok
}

// shake runs the dialer's side: it learns whether the listener holds the key
// before it proves its own. The first of the keys is the one to prove.
func shake(conn net.Conn, keys [][]byte, kind connKind, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return fmt.Errorf("set handshake deadline: %w", err)
	}
	hello := make([]byte, 2+nonceSize)
	hello[0], hello[1] = byte(kind), handshakeVersion
	mine := hello[2:]
	rand.Read(mine)
	if _, err := conn.Write(hello); err != nil {
		return fmt.Errorf("send handshake: %w", err)
	}
	answer := make([]byte, nonceSize+sha256.Size)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("read handshake: %w", err)
	}
	theirs := answer[:nonceSize]
	if !proven(answer[nonceSize:], keys, "listener", kind, mine, theirs) {
		return errWrongKey
	}
	if _, err := conn.Write(proof(keys[0], "dialer", kind, mine, theirs)); err != nil {
		return fmt.Errorf("send handshake proof: %w", err)
	}
	var done [1]byte
	if _, err := io.ReadFull(conn, done[:]); err != nil {
		return fmt.Errorf("end handshake: %w", err)
	}
	if done[0] != handshakeDone {
		return fmt.Errorf("end handshake: unexpected byte %#x", done[0])
	}
	return conn.SetDeadline(time.Time{})
}

// welcome runs the listener's side and says what the connection is for.
func welcome(conn net.Conn, keys [][]byte) (connKind, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return 0, fmt.Errorf("set handshake deadline: %w", err)
	}
	hello := make([]byte, 2+nonceSize)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return 0, fmt.Errorf("read handshake: %w", err)
	}
	kind, theirs := connKind(hello[0]), hello[2:]
	if kind != kindRaft && kind != kindPeer {
		return 0, fmt.Errorf("first byte %#x is not of a Limpet node", hello[0])
	}
	if hello[1] != handshakeVersion {
		return 0, fmt.Errorf("handshake version %d; this build knows %d", hello[1], handshakeVersion)
	}
	mine := make([]byte, nonceSize)
	rand.Read(mine)
	if _, err := conn.Write(append(mine[:nonceSize:nonceSize], proof(keys[0], "listener", kind, theirs, mine)...)); err != nil {
		return 0, fmt.Errorf("answer handshake: %w", err)
	}
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, got); err != nil {
		// A dialer with another key hangs up here: it has seen our proof.
		if errors.Is(err, io.EOF) {
			return 0, errWrongKey
		}
		return 0, fmt.Errorf("read handshake proof: %w", err)
	}
	if !proven(got, keys, "dialer", kind, theirs, mine) {
		return 0, errWrongKey
	}
	if _, err := conn.Write([]byte{handshakeDone}); err != nil {
		return 0, fmt.Errorf("end handshake: %w", err)
	}
	return kind, conn.SetDeadline(time.Time{})
}
