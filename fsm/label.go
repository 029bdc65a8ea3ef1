package fsm

import limpetv1 "github.com/limpet-dev/limpet/api/limpet/v1"

// Label is one label of a worker: a text or a number, never both.
type Label struct {
	Key      string
	IsNumber bool
	Text     string
	Number   int64
}

func (l *Label) fields(c *codec) {
	str(c, 1, &l.Key)
	flag(c, 2, &l.IsNumber)
	str(c, 3, &l.Text)
	num(c, 4, &l.Number)
}

// Value gives the label's value as text.
func (l *Label) Value() string {
	if l.IsNumber {
		return itoa(l.Number)
	}
	return l.Text
}

// LabelWish is what a task wants of a worker's label.
type LabelWish struct {
	Label      Label // key and the value to compare with
	Comparator limpetv1.Comparator
	// Required: a worker that does not match may not take the task at all.
	Required bool
	// Weight is what a match adds to a worker's score; 100 if unset.
	Weight int32
}

func (w *LabelWish) fields(c *codec) {
	sub(c, 1, &w.Label)
	num(c, 2, &w.Comparator)
	flag(c, 3, &w.Required)
	num(c, 4, &w.Weight)
}

// Holds reports whether a worker's labels meet the wish. Text and number never
// compare with each other, and text knows only equal and not equal.
func (w *LabelWish) Holds(labels []Label) bool {
	for i := range labels {
		if labels[i].Key == w.Label.Key {
			return w.compare(&labels[i])
		}
	}
	return w.Comparator == limpetv1.Comparator_COMPARATOR_NOT_EQUAL
}

func (w *LabelWish) compare(have *Label) bool {
	if have.IsNumber != w.Label.IsNumber {
		return w.Comparator == limpetv1.Comparator_COMPARATOR_NOT_EQUAL
	}
	if !have.IsNumber {
		equal := have.Text == w.Label.Text
		return w.Comparator == limpetv1.Comparator_COMPARATOR_EQUAL && equal ||
			w.Comparator == limpetv1.Comparator_COMPARATOR_NOT_EQUAL && !equal
	}
	a, b := have.Number, w.Label.Number
	switch w.Comparator {
	case limpetv1.Comparator_COMPARATOR_EQUAL:
		return a == b
	case limpetv1.Comparator_COMPARATOR_NOT_EQUAL:
		return a != b
	case limpetv1.Comparator_COMPARATOR_GREATER:
		return a > b
	case limpetv1.Comparator_COMPARATOR_GREATER_OR_EQUAL:
		return a >= b
	case limpetv1.Comparator_COMPARATOR_LESS:
		return a < b
	case limpetv1.Comparator_COMPARATOR_LESS_OR_EQUAL:
		return a <= b
	}
	return false
}
