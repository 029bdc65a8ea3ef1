package fsm_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/fsm"
)

// A command that came encoded is copied into its entry: what the log has must be
// what encoding it would have given, whichever of its neighbours came so.
func TestACommandThatCameEncodedIsInTheEntryAsOneThatDidNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stamp := fsm.Stamp{Instant: fsm.Instant(rapid.Int64Range(1, 1<<40).Draw(t, "instant")), Wall: rapid.Int64().Draw(t, "wall")}
		want := &limpetv1.Entry{Format: fsm.CommandFormat, Instant: int64(stamp.Instant), Wall: stamp.Wall}
		draft := fsm.NewMachine().Draft(stamp)
		for range rapid.IntRange(0, 4).Draw(t, "additions") {
			var cmds []fsm.Command
			var data [][]byte
			for range rapid.IntRange(0, 3).Draw(t, "commands") {
				c := &limpetv1.Command{
					RequestId: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "request"),
					Kind: &limpetv1.Command_ReportCompleted{ReportCompleted: &limpetv1.ReportCompleted{
						TaskRunId: rapid.String().Draw(t, "task"), Output: rapid.SliceOf(rapid.Byte()).Draw(t, "output"),
					}},
				}
				b, err := proto.Marshal(c)
				if err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "made here") {
					b = nil
				}
				cmds, data = append(cmds, c), append(data, b)
			}
			if rapid.Bool().Draw(t, "none encoded") {
				data = nil
			}
			if got := draft.AddEncoded(cmds, data); len(got) != len(cmds) {
				t.Fatalf("%d results of %d commands", len(got), len(cmds))
			}
			want.Commands = append(want.Commands, cmds...)
		}
		got, err := draft.Entry().Encode()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := proto.Marshal(want); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("encoded as\n%x, want\n%x (%v)", got, b, err)
		}
		if e, err := fsm.DecodeEntry(got); err != nil || len(e.Commands) != len(want.Commands) || e.Stamp != stamp {
			t.Fatalf("decoded as %+v, %v", e, err)
		}
	})
}
