package sim

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// Its port took connections that nobody served and no reset ended, as if it stood
// still: a leader waited for it long after it was back.
func TestANodeThatDoesNotStartLeavesNoPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(&Plan{Nodes: 2}, nil)
		full := newDisk()
		full.trouble(trouble{full: true})
		w.disks["n1"] = full
		if err := w.start("n1"); err == nil {
			t.Fatal("it started on a full disk")
		}
		if conn, err := w.net.attach("n2").dial(context.Background(), addrOf("n1", servePeers)); !errors.Is(err, errRefused) {
			t.Errorf("its port took a connection: %v, %v", conn, err)
		}
		w.bringDown()
	})
}
