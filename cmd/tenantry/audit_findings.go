package main

import (
	"io"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const findingsHelp = `List findings, sorted by id. Without --status, the list has the open findings, which are the new and the known findings. A
finding is new if one audit has seen it, and known if several audits have seen it. A finding is resolved if the last audit that
looked for it has not seen it. A finding is accepted if a person has accepted it.

`

func (p *program) auditFindings() *cobra.Command {
	c := &cobra.Command{Use: "findings", Short: "List findings", Long: findingsHelp + connectHelp + localHelp, Args: exactly()}
	flags := c.Flags()
	statuses := flags.StringSlice("status", nil, "only findings in these states: new, known, resolved or accepted; a comma-separated list, may be repeated")
	severity := flags.String("severity", "", "only findings of this severity or worse: critical, high, medium, low or info")
	codes := flags.StringSlice("code", nil, "only findings with these codes; a comma-separated list, may be repeated")
	cloud := flags.String("cloud", "", "only findings in this cloud")
	merchant := flags.String("merchant", "", "only findings about this merchant")
	customer := flags.String("customer", "", "only findings about this customer")
	subscription := flags.String("subscription", "", "only findings about this subscription")
	project := flags.String("project", "", "only findings about this project")
	user := flags.String("user", "", "only findings about the user with this Keystone id")
	of := flags.String("audit", "", "only findings that were last seen by this audit")
	limit := flags.Int("limit", 0, "maximum number of findings, 1 to 200; 0 means 50")
	marker := flags.String("marker", "", "only findings that follow the finding with this id; use the last finding of the previous page")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.ListFindingsWithResponse(cmd.Context(), &client.ListFindingsParams{
			Status: list(as[client.FindingStatus](*statuses)...), Severity: some(client.Severity(*severity)), Code: list(*codes...),
			Cloud: some(*cloud), MerchantID: some(*merchant), CustomerID: some(*customer), SubscriptionID: some(*subscription),
			ProjectID: some(*project), UserID: some(*user), AuditID: some(*of), Limit: some(*limit), Marker: some(*marker),
		})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := theFindings(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		if more(page.Links) && len(page.Findings) > 0 {
			defer p.say("there are more findings: repeat the command with --marker %s", page.Findings[len(page.Findings)-1].ID)
		}
		return f.print(p.out, page, func(w io.Writer) { findingsTable(w, page.Findings) })
	}
	return c
}

func (p *program) auditFinding() *cobra.Command {
	c := &cobra.Command{
		Use: "finding FINDING", Short: "Show a finding, what to do, and its history", Args: exactly("FINDING"),
		Long: "Show a finding: its objects, who is affected, what to do, and the history of its status.\n\n" + connectHelp + localHelp,
	}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkFinding(args[0]); err != nil {
			return err
		}
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.GetFindingWithResponse(cmd.Context(), args[0])
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		return p.printFinding(*f, answer.JSON200, answer.StatusCode(), answer.Body)
	}
	return c
}

const acceptHelp = `Accept a finding. An accepted finding is not open. The acceptance ends when the finding becomes more severe, when an audit no
longer sees it, or at the time of --until. If an audit sees the finding after the end of the acceptance, the finding is open again.
The flag --withdraw opens an accepted finding again at once. The history of the finding records who has accepted it or withdrawn the
acceptance, and why.

`

func (p *program) auditAccept() *cobra.Command {
	c := &cobra.Command{
		Use: "accept FINDING (--why REASON [--until TIME] | --withdraw)", Short: "Accept a finding, or withdraw the acceptance",
		Long: acceptHelp + connectHelp + localHelp + exitHelp, Args: exactly("FINDING"),
	}
	why := c.Flags().String("why", "", "the reason, which the finding and its history show")
	until := c.Flags().String("until", "", "end of the acceptance: a date (0:00 UTC), a time (RFC 3339), or a duration such as 720h (default: it does not end)")
	withdraw := c.Flags().Bool("withdraw", false, "open the finding again")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkFinding(args[0]); err != nil {
			return err
		}
		if *withdraw == (*why != "") || *withdraw && *until != "" {
			return usage("either --why or --withdraw is required, and --until needs --why")
		}
		end, err := future(*until)
		if err != nil {
			return err
		}
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		if *withdraw {
			answer, err := s.WithdrawAcceptanceWithResponse(cmd.Context(), args[0])
			if err != nil {
				return unsent(cmd.Context(), err)
			}
			return p.printFinding(*f, answer.JSON200, answer.StatusCode(), answer.Body)
		}
		answer, err := s.AcceptFindingWithResponse(cmd.Context(), args[0], client.AcceptRequest{Why: *why, Until: some(end)})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		return p.printFinding(*f, answer.JSON200, answer.StatusCode(), answer.Body)
	}
	return c
}

// future parses a date, a time or a duration, and returns a time in RFC 3339. A duration such as 24h means 24 hours after now.
func future(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(d).UTC().Format(time.RFC3339), nil
	}
	at, err := time.Parse(time.DateOnly, s)
	if err != nil {
		at, err = time.Parse(time.RFC3339, s)
	}
	if err != nil {
		return "", usage("--until: %q must be a date such as 2027-01-31, a time such as 2027-01-31T12:00:00Z, or a duration such as 720h", s)
	}
	return at.Format(time.RFC3339), nil
}

func (p *program) printFinding(f format, found *client.Finding, status int, body []byte) error {
	if found == nil {
		return problemError(status, body)
	}
	if !isFinding(found) {
		return formatError(status)
	}
	return f.print(p.out, found, func(w io.Writer) { findingTable(w, *found) })
}

var findingForm = regexp.MustCompile(`^[0-9a-f-]{8,64}$`)

// checkFinding returns a usage error if id is not the id of a finding: see checkID.
func checkFinding(id string) error {
	if !findingForm.MatchString(id) {
		return usage("%q is not the id of a finding", id)
	}
	return nil
}

// theFindings returns the page of findings in a server's answer. It returns the same errors as theRun.
func theFindings(page *client.FindingList, status int, body []byte) (client.FindingList, error) {
	if page == nil {
		return client.FindingList{}, problemError(status, body)
	}
	whole := page.Findings != nil
	for i := range page.Findings {
		whole = whole && isFinding(&page.Findings[i])
	}
	if !whole {
		return client.FindingList{}, formatError(status)
	}
	return *page, nil
}

func isFinding(f *client.Finding) bool {
	return findingForm.MatchString(f.ID) && f.Code != "" && f.Status != ""
}
