// Command testcount reads the output of `go test -json`. It prints one line
// per package and everything that a failed test had to say, and counts.
//
//	go test -json ./... | testcount -counts FILE
//
// A counts file holds three numbers: passed, failed, skipped. A test with
// subtests is counted by them. A package that fails without a failed test (it
// does not build, panics, runs out of time) counts as one failure.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("testcount", flag.ContinueOnError)
	flags.SetOutput(errs)
	file := flags.String("counts", "", "write the counts to this `file`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	r := newReport(out)
	if err := r.read(in); err != nil {
		fmt.Fprintln(errs, "testcount:", err)
		return 2
	}
	total := r.finish()
	if *file != "" {
		if err := os.WriteFile(*file, []byte(total.line()), 0o644); err != nil {
			fmt.Fprintln(errs, "testcount:", err)
			return 2
		}
	}
	if total.failed > 0 {
		return 1
	}
	return 0
}

// counts are the results of tests.
type counts struct{ passed, failed, skipped int }

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
}

func (c counts) line() string {
	return fmt.Sprintf("%d %d %d\n", c.passed, c.failed, c.skipped)
}

func (c counts) plus(d counts) counts {
	return counts{c.passed + d.passed, c.failed + d.failed, c.skipped + d.skipped}
}
