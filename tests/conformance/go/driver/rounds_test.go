package main

import "testing"

func TestWholeFindsAttemptsThatRanElsewhere(t *testing.T) {
	for _, c := range []struct {
		name string
		seen []int
		want bool
	}{
		{"all three", []int{0, 1, 2}, true},
		{"one more after a lost report", []int{0, 1, 2, 3}, true},
		{"one sent twice", []int{0, 0, 1, 2}, true},
		{"the first elsewhere", []int{1, 2}, false},
		{"the middle one elsewhere", []int{0, 2}, false},
		{"one of four elsewhere", []int{0, 1, 3}, false},
		{"too few", []int{0, 1}, false},
		{"none", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := whole(c.seen); got != c.want {
				t.Errorf("whole(%v) is %t, want %t", c.seen, got, c.want)
			}
		})
	}
}
