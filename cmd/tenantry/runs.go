package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func (p *program) runs() *cobra.Command {
	return group("runs", "Show runs and act on them",
		"Show runs and act on them. Operators see and change all runs; a portal sees its own runs and may cancel them.\n\n"+connectHelp+exitHelp,
		p.runsList(), p.runsShow(), p.runsWatch(),
		p.action("retry", "Continue a waiting or stuck run now, or repeat a compensated run"),
		p.action("skip", "Skip an optional step or, during compensation, the undo of any step"),
		p.action("compensate", "Undo the steps of the run"),
		p.action("hold", "Stop the run before its next step"),
		p.action("cancel", "Cancel the order: undo the steps of the run"))
}

func (p *program) runsList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List runs, newest first", Long: "List runs, newest first.\n\n" + connectHelp, Args: exactly()}
	flags := c.Flags()
	merchant := flags.String("merchant", "", "only runs of this merchant")
	objects := flags.StringArray("object", nil, "only runs that created or used this object: KIND:ID, such as project:4f1a…; may be repeated")
	user := flags.String("user", "", "only runs of the user with this Keystone id")
	state := flags.String("state", "", "only runs in this state: pending, running, waiting, compensating, succeeded, compensated or stuck")
	workflow := flags.String("workflow", "", "only runs of this workflow")
	since := flags.String("since", "", "only runs accepted since this time (RFC 3339) or within this duration (such as 24h)")
	limit := flags.Int("limit", 0, "maximum number of runs, 1 to 200; 0 means 50")
	marker := flags.String("marker", "", "only runs that follow the run with this id; use the last run of the previous page")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		from, err := moment(*since)
		if err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		if len(*objects) == 0 {
			objects = nil
		}
		answer, err := s.ListRunsWithResponse(cmd.Context(), &client.ListRunsParams{
			Merchant: some(*merchant), Object: objects,
			User: some(*user), State: some(client.RunState(*state)), Workflow: some(*workflow), Since: from,
			Limit: some(*limit), Marker: some(*marker),
		})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := theRuns(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		return f.print(p.out, page, func(w io.Writer) { runsTable(w, page.Runs) })
	}
	return c
}

// moment parses a time or a duration. A duration such as 24h means 24 hours before now.
func moment(s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return some(time.Now().Add(-d).UTC()), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, usage("--since: %q must be a time such as 2026-01-31T12:00:00Z, or a duration such as 24h", s)
	}
	return &at, nil
}

func (p *program) runsShow() *cobra.Command {
	c := &cobra.Command{Use: "show RUN", Short: "Show a run with its steps", Args: exactly("RUN"), Long: "Show a run with its steps.\n\n" + connectHelp}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkID("run", args[0]); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.GetRunWithResponse(cmd.Context(), args[0], &client.GetRunParams{})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		run, err := theRun(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		return f.print(p.out, run, func(w io.Writer) { runTable(w, run) })
	}
	return c
}

func (p *program) runsWatch() *cobra.Command {
	c := &cobra.Command{
		Use: "watch RUN", Short: "Show the steps of a run as they happen", Args: exactly("RUN"),
		Long: "Show the steps of a run as they happen, until the run ends or needs an operator. " +
			"The exit code reports how the run ended.\n\n" + connectHelp + exitHelp,
	}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkID("run", args[0]); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		return p.watch(cmd.Context(), s, args[0], *f)
	}
	return c
}
