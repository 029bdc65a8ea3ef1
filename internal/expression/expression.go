// Package expression evaluates the CEL expressions of conditions. It is pure:
// the same expression and values give the same answer.
package expression

import (
	"encoding/json"
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
)

// costLimit bounds one evaluation, in CEL's units of work, so that no expression
// can hold up the leader.
const costLimit = 100_000

// MaxLength is the length in bytes of the longest expression that is taken.
const MaxLength = 4096

// Evaluator compiles and evaluates expressions over `output`, the output of a
// parent, and `input` or `payload`, the payload of an event. It is not for
// several goroutines at a time.
type Evaluator struct {
	env      *cel.Env
	programs map[string]cel.Program
}

// New makes an evaluator; it remembers what it has compiled.
func New() (*Evaluator, error) {
	env, err := cel.NewEnv(cel.Variable("output", cel.DynType), cel.Variable("input", cel.DynType), cel.Variable("payload", cel.DynType))
	if err != nil {
		return nil, fmt.Errorf("make the CEL environment: %w", err)
	}
	return &Evaluator{env: env, programs: map[string]cel.Program{}}, nil
}

// Check says what is wrong with an expression: it does not parse, names what
// does not exist, or cannot give a truth value.
func (e *Evaluator) Check(text string) error {
	_, err := e.compile(text)
	return err
}

func (e *Evaluator) compile(text string) (cel.Program, error) {
	if p, ok := e.programs[text]; ok {
		return p, nil
	}
	if len(text) > MaxLength {
		return nil, fmt.Errorf("the expression has %d bytes, the limit is %d", len(text), MaxLength)
	}
	ast, issues := e.env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("not a CEL expression: %w", err)
	}
	if t := ast.OutputType(); t != cel.BoolType && t != cel.DynType {
		return nil, fmt.Errorf("gives a %s, and must give true or false", t)
	}
	p, err := e.env.Program(ast, cel.CostLimit(costLimit))
	if err != nil {
		return nil, fmt.Errorf("plan the expression: %w", err)
	}
	e.programs[text] = p
	return p, nil
}

// Holds evaluates an expression. Output and payload are JSON; empty for an
// empty object. A failure to evaluate, such as a missing key, is an error.
func (e *Evaluator) Holds(text string, output, payload []byte) (bool, error) {
	p, err := e.compile(text)
	if err != nil {
		return false, err
	}
	out, err := value(output)
	if err != nil {
		return false, err
	}
	in, err := value(payload)
	if err != nil {
		return false, err
	}
	got, _, err := p.Eval(map[string]any{"output": out, "input": in, "payload": in})
	if err != nil {
		return false, fmt.Errorf("evaluate: %w", err)
	}
	holds, ok := got.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gave %v, and must give true or false", got.Value())
	}
	return holds, nil
}

func value(raw []byte) (any, error) {
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, errors.New("what the expression is about is not JSON")
	}
	return v, nil
}
