package journal

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/raft"
)

// A frame is what one call stores: checksum of the rest, length of the rest without
// padding, generation, sequence number, and the entries. It is padded to whole pages.
const (
	atLength  = 8
	atGen     = atLength + 8
	atSeq     = atGen + 8
	atEntries = atSeq + 8
)

// frame is one that was read.
type frame struct {
	seq  uint64
	logs []*raft.Log
}

// appendFrame makes the frame of entries, but for what sealFrame fills in.
func appendFrame(b []byte, logs []*raft.Log) []byte {
	b = append(b, make([]byte, atEntries)...)
	for _, l := range logs {
		b = binary.AppendUvarint(b, l.Index)
		b = binary.AppendUvarint(b, l.Term)
		b = append(b, byte(l.Type))
		b = binary.AppendVarint(b, appended(l))
		b = binary.AppendUvarint(b, uint64(len(l.Data)))
		b = append(b, l.Data...)
		b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
		b = append(b, l.Extensions...)
	}
	binary.BigEndian.PutUint64(b[atLength:], uint64(len(b)))
	if over := len(b) % page; over > 0 {
		b = append(b, make([]byte, page-over)...)
	}
	return b
}

// appended is when the leader took an entry; 0 if that is not known.
func appended(l *raft.Log) int64 {
	if l.AppendedAt.IsZero() {
		return 0
	}
	return l.AppendedAt.UnixNano()
}

// sealFrame says where the frame belongs.
func sealFrame(b []byte, gen, seed, seq uint64) {
	binary.BigEndian.PutUint64(b[atGen:], gen)
	binary.BigEndian.PutUint64(b[atSeq:], seq)
	n := binary.BigEndian.Uint64(b[atLength:])
	binary.BigEndian.PutUint64(b, checksum(b[atLength:n], seed))
}

func checksum(b []byte, seed uint64) uint64 {
	d := xxhash.NewWithSeed(seed)
	_, _ = d.Write(b)
	return d.Sum64()
}

var errFrame = errors.New("a frame whose checksum is right cannot be read; it may be of a later version")

// readFrame reads the frame with which b begins and gives its length in b; 0 if there
// is none of that generation.
func readFrame(b []byte, gen, seed uint64) (frame, int, error) {
	if len(b) < page {
		return frame{}, 0, nil
	}
	n := binary.BigEndian.Uint64(b[atLength:])
	if n < atEntries || n > uint64(len(b)) || binary.BigEndian.Uint64(b[atGen:]) != gen ||
		binary.BigEndian.Uint64(b) != checksum(b[atLength:n], seed) {
		return frame{}, 0, nil
	}
	f := frame{seq: binary.BigEndian.Uint64(b[atSeq:])}
	d := decoder{in: b[atEntries:n]}
	for len(d.in) > 0 && !d.bad {
		l := &raft.Log{Index: d.uvarint(), Term: d.uvarint(), Type: raft.LogType(d.byte())}
		if at := d.varint(); at != 0 {
			l.AppendedAt = time.Unix(0, at)
		}
		l.Data, l.Extensions = d.bytes(), d.bytes()
		f.logs = append(f.logs, l)
	}
	if d.bad {
		return frame{}, 0, errFrame
	}
	return f, int(n+page-1) / page * page, nil
}

// decoder reads the parts of an entry. It is bad once one of them was not there.
type decoder struct {
	in  []byte
	bad bool
}

func (d *decoder) skip(n int) {
	if d.bad = d.bad || n <= 0; !d.bad {
		d.in = d.in[n:]
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.in)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.in)
	d.skip(n)
	return v
}

func (d *decoder) byte() byte {
	if d.bad = d.bad || len(d.in) == 0; d.bad {
		return 0
	}
	v := d.in[0]
	d.in = d.in[1:]
	return v
}

// bytes reads a text with its length, as a copy; nil if it is empty.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.bad = d.bad || n > uint64(len(d.in)); d.bad || n == 0 {
		return nil
	}
	v := append([]byte(nil), d.in[:n]...)
	d.in = d.in[n:]
	return v
}
