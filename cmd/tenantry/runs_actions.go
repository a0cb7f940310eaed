package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The method `action` returns a command that sends an action on a run to the server.
func (p *program) action(name, short string) *cobra.Command {
	c := &cobra.Command{
		Use: name + " RUN --why REASON", Short: short, Args: exactly("RUN"),
		Long: short + ".\nThe run's history records the action and its reason. The merchant sees the reason too, so write " +
			"it for the merchant.\nThe action takes effect when a step begins or ends.\n\n" + connectHelp + localHelp + exitHelp,
	}
	if name == "skip" {
		c.Use, c.Args = "skip RUN STEP --why REASON", exactly("RUN", "STEP")
	}
	why := c.Flags().String("why", "", "reason for the action, which the run's history records and the merchant sees (required)")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *why == "" {
			return usage("--why is required")
		}
		if err := checkID("run", args[0]); err != nil {
			return err
		}
		asRemote := p.asOperator
		if name == "cancel" {
			asRemote = p.asEither
		}
		s, err := p.connect(cmd, asRemote)
		if err != nil {
			return err
		}
		defer s.close()
		run, err := s.ask(cmd.Context(), name, args, *why)
		if err != nil {
			return err
		}
		return f.print(p.out, run, func(w io.Writer) { runsTable(w, []client.Run{run}) })
	}
	return c
}

// The method `ask` sends an action on a run to the server. The list `args` contains the run's id. For the action `skip`, the list
// also contains the step's name.
func (s remote) ask(ctx context.Context, action string, args []string, why string) (client.Run, error) {
	id, reason := args[0], client.ActionRequest{Why: why}
	var err error
	var answer interface {
		GetBody() []byte
		StatusCode() int
		GetJSON202() *client.ActionTaken
	}
	switch action {
	case "retry":
		answer, err = s.RetryRunWithResponse(ctx, id, &client.RetryRunParams{}, reason)
	case "skip":
		answer, err = s.SkipStepWithResponse(ctx, id, &client.SkipStepParams{}, client.SkipRequest{Step: args[1], Why: why})
	case "compensate":
		answer, err = s.CompensateRunWithResponse(ctx, id, &client.CompensateRunParams{}, reason)
	case "hold":
		answer, err = s.HoldRunWithResponse(ctx, id, &client.HoldRunParams{}, reason)
	default:
		answer, err = s.CancelRunWithResponse(ctx, id, &client.CancelRunParams{}, reason)
	}
	if err != nil {
		return client.Run{}, unsent(ctx, err)
	}
	return theRun(answer.GetJSON202(), answer.StatusCode(), answer.GetBody())
}
