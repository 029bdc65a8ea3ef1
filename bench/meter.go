package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what processes have used until a moment.
type usage struct {
	at     time.Time
	client float64 // processor seconds of this process
	nodes  float64 // of the processes under test, together
	known  bool    // nodes is known
}

// measureUsage reads the processor time of this process and of others.
func measureUsage(pids []int) usage {
	u := usage{at: time.Now(), client: ownSeconds(), known: len(pids) > 0}
	for _, pid := range pids {
		s, err := processSeconds(pid)
		if err != nil {
			u.known = false
		}
		u.nodes += s
	}
	return u
}

func ownSeconds() float64 {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / float64(time.Second)
}

// processSeconds reads user and system time from /proc.
func processSeconds(pid int) (float64, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return parseStat(raw)
}

// parseStat finds the two times: fields 14 and 15, counted behind the name,
// which may hold blanks and parentheses.
func parseStat(raw []byte) (float64, error) {
	const (
		ticks       = 100.0 // per second, on all Linux systems
		user, sys   = 11, 12
		afterParens = 2
	)
	end := bytes.LastIndexByte(raw, ')')
	if end < 0 || end+afterParens > len(raw) {
		return 0, fmt.Errorf("stat is %q: must hold a name in parentheses", raw)
	}
	fields := strings.Fields(string(raw[end+afterParens:]))
	if len(fields) <= sys {
		return 0, fmt.Errorf("stat is %q: must have 15 fields or more", raw)
	}
	var sum float64
	for _, i := range []int{user, sys} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat is %q: %w", raw, err)
		}
		sum += float64(n)
	}
	return sum / ticks, nil
}

// residentBytes is the memory that processes hold, by process; 0 if unknown.
func residentBytes(pids []int) []int64 {
	const pages = 1 // the second field of statm
	out := make([]int64, len(pids))
	for i, pid := range pids {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(raw))
		if len(fields) <= pages {
			continue
		}
		n, err := strconv.ParseInt(fields[pages], 10, 64)
		if err == nil {
			out[i] = n * int64(os.Getpagesize())
		}
	}
	return out
}

func sum(list []int64) (n int64) {
	for _, v := range list {
		n += v
	}
	return n
}

// Machine is where figures come from.
type Machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory int64   `json:"memory_bytes"`
	Kernel string  `json:"kernel"`
	Go     string  `json:"go"`
	Load1  float64 `json:"load1_at_start"` // others at work make figures worse
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := fieldOf(string(raw), "model name"); name != "" {
			m.CPU = name
		}
	}
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		const kib = 1024
		if n, err := strconv.ParseInt(strings.TrimSuffix(fieldOf(string(raw), "MemTotal"), " kB"), 10, 64); err == nil {
			m.Memory = n * kib
		}
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(raw))
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(raw), " ")
		if n, err := strconv.ParseFloat(first, 64); err == nil {
			m.Load1 = n
		}
	}
	return m
}

// fieldOf finds "name : value" in lines.
func fieldOf(text, name string) string {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
