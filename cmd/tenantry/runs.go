package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func (p *program) runs() *cobra.Command {
	return group("runs", "See runs, and act on them",
		"Operators see and change all runs; a portal sees its own, and may cancel them.\n\n"+connectHelp+exitHelp,
		p.runsList(), p.runsShow(), p.runsWatch(),
		p.action("retry", "Let a waiting or stuck run go on now, or repeat a compensated one"),
		p.action("skip", "Skip an optional step, or the undo of any"),
		p.action("compensate", "Undo what the run has done"),
		p.action("hold", "Stop the run before its next step"),
		p.action("cancel", "Call the order off: undo what the run has done"))
}

func (p *program) runsList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List runs, youngest first", Long: "Lists runs, youngest first.\n\n" + connectHelp, Args: exactly()}
	flags := c.Flags()
	merchant := flags.String("merchant", "", "only this merchant's")
	objects := flags.StringArray("object", nil, "only runs that made or used this object: KIND:ID, such as customer:9b35… or project:4f1a…; may be repeated")
	user := flags.String("user", "", "only this user's")
	state := flags.String("state", "", "only those in this state")
	workflow := flags.String("workflow", "", "only those of this workflow")
	since := flags.String("since", "", "only those accepted after this time (RFC 3339) or in the last so long (24h)")
	limit := flags.Int("limit", 0, "how many at most")
	marker := flags.String("marker", "", "the id of the last run of the page before")
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
		if answer.JSON200 == nil {
			return problemError(answer.StatusCode(), answer.Body)
		}
		return f.print(p.out, answer.JSON200, func(w io.Writer) { runsTable(w, answer.JSON200.Runs) })
	}
	return c
}

// moment reads a time, or how long ago it was.
func moment(s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return some(time.Now().Add(-d).UTC()), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, usage("--since: %q is neither a time, as 2026-01-31T12:00:00Z, nor a duration, as 24h", s)
	}
	return &at, nil
}

func (p *program) runsShow() *cobra.Command {
	c := &cobra.Command{Use: "show RUN", Short: "Show a run with its steps", Args: exactly("RUN"), Long: "Shows a run with its steps.\n\n" + connectHelp}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.GetRunWithResponse(cmd.Context(), args[0], &client.GetRunParams{})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		if answer.JSON200 == nil {
			return problemError(answer.StatusCode(), answer.Body)
		}
		return f.print(p.out, answer.JSON200, func(w io.Writer) { runTable(w, *answer.JSON200) })
	}
	return c
}

func (p *program) runsWatch() *cobra.Command {
	c := &cobra.Command{
		Use: "watch RUN", Short: "Show the steps of a run as they happen", Args: exactly("RUN"),
		Long: "Shows the steps of a run as they happen, until it has ended or somebody must act. The exit code tells what has " +
			"come of it.\n\n" + connectHelp + exitHelp,
	}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		return p.watch(cmd.Context(), s, args[0], *f)
	}
	return c
}
