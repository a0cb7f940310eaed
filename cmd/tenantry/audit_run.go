package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/audit"
)

const auditRunHelp = `Start an audit, wait until it ends, and print its open findings. Without any of the flags --merchant, --customer, --cloud and
--project, the audit covers everything. A replica of the server executes the audit: if you interrupt this command, the
audit goes on. On a terminal, the command shows the progress of the audit.

The exit code is 7 if the audit is incomplete or has failed, whether or not there are findings. Otherwise, the exit code is 6
if there are open findings of the severity of --severity or worse. The severities are critical, high, medium, low and info.

`

func (p *program) auditRun() *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Start an audit, and print its open findings", Long: auditRunHelp + connectHelp + localHelp + exitHelp, Args: exactly(),
	}
	flags := c.Flags()
	merchant := flags.String("merchant", "", "audit only this merchant")
	customer := flags.String("customer", "", "with --merchant: audit only this customer")
	cloud := flags.String("cloud", "", "audit only this cloud")
	project := flags.String("project", "", "audit only this project, in the default cloud or in the cloud of --cloud")
	severity := flags.String("severity", string(audit.Low), "exit with 6 if there are open findings of this severity or worse")
	noWait := flags.Bool("no-wait", false, "start the audit and print it, without waiting until it ends")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains(audit.Severities, audit.Severity(*severity)) {
			return usage("--severity: %q is not one of critical, high, medium, low, info", *severity)
		}
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.CreateAuditWithResponse(cmd.Context(), client.AuditScope{
			MerchantID: some(*merchant), CustomerID: some(*customer), Cloud: some(*cloud), ProjectID: some(*project),
		})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		a, err := theAudit(answer.JSON202, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		if *noWait {
			return f.print(p.out, a, func(w io.Writer) { auditTable(w, a) })
		}
		result, err := p.await(cmd.Context(), s, a)
		if err != nil {
			show := strings.Join(append([]string{"tenantry audit show", a.ID}, s.flags()...), " ")
			p.say("tenantry: the audit goes on; to look at it, type %s", show)
			return err
		}
		if err := f.print(p.out, result, func(w io.Writer) { resultOfAudit(w, result) }); err != nil {
			return err
		}
		return result.outcome(audit.Severity(*severity))
	}
	return c
}

// audited is the result of an audit.
type audited struct {
	Audit    client.Audit     `json:"audit"`
	Findings []client.Finding `json:"findings"` // the open findings, the most severe first
}

// await waits until an audit has ended, and returns its result.
func (p *program) await(ctx context.Context, s remote, a client.Audit) (audited, error) {
	draw, done := progress(p.err)
	a, err := s.followAudit(ctx, a, draw)
	done()
	if err != nil {
		return audited{}, err
	}
	findings, err := s.allFindings(ctx, client.ListFindingsParams{AuditID: &a.ID})
	slices.SortStableFunc(findings, func(x, y client.Finding) int {
		if d := severityOf(x) - severityOf(y); d != 0 {
			return d
		}
		return strings.Compare(x.Code, y.Code)
	})
	return audited{a, findings}, err
}

func severityOf(f client.Finding) int {
	return slices.Index(audit.Severities, audit.Severity(f.Severity))
}

// followAudit reads and draws an audit repeatedly, until the audit has ended. It returns the audit as last read.
func (s remote) followAudit(ctx context.Context, a client.Audit, draw func(client.Audit)) (client.Audit, error) {
	for draw(a); !ended(a); {
		answer, err := s.GetAuditWithResponse(ctx, a.ID)
		if err != nil {
			return a, unsent(ctx, err)
		}
		if !busy(answer.StatusCode(), answer.Body) {
			if a, err = theAudit(answer.JSON200, answer.StatusCode(), answer.Body); err != nil {
				return a, err
			}
			draw(a)
		}
		if !ended(a) {
			if err := s.pause(ctx, answer.HTTPResponse.Header); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}

func ended(a client.Audit) bool { return audit.State(a.State).Ended() }

// outcome returns nil if the audit is complete and has no open finding of the given severity or worse.
func (r audited) outcome(least audit.Severity) error {
	switch a := r.Audit; {
	case a.State == client.AuditIncomplete:
		return exit(exitIncomplete, fmt.Errorf("audit %s is incomplete: a part could not be assessed", a.ID))
	case a.State != client.AuditComplete:
		return exit(exitIncomplete, fmt.Errorf("audit %s has failed: %s", a.ID, or(a.Failure)))
	}
	found := 0
	for _, f := range r.Findings {
		if audit.Severity(f.Severity).AtLeast(least) {
			found++
		}
	}
	if found > 0 {
		return exit(exitFindings, fmt.Errorf("open findings of severity %s or worse: %d", least, found))
	}
	return nil
}

// progress returns two functions. The function `draw` shows the progress of an audit. The function `done` erases the line that
// shows the progress. If w is not a terminal, both do nothing.
func progress(w io.Writer) (draw func(client.Audit), done func()) {
	show, done := statusLine(w)
	return func(a client.Audit) { show(func(width int) string { return progressLine(a, width) }) }, done
}

// statusLine returns two functions. The function `show` replaces the status line by a new line of at most `width` characters. The
// function `done` erases the status line. If w is not a terminal, both do nothing.
func statusLine(w io.Writer) (show func(line func(width int) string), done func()) {
	file, ok := underneath(w).(*os.File)
	if !ok || !terminal(w) {
		return func(func(int) string) {}, func() {}
	}
	show = func(line func(int) string) {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width < 20 {
			width = 80
		}
		_, _ = fmt.Fprint(file, "\r\x1b[2K"+line(width-1))
	}
	return show, func() { _, _ = fmt.Fprint(file, "\r\x1b[2K") }
}

// barWidth is the number of characters of a progress bar.
const barWidth = 30

// progressLine returns a line that shows the progress of an audit.
func progressLine(a client.Audit, width int) string {
	switch now := a.Progress; {
	case a.State == client.AuditPending:
		return cut("audit "+a.ID+" waits for a replica", width)
	case now.Total > 0:
		return barLine(now.Done, now.Total, now.Phase, width)
	default:
		return cut(now.Phase, width)
	}
}

// barLine returns a progress bar with a text.
func barLine(done, total int, text string, width int) string {
	part := float64(min(max(done, 0), total)) / float64(total)
	bar := strings.Repeat("#", int(part*barWidth))
	return cut(fmt.Sprintf("[%-*s] %3.0f%%  %s", barWidth, bar, part*100, text), width)
}

// errEndless is the error for a list in which a page has no new objects, but has a link to a next page.
var errEndless = exit(exitUnreachable, errors.New("the server's list does not end: a page has no new objects, but has a link to a next page"))

// allFindings returns the findings of all pages.
func (s remote) allFindings(ctx context.Context, q client.ListFindingsParams) ([]client.Finding, error) {
	all := []client.Finding{}
	q.Limit = some(maxPage)
	for {
		answer, err := s.ListFindingsWithResponse(ctx, &q)
		if err != nil {
			return nil, unsent(ctx, err)
		}
		page, err := theFindings(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Findings...)
		if !more(page.Links) {
			return all, nil
		}
		if len(page.Findings) == 0 || all[len(all)-1].ID <= valueOf(q.Marker) {
			return nil, errEndless
		}
		q.Marker = some(all[len(all)-1].ID)
	}
}

// maxPage is the maximum number of objects on a page.
const maxPage = 200
