package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lookEvery is how often a control file is read.
const lookEvery = 20 * time.Millisecond

// control is a file with one line that may change at any time.
type control struct {
	file string

	mu     sync.Mutex
	looked time.Time
	text   string
}

func (c *control) read() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.text
	}
	raw, err := os.ReadFile(c.file)
	if err != nil {
		raw = nil // not written yet
	}
	c.looked, c.text = time.Now(), strings.TrimSpace(string(raw))
	return c.text
}

// Clock gives a wall clock that is wrong by what the file says, a duration such
// as -1h. A file that is missing or cannot be read as one is no offset.
func Clock(file string) func() time.Time {
	c := &control{file: file}
	return func() time.Time {
		by, err := time.ParseDuration(c.read())
		if err != nil {
			by = 0
		}
		return time.Now().Add(by)
	}
}

// The lines of a file of disk faults; one that slows is diskSlow and a duration.
const (
	diskStall = "stall"
	diskError = "error"
	diskFlaky = "flaky" // every other write fails
	diskSlow  = "slow "
)

// Disk gives what happens before each write of a node's log, as the file says.
func Disk(file string) func() error {
	c, odd := &control{file: file}, false
	fails := fmt.Errorf("fault lab: %w", syscall.ENOSPC)
	return func() error {
		for c.read() == diskStall {
			time.Sleep(lookEvery)
		}
		text := c.read()
		if by, slow := strings.CutPrefix(text, diskSlow); slow {
			pause, err := time.ParseDuration(by)
			if err != nil {
				return nil //nolint:nilerr // half written
			}
			time.Sleep(pause)
		}
		odd = !odd
		if text == diskError || text == diskFlaky && odd {
			return fails
		}
		return nil
	}
}

// JournalFile names the journal of this process in a directory.
func JournalFile(dir, node string) string {
	return dir + "/" + node + "-" + strconv.FormatInt(time.Now().UnixNano(), 10) + ".journal"
}
