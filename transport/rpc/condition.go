package rpc

import (
	"fmt"

	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
	"github.com/limpet-dev/limpet/internal/expression"
)

// conditions converts what a task waits for besides its parents. Expressions are
// compiled here, so that a mistake in one is told at the registration. Some SDKs
// send an empty message for none.
func conditions(at string, c *compatv1.TaskConditions) ([]*limpetv1.Condition, error) {
	if len(c.GetParentOverrideConditions())+len(c.GetSleepConditions())+len(c.GetUserEventConditions()) == 0 {
		return nil, nil
	}
	e, err := expression.New()
	if err != nil {
		return nil, err
	}
	x := &conditionReader{check: e}
	for i, p := range c.GetParentOverrideConditions() {
		field := fmt.Sprintf("%s.conditions.parent_override_conditions[%d]", at, i)
		if d := x.base(field, p.GetBase(), limpetv1.ConditionKind_CONDITION_KIND_PARENT); d != nil {
			d.Parent = p.GetParentReadableId()
		}
	}
	for i, p := range c.GetSleepConditions() {
		field := fmt.Sprintf("%s.conditions.sleep_conditions[%d]", at, i)
		if d := x.base(field, p.GetBase(), limpetv1.ConditionKind_CONDITION_KIND_SLEEP); d != nil {
			d.Expression = "" // a sleep has nothing to look at
			if d.Sleep, x.err = nanos(field+".sleep_for", p.GetSleepFor()); x.err == nil && d.GetSleep() == 0 {
				x.err = invalid(field+".sleep_for", p.GetSleepFor(), "must be longer than 0", "for example 10s")
			}
		}
	}
	for i, p := range c.GetUserEventConditions() {
		field := fmt.Sprintf("%s.conditions.user_event_conditions[%d]", at, i)
		if d := x.base(field, p.GetBase(), limpetv1.ConditionKind_CONDITION_KIND_EVENT); d != nil {
			d.EventKey, d.EventScope = p.GetUserEventKey(), p.GetEventScope()
			if p.GetConsiderEventsSince() != nil {
				x.err = invalid(field+".consider_events_since", p.GetConsiderEventsSince().String(),
					"events of the past are not looked at; a condition sees those pushed after the task's parents have ended", "leave it out")
			}
		}
	}
	return x.out, x.err
}

// conditionReader collects conditions until the first error.
type conditionReader struct {
	check *expression.Evaluator
	out   []*limpetv1.Condition
	err   error
}

func (x *conditionReader) base(field string, b *compatv1.BaseMatchCondition, kind limpetv1.ConditionKind) *limpetv1.Condition {
	if x.err != nil {
		return nil
	}
	d := &limpetv1.Condition{Kind: kind, Group: b.GetOrGroupId(), Key: b.GetReadableDataKey(), Expression: b.GetExpression()}
	switch b.GetAction() {
	case compatv1.Action_QUEUE, compatv1.Action_CREATE:
		d.Action = limpetv1.ConditionAction_CONDITION_ACTION_QUEUE
	case compatv1.Action_CANCEL:
		d.Action = limpetv1.ConditionAction_CONDITION_ACTION_CANCEL
	case compatv1.Action_SKIP:
		d.Action = limpetv1.ConditionAction_CONDITION_ACTION_SKIP
	default:
		x.err = invalid(field+".base.action", itoa(int32(b.GetAction())), "must be CREATE, QUEUE, CANCEL or SKIP", "")
		return nil
	}
	if d.GetExpression() != "" && kind != limpetv1.ConditionKind_CONDITION_KIND_SLEEP {
		if err := x.check.Check(d.GetExpression()); err != nil {
			x.err = invalid(field+".base.expression", d.GetExpression(), err.Error(), "")
			return nil
		}
	}
	x.out = append(x.out, d)
	return d
}
