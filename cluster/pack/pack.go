// Package pack makes the bytes that the log and the snapshots have on disk and on
// the wire between nodes: packed, with a checksum. It reads what was not packed.
package pack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"

	"github.com/limpet-dev/limpet/fsm"
)

const (
	// packed is the first byte of an entry that is packed: no entry that is not
	// begins so, and a build that does not know it stops.
	packed byte = 1
	// leastPacked is how many bytes are worth packing.
	leastPacked = 512
	// mostUnpacked is more than any entry has: a damaged one may say anything.
	mostUnpacked = 256 << 20
	// mostKept bounds the buffers that are kept for the next entry.
	mostKept = 4 << 20
	// sumSize is the length of the checksum behind the first byte, of all that follows
	// it: damage that would still unpack to commands, and to others than elsewhere, shows.
	sumSize = 4
)

// Packer makes what the log has of entries, and reads it. The commands of an entry
// name the same few workers, workflows and runs again and again, and its bytes are
// copied a dozen times on their way to the disks of all nodes, so they are packed as
// one S2 block. The zero value is ready; any goroutine may use it.
type Packer struct{ buffers sync.Pool }

// buffer gives an empty one, and what takes it back.
func (p *Packer) buffer() (b *[]byte, done func()) {
	b, ok := p.buffers.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = (*b)[:0]
	return b, func() {
		if cap(*b) <= mostKept {
			p.buffers.Put(b)
		}
	}
}

// Encode gives an entry's bytes for the log.
func (p *Packer) Encode(e *fsm.Entry) ([]byte, error) {
	plain, done := p.buffer()
	defer done()
	var err error
	if *plain, err = e.Append(*plain); err != nil {
		return nil, err
	}
	from := *plain
	if len(from) >= leastPacked {
		block, done := p.buffer()
		defer done()
		*block = s2.Encode((*block)[:cap(*block)], from)
		if 1+sumSize+len(*block) < len(from) {
			data := append(make([]byte, 0, 1+sumSize+len(*block)), packed)
			data = binary.LittleEndian.AppendUint32(data, sum(*block))
			return append(data, *block...), nil
		}
	}
	return append(make([]byte, 0, len(from)), from...), nil
}

// errSum: the bytes of an entry are not what was written.
var errSum = errors.New("its checksum does not fit: the log is damaged")

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Decode reads an entry from the log. It keeps no hold on data. Damage is an error.
func (p *Packer) Decode(data []byte) (*fsm.Entry, error) {
	if len(data) == 0 || data[0] != packed {
		return fsm.DecodeEntry(data)
	}
	if len(data) < 1+sumSize || binary.LittleEndian.Uint32(data[1:]) != sum(data[1+sumSize:]) {
		return nil, fmt.Errorf("unpack log entry: %w", errSum)
	}
	if size := EntrySize(data); size > mostUnpacked {
		return nil, fmt.Errorf("unpack log entry: %d bytes; %d are the most that one can have", size, mostUnpacked)
	}
	plain, done := p.buffer()
	defer done()
	var err error
	if *plain, err = s2.Decode((*plain)[:cap(*plain)], data[1+sumSize:]); err != nil {
		return nil, fmt.Errorf("unpack log entry: %w", err)
	}
	return fsm.DecodeEntry(*plain) // it keeps no hold on the bytes
}

// Snapshot gives a writer of a snapshot that is packed into another, as one S2
// stream: most of what it costs is what the kernel does with each byte. It is whole
// once it is closed, which does not close the other.
func Snapshot(w io.Writer) io.WriteCloser {
	return s2.NewWriter(w, s2.WriterConcurrency(1), s2.WriterBlockSize(snapshotBlock))
}

// snapshotBlock is how much of a snapshot is packed at a time. A writer keeps two buffers
// of it in a pool of its own, which outlives it by two collections: at a megabyte each,
// where snapshots are many and collections few, that is all of the memory.
const snapshotBlock = 64 << 10

// streamed is the first byte of a packed snapshot: one that is not begins with the
// kind of its first record, a small number.
const streamed byte = 0xff

// ReadSnapshot gives what a snapshot held before it was packed, if it was.
func ReadSnapshot(r io.Reader) io.Reader {
	br := bufio.NewReader(r)
	if first, err := br.Peek(1); err != nil || first[0] != streamed {
		return br // also if it is empty, or cannot be read: whoever reads it will see
	}
	return s2.NewReader(br, s2.ReaderAllocBlock(snapshotBlock))
}

// EntrySize gives how many bytes an entry of the log has unpacked: it says what it
// costs to apply it, where its length says what it takes on a disk.
func EntrySize(data []byte) int {
	if len(data) > 1+sumSize && data[0] == packed {
		if n, err := s2.DecodedLen(data[1+sumSize:]); err == nil {
			return n
		}
	}
	return len(data)
}
