package sim_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// A scenario lives for milliseconds and makes much garbage: with the usual pace of
// the collector a third of the time goes to it, and none of the memory is short.
const collectAt = 800

func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	runtime.MemProfileRate = 0
	os.Exit(m.Run())
}
