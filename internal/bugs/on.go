//go:build limpet_bugs

package bugs

import "os"

var active = Bug(os.Getenv("LIMPET_BUG"))

// On reports whether the build has the bug.
func On(b Bug) bool { return active == b }

// Set puts another bug in its place; empty for none. Not while anything runs.
func Set(b Bug) { active = b }
