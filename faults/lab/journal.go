package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/limpet-dev/limpet/fsm"
)

// record is one entry of the log as a node applied it.
type record struct {
	node        string
	at          time.Time // when it was applied first
	index, term uint64
	data        []byte
	hash        uint64 // of the node's state after the entry; 0: not asked
}

const recordHead = 36

// hashEvery is how often a node writes its state's hash down, in entries; it
// does so also after the first entry that it applies, and where the log has a
// gap, which may be a snapshot that it took over.
const hashEvery = 128

// Journal gives a function that writes down each entry that a node applies, in a
// new file. A node that is killed leaves a torn last record at most.
func Journal(dir, node string) (func(index, term uint64, entry *fsm.Entry, _ fsm.View), error) {
	f, err := os.OpenFile(JournalFile(dir, node), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var buf []byte
	last, hash := ^uint64(0), uint64(0)
	return func(index, term uint64, entry *fsm.Entry, state fsm.View) {
		data, err := entry.Encode()
		if err != nil {
			return // it was decoded from such an encoding
		}
		if hash = 0; index%hashEvery == 0 || index != last+1 {
			hash = state.Hash()
		}
		last = index
		buf = binary.BigEndian.AppendUint64(buf[:0], uint64(time.Now().UnixNano())) //nolint:gosec // after 1970
		buf = binary.BigEndian.AppendUint64(buf, index)
		buf = binary.BigEndian.AppendUint64(buf, term)
		buf = binary.BigEndian.AppendUint64(buf, hash)
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(data))) //nolint:gosec // entries are small
		buf = append(buf, data...)
		_, _ = f.Write(buf) // what is missing is missed by the judge
	}, nil
}

// readJournals merges the journals of a directory by index, and gives every
// record with a hash besides. Two nodes that applied different entries at one
// index are an error: the log itself is broken.
func readJournals(dir string) (log, hashes []record, broken error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		return nil, nil, fmt.Errorf("journals: %w", err)
	}
	merged := map[uint64]record{}
	for _, file := range files {
		node, _, _ := strings.Cut(filepath.Base(file), ".")
		node = node[:strings.LastIndexByte(node, '-')]
		err := readJournal(file, node, func(r record) {
			if r.hash != 0 {
				hashes = append(hashes, record{node: r.node, at: r.at, index: r.index, hash: r.hash})
			}
			o, seen := merged[r.index]
			switch {
			case seen && (o.term != r.term || string(o.data) != string(r.data)):
				broken = errors.Join(broken, fmt.Errorf("entry %d is of term %d at %s and of term %d at %s", r.index, o.term, o.node, r.term, r.node))
			case !seen || r.at.Before(o.at):
				merged[r.index] = r
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	log = make([]record, 0, len(merged))
	for _, r := range merged {
		log = append(log, r)
	}
	slices.SortFunc(log, func(a, b record) int { return int(int64(a.index) - int64(b.index)) }) //nolint:gosec // far below
	return log, hashes, broken
}

func readJournal(file, node string, take func(record)) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReaderSize(f, 1<<20)
	var head [recordHead]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return nil // the end, or a torn record
		}
		r := record{
			node: node, at: time.Unix(0, int64(binary.BigEndian.Uint64(head[:]))), //nolint:gosec // as written
			index: binary.BigEndian.Uint64(head[8:]), term: binary.BigEndian.Uint64(head[16:]),
			hash: binary.BigEndian.Uint64(head[24:]), data: make([]byte, binary.BigEndian.Uint32(head[32:])),
		}
		if _, err := io.ReadFull(in, r.data); err != nil {
			return nil // torn
		}
		take(r)
	}
}
