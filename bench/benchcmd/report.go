package benchcmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/limpet-dev/limpet/bench/report"
)

const resultsDir = "bench/results"

// newReport prints the tables of the handbook.
func (c *command) newReport() *cobra.Command {
	var dir, into, images string
	cmd := &cobra.Command{
		Use: "report", Short: "Tables of measured results, as Markdown", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			results, err := report.Load(dir)
			if err != nil {
				return err
			}
			text := results.Markdown(images)
			if into != "" {
				return report.Insert(into, text)
			}
			_, err = fmt.Fprint(c.env.Out, text)
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "results", resultsDir, "directory of the results")
	cmd.Flags().StringVar(&into, "into", "", "put the tables between the marks of this document, instead of printing them")
	cmd.Flags().StringVar(&images, "images", "img", "folder of the plots as the document sees it; empty links none")
	return cmd
}

// newPlot draws the plots of the handbook.
func (c *command) newPlot() *cobra.Command {
	var dir, out string
	cmd := &cobra.Command{
		Use: "plot", Short: "Plots of measured results, as SVG", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			results, err := report.Load(dir)
			if err != nil {
				return err
			}
			names, err := results.WritePlots(out)
			for _, name := range names {
				fmt.Fprintln(c.env.Out, name)
			}
			if len(names) == 0 && err == nil {
				return errors.New("these results allow no plot: measure throughput with several --outstanding, or backlog, workers, failover, overload")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "results", resultsDir, "directory of the results")
	cmd.Flags().StringVar(&out, "out", "docs/img", "directory of the plots")
	return cmd
}
