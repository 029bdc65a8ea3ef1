package main

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// strict makes wrong arguments of a command, and of all below it, errors with
// the exit code of usage. A command that only groups others says what there is.
func strict(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil {
				return nil
			}
			switch names := wanted(cmd); {
			case !counts(err, cmd, args, len(names)): // it says more than a number
			case len(args) < len(names):
				err = fmt.Errorf("%s is missing", names[len(args)])
			case len(args) > len(names) && cmd.HasAvailableSubCommands():
				return &exitError{code: exitUsage, err: errors.New(noSuchCommand(cmd, args[len(names)]))}
			case len(args) > len(names):
				err = fmt.Errorf("%q is one argument too many", args[len(names)])
			}
			return &exitError{code: exitUsage, err: fmt.Errorf("%w; usage: %s", err, cmd.UseLine())}
		}
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.DisableFlagsInUseLine = true
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return &exitError{code: exitUsage, err: errors.New(noSuchCommand(cmd, args[0]))}
		}
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// wanted gives the arguments that a command needs, as its usage calls them.
func wanted(cmd *cobra.Command) []string {
	words := strings.Fields(cmd.Use)[1:]
	for i, w := range words {
		if strings.ContainsAny(w[:1], "-[(") {
			return words[:i]
		}
	}
	return words
}

// counts reports whether the error is cobra's, about the number of arguments.
func counts(err error, cmd *cobra.Command, args []string, want int) bool {
	for _, check := range []cobra.PositionalArgs{cobra.NoArgs, cobra.ExactArgs(want)} {
		if e := check(cmd, args); e != nil && e.Error() == err.Error() {
			return true
		}
	}
	return false
}

// flagError says of a flag that cannot be read what is allowed, as for every
// other setting.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if want := mustBe(e); want != "" {
			err = fmt.Errorf("--%s is %q: %s", e.GetFlag().Name, e.GetValue(), want)
		}
	} else if _, ok := errors.AsType[*pflag.NotExistError](err); ok {
		err = fmt.Errorf("%w; `%s --help` lists those there are", err, cmd.CommandPath())
	}
	return &exitError{code: exitUsage, err: err}
}

// mustBe says what a setting takes whose value cannot be read; "" if that is in the
// error already.
func mustBe(e *pflag.InvalidValueError) string {
	kind := e.GetFlag().Value.Type()
	switch allowed := allowedIn(kind); {
	case errors.Is(e, strconv.ErrRange) && kind == "int32":
		return fmt.Sprintf("must be %s from %d to %d", allowed, math.MinInt32, math.MaxInt32)
	case errors.Is(e, strconv.ErrRange):
		return "must be nearer to 0"
	case allowed != "":
		return "must be " + allowed
	}
	return ""
}

// allowedIn says what a kind of flag takes; "" for a kind that says so itself.
func allowedIn(kind string) string {
	switch kind {
	case "int", "int32", "int64":
		return "a whole number"
	case "uint64":
		return "a whole number from 0"
	case "intSlice":
		return "whole numbers with commas between them"
	case "bool":
		return "true or false"
	case "duration":
		return "a length of time, as 500ms, 30s, 10m or 1h"
	}
	return ""
}

func noSuchCommand(group *cobra.Command, got string) string {
	var names []string
	for _, c := range group.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			names = append(names, c.Name())
		}
	}
	slices.Sort(names)
	text := fmt.Sprintf("unknown command %q of `%s`: must be one of %s", got, group.CommandPath(), strings.Join(names, ", "))
	const likeness = 2 // letters that may be wrong
	group.SuggestionsMinimumDistance = likeness
	if near := group.SuggestionsFor(got); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return text
}

// refusalField is how a node's refusal begins: the field of the call, and the
// value that it had.
var refusalField = regexp.MustCompile(`^([a-z_.]+) "`)

// inFlags gives a node's refusal in the words of the command line: the flag or
// argument in place of the call's field. A command's annotations name what is not
// called alike.
func inFlags(cmd *cobra.Command, text string) string {
	m := refusalField.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	field := m[1]
	word, ok := cmd.Annotations[field]
	if flag := strings.ReplaceAll(field, "_", "-"); !ok && cmd.Flags().Lookup(flag) != nil {
		word = "--" + flag
	}
	if word == "" {
		return text
	}
	return word + text[len(field):]
}
