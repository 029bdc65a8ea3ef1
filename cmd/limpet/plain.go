package main

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// plain gives a message as maps and lists for JSON: the names of the .proto
// file, numbers as numbers, and no field left out for being zero.
func plain(m proto.Message) map[string]any { return plainMessage(m.ProtoReflect()) }

func plainMessage(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		switch {
		case f.IsList():
			list := m.Get(f).List()
			items := make([]any, list.Len())
			for j := range items {
				items[j] = plainValue(f, list.Get(j))
			}
			out[name] = items
		case f.Message() != nil && !m.Has(f):
			out[name] = nil
		default:
			out[name] = plainValue(f, m.Get(f))
		}
	}
	return out
}

func plainValue(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	if f.Message() != nil {
		return plainMessage(v.Message())
	}
	return v.Interface()
}
