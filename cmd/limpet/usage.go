package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
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
			if len(args) > 0 && !cmd.HasSubCommands() && cobra.NoArgs(cmd, args).Error() == err.Error() {
				err = fmt.Errorf("%q is one argument too many", args[0])
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
