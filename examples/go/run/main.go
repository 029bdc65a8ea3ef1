// Command run starts each workflow once and says which workers its tasks ran
// on. It ends with status 1 if a sticky run was spread over more than one.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	hatchet "github.com/hatchet-dev/hatchet/sdks/go"

	"github.com/limpet-dev/limpet/examples/go/nodes"
	"github.com/limpet-dev/limpet/examples/go/workflows"
)

func main() {
	kept, err := run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if !kept {
		os.Exit(1)
	}
}

func run(ctx context.Context) (bool, error) {
	if err := nodes.Use(); err != nil {
		return false, err
	}
	client, err := hatchet.NewClient()
	if err != nil {
		return false, fmt.Errorf("make a client from HATCHET_CLIENT_*: %w", err)
	}

	dag, err := workflows.StickyDag(client).Run(ctx, workflows.StickyInput{})
	if err != nil {
		return false, fmt.Errorf("run sticky-dag: %w", err)
	}
	var one, two workflows.StickyResult
	if err := dag.TaskOutput("sticky-task").Into(&one); err != nil {
		return false, fmt.Errorf("read what sticky-task answered: %w", err)
	}
	if err := dag.TaskOutput("sticky-task-2").Into(&two); err != nil {
		return false, fmt.Errorf("read what sticky-task-2 answered: %w", err)
	}
	kept := one.Result != "" && one.Result == two.Result
	word := "kept  "
	if !kept {
		word = "SPREAD"
	}
	fmt.Printf("%s  sticky-dag: sticky-task on %s, sticky-task-2 on %s\n", word, one.Result, two.Result)

	answer, err := workflows.Sticky(client).Run(ctx, workflows.StickyInput{})
	if err != nil {
		return false, fmt.Errorf("run sticky-task: %w", err)
	}
	var parent workflows.StickyResult
	if err := answer.Into(&parent); err != nil {
		return false, fmt.Errorf("read what sticky-task answered: %w", err)
	}
	fmt.Printf("child   sticky-task: its child ran on %s\n", strings.TrimPrefix(parent.Result, "child-result-"))
	return kept, nil
}
