package history

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/limpet-dev/limpet/fsm"
)

const (
	// blockBytes is about how much of records is packed into one value. Records name
	// the same few workers, workflows and tenants, and each value costs its file a key
	// and room up to the end of a page; to read one run, all of its value is unpacked.
	blockBytes = 32 << 10
	// sumSize is the length of the checksum before a value.
	sumSize = 4
	// packed is the first byte of what is packed: a record begins with the kind of its
	// first frame, a small number.
	packed byte = 0xff
)

// block is the records of runs that follow each other in the order of their end, in
// the making. The zero value is ready.
type block struct {
	plain, record []byte
	sealed        []byte // memory of seal
	last          mark
}

// fits says whether another run may go into it, behind those that it has and before
// an end.
func (b *block) fits(a *fsm.Archived, end mark) bool {
	m := markOf(a.Run)
	return len(b.plain)+a.Size() <= blockBytes && b.last.before(m) && m.before(end)
}

func (b *block) add(a *fsm.Archived) {
	b.record = a.Encode(b.record[:0])
	b.append(b.record, markOf(a.Run))
}

func (b *block) append(record []byte, m mark) {
	b.plain = append(binary.AppendUvarint(b.plain, uint64(len(record))), record...)
	b.last = m
}

// seal gives the value of a file that holds the block, with its checksum, and begins
// another block.
func (b *block) seal() []byte {
	const head = sumSize + 1
	b.sealed = slices.Grow(b.sealed[:0], head+s2.MaxEncodedLen(len(b.plain)))
	out := b.sealed[:cap(b.sealed)]
	out = out[:head+len(s2.Encode(out[head:], b.plain))]
	out[sumSize] = packed
	binary.BigEndian.PutUint32(out, crc32.ChecksumIEEE(out[sumSize:]))
	b.plain = b.plain[:0]
	return bytes.Clone(out) // a database holds on to it
}

// whole says whether a value is what was written, by its checksum.
func whole(sealed []byte) bool {
	return len(sealed) > sumSize && binary.BigEndian.Uint32(sealed) == crc32.ChecksumIEEE(sealed[sumSize:])
}

// part is a run of a value: its record as it was written, and what this build
// understands of it.
type part struct {
	mark   mark
	record []byte
	run    *fsm.Archived
}

// parts gives all of a value.
func parts(sealed []byte) (list []part, err error) {
	err = scan(sealed, func(record []byte) (bool, error) {
		a, err := fsm.DecodeArchived(record)
		if err == nil {
			list = append(list, part{markOf(a.Run), bytes.Clone(record), a})
		}
		return true, err
	})
	return list, err
}

// readValue visits the runs of a value, in their order, until visit says no. They keep
// no hold on the value.
func readValue(sealed []byte, visit func(*fsm.Archived) bool) error {
	return scan(sealed, func(record []byte) (bool, error) {
		a, err := fsm.DecodeArchived(record)
		return err == nil && visit(a), err
	})
}

// scan visits the records of a value. A value of an earlier version is one record.
func scan(sealed []byte, visit func(record []byte) (more bool, err error)) error {
	if !whole(sealed) {
		return fmt.Errorf("%w: the checksum of a record is wrong", errDamaged)
	}
	body := sealed[sumSize:]
	if body[0] != packed {
		_, err := visit(body)
		return err
	}
	plain, err := s2.Decode(nil, body[1:])
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	for len(plain) > 0 {
		n, size := binary.Uvarint(plain)
		if size <= 0 || n > uint64(len(plain)-size) {
			return fmt.Errorf("%w: a record is cut short", errDamaged)
		}
		if more, err := visit(plain[size : size+int(n)]); !more || err != nil {
			return err
		}
		plain = plain[size+int(n):]
	}
	return nil
}
