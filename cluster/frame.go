package cluster

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

const (
	maxFrameBytes = 2 * maxCommandBytes
	writeTimeout  = 3 * time.Second
)

// frameConn carries PeerFrames: four bytes of length, then the message. One
// goroutine may read; any may write.
type frameConn struct {
	conn net.Conn
	in   *bufio.Reader

	mu  sync.Mutex
	buf []byte
}

func newFrameConn(conn net.Conn) *frameConn {
	return &frameConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

// write sends a frame. An error means that the connection is of no more use; it
// is closed.
func (c *frameConn) write(f *limpetv1.PeerFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := proto.MarshalOptions{}.MarshalAppend(append(c.buf[:0], 0, 0, 0, 0), f)
	if err != nil {
		return fmt.Errorf("encode peer frame: %w", err)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if cap(b) <= maxBatchBytes {
		c.buf = b
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := c.conn.Write(b); err != nil {
		_ = c.conn.Close()
		return fmt.Errorf("send peer frame: %w", err)
	}
	return nil
}

// read gives the next frame; it keeps no hold on the bytes.
func (c *frameConn) read() (*limpetv1.PeerFrame, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrameBytes {
		return nil, fmt.Errorf("peer frame of %d bytes; %d are allowed", size, maxFrameBytes)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, fmt.Errorf("read peer frame: %w", err)
	}
	var f limpetv1.PeerFrame
	if err := proto.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("decode peer frame: %w", err)
	}
	return &f, nil
}
