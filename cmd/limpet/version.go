package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of this source tree.
const release = "0.1.0"

func version() string { return release }

// buildInfo is what this binary was made of.
type buildInfo struct{ revision, goVersion, platform string }

func build() buildInfo {
	b := buildInfo{"unknown", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.revision = s.Value
			}
		}
	}
	return b
}

// String is the line that `limpet version` and `limpet --version` print.
func (b buildInfo) String() string {
	return fmt.Sprintf("limpet %s (%s, %s, revision %s)\n", release, b.goVersion, b.platform, b.revision)
}

func newVersion(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build()
			if c.json() {
				writeJSON(c.io.out, map[string]string{"version": release, "revision": b.revision, "go": b.goVersion, "platform": b.platform})
				return nil
			}
			_, err := fmt.Fprint(c.io.out, b)
			return err
		},
	}
}
