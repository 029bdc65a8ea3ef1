package fsm

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// Command is one command of the log: the protobuf message itself, so that what
// is proposed, forwarded and stored is never converted.
type Command = *limpetv1.Command

// CommandFormat is the version of the command set that this build writes and
// the newest that it can apply.
const CommandFormat = 1

// Entry is a stamped batch of commands: the unit of the log.
type Entry struct {
	Stamp    Stamp
	Commands []Command

	encoded [][]byte // of the commands, as far as they came encoded; may be shorter
}

// Encode gives the bytes of the entry.
func (e *Entry) Encode() ([]byte, error) { return e.Append(nil) }

// Append appends the bytes of the entry. What came encoded is not encoded once more.
func (e *Entry) Append(b []byte) ([]byte, error) {
	b, err := proto.MarshalOptions{}.MarshalAppend(b, &limpetv1.Entry{
		Format: CommandFormat, Instant: int64(e.Stamp.Instant), Wall: e.Stamp.Wall,
	})
	for i := 0; i < len(e.Commands) && err == nil; i++ {
		b, err = e.appendCommand(b, i)
	}
	if err != nil {
		return nil, fmt.Errorf("encode log entry: %w", err)
	}
	return b, nil
}

// appendCommand appends the i-th command as an element of the entry's list.
func (e *Entry) appendCommand(b []byte, i int) ([]byte, error) {
	const commands = 4 // the field's number in limpetv1.Entry
	b = protowire.AppendTag(b, commands, protowire.BytesType)
	if i < len(e.encoded) && len(e.encoded[i]) > 0 {
		return protowire.AppendBytes(b, e.encoded[i]), nil
	}
	b = protowire.AppendVarint(b, uint64(proto.Size(e.Commands[i]))) //nolint:gosec // a size is not negative
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, e.Commands[i])
}

// DecodeEntry reads an entry from the log. An error means that this node must
// stop: applying less than the others did would make its state differ.
func DecodeEntry(b []byte) (*Entry, error) {
	var m limpetv1.Entry
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("decode log entry: %w", err)
	}
	if m.GetFormat() > CommandFormat {
		return nil, fmt.Errorf("log entry has command format %d; this build knows up to %d: upgrade this node", m.GetFormat(), CommandFormat)
	}
	for _, c := range m.GetCommands() {
		if c.GetKind() == nil {
			return nil, fmt.Errorf("log entry of format %d holds a command that this build does not know: upgrade this node", m.GetFormat())
		}
	}
	return &Entry{
		Stamp:    Stamp{Instant: Instant(m.GetInstant()), Wall: m.GetWall()},
		Commands: m.GetCommands(),
	}, nil
}
