package history

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"github.com/limpet-dev/limpet/fsm"
)

// mark is the place of a run in the order in which runs leave the state: by
// their end and, for those of one entry, by their id.
type mark struct {
	at fsm.Instant
	id string
}

// noMark is after every run.
func noMark() mark { return mark{at: math.MaxInt64} }

func markOf(r *fsm.Run) mark { return mark{r.FinishedAt, string(r.ID)} }

func (m mark) before(o mark) bool { return m.at < o.at || m.at == o.at && m.id < o.id }

// key is the mark as a key of the file: it sorts like the marks.
func (m mark) key() []byte {
	b := make([]byte, 8, 8+len(m.id))
	binary.BigEndian.PutUint64(b, uint64(m.at))
	return append(b, m.id...)
}

func markFrom(key []byte) mark {
	if len(key) < 8 {
		return mark{}
	}
	return mark{fsm.Instant(binary.BigEndian.Uint64(key)), string(bytes.Clone(key[8:]))}
}

// shortID is an id as a key: a UUID takes 16 bytes.
func shortID(id string) []byte {
	if b, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err == nil && fsm.ValidUUID(id) {
		return b
	}
	return []byte(id)
}
