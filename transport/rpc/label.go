package rpc

import (
	"fmt"
	"maps"
	"slices"

	"github.com/limpet-dev/limpet/api/compat"
	compatv1 "github.com/limpet-dev/limpet/api/compat/v1"
	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

// defaultWeight is what a met wish adds to a worker's score when it says
// nothing else.
const defaultWeight = 100

// workerLabels converts a worker's labels, sorted by key.
func workerLabels(field string, in map[string]*compat.WorkerLabels) ([]*limpetv1.Label, error) {
	out := make([]*limpetv1.Label, 0, len(in))
	for _, key := range slices.Sorted(maps.Keys(in)) {
		l, err := label(field, key, in[key].StrValue, in[key].IntValue)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// labelWishes converts what a task or a trigger wants of labels, sorted by key.
func labelWishes(field string, in map[string]*compatv1.DesiredWorkerLabels) ([]*limpetv1.LabelWish, error) {
	out := make([]*limpetv1.LabelWish, 0, len(in))
	for _, key := range slices.Sorted(maps.Keys(in)) {
		w := in[key]
		l, err := label(field, key, w.StrValue, w.IntValue)
		if err != nil {
			return nil, err
		}
		at := fmt.Sprintf("%s[%q]", field, key)
		comparator, err := checkEnum(at+".comparator", w.GetComparator(), compatv1.WorkerLabelComparator_name)
		if err != nil {
			return nil, err
		}
		weight := int32(defaultWeight)
		if w.Weight != nil {
			weight = w.GetWeight()
		}
		out = append(out, &limpetv1.LabelWish{
			Label: l, Comparator: limpetv1.Comparator(comparator), Required: w.GetRequired(), Weight: weight,
		})
	}
	return out, nil
}

func label(field, key string, text *string, number *int32) (*limpetv1.Label, error) {
	if err := checkName(field+" key", key); err != nil {
		return nil, err
	}
	switch {
	case text != nil && number != nil:
		return nil, invalid(fmt.Sprintf("%s[%q]", field, key), *text+", "+itoa(*number), "must be a text or a number, not both", "")
	case number != nil:
		return &limpetv1.Label{Key: key, IsNumber: true, Number: int64(*number)}, nil
	case text != nil:
		return &limpetv1.Label{Key: key, Text: *text}, nil
	default:
		return nil, invalid(fmt.Sprintf("%s[%q]", field, key), "", "must have a text or a number", "")
	}
}

// slotRequests converts units by slot type, sorted by type; entries of zero
// units are left out.
func slotRequests(field string, in map[string]int32) ([]*limpetv1.SlotRequest, error) {
	var out []*limpetv1.SlotRequest
	for _, kind := range slices.Sorted(maps.Keys(in)) {
		units := in[kind]
		if err := checkName(field+" key", kind); err != nil {
			return nil, err
		}
		if units < 0 {
			return nil, invalid(fmt.Sprintf("%s[%q]", field, kind), itoa(units), "must not be negative", "")
		}
		if units > 0 {
			out = append(out, &limpetv1.SlotRequest{Type: kind, Units: units})
		}
	}
	return out, nil
}
