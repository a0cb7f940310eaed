package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const auditHelp = `Audit the objects that Tenantry's runs have made. An audit compares the objects in Keystone and BillingStack with the objects that
the runs should have left there, and reports each difference as a finding. An audit only reads. A finding has the same id in
each audit. Two of these commands are for repairs: the first writes a list of repairs to a file, and the second carries out the
repairs that you approve. All audit commands are for operators.

`

func (p *program) audit() *cobra.Command {
	c := group("audit", "Compare Keystone and BillingStack with the runs, and repair differences", auditHelp+connectHelp+localHelp+exitHelp,
		p.auditRun(), p.auditList(), p.auditShow(), p.auditFindings(), p.auditFinding(), p.auditAccept(), p.auditPlan(), p.auditPlans(), p.auditApply())
	addLocalFlag(c)
	return c
}

func (p *program) auditList() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List audits, newest first", Args: exactly(),
		Long: "List audits, newest first.\n\n" + connectHelp + localHelp,
	}
	limit := c.Flags().Int("limit", 0, "maximum number of audits, 1 to 200; 0 means 50")
	marker := c.Flags().String("marker", "", "only audits that are older than the audit with this id; use the last audit of the previous page")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.ListAuditsWithResponse(cmd.Context(), &client.ListAuditsParams{Limit: some(*limit), Marker: some(*marker)})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := theAudits(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		if more(page.Links) && len(page.Audits) > 0 {
			defer p.say("there are more audits: repeat the command with --marker %s", page.Audits[len(page.Audits)-1].ID)
		}
		return f.print(p.out, page, func(w io.Writer) { auditsTable(w, page.Audits) })
	}
	return c
}

func (p *program) auditShow() *cobra.Command {
	c := &cobra.Command{
		Use: "show AUDIT", Short: "Show an audit, and the parts that it could not assess", Args: exactly("AUDIT"),
		Long: "Show the progress of an audit, the number of its open findings, and the parts of its scope that it could not assess.\n\n" + connectHelp + localHelp,
	}
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkID("audit", args[0]); err != nil {
			return err
		}
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.GetAuditWithResponse(cmd.Context(), args[0])
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		a, err := theAudit(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		return f.print(p.out, a, func(w io.Writer) { auditTable(w, a) })
	}
	return c
}

// theAudit returns the audit in a server's answer. It returns the same errors as theRun.
func theAudit(a *client.Audit, status int, body []byte) (client.Audit, error) {
	if a == nil {
		return client.Audit{}, problemError(status, body)
	}
	if !isAudit(a) {
		return client.Audit{}, formatError(status)
	}
	return *a, nil
}

func isAudit(a *client.Audit) bool {
	return uuidForm.MatchString(a.ID) && a.State != "" && !a.CreatedAt.IsZero()
}

// theAudits returns the page of audits in a server's answer. It returns the same errors as theRun.
func theAudits(page *client.AuditList, status int, body []byte) (client.AuditList, error) {
	if page == nil {
		return client.AuditList{}, problemError(status, body)
	}
	whole := page.Audits != nil
	for i := range page.Audits {
		whole = whole && isAudit(&page.Audits[i])
	}
	if !whole {
		return client.AuditList{}, formatError(status)
	}
	return *page, nil
}
