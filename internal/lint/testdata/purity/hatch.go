package planted

func hatches(m map[string]int) (n int) {
	for _, v := range m { //det:ok a sum does not depend on the order
		n += v
	}
	//det:ok the largest does not depend on the order
	for _, v := range m {
		n = max(n, v)
	}
	for range m { //det:ok // want "range over a map" "without a reason"
	}
	n++ //det:ok nothing here needs this // want "not needed"
	return n
}
