package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// stdio is where a command reads and writes, so that tests can run commands.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

const rootHelp = `limpet keeps every task of a run on the worker that holds its state, on a
cluster with no database.

  Start:    limpet dev --nodes 3          three nodes on this machine, token, sample lines
            limpet server --config F      one node of a real cluster
  Look:     limpet run list | limpet worker list | limpet pin list | limpet cluster status
  Ask why:  limpet pin list               what waits for a pinned worker, and why
  Operate:  limpet worker drain W | limpet pin move RUN --to W | limpet cluster transfer-leader
  Worker:   limpet agent -- CMD           runs a worker program of any SDK, and keeps its place`

// newRoot makes the tree of commands.
func newRoot(io stdio) *cobra.Command {
	root := &cobra.Command{
		Use: "limpet", Short: "A replicated coordinator for sticky worker assignment", Long: rootHelp,
		SilenceUsage: true, SilenceErrors: true, Version: release,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.SetFlagErrorFunc(flagError)
	c := &client{io: io}
	c.flags(root)
	root.AddGroup(&cobra.Group{ID: "node", Title: "Nodes:"}, &cobra.Group{ID: "work", Title: "Runs, workers and pins:"},
		&cobra.Group{ID: "tools", Title: "Cluster and tools:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, x := range cmds {
			x.GroupID = group
			root.AddCommand(x)
		}
	}
	add("node", newDev(io), newServer(io), newAgent(c))
	add("work", newRun(c), newWorkflow(c), newWorker(c), newPin(c))
	add("tools", newCluster(c), newAudit(c), newToken(c), newConfig(io), newKeygen(io), newBench(c), newLab(io), newVersion(c))
	root.SetVersionTemplate(build().String())
	strict(root)
	return root
}

// run executes one command line and gives the exit code.
func run(ctx context.Context, args []string, io stdio) int {
	root := newRoot(io)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	code, text := codeOf(err), err.Error()
	if e, ok := errors.AsType[*exitError](err); ok && e.refused {
		text = inFlags(cmd, text)
	}
	if format, _ := root.PersistentFlags().GetString("output"); format == "json" {
		writeJSON(io.err, map[string]any{"error": text, "code": code})
	} else {
		_, _ = fmt.Fprintln(io.err, "limpet: "+text)
	}
	return code
}

// The exit codes of all commands.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 4
	exitConflict    = 5
	exitUnavailable = 6 // no leader, unreachable, or no answer in time
	exitRunFailed   = 7
	exitRunCancel   = 8
	exitDisk        = 9 // a node's log cannot be written
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
	// refused: a node said no, in the words of the call.
	refused bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func codeOf(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitFailure
}
