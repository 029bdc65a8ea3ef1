package bench

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	ownWindow   = 1 << 24 // what a server may send on one call
	ownConn     = 1 << 30 // and on the connection, until it is told of more
	firstWindow = 65535   // what HTTP/2 begins with
	tableSize   = 4096
)

// link is one HTTP/2 connection. Calls append their frames to what is to be
// written, and one goroutine writes all that has come together; another reads. The
// writer lets the others go first once, as that of the ordinary gRPC client does when
// it has little to send: when a result comes, others mostly have come with it, and
// their callers go on too.
type link struct {
	conn  net.Conn
	addr  string
	fixed []hpack.HeaderField
	pool  sync.Pool
	wake  chan struct{}

	mu       sync.Mutex
	space    sync.Cond // there may be room in a window
	out      bytes.Buffer
	framer   *http2.Framer // writes to out
	block    bytes.Buffer
	encoder  *hpack.Encoder // writes to block
	open     map[uint32]*call
	next     uint32
	window   int64 // what may be sent on the connection
	initial  int64 // and on a new call
	maxFrame int
	maxCalls int
	received int64 // since the server was last told
	closing  bool  // no new calls
	dead     error
}

func newLink(conn net.Conn, addr string, fixed []hpack.HeaderField) *link {
	const largestFrame = 16384
	l := &link{
		conn: conn, addr: addr, fixed: fixed, wake: make(chan struct{}, 1), open: map[uint32]*call{}, next: 1,
		window: firstWindow, initial: firstWindow, maxFrame: largestFrame, maxCalls: maxOutstanding,
	}
	l.space.L = &l.mu
	l.pool.New = func() any { return &call{done: make(chan error, 1)} }
	l.framer = http2.NewFramer(&l.out, nil)
	l.encoder = hpack.NewEncoder(&l.block)
	l.out.WriteString(http2.ClientPreface)
	_ = l.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: ownWindow}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	_ = l.framer.WriteWindowUpdate(0, ownConn-firstWindow)
	go l.write()
	go l.read()
	l.signal()
	return l
}

func (l *link) calls() *call {
	c, ok := l.pool.Get().(*call)
	if !ok {
		c = &call{done: make(chan error, 1)}
	}
	c.answer, c.status, c.text = c.answer[:0], codes.Unknown, "the server ended the call without a status"
	return c
}

func (l *link) give(c *call) { l.pool.Put(c) }

func (l *link) usable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closing && l.dead == nil
}

// signal lets the writer look.
func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// begin sends a call, in pieces if the windows are small.
func (l *link) begin(ctx context.Context, c *call, method string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.dead == nil && len(l.open) >= l.maxCalls {
		if err := l.await(ctx); err != nil {
			return err
		}
	}
	if l.dead != nil {
		return l.dead
	}
	c.id, c.window = l.next, l.initial
	l.next += 2
	l.open[c.id] = c
	const mostCalls = 1 << 30
	l.closing = l.closing || l.next > mostCalls
	l.headers(ctx, c.id, method)
	for rest := c.body; ; {
		n := int(min(int64(len(rest)), l.window, c.window, int64(l.maxFrame)))
		if n <= 0 {
			l.signal()
			err := l.await(ctx)
			if l.open[c.id] != c { // it has ended, or the connection has
				return nil
			}
			if err != nil {
				l.drop(c)
				return err
			}
			continue
		}
		_ = l.framer.WriteData(c.id, n == len(rest), rest[:n])
		l.window, c.window, rest = l.window-int64(n), c.window-int64(n), rest[n:]
		if len(rest) == 0 {
			break
		}
	}
	l.signal()
	return nil
}

func (l *link) headers(ctx context.Context, id uint32, method string) {
	l.block.Reset()
	field := func(name, value string) { _ = l.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	field(":method", "POST")
	field(":scheme", "http")
	field(":path", method)
	field(":authority", l.addr)
	for _, f := range l.fixed {
		_ = l.encoder.WriteField(f)
	}
	if end, ok := ctx.Deadline(); ok {
		left := max(time.Until(end).Milliseconds(), 0) + 1
		_ = l.encoder.WriteField(hpack.HeaderField{Name: "grpc-timeout", Value: strconv.FormatInt(left, 10) + "m", Sensitive: true}) // not worth a place in the table
	}
	_ = l.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: l.block.Bytes(), EndHeaders: true})
}

// abandon takes a call back whose caller does not wait any more. It reports
// false if the call has just ended.
func (l *link) abandon(c *call) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[c.id] != c {
		return false
	}
	l.drop(c)
	return true
}

func (l *link) drop(c *call) {
	delete(l.open, c.id)
	_ = l.framer.WriteRSTStream(c.id, http2.ErrCodeCancel)
	l.space.Broadcast()
	l.signal()
}

// await waits, under the lock, until there may be room, or the context ends.
func (l *link) await(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.space.Broadcast()
	})
	defer stop()
	l.space.Wait()
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}

func (l *link) write() {
	var spare bytes.Buffer
	for range l.wake {
		runtime.Gosched()
		l.mu.Lock()
		if l.dead != nil {
			l.mu.Unlock()
			return
		}
		spare.Reset()
		l.out, spare = spare, l.out
		l.mu.Unlock()
		if spare.Len() == 0 {
			continue
		}
		if _, err := l.conn.Write(spare.Bytes()); err != nil {
			l.fail(status.Errorf(codes.Unavailable, "write to %s: %v", l.addr, err))
			return
		}
	}
}

func (l *link) read() {
	const buffer = 64 << 10
	in := http2.NewFramer(io.Discard, bufio.NewReaderSize(l.conn, buffer))
	in.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	in.SetReuseFrames()
	for {
		f, err := in.ReadFrame()
		if err != nil {
			l.fail(status.Errorf(codes.Unavailable, "read from %s: %v", l.addr, err))
			return
		}
		l.mu.Lock()
		l.take(f)
		l.mu.Unlock()
	}
}

// take handles one frame, under the lock.
func (l *link) take(f http2.Frame) {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		if c := l.open[f.StreamID]; c != nil {
			c.header(f)
			l.end(c, f.StreamEnded())
		}
	case *http2.DataFrame:
		l.data(f)
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			l.window += int64(f.Increment)
		} else if c := l.open[f.StreamID]; c != nil {
			c.window += int64(f.Increment)
		}
		l.space.Broadcast()
	case *http2.SettingsFrame:
		l.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = l.framer.WritePing(true, f.Data)
			l.signal()
		}
	case *http2.RSTStreamFrame:
		if c := l.open[f.StreamID]; c != nil {
			c.status, c.text = resetCode(f.ErrCode), "the server reset the call: "+f.ErrCode.String()
			l.end(c, true)
		}
	case *http2.GoAwayFrame:
		l.closing = true
		for id, c := range l.open {
			if id > f.LastStreamID {
				c.status, c.text = codes.Unavailable, "the server is going away"
				l.end(c, true)
			}
		}
	}
}

// resetCode is what gRPC makes of the reason of a reset.
func resetCode(c http2.ErrCode) codes.Code {
	switch { //nolint:staticcheck // a tagged switch would have to name all
	case c == http2.ErrCodeCancel:
		return codes.Canceled
	case c == http2.ErrCodeRefusedStream:
		return codes.Unavailable
	case c == http2.ErrCodeEnhanceYourCalm:
		return codes.ResourceExhausted
	default:
		return codes.Internal
	}
}

func (l *link) data(f *http2.DataFrame) {
	const tell = ownConn / 4
	if l.received += int64(f.Length); l.received >= tell {
		_ = l.framer.WriteWindowUpdate(0, uint32(l.received))
		l.received = 0
		l.signal()
	}
	if c := l.open[f.StreamID]; c != nil {
		c.answer = append(c.answer, f.Data()...)
		l.end(c, f.StreamEnded())
	}
}

// end gives a call to its caller, if it has ended.
func (l *link) end(c *call, ended bool) {
	if !ended {
		return
	}
	delete(l.open, c.id)
	c.done <- c.err()
	l.space.Broadcast()
}

func (l *link) settings(f *http2.SettingsFrame) {
	if f.IsAck() {
		return
	}
	_ = f.ForeachSetting(func(s http2.Setting) error {
		switch { //nolint:staticcheck // a tagged switch would have to name all
		case s.ID == http2.SettingInitialWindowSize:
			for _, c := range l.open {
				c.window += int64(s.Val) - l.initial
			}
			l.initial = int64(s.Val)
		case s.ID == http2.SettingMaxFrameSize:
			l.maxFrame = int(s.Val)
		case s.ID == http2.SettingMaxConcurrentStreams:
			l.maxCalls = int(min(s.Val, maxOutstanding))
		case s.ID == http2.SettingHeaderTableSize:
			l.encoder.SetMaxDynamicTableSize(min(s.Val, tableSize))
		}
		return nil
	})
	_ = l.framer.WriteSettingsAck()
	l.space.Broadcast()
	l.signal()
}

// fail ends the connection and all calls.
func (l *link) fail(err error) {
	_ = l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return
	}
	l.dead = err
	for _, c := range l.open {
		delete(l.open, c.id)
		c.done <- err
	}
	l.space.Broadcast()
	l.signal()
}
