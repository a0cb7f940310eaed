// Package doctor checks a set-up of Tenantry, and says how each fault is mended. It needs no running server, and changes nothing in the
// database, Keystone or BillingStack.
package doctor

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/service"
)

// Options describes the set-up.
type Options struct {
	service.Config // the settings of the server; SecretKey may be nil

	// Faults are the faults of the configuration. If there are any, Config may be empty, and the checks that need it are skipped.
	Faults []error
	// KeyFile is the path of the file that ReadKey reads. If SecretKey is nil, ReadKey returns the secret key without creating the file. KeyFile
	// and ReadKey are unset if the secret key must be a setting.
	KeyFile string
	ReadKey func() ([]byte, error)
	// SecretFiles are the paths of further files that contain secrets.
	SecretFiles []string
	// PublicURL is the address at which clients call the API; empty if it is not known.
	PublicURL string
	// Cloud returns the configuration of a cloud's Keystone, as in [service.Options].
	Cloud func(name string) (conn.Config, error)
}

// Status is the result of a check.
type Status string

// The statuses. A check is Skipped if it depends on an earlier check that has failed, or if its subject cannot be seen.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Skipped Status = "skipped"
)

// Line is one result of a check. A check that finds several faults has several lines. The texts may contain texts of other systems, but no
// secrets.
type Line struct {
	Check  string `json:"check"` // stable name of the check, such as "secret-key"
	Status Status `json:"status"`
	Text   string `json:"text"`
	Fix    *Fix   `json:"fix,omitempty"` // set if the status is Warn or Fail
}

// Fix says how to mend a fault.
type Fix struct {
	Kind FixKind `json:"kind"`
	Text string  `json:"text"`
}

// FixKind is the kind of a Fix.
type FixKind string

// The kinds of fixes. A Command is for the shell, and SQL is for a superuser of the database. A Setting is a variable of the service's
// environment with its value.
const (
	Command     FixKind = "command"
	SQL         FixKind = "sql"
	Setting     FixKind = "setting"
	Instruction FixKind = "instruction"
)

// The type `check` is one check.
type check struct {
	name  string
	after []string // the checks that must not have failed
	limit time.Duration
	ask   func(context.Context, *examination) []Line
}

const (
	quick = 5 * time.Second
	slow  = 15 * time.Second // long enough for a login: see the times in docs/operations.md
)

// The variable `checks` contains all checks in the order of the report. A check comes after the checks that it depends on.
var checks = []check{
	{"configuration", nil, quick, configuration},
	{"files", []string{"configuration"}, quick, files},
	{"database", []string{"configuration"}, slow, database},
	{"schema", []string{"database"}, quick, schema},
	{"rights", []string{"schema"}, quick, rights},
	{"secret-key", []string{"configuration", "database"}, quick, secretKey},
	{"connections", []string{"database"}, quick, connections},
	{"clock-database", []string{"database"}, quick, clockOfDatabase},
	{"disk", []string{"configuration"}, quick, disk},
	{"meters", []string{"configuration"}, quick, meters},
	{"portals", []string{"configuration", "schema"}, quick, portals},
	{"spool", []string{"configuration"}, quick, spool},
	{"keystone-settings", nil, quick, keystoneSettings},
	{"keystone", []string{"keystone-settings"}, slow, keystoneAnswers},
	{"keystone-tls", []string{"keystone"}, quick, keystoneTLS},
	{"clock-keystone", []string{"keystone"}, slow, clockOfKeystone},
	{"credentials", []string{"keystone"}, slow, credentials},
	{"scope", []string{"credentials"}, slow, scope},
	{"permissions", []string{"scope"}, slow, permissions},
	{"blast-radius", []string{"scope"}, slow, blastRadius},
	{"domain", []string{"configuration", "permissions"}, slow, domain},
	{"roles", []string{"configuration", "permissions"}, slow, roles},
	{"clouds", []string{"configuration"}, 2 * slow, otherClouds},
	{"billingstack", []string{"configuration"}, slow, billingStack},
	{"billingstack-tls", []string{"billingstack"}, quick, billingStackTLS},
	{"billingstack-version", []string{"billingstack"}, slow, billingStackVersion},
	{"certificate", []string{"configuration"}, quick, certificate},
	{"ports", []string{"configuration"}, slow, ports},
	{"address", []string{"configuration", "ports"}, slow, publicAddress},
	{"open-files", []string{"configuration"}, quick, openFiles},
}

// Names returns the names of all checks in the order of the report.
func Names() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// Examine makes all checks, one after the other, and returns their results. If ctx ends, the remaining checks are skipped.
func Examine(ctx context.Context, o Options) []Line {
	x := &examination{Options: o}
	defer x.close()
	cause := map[string]string{} // the key is the name of a check that has failed or was skipped; the value is the name of the check that is the cause
	var all []Line
	for _, c := range checks {
		at := slices.IndexFunc(c.after, func(name string) bool { return cause[name] != "" })
		var lines []Line
		switch {
		case at >= 0:
			cause[c.name] = cause[c.after[at]]
			lines = []Line{skipped("not checked, because %s failed", cause[c.name])}
		case ctx.Err() != nil:
			cause[c.name] = c.name
			lines = []Line{skipped("not checked, because the time for the checks was over")}
		default:
			lines = asked(ctx, c, x)
		}
		for _, line := range lines {
			line.Check, line.Text = c.name, newlines.ReplaceAllString(line.Text, " ")
			all = append(all, line)
			if line.Status == Fail {
				cause[c.name] = c.name
			}
		}
	}
	return all
}

// The variable `newlines` matches the ends of lines in the errors of other packages.
var newlines = regexp.MustCompile(`\s*\n\s*`)

// Count returns the number of lines with the status.
func Count(all []Line, s Status) (n int) {
	for _, line := range all {
		if line.Status == s {
			n++
		}
	}
	return n
}

// The function `asked` makes a check within its time limit. A check that panics has failed, and the other checks are made.
func asked(ctx context.Context, c check, x *examination) (lines []Line) {
	defer func() {
		if cause := recover(); cause != nil {
			lines = []Line{fail(instruction("report this fault of Tenantry"), "panic: %v", cause)}
		}
	}()
	bounded, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.ask(bounded, x)
}

func ok(format string, args ...any) Line { return Line{Status: OK, Text: fmt.Sprintf(format, args...)} }

func skipped(format string, args ...any) Line {
	return Line{Status: Skipped, Text: fmt.Sprintf(format, args...)}
}

func warn(f Fix, format string, args ...any) Line {
	return Line{Status: Warn, Text: fmt.Sprintf(format, args...), Fix: &f}
}

func fail(f Fix, format string, args ...any) Line {
	return Line{Status: Fail, Text: fmt.Sprintf(format, args...), Fix: &f}
}

func instruction(format string, args ...any) Fix {
	return Fix{Instruction, fmt.Sprintf(format, args...)}
}

// The function `command` returns a command for the shell. Each word is quoted if the shell would change it.
func command(words ...string) Fix { return Fix{Command, explain.Command(words...)} }

func setting(format string, args ...any) Fix { return Fix{Setting, fmt.Sprintf(format, args...)} }

// orOK returns the lines, or a line with status OK if there are none.
func orOK(lines []Line, format string, args ...any) []Line {
	if len(lines) == 0 {
		return []Line{ok(format, args...)}
	}
	return lines
}
