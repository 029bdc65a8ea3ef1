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

func newVersion(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rev := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						rev = s.Value
					}
				}
			}
			v := map[string]string{"version": release, "revision": rev, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if c.json() {
				writeJSON(c.io.out, v)
				return nil
			}
			_, err := fmt.Fprintf(c.io.out, "limpet %s (%s, %s, revision %s)\n", release, v["go"], v["platform"], rev)
			return err
		},
	}
}
