package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"github.com/limpet-dev/limpet/transport/rest"
)

// contract is api/openapi.yaml, as far as answers are compared with it.
type contract struct {
	Paths      map[string]map[string]yaml.Node
	Components struct {
		Schemas   map[string]*schema
		Responses map[string]response
	}

	mux        *http.ServeMux       // finds the pattern of a request
	operations map[string]operation // by method and path
}

type operation struct {
	OperationID string `yaml:"operationId"`
	RequestBody struct {
		Content map[string]media
	} `yaml:"requestBody"`
	Responses map[string]response
}

type response struct {
	Ref     string `yaml:"$ref"`
	Content map[string]media
}

type media struct{ Schema *schema }

type schema struct {
	Ref        string `yaml:"$ref"`
	Type       string
	Format     string
	Enum       []string
	Minimum    *float64
	Required   []string
	Properties map[string]*schema
	Additional yaml.Node `yaml:"additionalProperties"`
	Items      *schema
	MinItems   int  `yaml:"minItems"`
	MaxItems   *int `yaml:"maxItems"`
}

func readContract(tb testing.TB) *contract {
	tb.Helper()
	text, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	c := &contract{mux: http.NewServeMux()}
	if err := yaml.Unmarshal(text, c); err != nil {
		tb.Fatal(err)
	}
	for _, p := range rest.Patterns() {
		c.mux.Handle(p, http.NotFoundHandler())
	}
	c.operations = map[string]operation{}
	for path, item := range c.Paths {
		for method, node := range item {
			if method == "parameters" {
				continue
			}
			var op operation
			if err := node.Decode(&op); err != nil {
				tb.Fatal(path, method, err)
			}
			c.operations[strings.ToUpper(method)+" "+path] = op
		}
	}
	return c
}

// check compares an answer with the contract.
func (c *contract) check(tb testing.TB, r *http.Request, w *httptest.ResponseRecorder) {
	tb.Helper()
	if !strings.HasPrefix(r.URL.Path, "/api/v1/") {
		return
	}
	want := c.Components.Responses["Error"].Content["application/json"].Schema
	_, pattern := c.mux.Handler(r)
	op, known := c.operations[pattern]
	if w.Code == http.StatusOK {
		if !known {
			tb.Errorf("%s %s is answered and %q is not in the contract", r.Method, r.URL, pattern)
			return
		}
		want = op.Responses["200"].Content["application/json"].Schema
	}
	var got any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		tb.Errorf("%s %s gives %s: %v", r.Method, r.URL, w.Body, err)
		return
	}
	for _, fault := range c.faults("answer", want, got) {
		tb.Errorf("%s %s: %s", r.Method, r.URL, fault)
	}
}

// faults says where a value is not as its schema wants it.
func (c *contract) faults(at string, want *schema, got any) (out []string) {
	if want == nil {
		return []string{at + " has no schema"}
	}
	if want.Ref != "" {
		name := strings.TrimPrefix(want.Ref, "#/components/schemas/")
		return c.faults(at, c.Components.Schemas[name], got)
	}
	wrong := []string{fmt.Sprintf("%s is %.60v, want %s %s", at, got, want.Type, want.Format)}
	switch v := got.(type) {
	case map[string]any:
		if want.Type != "object" {
			return wrong
		}
		return c.objectFaults(at, want, v)
	case []any:
		if want.Type != "array" || len(v) < want.MinItems || want.MaxItems != nil && len(v) > *want.MaxItems {
			return wrong
		}
		for i := range v {
			out = append(out, c.faults(fmt.Sprintf("%s[%d]", at, i), want.Items, v[i])...)
		}
		return out
	case string:
		if want.Type != "string" || !formatHolds(want.Format, v) || len(want.Enum) > 0 && !slices.Contains(want.Enum, v) {
			return wrong
		}
	case bool:
		if want.Type != "boolean" {
			return wrong
		}
	case float64:
		whole := v == math.Trunc(v)
		if want.Type != "number" && (want.Type != "integer" || !whole) || want.Minimum != nil && v < *want.Minimum {
			return wrong
		}
	default:
		return wrong
	}
	return nil
}

func (c *contract) objectFaults(at string, want *schema, got map[string]any) (out []string) {
	for _, name := range want.Required {
		if _, ok := got[name]; !ok {
			out = append(out, at+"."+name+" is missing")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		inner := at + "." + name
		if s, ok := want.Properties[name]; ok {
			out = append(out, c.faults(inner, s, got[name])...)
			continue
		}
		if want.Additional.Kind == yaml.ScalarNode { // true
			continue
		}
		if want.Additional.IsZero() {
			out = append(out, inner+" is not in the contract")
			continue
		}
		var s schema
		if err := want.Additional.Decode(&s); err != nil {
			return append(out, err.Error())
		}
		out = append(out, c.faults(inner, &s, got[name])...)
	}
	return out
}

func formatHolds(format, text string) bool {
	switch format {
	case "date-time":
		_, err := time.Parse(time.RFC3339Nano, text)
		return err == nil
	case "uuid":
		return uuid.Validate(text) == nil
	}
	return true
}

func TestTheContractNamesWhatIsServed(t *testing.T) {
	c := readContract(t)
	ops := c.operations
	served := rest.Patterns()
	for _, p := range served {
		if _, ok := ops[p]; !ok {
			t.Errorf("%s is served and not in the contract", p)
		}
	}
	ids := map[string]string{}
	for p, op := range ops {
		if !slices.Contains(served, p) {
			t.Errorf("%s is in the contract and not served", p)
		}
		if op.OperationID == "" || ids[op.OperationID] != "" {
			t.Errorf("%s has the operation id %q, as has %q", p, op.OperationID, ids[op.OperationID])
		}
		ids[op.OperationID] = p
		if op.Responses["200"].Content["application/json"].Schema == nil || op.Responses["default"].Ref == "" {
			t.Errorf("%s does not say what it answers", p)
		}
		if method, _, _ := strings.Cut(p, " "); (method != http.MethodGet) != (op.RequestBody.Content["application/json"].Schema != nil) {
			t.Errorf("%s: only what writes has a body", p)
		}
	}
}

func TestTheContractHoldsTogether(t *testing.T) {
	c := readContract(t)
	used := map[string]bool{}
	text, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const prefix = `$ref: "#/components/schemas/`
	for rest := string(text); ; {
		_, after, ok := strings.Cut(rest, prefix)
		if !ok {
			break
		}
		name, _, _ := strings.Cut(after, `"`)
		used[name], rest = true, after
		if c.Components.Schemas[name] == nil {
			t.Errorf("the schema %s is used and not there", name)
		}
	}
	for name, s := range c.Components.Schemas {
		if !used[name] {
			t.Errorf("the schema %s is not used", name)
		}
		for _, field := range s.Required {
			if s.Properties[field] == nil {
				t.Errorf("the schema %s requires %s and does not describe it", name, field)
			}
		}
	}
}

func TestTheContractIsReallyCompared(t *testing.T) {
	c := readContract(t)
	want := c.Components.Schemas["Tenant"]
	const head = `"metadata":{"id":"11111111-1111-4111-8111-111111111111","createdAt":"2030-01-01T00:00:00Z","updatedAt":"2030-01-01T00:00:00Z"}`
	for _, test := range []struct{ text, want string }{
		{`{` + head + `,"name":"a","slug":"a","version":"V1"}`, ""},
		{`{` + head + `,"name":"a","slug":"a"}`, "answer.version is missing"},
		{`{` + head + `,"name":1,"slug":"a","version":"V1"}`, "answer.name is 1, want string"},
		{`{` + head + `,"name":"a","slug":"a","version":"V2"}`, "answer.version is V2"},
		{`{` + head + `,"name":"a","slug":"a","version":"V1","more":1}`, "answer.more is not in the contract"},
		{`{"metadata":{"id":"x","createdAt":"","updatedAt":null},"name":"a","slug":"a","version":"V1"}`, "answer.metadata.createdAt"},
		{`[]`, "answer is []"},
	} {
		var got any
		if err := json.Unmarshal([]byte(test.text), &got); err != nil {
			t.Fatal(err)
		}
		faults := strings.Join(c.faults("answer", want, got), "\n")
		if test.want == "" && faults != "" || !strings.Contains(faults, test.want) {
			t.Errorf("%s gives %q, want %q", test.text, faults, test.want)
		}
	}
}
