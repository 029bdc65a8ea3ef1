package agent

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// frame is a message that is passed on as it is.
type frame struct{ data []byte }

// rawCodec passes frames through: the agent decodes only what it has to know.
type rawCodec struct{}

// Name is that of protobuf, which the messages are.
func (rawCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 for frames.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("the agent cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(f.data)}, nil
}

// Unmarshal implements encoding.CodecV2 for frames.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("the agent cannot receive a %T", v)
	}
	f.data = data.Materialize()
	return nil
}
