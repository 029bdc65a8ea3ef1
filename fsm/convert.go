package fsm

import (
	"strconv"

	limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"
)

func slotsFrom(in []*limpetv1.SlotRequest) []Slots {
	var out []Slots
	for _, x := range in {
		out = append(out, Slots{Type: x.GetType(), Units: x.GetUnits()})
	}
	return out
}

func labelFrom(x *limpetv1.Label) Label {
	return Label{Key: x.GetKey(), IsNumber: x.GetIsNumber(), Text: x.GetText(), Number: x.GetNumber()}
}

func labelsFrom(in []*limpetv1.Label) []Label {
	var out []Label
	for _, x := range in {
		out = append(out, labelFrom(x))
	}
	return out
}

func wishesFrom(in []*limpetv1.LabelWish) []LabelWish {
	var out []LabelWish
	for _, x := range in {
		out = append(out, LabelWish{
			Label: labelFrom(x.GetLabel()), Comparator: x.GetComparator(), Required: x.GetRequired(), Weight: x.GetWeight(),
		})
	}
	return out
}

func itoq(s string) string { return strconv.Quote(s) }
