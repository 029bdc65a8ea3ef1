package sim

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A process that was dead still copied into the files that its successor read: the
// race detector found it, and a write of a dead process could have come back.
func TestAWriteThatADeathFindsUnderWayIsReadWholeOrNotAtAll(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk()
			first := d.open(func(*raft.Log) {})
			f := first.journals()[0]
			d.trouble(trouble{delay: time.Second})
			text := bytes.Repeat([]byte("x"), journalSize)
			if _, err := f.WriteAt(text, 0); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- f.Sync() }()
			synctest.Wait()
			first.cutPower(keep)
			time.Sleep(time.Millisecond)
			next, seen := d.open(func(*raft.Log) {}).journals()[0], make([]byte, journalSize)
			if _, err := next.ReadAt(seen, 0); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(seen, text) != keep {
				t.Errorf("keep %v: the next process reads %q...", keep, seen[:8])
			}
			if err := <-done; (err == nil) != keep {
				t.Errorf("keep %v: the write ended with %v", keep, err)
			}
		})
	}
}
