package fsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
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
		scan(s.versions, kindVersion, visit), scan(s.workers, kindWorker, visit), scan(s.runs, kindRun, visit),
		scan(s.tasks, kindTaskRun, visit), scan(s.pins, kindPin, visit), scan(s.requests, kindRequest, visit),
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
	h := fnv.New64a()
	buf := make([]byte, 0, 1024)
	_ = v.st.records(func(kind byte, o object) error {
		buf = encode(append(buf[:0], kind), o)
		_, _ = h.Write(buf)
		return nil
	})
	return h.Sum64()
}

// WriteSnapshot writes the state. It may run beside Apply.
func (v View) WriteSnapshot(w io.Writer) error {
	bw := bufio.NewWriterSize(w, 1<<16)
	var count int64
	var body, frame []byte
	write := func(kind byte, o object) error {
		count++
		body = encode(body[:0], o)
		frame = binary.AppendUvarint(append(frame[:0], kind), uint64(len(body)))
		if _, err := bw.Write(frame); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		if _, err := bw.Write(body); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		return nil
	}
	if err := v.st.records(write); err != nil {
		return err
	}
	if err := write(kindFooter, &footer{count, int64(v.Hash())}); err != nil {
		return err
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}
