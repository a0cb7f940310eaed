package main

import "github.com/spf13/cobra"

const rootHelp = `Subscribe a merchant's user to a cloud plan with one call. The call creates the BillingStack customer and subscription,
the OpenStack tenants of both, and the user's role assignments.

Commands that run on a server (serve, doctor, bootstrap, migrate, merchant, meter-key, healthcheck) read their settings from
TENANTRY_* variables and the file at TENANTRY_CONFIG. OS_* variables or clouds.yaml describe Keystone. Commands that talk to a
server (subscribe, subscriptions, runs, audit, explain, whois, usage) read TENANTRY_URL and credentials from the environment, as
their help describes. If you use the flag --local, the commands explain and whois, and the commands under "runs" and "audit" (except
audit apply), use the settings and the database of the server instead.

` + exitHelp

// The method `root` returns the command tenantry with all subcommands.
func (p *program) root() *cobra.Command {
	root := group("tenantry", "Subscribe users in BillingStack and Keystone with one call", rootHelp)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit(exitUsage, err) })
	root.AddCommand(
		p.demo(), p.serve(), p.doctor(), p.bootstrap(), p.subscribe(), p.subscriptions(), p.runs(), p.audit(), p.explain(), p.whois(), p.usage(),
		p.merchant(), p.meterKey(), p.migrate(), p.healthcheck(), p.version(),
	)
	return root
}

// The function `exactly` returns a function that checks arguments: the command line must have exactly one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usage("expected %d arguments %v, got %d", len(names), names, len(args))
		}
		return nil
	}
}

// The function `group` returns a command that only has subcommands.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %[2]q for %[1]q", c.CommandPath(), args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(commands...)
	return c
}
