package expression_test

import (
	"strings"
	"testing"

	"github.com/limpet-dev/limpet/internal/expression"
)

func TestHolds(t *testing.T) {
	e, err := expression.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text, output, payload string
		want                  bool
		fault                 string
	}{
		{text: "output.n > 50", output: `{"n":51}`, want: true},
		{text: "output.n > 50", output: `{"n":50}`},
		{text: "output.n > 50", output: `{}`, fault: "no such key"},
		{text: "input.user == 'a' && payload.user == 'a'", payload: `{"user":"a"}`, want: true},
		{text: "true", want: true},
		{text: "output.n", output: `{"n":1}`, fault: "must give true or false"},
		{text: "1 + 1", fault: "must give true or false"},
		{text: "nobody > 1", fault: "undeclared reference"},
		{text: "output.n >", fault: "not a CEL expression"},
		{text: "'a' == '" + strings.Repeat("x", expression.MaxLength) + "'", fault: "the limit is"},
		{text: "output.n > 1", output: `{`, fault: "not JSON"},
		{
			text:   "output.a.all(x, output.a.all(y, output.a.all(z, x + y + z >= 0)))",
			output: `{"a":[` + strings.Repeat("1,", 200) + `1]}`, fault: "cost limit",
		},
	} {
		got, err := e.Holds(c.text, []byte(c.output), []byte(c.payload))
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%.60s of %.60s: error %v, want one with %q", c.text, c.output, err, c.fault)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%.60s of %.60s = %v, %v, want %v", c.text, c.output, got, err, c.want)
		}
	}
}
