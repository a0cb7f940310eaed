package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/orchestrator/doctor"
)

const doctorHelp = `Check the set-up of a server, and print how to mend each fault. The command reads the settings of "tenantry serve" from the same
environment. It needs no running server, and changes nothing in the database, Keystone or BillingStack. Type the command as the user who runs
the server.

Each line has the status of a check: ok, warn, fail, or skipped. A check is skipped if it needs an earlier check that has failed, or if the command
cannot see what it should check. Below each warning or fault, the command prints the fix:
  run  a command for the shell; an administrator of the cloud must type the commands of "openstack"
  sql  a statement for an administrator of PostgreSQL
  set  a variable of the server's environment with its value
  do   an instruction

The exit code is 0 if no check fails, even if there are warnings, and 6 if a check fails. docs/operations.md describes the checks.

` + exitHelp

func (p *program) doctor() *cobra.Command {
	c := &cobra.Command{Use: "doctor", Short: "Check the set-up of a server", Long: doctorHelp, Args: exactly()}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		all := doctor.Examine(cmd.Context(), p.setUp())
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if err := f.print(p.out, all, func(w io.Writer) { linesOfDoctor(w, all) }); err != nil {
			return err
		}
		if n := doctor.Count(all, doctor.Fail); n > 0 {
			return exit(exitFindings, fmt.Errorf("faults of the set-up: %d", n))
		}
		return nil
	}
	return c
}

// setUp returns the set-up that the environment of the command describes.
func (p *program) setUp() doctor.Options {
	env := variables(p.environ)
	c, err := loadConfig("", p.environ, "secret_key") // a missing key is the subject of a check of its own
	o := doctor.Options{Config: c.Config, PublicURL: env[envURL], Cloud: clouds.FromCloud}
	if err != nil {
		o.Faults = []error{err}
		return o
	}
	if c.SecretKey == nil && c.onSQLite() {
		o.KeyFile = secretKeyFile(c)
		o.ReadKey = func() ([]byte, error) { return readSecretKey(o.KeyFile) }
	}
	hasSecret := c.SecretKey != nil || maskURL(c.DatabaseURL) != c.DatabaseURL
	if file := env["TENANTRY_CONFIG"]; file != "" && hasSecret {
		o.SecretFiles = []string{file}
	}
	return o
}

// fixWords are the words in front of the kinds of fixes.
var fixWords = map[doctor.FixKind]string{doctor.Command: "run", doctor.SQL: "sql", doctor.Setting: "set", doctor.Instruction: "do"}

// linesOfDoctor writes the lines in columns, and the fixes below their lines.
func linesOfDoctor(w io.Writer, all []doctor.Line) {
	width := 0
	for _, line := range all {
		width = max(width, len(line.Check))
	}
	for _, line := range all {
		_, _ = fmt.Fprintf(w, "%-7s  %-*s  %s\n", line.Status, width, line.Check, visible(line.Text))
		if line.Fix != nil {
			_, _ = fmt.Fprintf(w, "%-7s  %s: %s\n", "", fixWords[line.Fix.Kind], visible(line.Fix.Text))
		}
	}
}
