package main

import (
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const runsListHelp = `List runs, newest first.

--attention lists the runs that need the attention of a person. These are the runs that are stuck or held, the compensating
runs with a refused undo, and the runs that have not moved for 15 minutes because a call fails again and again.

`

func (p *program) runsList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List runs, newest first", Long: runsListHelp + connectHelp + localHelp, Args: exactly()}
	flags := c.Flags()
	merchant := flags.String("merchant", "", "only runs of this merchant")
	objects := flags.StringArray("object", nil, "only runs that created or used this object: KIND:ID, such as project:4f1a…; may be repeated")
	user := flags.String("user", "", "only runs of the user with this Keystone id")
	states := flags.StringSlice("state", nil, "only runs in these states: pending, running, waiting, compensating, succeeded, compensated or stuck; "+
		"a comma-separated list, may be repeated")
	attention := flags.Bool("attention", false, "only runs that need the attention of a person; shows the cause and the command to type")
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
		s, err := p.connect(cmd, p.asEither)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.ListRunsWithResponse(cmd.Context(), &client.ListRunsParams{
			Merchant: some(*merchant), Object: list(*objects...), User: some(*user), State: list(as[client.RunState](*states)...),
			Attention: some(*attention), Workflow: some(*workflow), Since: from, Limit: some(*limit), Marker: some(*marker),
		})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := theRuns(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		if more(page.Links) && len(page.Runs) > 0 {
			defer p.say("there are more runs: repeat the command with --marker %s", page.Runs[len(page.Runs)-1].ID)
		}
		return f.print(p.out, page, func(w io.Writer) {
			if *attention {
				attentionTable(w, page.Runs, time.Now(), s.flags()...)
			} else {
				runsTable(w, page.Runs)
			}
		})
	}
	return c
}

// The function `as` converts strings to another string type.
func as[T ~string](texts []string) (all []T) {
	for _, text := range texts {
		all = append(all, T(text))
	}
	return all
}

// The function `more` reports whether the links of a page contain a next page.
func more(links client.Links) bool {
	return slices.ContainsFunc(links, func(l client.Link) bool { return l.Rel == "next" })
}

// The function `moment` parses a time or a duration. A duration such as 24h means 24 hours before now.
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
