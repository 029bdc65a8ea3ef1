package cluster

import (
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/fsm"
)

func TestALongSnapshotIsNotWrittenAgainForALittleLog(t *testing.T) {
	const mib = 1 << 20
	c := &RaftConfig{SnapshotThreshold: 8192, SnapshotBytes: 64 * mib}
	for _, x := range []struct {
		name                   string
		latest, bytes, entries uint64
		wantEntries, wantBytes bool
	}{
		{"nothing yet", 0, 0, 0, false, false},
		{"entries, no snapshot yet", 0, mib, 8192, true, false},
		{"bytes, no snapshot yet", 0, 64 * mib, 100, false, true},
		{"a short snapshot changes nothing", 128 * mib, 64 * mib, 8191, false, true},
		{"a long one: too little log", 1024 * mib, 511 * mib, 8192, false, false},
		{"a long one: half as much log", 1024 * mib, 512 * mib, 65535, false, true},
		{"a long one: many entries", 1024 * mib, mib, 65536, true, false},
	} {
		var l logged
		l.latest.Store(x.latest)
		l.bytes.Store(x.bytes)
		l.entries.Store(x.entries)
		if entries, bytes := l.due(c); entries != x.wantEntries || bytes != x.wantBytes {
			t.Errorf("%s: due by entries %v, by bytes %v; want %v, %v", x.name, entries, bytes, x.wantEntries, x.wantBytes)
		}
	}
}

func TestTheLengthOfASnapshotIsKnown(t *testing.T) {
	var text strings.Builder
	out := &counted{Writer: &text}
	if err := fsm.NewMachine().View().WriteSnapshot(out); err != nil {
		t.Fatal(err)
	}
	in := &counted{Reader: strings.NewReader(text.String())}
	if _, err := fsm.ReadSnapshot(in); err != nil {
		t.Fatal(err)
	}
	if n := uint64(text.Len()); n == 0 || out.bytes != n || in.bytes != n {
		t.Errorf("%d bytes: %d counted when written, %d when read", n, out.bytes, in.bytes)
	}
}
