package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func (p *program) runs() *cobra.Command {
	c := group("runs", "Show runs and act on them",
		"Show runs and act on them. Operators see and change all runs; a portal sees the runs of its merchant, and may cancel the runs that no operator has ordered.\n\n"+connectHelp+localHelp+exitHelp,
		p.runsList(), p.runsShow(), p.runsEvents(), p.runsWatch(),
		p.action("retry", "Continue a waiting or stuck run now, or repeat a compensated run"),
		p.action("skip", "Skip an optional step or, during compensation, the undo of any step"),
		p.action("compensate", "Undo the steps of the run"),
		p.action("hold", "Stop the run before its next step"),
		p.action("cancel", "Cancel the order: undo the steps of the run"))
	addLocalFlag(c)
	return c
}

func (p *program) runsShow() *cobra.Command {
	c := &cobra.Command{Use: "show RUN", Short: "Show a run with its steps", Args: exactly("RUN"), Long: "Show a run with its steps.\n\n" + connectHelp + localHelp}
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
		answer, err := s.GetRunWithResponse(cmd.Context(), args[0], &client.GetRunParams{})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		run, err := theRun(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		return f.print(p.out, run, func(w io.Writer) { runTable(w, run, s.flags()...) })
	}
	return c
}

func (p *program) runsWatch() *cobra.Command {
	c := &cobra.Command{
		Use: "watch RUN", Short: "Show the steps of a run as they happen", Args: exactly("RUN"),
		Long: "Show the steps of a run as they happen, until the run ends or needs an operator. " +
			"The exit code reports how the run ended.\n\n" + connectHelp + localHelp + exitHelp,
	}
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
		return p.watch(cmd.Context(), s, args[0], *f)
	}
	return c
}
