package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const runsEventsHelp = `Show the history of a run, oldest event first. The history has the attempts of the run's steps, with the request ids of the
upstreams. It also has the actions of people: who acted, and why.

`

func (p *program) runsEvents() *cobra.Command {
	c := &cobra.Command{Use: "events RUN", Short: "Show the history of a run", Long: runsEventsHelp + connectHelp + localHelp, Args: exactly("RUN")}
	after := c.Flags().Int64("after", 0, "only events whose number (SEQ) is higher than this number")
	limit := c.Flags().Int("limit", 1000, "maximum number of events, 1 to 1000")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkID("run", args[0]); err != nil {
			return err
		}
		s, err := p.connect(cmd, p.asEither)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.ListRunEventsWithResponse(cmd.Context(), args[0], &client.ListRunEventsParams{After: after, Limit: limit})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := theEvents(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		if more(page.Links) && len(page.Events) > 0 {
			defer p.say("there are more events: repeat the command with --after %d", page.Events[len(page.Events)-1].Seq)
		}
		return f.print(p.out, page, func(w io.Writer) { eventsTable(w, page.Events) })
	}
	return c
}

func eventsTable(w io.Writer, events []client.Event) {
	row(w, "SEQ", "TIME", "EVENT", "STEP", "TRY", "WHO", "WHY", "REQUEST ID", "DETAIL")
	for _, e := range events {
		kind, try, request, detail := e.Kind, any("-"), e.RequestID, "-"
		if e.Action != nil {
			kind += " " + *e.Action
		}
		if e.Attempt != nil {
			try = *e.Attempt
		}
		if e.Failure != nil {
			detail = e.Failure.Detail
			if or(request) == "-" {
				request = e.Failure.RequestID
			}
		}
		row(w, e.Seq, e.At.UTC().Format("2006-01-02 15:04:05.000Z07:00"), kind, or(e.Step), try, or(e.Who), or(e.Why), or(request), detail)
	}
}
