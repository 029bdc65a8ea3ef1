package planted

func goroutine(f func()) {
	go f() // want "goroutine"
}

func channels(in chan int, out chan<- int) { // want "channel"
	out <- 1       // want "channel"
	_ = <-in       // want "channel"
	for range in { // want "channel"
	}
	select { // want "select"
	case v := <-in: // want "channel"
		_ = v
	default:
	}
	_ = make(chan string) // want "channel"
}
