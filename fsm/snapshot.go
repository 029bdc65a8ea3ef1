package fsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// SnapshotFormat is the version of snapshots that this build writes and the
// newest that it can read.
const SnapshotFormat = 1

// A snapshot is a sequence of frames: kind, length, protobuf bytes
// (api/limpet/v1/snapshot.proto). It begins with a header and ends with a
// footer that holds the number of records and the state's hash.
const (
	kindHeader = iota + 1
	kindFooter
	kindSettings
	kindKey
	kindTenant
	kindWorkflow
	kindVersion
	kindWorker
	kindRun
	kindTaskRun
	kindPin
	kindChild
	kindRequest
	kindEvent
	kindCase
	kindLogLine
	kindChunk
	kindAudit
)

// maxFrame bounds a record, so that a damaged length is an error and not an
// allocation.
const maxFrame = 256 << 20

type header struct {
	Format    int64
	Seq       Seq
	Instant   Instant
	Wall      int64
	ClusterID string
}

func (h *header) fields(c *codec) {
	num(c, 1, &h.Format)
	num(c, 2, &h.Seq)
	num(c, 3, &h.Instant)
	num(c, 4, &h.Wall)
	str(c, 5, &h.ClusterID)
}

type footer struct {
	Count int64
	Hash  int64
}

func (f *footer) fields(c *codec) {
	num(c, 1, &f.Count)
	num(c, 2, &f.Hash)
}

type child struct {
	Key string
	Run RunID
}

func (x *child) fields(c *codec) {
	str(c, 1, &x.Key)
	str(c, 2, &x.Run)
}

// records visits every object of the state in its canonical order.
func (s *State) records(visit func(kind byte, o object) error) error {
	if err := visit(kindHeader, &header{SnapshotFormat, s.seq, s.stamp.Instant, s.stamp.Wall, s.clusterID}); err != nil {
		return err
	}
	if err := visit(kindSettings, &s.settings); err != nil {
		return err
	}
	return errors.Join(
		scan(s.keys, kindKey, visit), scan(s.tenants, kindTenant, visit), scan(s.workflows, kindWorkflow, visit),
		scan(s.versions, kindVersion, visit), scan(s.workers, kindWorker, visit), scan(s.runs.table, kindRun, visit),
		scan(s.tasks.table, kindTaskRun, visit), scan(s.pins, kindPin, visit), scan(s.requests, kindRequest, visit),
		s.scanChildren(visit), scan(s.events, kindEvent, visit), scan(s.cases, kindCase, visit),
		scan(s.logs, kindLogLine, visit), scan(s.chunks, kindChunk, visit),
		scan(s.audits, kindAudit, visit),
	)
}

func (s *State) scanChildren(visit func(kind byte, o object) error) error {
	var err error
	s.children.Scan(func(k string, r RunID) bool {
		err = visit(kindChild, &child{k, r})
		return err == nil
	})
	return err
}

func scan[K cmp.Ordered, V object](t table[K, V], kind byte, visit func(byte, object) error) error {
	var err error
	t.Scan(func(_ K, o V) bool {
		err = visit(kind, o)
		return err == nil
	})
	return err
}

// Hash gives a hash of the whole state, equal on all nodes that have applied
// the same commands. It is O(state): take it of a View.
func (v View) Hash() uint64 {
	sum := xxhash.New()
	var c codec
	buf := make([]byte, 0, 1024)
	_ = v.st.records(func(kind byte, o object) error {
		buf = c.encode(append(buf[:0], kind), o)
		_, _ = sum.Write(buf)
		return nil
	})
	return sum.Sum64()
}

// snapshotBuffer is what is read and written of a snapshot at a time.
const snapshotBuffer = 1 << 20

// WriteSnapshot writes the state. It may run beside Apply.
func (v View) WriteSnapshot(w io.Writer) error {
	out := snapshotWriter{w: bufio.NewWriterSize(w, snapshotBuffer), sum: xxhash.New()}
	err := v.st.records(out.write)
	if err == nil {
		err = out.write(kindFooter, &footer{out.count, int64(out.sum.Sum64())})
	}
	if err == nil {
		err = out.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// hash64 is what sums up a state's bytes.
type hash64 interface {
	io.Writer
	Sum64() uint64
}

// snapshotWriter writes records and sums them up on the way: the sum is the
// state's hash, since it sees what [View.Hash] sees.
type snapshotWriter struct {
	w     *bufio.Writer
	sum   hash64
	count int64
	codec codec
	body  []byte // kind and bytes of a record
	head  []byte
}

func (out *snapshotWriter) write(kind byte, o object) error {
	out.count++
	out.body = out.codec.encode(append(out.body[:0], kind), o)
	_, _ = out.sum.Write(out.body)
	out.head = binary.AppendUvarint(append(out.head[:0], kind), uint64(len(out.body)-1))
	if _, err := out.w.Write(out.head); err != nil {
		return err
	}
	_, err := out.w.Write(out.body[1:])
	return err
}
