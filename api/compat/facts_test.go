package compat_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/limpet-dev/limpet/api/compat"
	_ "github.com/limpet-dev/limpet/api/compat/v1"
)

// table is one part of facts.json: full name -> lines.
//
//	services  "Method: [stream ]Request -> [stream ]Response"
//	messages  "number name type[ optional| repeated| oneof NAME]" or "number reserved"
//	enums     "number NAME"
type table map[string][]string

type facts struct {
	Services table `json:"services"`
	Messages table `json:"messages"`
	Enums    table `json:"enums"`
}

func TestCompiledDescriptorsAgreeWithTheFacts(t *testing.T) {
	want, got := readFacts(t), compiledFacts(t)
	for _, line := range diff(want, got) {
		t.Error(line)
	}
}

func TestTheFactsAreComplete(t *testing.T) {
	f := readFacts(t)
	count := func(tb table) (lines int) {
		for _, l := range tb {
			lines += len(l)
		}
		return lines
	}
	if n := count(f.Services); len(f.Services) != 5 || n != 35 {
		t.Errorf("%d services with %d methods, want 5 with 35", len(f.Services), n)
	}
	// 417 fields, 4 of newer SDKs, 1 reserved number.
	if n := count(f.Messages); len(f.Messages) != 113 || n != 422 {
		t.Errorf("%d messages with %d lines, want 113 with 422", len(f.Messages), n)
	}
	if len(f.Enums) != 19 {
		t.Errorf("%d enums, want 19", len(f.Enums))
	}
}

// A comparison that finds nothing proves nothing: each kind of fault is
// planted, on either side.
func TestDiffFindsPlantedFaults(t *testing.T) {
	faults := map[string]func(*facts){
		"a message is missing":      func(f *facts) { delete(f.Messages, "WorkerLabels") },
		"a message is new":          func(f *facts) { f.Messages["Extra"] = nil },
		"a field is missing":        func(f *facts) { f.Messages["Event"] = f.Messages["Event"][1:] },
		"a field has a new number":  func(f *facts) { swap(f.Messages, "Event", "1 tenant_id", "9 tenant_id") },
		"a field has a new type":    func(f *facts) { swap(f.Messages, "Event", "3 key string", "3 key bytes") },
		"a field lost its presence": func(f *facts) { swap(f.Messages, "Event", "scope string optional", "scope string") },
		"an enum value is renamed":  func(f *facts) { swap(f.Enums, "SDKS", "1 GO", "1 GOLANG") },
		"a service is missing":      func(f *facts) { delete(f.Services, "Dispatcher") },
		"a stream became unary":     func(f *facts) { swap(f.Services, "Dispatcher", "-> stream ", "-> ") },
	}
	for name, plant := range faults {
		t.Run(name, func(t *testing.T) {
			bad := readFacts(t)
			plant(&bad)
			if len(diff(bad, compiledFacts(t))) == 0 {
				t.Error("planted in the facts, not found")
			}
			if len(diff(readFacts(t), bad)) == 0 {
				t.Error("planted in the descriptors, not found")
			}
		})
	}
}

func swap(tb table, name, before, after string) {
	for i, l := range tb[name] {
		tb[name][i] = strings.Replace(l, before, after, 1)
	}
}

func readFacts(t *testing.T) (f facts) {
	t.Helper()
	raw, err := os.ReadFile("facts.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// diff names what one side has and the other lacks, in both directions.
func diff(want, got facts) []string {
	out := diffTable("service", want.Services, got.Services)
	out = append(out, diffTable("message", want.Messages, got.Messages)...)
	return append(out, diffTable("enum", want.Enums, got.Enums)...)
}

func diffTable(kind string, want, got table) (out []string) {
	lack := func(a, b table, side string) {
		for _, name := range slices.Sorted(maps.Keys(a)) {
			lines, found := b[name]
			if !found {
				out = append(out, fmt.Sprintf("%s %s: not in the %s", kind, name, side))
				continue
			}
			for _, l := range a[name] {
				if !slices.Contains(lines, l) {
					out = append(out, fmt.Sprintf("%s %s: %q: not in the %s", kind, name, l, side))
				}
			}
		}
	}
	lack(want, got, "compiled descriptors")
	lack(got, want, "facts")
	return out
}

// compiledFacts writes the generated descriptors down in the form of facts.json.
func compiledFacts(t *testing.T) facts {
	t.Helper()
	f := facts{Services: table{}, Messages: table{}, Enums: table{}}
	protoregistry.GlobalFiles.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(fd.Path(), "compat/") {
			return true
		}
		for s := range each(fd.Services()) {
			f.Services[string(s.FullName())] = methodLines(s)
		}
		for m := range each(fd.Messages()) {
			f.Messages[string(m.FullName())] = fieldLines(m)
			for n := range each(m.Messages()) {
				if !n.IsMapEntry() {
					t.Errorf("nested message %s: the facts know none", n.FullName())
				}
			}
			if m.Enums().Len() > 0 {
				t.Errorf("nested enum in %s: the facts know none", m.FullName())
			}
		}
		for e := range each(fd.Enums()) {
			f.Enums[string(e.FullName())] = valueLines(e)
		}
		return true
	})
	return f
}

// each ranges over a list of descriptors.
func each[D any](list interface {
	Len() int
	Get(i int) D
},
) func(func(D) bool) {
	return func(yield func(D) bool) {
		for i := range list.Len() {
			if !yield(list.Get(i)) {
				return
			}
		}
	}
}

func methodLines(s protoreflect.ServiceDescriptor) (out []string) {
	stream := map[bool]string{true: "stream "}
	for m := range each(s.Methods()) {
		out = append(out, fmt.Sprintf("%s: %s%s -> %s%s", m.Name(),
			stream[m.IsStreamingClient()], m.Input().FullName(),
			stream[m.IsStreamingServer()], m.Output().FullName()))
	}
	return out
}

func fieldLines(m protoreflect.MessageDescriptor) (out []string) {
	for f := range each(m.Fields()) {
		line := fmt.Sprintf("%d %s %s", f.Number(), f.Name(), typeName(f))
		switch {
		case f.IsList():
			line += " repeated"
		case f.HasOptionalKeyword():
			line += " optional"
		case f.ContainingOneof() != nil:
			line += " oneof " + string(f.ContainingOneof().Name())
		}
		out = append(out, line)
	}
	for i := range m.ReservedRanges().Len() {
		r := m.ReservedRanges().Get(i)
		for n := r[0]; n < r[1]; n++ {
			out = append(out, fmt.Sprintf("%d reserved", n))
		}
	}
	return out
}

func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s,%s>", typeName(f.MapKey()), typeName(f.MapValue()))
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	default:
		return f.Kind().String()
	}
}

func valueLines(e protoreflect.EnumDescriptor) (out []string) {
	for v := range each(e.Values()) {
		out = append(out, fmt.Sprintf("%d %s", v.Number(), v.Name()))
	}
	return out
}
