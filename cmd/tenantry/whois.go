package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const whoisHelp = `Show who made a project, customer or subscription, or who gave a user a role. The first table has a line for each object
and each role assignment. The line names the run that made, adopted or removed the object, and has the step of this run,
the time of the step, and the upstream's request id. It also has the caller who requested the run, the reason, and the
open and accepted findings that name the object. Objects that are gone are shown, too. The second table has the findings
about ID itself.

Without a flag, ID may be the id of a project, a user, a customer or a subscription. This command is for operators.

`

// The type `subject` is a kind of id that `tenantry whois` looks up.
type subject struct {
	kind  string
	uuid  bool // the ids of this kind are uuids
	query func(q *client.ListLedgerParams, id *string)
}

var subjects = []subject{
	{"project", false, func(q *client.ListLedgerParams, id *string) { q.ProjectID = id }},
	{"user", false, func(q *client.ListLedgerParams, id *string) { q.UserID = id }},
	{"customer", true, func(q *client.ListLedgerParams, id *string) { q.CustomerID = id }},
	{"subscription", true, func(q *client.ListLedgerParams, id *string) { q.SubscriptionID = id }},
}

// The type `accounts` is the output of `tenantry whois`.
type accounts struct {
	Found []account `json:"found"`
}

// The type `account` has all entries of the ledger and all findings that are about one id.
type account struct {
	Kind     string               `json:"kind"`
	ID       string               `json:"id"`
	Entries  []client.LedgerEntry `json:"entries"`
	Findings []client.Finding     `json:"findings"` // about the id itself
}

func (p *program) whois() *cobra.Command {
	c := &cobra.Command{
		Use: "whois (ID | --project ID | --user ID | --customer ID | --subscription ID)", Short: "Show who made an object or gave a role, when and why",
		Long: whoisHelp + connectHelp + localHelp + exitHelp, Args: cobra.ArbitraryArgs,
	}
	given := map[string]*string{}
	for _, of := range subjects {
		given[of.kind] = c.Flags().String(of.kind, "", "id of a "+of.kind)
	}
	f := formatFlag(c)
	addLocalFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		id, among, err := whoisArguments(args, given)
		if err != nil {
			return err
		}
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		result := accounts{Found: []account{}}
		for _, of := range among {
			one, err := s.account(cmd.Context(), of, id)
			if err != nil {
				return err
			}
			if len(one.Entries)+len(one.Findings) > 0 {
				result.Found = append(result.Found, one)
			}
		}
		return f.print(p.out, result, func(w io.Writer) {
			if len(result.Found) == 0 {
				row(w, "no run has made, adopted or removed "+id+", and no audit has found it")
			}
			for i, one := range result.Found {
				if i > 0 {
					row(w)
				}
				accountTable(w, one)
			}
		})
	}
	return c
}

// whoisArguments returns the id to look up, and the kinds that it may have.
func whoisArguments(args []string, given map[string]*string) (id string, among []subject, err error) {
	for _, of := range subjects {
		if *given[of.kind] != "" {
			id, among = *given[of.kind], append(among, of)
		}
	}
	if len(args)+len(among) != 1 || len(args) == 1 && args[0] == "" {
		return "", nil, usage("one ID, or one of --project, --user, --customer and --subscription is required")
	}
	if len(among) > 0 {
		return id, among, nil
	}
	for _, of := range subjects {
		if !of.uuid || uuidForm.MatchString(args[0]) {
			among = append(among, of)
		}
	}
	return args[0], among, nil
}

// The method `account` reads all pages of the ledger about an id.
func (s remote) account(ctx context.Context, of subject, id string) (account, error) {
	q := client.ListLedgerParams{Limit: some(maxPage)}
	of.query(&q, &id)
	all := account{Kind: of.kind, ID: id, Entries: []client.LedgerEntry{}}
	seen := map[string]bool{} // the markers of the pages that were read
	for {
		answer, err := s.ListLedgerWithResponse(ctx, &q)
		if err != nil {
			return all, unsent(ctx, err)
		}
		page, err := theLedger(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return all, err
		}
		all.Entries, all.Findings = append(all.Entries, page.Entries...), page.Findings
		if !more(page.Links) {
			return all, nil
		}
		if len(page.Entries) == 0 {
			return all, errEndless
		}
		last := page.Entries[len(page.Entries)-1]
		marker := last.RunID + "/" + last.Kind + "/" + last.ID
		if seen[marker] {
			return all, errEndless
		}
		seen[marker], q.Marker = true, &marker
	}
}

// theLedger returns the page of entries in a server's answer. It returns the same errors as theRun.
func theLedger(page *client.Ledger, status int, body []byte) (client.Ledger, error) {
	if page == nil {
		return client.Ledger{}, problemError(status, body)
	}
	whole := page.Entries != nil && page.Findings != nil
	for _, e := range page.Entries {
		whole = whole && e.Kind != "" && e.ID != "" && e.RunID != ""
	}
	for i := range page.Findings {
		whole = whole && isFinding(&page.Findings[i])
	}
	if !whole {
		return client.Ledger{}, formatError(status)
	}
	return *page, nil
}

// accountTable prints an account: first the entries of the ledger, and then the findings.
func accountTable(w io.Writer, a account) {
	row(w, a.Kind+" "+a.ID)
	if len(a.Entries) > 0 {
		ledgerTable(w, a.Entries)
	}
	if len(a.Findings) > 0 {
		row(w)
		findingsTable(w, a.Findings)
	}
}

func ledgerTable(w io.Writer, entries []client.LedgerEntry) {
	row(w, "OBJECT", "NAME", "ORIGIN", "RUN", "WORKFLOW", "STEP", "TIME", "BY", "WHY", "REMOVED", "REQUEST", "FINDINGS")
	for _, e := range entries {
		removed := "-"
		if e.RemovedAt != nil {
			removed = e.RemovedAt.Format(timeLayout)
		}
		var findings []string
		for _, f := range e.Findings {
			findings = append(findings, fmt.Sprintf("%s %s (%s)", f.Code, f.ID, f.Status))
		}
		row(w, e.Kind+":"+e.ID, or(e.Name), e.Origin, e.RunID, fmt.Sprintf("%s (%s)", e.Workflow, e.RunState), e.Step, e.At.Format(timeLayout),
			cmp.Or(e.By, "-"), or(e.Why), removed, or(e.RequestID), cmp.Or(strings.Join(findings, ", "), "-"))
	}
}
