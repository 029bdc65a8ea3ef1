package history

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

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
	// mostUnpacked is more than any value has: a damaged one may say anything.
	mostUnpacked = 256 << 20
)

// block is the records of runs that follow each other in the order of their end, in
// the making. The zero value is ready.
type block struct {
	plain, record []byte
	last          mark
}

// fits says whether another run may go into it, behind those of the file and those
// that it has.
func (b *block) fits(m, newest mark) bool {
	return len(b.plain) < blockBytes && newest.before(b.last) && b.last.before(m)
}

func (b *block) add(a *fsm.Archived, m mark) {
	b.record = a.Encode(b.record[:0])
	b.plain = append(binary.AppendUvarint(b.plain, uint64(len(b.record))), b.record...)
	b.last = m
}

// seal gives the value of a file that holds the block, with its checksum, and begins
// another block.
func (b *block) seal() []byte {
	const head = sumSize + 1
	out := make([]byte, head+s2.MaxEncodedLen(len(b.plain)))
	out = out[:head+len(s2.Encode(out[head:], b.plain))]
	out[sumSize] = packed
	binary.BigEndian.PutUint32(out, crc32.ChecksumIEEE(out[sumSize:]))
	b.plain = b.plain[:0]
	return out
}

// readValue visits the runs of a value, in their order, until visit says no. A value
// of an earlier version is one record. The runs keep no hold on the value.
func readValue(sealed []byte, visit func(*fsm.Archived) bool) error {
	if len(sealed) <= sumSize || binary.BigEndian.Uint32(sealed) != crc32.ChecksumIEEE(sealed[sumSize:]) {
		return fmt.Errorf("%w: the checksum of a record is wrong", errDamaged)
	}
	body := sealed[sumSize:]
	if body[0] != packed {
		a, err := fsm.DecodeArchived(body)
		if err == nil {
			visit(a)
		}
		return err
	}
	if n, err := s2.DecodedLen(body[1:]); err != nil || n > mostUnpacked {
		return fmt.Errorf("%w: a value says that it has %d bytes", errDamaged, n)
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
		a, err := fsm.DecodeArchived(plain[size : size+int(n)])
		if err != nil {
			return err
		}
		if !visit(a) {
			return nil
		}
		plain = plain[size+int(n):]
	}
	return nil
}
