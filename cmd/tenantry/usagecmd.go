package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func (p *program) usage() *cobra.Command {
	return group("usage", "Show the measured usage of subscriptions",
		"Show the usage that Tenantry has computed from the samples of Ceilometer. A portal uses its merchant's API key; an operator may see\n"+
			"the usage of any merchant.\n\n"+connectHelp+exitHelp,
		p.usageShow())
}

func (p *program) usageShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show SUBSCRIPTION --merchant ID", Short: "Show the usage of a subscription, by hour and meter", Args: exactly("SUBSCRIPTION"),
		Long: "Show the usage of a subscription, sorted by time and meter. The usage of an hour is computed 15 minutes after its end, and again\n" +
			"when late samples come in. The amount of a gauge is in unit-hours. The range has at most 7 days.\n\n" + connectHelp,
	}
	merchant := merchantFlag(c)
	from := timeFlag(c, "from", "only hours that begin at this time (RFC 3339) or later; by default, a day before --to")
	to := timeFlag(c, "to", "only hours that begin before this time (RFC 3339); by default, now")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkMerchant(*merchant); err != nil {
			return err
		}
		if err := checkID("subscription", args[0]); err != nil {
			return err
		}
		q := &client.GetUsageParams{}
		var err error
		if q.From, err = from(); err != nil {
			return err
		}
		if q.To, err = to(); err != nil {
			return err
		}
		s, err := p.asEither(cmd.Context())
		if err != nil {
			return err
		}
		answer, err := s.GetUsageWithResponse(cmd.Context(), *merchant, args[0], q)
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		if answer.JSON200 == nil {
			return problemError(answer.StatusCode(), answer.Body)
		}
		return f.print(p.out, answer.JSON200, func(w io.Writer) {
			row(w, "FROM", "TO", "METER", "AMOUNT", "UNIT", "STATE", "PLAN")
			for _, u := range answer.JSON200.Usage {
				unit := u.Unit
				if u.Kind == client.Gauge {
					unit += "·h"
				}
				row(w, u.From.Format(timeLayout), u.To.Format(timeLayout), u.Meter, u.Amount, unit, u.State, u.PlanID)
			}
		})
	}
	return c
}

// timeFlag adds a flag for a time. The returned function reads the flag. Without the flag, the time is nil.
func timeFlag(c *cobra.Command, name, help string) func() (*time.Time, error) {
	text := c.Flags().String(name, "", help)
	return func() (*time.Time, error) {
		if *text == "" {
			return nil, nil //nolint:nilnil // the flag is not given
		}
		at, err := time.Parse(time.RFC3339, *text)
		if err != nil {
			return nil, usage("--%s: %q must be a time such as 2026-01-31T12:00:00Z", name, *text)
		}
		return &at, nil
	}
}
