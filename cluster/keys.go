package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

// keys are the cluster keys of this node: the one that it proves, and those that
// it also accepts. Gossip uses keys that follow from them, because the processes
// of workers get those: who can gossip cannot thereby open the peer port.
type keys struct {
	mu      sync.Mutex
	list    [][]byte // never empty; one empty key is a dev node's
	keyring *memberlist.Keyring
}

func newKeys(primary []byte, others [][]byte) *keys {
	return &keys{list: append([][]byte{primary}, others...)}
}

func validKey(k []byte) bool { return len(k) == 16 || len(k) == 24 || len(k) == 32 }

// peer gives the keys of the peer port, the one to prove first.
func (k *keys) peer() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.list
}

// gossip gives the keys of gossip, the one to send with first; none on a dev
// node without a key.
func (k *keys) gossip() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return gossipKeys(k.list)
}

func gossipKeys(list [][]byte) [][]byte {
	var out [][]byte
	for _, key := range list {
		if len(key) > 0 {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte("limpet gossip 1"))
			out = append(out, mac.Sum(nil))
		}
	}
	return out
}

// ring makes memberlist's keyring; nil on a dev node without a key.
func (k *keys) ring() (*memberlist.Keyring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := gossipKeys(k.list)
	if len(list) == 0 {
		return nil, nil
	}
	ring, err := memberlist.NewKeyring(list, list[0])
	if err != nil {
		return nil, fmt.Errorf("make the gossip keyring: %w", err)
	}
	k.keyring = ring
	return ring, nil
}

// set replaces the keys.
func (k *keys) set(primary []byte, others [][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := append([][]byte{slices.Clone(primary)}, others...)
	if k.keyring == nil {
		return errors.New("this node was started without a cluster key: give it one and start it again")
	}
	next := gossipKeys(list)
	for _, key := range next {
		if err := k.keyring.AddKey(key); err != nil {
			return fmt.Errorf("add a gossip key: %w", err)
		}
	}
	if err := k.keyring.UseKey(next[0]); err != nil {
		return fmt.Errorf("use the gossip key: %w", err)
	}
	for _, key := range gossipKeys(k.list) {
		if !slices.ContainsFunc(next, func(n []byte) bool { return hmac.Equal(n, key) }) {
			if err := k.keyring.RemoveKey(key); err != nil {
				return fmt.Errorf("remove a gossip key: %w", err)
			}
		}
	}
	k.list = list
	return nil
}

// SetKeys changes the cluster keys of a running node: the one that it proves and
// sends with, and those that it also accepts. To change the key of a cluster
// give every node the new one as another, then as the primary with the old one as
// another, and then alone; each step on all nodes before the next. What is
// invalid is refused and changes nothing.
func (n *Node) SetKeys(primary []byte, others [][]byte) error {
	cfg := n.cfg
	cfg.ClusterKey, cfg.OldKeys, cfg.Dev = primary, others, false
	if err := cfg.validateFormation(); err != nil {
		return err
	}
	if err := n.keys.set(primary, others); err != nil {
		return err
	}
	n.log.Info("the cluster keys have changed", "primary", Fingerprint(primary), "accepted", len(others)+1)
	return nil
}

// Fingerprint names a key without giving it away.
func Fingerprint(key []byte) string {
	sum := sha256.Sum256(append([]byte("limpet key "), key...))
	return fmt.Sprintf("%x", sum[:4])
}
