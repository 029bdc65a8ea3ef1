package pack

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// What the log has of an entry, packed or not, is the entry; and one Packer serves
// entries of all sizes one after another.
func TestAnEntryIsReadFromTheLogAsItWasWritten(t *testing.T) {
	var p Packer
	rapid.Check(t, func(t *rapid.T) {
		e := &fsm.Entry{Stamp: fsm.Stamp{Instant: fsm.Instant(rapid.Int64Range(1, 1<<40).Draw(t, "instant"))}}
		for range rapid.IntRange(0, 40).Draw(t, "commands") {
			e.Commands = append(e.Commands, &limpetv1.Command{
				RequestId: rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "request"),
				Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{
					TaskRunId: rapid.StringN(0, 8, 40).Draw(t, "task"), Output: rapid.SliceOf(rapid.Byte()).Draw(t, "output"),
				}},
			})
		}
		plain, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		data, err := p.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > len(plain) || len(plain) < leastPacked && !bytes.Equal(data, plain) {
			t.Fatalf("%d bytes of an entry became %d", len(plain), len(data))
		}
		if got := EntrySize(data); got != len(plain) {
			t.Fatalf("EntrySize = %d, want %d", got, len(plain))
		}
		kept := slices.Clone(data)
		got, err := p.Decode(data)
		if err != nil || got.Stamp != e.Stamp {
			t.Fatalf("read as %+v, %v", got, err)
		}
		if _, err := p.Decode(kept); err != nil { // into the same buffer
			t.Fatal(err)
		}
		if !proto.Equal(&limpetv1.Entry{Commands: got.Commands}, &limpetv1.Entry{Commands: e.Commands}) {
			t.Fatalf("read as %v, want %v", got.Commands, e.Commands)
		}
	})
}

// A node stops at an entry that it cannot read, whatever is wrong with it.
func TestADamagedEntryIsRefused(t *testing.T) {
	var p Packer
	e := &fsm.Entry{Stamp: fsm.Stamp{Instant: 1}}
	for range 100 {
		e.Commands = append(e.Commands, &limpetv1.Command{Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{TaskRunId: "t"}}})
	}
	good, err := p.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if good[0] != packed {
		t.Fatalf("an entry of %d bytes is not packed", EntrySize(good))
	}
	sealed := func(block []byte) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte{packed}, sum(block)), block...)
	}
	noise := bytes.Repeat([]byte{0xff}, 600)
	for what, c := range map[string]struct {
		bad []byte
		why string
	}{
		"cut short":        {good[:len(good)/2], errSum.Error()},
		"one byte":         {good[:1], errSum.Error()},
		"no block":         {sealed(noise), "corrupt"},
		"a block of noise": {sealed(s2.Encode(nil, noise)), "proto"},
		"huge":             {sealed(protowire.AppendVarint(nil, mostUnpacked+1)), "the most that one can have"},
		"of a newer build": {append([]byte{packed + 1}, good[1:]...), "proto"},
	} {
		if _, err := p.Decode(c.bad); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error that says %q", what, err, c.why)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if _, err := p.Decode(bad); err == nil {
			t.Errorf("read with byte %d of %d changed", i, len(good))
		}
	}
}
