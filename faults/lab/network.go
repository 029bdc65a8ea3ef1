package lab

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// network joins the hosts of the lab. On loopback all are one host, and nothing
// can be cut.
type network interface {
	// join adds a host and gives its address.
	join(host string) (addr string, err error)
	// command gives the words that run a program at a host.
	command(host string, words ...string) []string
	// rules are the wires between the hosts; nil if there are none.
	rules() *wires
	close()
}

// loopback is the network without root.
type loopback struct{}

func (loopback) join(string) (string, error)                { return "127.0.0.1", nil }
func (loopback) command(_ string, words ...string) []string { return words }
func (loopback) rules() *wires                              { return nil }
func (loopback) close()                                     {}

// wire is one direction between two hosts.
type wire struct{ from, to string }

// wires says what becomes of packets. The zero value lets everything pass.
type wires struct {
	mu    sync.Mutex
	cut   map[wire]int             // by how many faults
	loss  map[string]float64       // share of packets lost, of a host, both ways
	delay map[string]time.Duration // of a host, both ways
	rand  *rand.Rand

	passed, dropped atomic.Uint64
}

func newWires(seed uint64) *wires {
	return &wires{
		cut: map[wire]int{}, loss: map[string]float64{}, delay: map[string]time.Duration{}, rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // repeatable on purpose
	}
}

// fate decides over one packet.
func (w *wires) fate(from, to string) (pass bool, delay time.Duration) {
	w.mu.Lock()
	pass = w.cut[wire{from, to}] == 0
	for _, host := range [...]string{from, to} {
		if share := w.loss[host]; pass && share > 0 && w.rand.Float64() < share {
			pass = false
		}
		delay += w.delay[host]
	}
	w.mu.Unlock()
	if pass {
		w.passed.Add(1)
	} else {
		w.dropped.Add(1)
	}
	return pass, delay
}

// sever cuts every wire from one of the first to one of the second, and the other
// way too unless it is oneWay. The function returned mends what was cut.
func (w *wires) sever(a, b []string, oneWay bool) (mend func()) {
	var list []wire
	for _, x := range a {
		for _, y := range b {
			if x == y {
				continue
			}
			list = append(list, wire{x, y})
			if !oneWay {
				list = append(list, wire{y, x})
			}
		}
	}
	w.change(list, 1)
	return func() { w.change(list, -1) }
}

func (w *wires) change(list []wire, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range list {
		w.cut[x] += by
	}
}

// spoil makes the wires of hosts lossy and slow.
func (w *wires) spoil(hosts []string, loss float64, delay time.Duration) (mend func()) {
	set := func(sign float64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, h := range hosts {
			w.loss[h] = max(0, w.loss[h]+sign*loss)
			w.delay[h] = max(0, w.delay[h]+time.Duration(sign)*delay)
			if sign < 0 && w.loss[h] < 1e-9 {
				delete(w.loss, h)
			}
		}
	}
	set(1)
	return func() { set(-1) }
}

// mac is the hardware address of a host by its number.
func mac(number int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", number>>8, number&0xff) }
