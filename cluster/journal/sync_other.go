//go:build !linux

package journal

import "os"

// synced is a file that is synced as a whole.
type synced struct{ *os.File }
