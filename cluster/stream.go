package cluster

import (
	"io"
	"time"
)

// streamPatience is how long nothing may come of a snapshot that another node sends.
// While it reads one, Raft's main goroutine does nothing else: it does not vote, and it
// does not end. The sender repeats what was broken off.
const streamPatience = 5 * time.Second

// stream is a snapshot that comes from another node. Raft's reader has no deadline.
type stream struct {
	from    io.Reader
	stalled func(since time.Time)
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	began := time.Now()
	limit := time.AfterFunc(streamPatience, func() { s.stalled(began) })
	defer limit.Stop()
	return s.from.Read(b) //nolint:wrapcheck // the reader's own
}
