package sim

import "slices"

// Shrink drops steps from the script of a scenario that fails, as long as what
// is left still fails. It asks at most so many times: a scenario is not
// repeated exactly, so fails may play it more than once.
func Shrink(p *Plan, fails func(*Plan) bool, asks int) *Plan {
	best := *p
	for size := (len(best.Steps) + 1) / 2; size >= 1; {
		smaller := false
		for at := 0; at < len(best.Steps); {
			if asks == 0 {
				return &best
			}
			asks--
			try := best
			try.Steps = slices.Delete(slices.Clone(best.Steps), at, min(at+size, len(best.Steps)))
			if fails(&try) {
				best, smaller = try, true
			} else {
				at += size
			}
		}
		switch {
		case size > 1:
			size /= 2
		case !smaller:
			return &best
		}
	}
	return &best
}
