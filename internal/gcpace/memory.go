package gcpace

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// Where Linux says how much memory there is: of the machine, and of the control
// group that a container is.
const (
	machineFile = "/proc/meminfo"
	groupFile   = "/sys/fs/cgroup/memory.max"
)

// memory is how many bytes this process can have: the least of what the machine
// has, what its control group may use and what GOMEMLIMIT says. 0 if none of them
// is known.
func memory() uint64 {
	var least uint64
	for _, b := range []uint64{machineMemory(read(machineFile)), groupMemory(read(groupFile)), runtimeLimit()} {
		if b != 0 && (least == 0 || b < least) {
			least = b
		}
	}
	return least
}

func read(file string) string {
	b, err := os.ReadFile(file) //nolint:gosec // one of the two above
	if err != nil {
		return ""
	}
	return string(b)
}

// machineMemory reads the line "MemTotal: 16303428 kB".
func machineMemory(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "MemTotal" {
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return kb << 10
	}
	return 0
}

// groupMemory reads a number of bytes; "max" is no limit.
func groupMemory(limit string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(limit), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func runtimeLimit() uint64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return uint64(max(0, n))
	}
	return 0
}
