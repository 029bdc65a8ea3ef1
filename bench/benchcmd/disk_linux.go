package benchcmd

import (
	"fmt"
	"syscall"

	"github.com/limpet-dev/limpet/bench"
)

// onDisk refuses a directory in memory: a sync would cost nothing there.
func onDisk(dir string) error {
	const tmpfs = 0x01021994
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("--dir is %q: %w", dir, err)
	}
	if s.Type == tmpfs {
		return &bench.OptionError{Option: "dir", Got: dir, Want: "on a disk; this one is in memory, where a sync costs nothing"}
	}
	return nil
}
