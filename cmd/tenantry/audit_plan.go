package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

const auditPlanHelp = `Plan the repairs of open findings, and write the plan as YAML to a file, or to standard output with -o -. Nothing is repaired. Read the
file, change "approve: false" to "approve: true" for each repair that you want, and type "tenantry audit apply FILE" within 7 days.

The flags select findings, like the flags of "tenantry audit findings". Findings that a person must resolve are not in the plan. If there is
nothing to repair, no file is written.

`

func (p *program) auditPlan() *cobra.Command {
	c := &cobra.Command{
		Use: "plan -o FILE", Short: "Plan the repairs of open findings, and write the plan to a file", Args: exactly(),
		Long: auditPlanHelp + connectHelp + localHelp + exitHelp,
	}
	flags := c.Flags()
	path := flags.StringP("output", "o", "", "file to write, or - for standard output (required)")
	force := flags.Bool("force", false, "replace the file if it exists")
	severity := flags.String("severity", "", "only findings of this severity or worse: critical, high, medium, low or info")
	codes := flags.StringSlice("code", nil, "only findings with these codes; a comma-separated list, may be repeated")
	merchant := flags.String("merchant", "", "only findings about this merchant")
	customer := flags.String("customer", "", "only findings about this customer")
	cloud := flags.String("cloud", "", "only findings in this cloud")
	project := flags.String("project", "", "only findings about this project")
	subscription := flags.String("subscription", "", "only findings about this subscription")
	user := flags.String("user", "", "only findings about the user with this Keystone id")
	of := flags.String("audit", "", "only findings that were last seen by this audit")
	findings := flags.StringSlice("finding", nil, "only the findings with these ids; a comma-separated list, may be repeated")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *path == "" {
			return usage("-o is required: the file to write, or - for standard output")
		}
		if _, err := os.Lstat(*path); err == nil && *path != "-" && !*force {
			return exists(*path)
		}
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.CreateRepairPlanWithResponse(cmd.Context(), client.RepairPlanFilter{
			Severity: some(client.Severity(*severity)), Code: list(*codes...), MerchantID: some(*merchant), CustomerID: some(*customer),
			Cloud: some(*cloud), ProjectID: some(*project), SubscriptionID: some(*subscription), UserID: some(*user), AuditID: some(*of),
			FindingID: list(*findings...),
		})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		plan, err := thePlan(answer.JSON201, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		return p.writePlan(*path, *force, plan)
	}
	return c
}

const auditPlansHelp = `List the repair plans that the server keeps, newest first, with the number of approved entries. You approve entries with
"tenantry audit apply" or in the console.

`

func (p *program) auditPlans() *cobra.Command {
	c := &cobra.Command{
		Use: "plans", Short: "List repair plans, newest first", Args: exactly(), Long: auditPlansHelp + connectHelp + localHelp,
	}
	limit := c.Flags().Int("limit", 0, "maximum number of plans, 1 to 200; 0 means 50")
	marker := c.Flags().String("marker", "", "only plans that are older than the plan with this id; use the last plan of the previous page")
	f := formatFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := p.connect(cmd, p.asOperator)
		if err != nil {
			return err
		}
		defer s.close()
		answer, err := s.ListRepairPlansWithResponse(cmd.Context(), &client.ListRepairPlansParams{Limit: some(*limit), Marker: some(*marker)})
		if err != nil {
			return unsent(cmd.Context(), err)
		}
		page, err := thePlans(answer.JSON200, answer.StatusCode(), answer.Body)
		if err != nil {
			return err
		}
		if more(page.Links) && len(page.Plans) > 0 {
			defer p.say("there are more plans: repeat the command with --marker %s", page.Plans[len(page.Plans)-1].ID)
		}
		return f.print(p.out, page, func(w io.Writer) {
			row(w, "PLAN", "MADE", "EXPIRES", "BY", "ENTRIES", "APPROVED")
			for _, one := range page.Plans {
				row(w, one.ID, one.CreatedAt.Format(timeLayout), one.ExpiresAt.Format(timeLayout), one.By, one.Size, one.Approved)
			}
		})
	}
	return c
}

// thePlans returns the page of plans in a server's answer. It returns the same errors as theRun.
func thePlans(page *client.RepairPlanList, status int, body []byte) (client.RepairPlanList, error) {
	if page == nil {
		return client.RepairPlanList{}, problemError(status, body)
	}
	whole := page.Plans != nil
	for _, one := range page.Plans {
		whole = whole && uuidForm.MatchString(one.ID) && !one.CreatedAt.IsZero() && !one.ExpiresAt.IsZero()
	}
	if !whole {
		return client.RepairPlanList{}, formatError(status)
	}
	return *page, nil
}

// writePlan writes a plan to a file, and says what is in the plan.
func (p *program) writePlan(path string, force bool, plan client.RepairPlan) error {
	if len(plan.Entries) == 0 {
		p.say("there is nothing to repair, and no file was written")
	} else {
		text := planText(plan)
		if len(text) > maxPlanFile {
			return usage("the plan has more than %d MiB: choose fewer findings, for example with --merchant", maxPlanFile>>20)
		}
		if path == "-" {
			if _, err := io.WriteString(p.out, text); err != nil {
				return err
			}
		} else if err := writeFile(path, force, text); err != nil {
			return err
		} else {
			p.say("wrote %s", path)
		}
		p.say("plan %s can be applied before %s; repairs: %d", plan.ID, plan.ExpiresAt.UTC().Format(timeLayout), len(plan.Entries))
	}
	if plan.LeftOut > 0 {
		p.say("%d more findings have a repair, but did not fit into the plan: plan again after the repairs of this plan", plan.LeftOut)
	}
	if plan.Suspect > 0 {
		p.say("%d findings were left out, because a list of Keystone or BillingStack seems to be incomplete: see the findings with the code suspect-absence",
			plan.Suspect)
	}
	return nil
}

func exists(path string) error {
	return usage("%s exists already: choose another file, or replace it with --force", path)
}

// writeFile writes a file. If the file exists and force is true, writeFile replaces the whole file. If the file exists and force is
// false, writeFile returns an error.
func writeFile(path string, force bool, text string) (err error) {
	if !force {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return exists(path)
		}
		if err != nil {
			return exit(exitUsage, err)
		}
		if err := written(file, text); err != nil {
			return errors.Join(err, os.Remove(path))
		}
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".tenantry-plan-*")
	if err != nil {
		return exit(exitUsage, err)
	}
	if err := written(file, text); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return errors.Join(exit(exitUsage, err), os.Remove(file.Name()))
	}
	return nil
}

// The function `written` writes a text to a new file, and closes the file.
func written(file *os.File, text string) error {
	_, err := file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the plan: %w", err)
	}
	return nil
}

// readPlan reads the plan with this id from the server.
func (s remote) readPlan(ctx context.Context, id string) (client.RepairPlan, error) {
	answer, err := s.GetRepairPlanWithResponse(ctx, id)
	if err != nil {
		return client.RepairPlan{}, unsent(ctx, err)
	}
	plan, err := thePlan(answer.JSON200, answer.StatusCode(), answer.Body)
	if err == nil && plan.ID != id {
		err = formatError(answer.StatusCode())
	}
	return plan, err
}

// thePlan returns the plan in a server's answer. It returns the same errors as theRun.
func thePlan(plan *client.RepairPlan, status int, body []byte) (client.RepairPlan, error) {
	if plan == nil {
		return client.RepairPlan{}, problemError(status, body)
	}
	whole := uuidForm.MatchString(plan.ID) && plan.Installation != "" && !plan.CreatedAt.IsZero() && !plan.ExpiresAt.IsZero() && plan.Entries != nil
	findings := map[string]bool{}
	for _, e := range plan.Entries {
		whole = whole && findingForm.MatchString(e.FindingID) && e.Action != "" && !findings[e.FindingID]
		findings[e.FindingID] = true
	}
	if !whole {
		return client.RepairPlan{}, formatError(status)
	}
	return *plan, nil
}
