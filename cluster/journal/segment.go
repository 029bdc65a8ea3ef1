package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
)

// page is what frames are aligned to: a write touches no page of an earlier one.
const page = 4096

// magic begins a file's head; the last byte is the format.
const magic = "limpetj\x01"

// headSize is the head's length: magic, generation, seed, checksum.
const headSize = len(magic) + 8 + 8 + 8

// File is what a journal is written to: of fixed size, and at first with the content
// that Blank gives.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns when all that was written is on disk.
	Sync() error
	Close() error
	Name() string
}

// segment is one file: its head in the first page, then frames.
type segment struct {
	file File
	size int64
	gen  uint64
	seed uint64 // of the frames' checksums, random: no entry can hold what looks like a frame
	next int64  // where the next frame goes
	// ready says that a frame may be written. It may not while the file is emptied, nor
	// after a write that failed: what that left on disk is not known.
	ready bool
}

// openFile opens a file, or at first makes it: of its full size, so that it never grows, with
// a head, and under its name when all is on disk.
func openFile(path string, size int64, first bool) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if !first {
			return nil, damage(fmt.Sprintf("its file %q is gone", path))
		}
		if err := makeFile(path, size); err != nil {
			return nil, fmt.Errorf("make %q: %w", path, err)
		}
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	return synced{f}, nil
}

func makeFile(path string, size int64) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	if _, err = f.Write(Blank(size)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err //nolint:wrapcheck // names the directory
	}
	return errors.Join(d.Sync(), d.Close())
}

// Blank is the content of a file that has held nothing.
func Blank(size int64) []byte {
	b := make([]byte, size)
	copy(b, head(1, 0))
	return b
}

func head(gen, seed uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte(magic), gen)
	b = binary.BigEndian.AppendUint64(b, seed)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// renew begins a new generation: what the file holds is void.
func (g *segment) renew(gen uint64) error {
	g.ready = false
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	seed := binary.BigEndian.Uint64(random[:])
	if _, err := g.file.WriteAt(head(gen, seed), 0); err != nil {
		return fmt.Errorf("write the head of the journal: %w", err)
	}
	if err := g.file.Sync(); err != nil {
		return fmt.Errorf("sync the head of the journal: %w", err)
	}
	g.gen, g.seed, g.next, g.ready = gen, seed, page, true
	return nil
}

func (g *segment) fits(n int) bool { return g.next+int64(n) <= g.size }

// append writes a frame behind the others.
func (g *segment) append(frame []byte) error {
	g.ready = false
	if _, err := g.file.WriteAt(frame, g.next); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := g.file.Sync(); err != nil {
		return fmt.Errorf("sync the journal: %w", err)
	}
	g.next += int64(len(frame))
	g.ready = true
	return nil
}

// recover reads the generation and its frames. The last frame may be half written:
// nobody was told that it is there. A frame behind one that cannot be read is damage.
func (g *segment) recover() ([]frame, error) {
	raw := make([]byte, g.size)
	if _, err := g.file.ReadAt(raw, 0); err != nil {
		return nil, fmt.Errorf("read the journal %q, which should have %d bytes: %w", g.file.Name(), g.size, err)
	}
	g.gen, g.seed = binary.BigEndian.Uint64(raw[len(magic):]), binary.BigEndian.Uint64(raw[len(magic)+8:])
	if version := raw[len(magic)-1]; string(raw[:len(magic)-1]) == magic[:len(magic)-1] && version != magic[len(magic)-1] {
		return nil, fmt.Errorf("the journal %q has format %d: this build reads %d; start the node with the build that wrote it", g.file.Name(), version, magic[len(magic)-1])
	}
	if string(raw[:headSize]) != string(head(g.gen, g.seed)) {
		return nil, g.damaged(0)
	}
	var out []frame
	at := page
	for at < len(raw) {
		f, n, err := readFrame(raw[at:], g.gen, g.seed)
		if err != nil {
			return nil, fmt.Errorf("journal %q at %d: %w", g.file.Name(), at, err)
		}
		if n == 0 {
			break
		}
		out = append(out, f)
		at += n
	}
	for later := at; later < len(raw); later += page {
		if _, n, err := readFrame(raw[later:], g.gen, g.seed); n > 0 || err != nil {
			return nil, g.damaged(at)
		}
	}
	return out, nil
}

func (g *segment) damaged(at int) error {
	return damage(fmt.Sprintf("its file %q cannot be read at byte %d", g.file.Name(), at))
}

// damage says that entries are lost which this node has told others that it has.
func damage(what string) error {
	return fmt.Errorf("the journal of the log is damaged, %s: entries of this node's log are lost; `limpet cluster remove` it and start a new node "+
		"with an empty data directory and another name", what)
}
