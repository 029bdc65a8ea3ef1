package journal

import (
	"os"
	"syscall"
)

// synced is a file that is synced without what is said of it elsewhere: it never
// grows, so there is nothing.
type synced struct{ *os.File }

// Sync implements File.
func (f synced) Sync() error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
