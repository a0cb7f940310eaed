package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// maxExplained is the maximum number of findings in the explanation of a subscription.
const maxExplained = 20

// readerOf returns the kind of person who reads an explanation.
func readerOf(c echo.Context) explain.Reader {
	if callerOf(c).merchant != nil {
		return explain.ForPortal
	}
	if _, local := localUser(c.Request().Context()); local {
		return explain.ForLocal
	}
	return explain.ForOperator
}

// explainRun explains a run to a kind of reader. The argument `view` is the run as this reader sees it.
func (s *server) explainRun(to explain.Reader, run *saga.Run, view Run) Explanation {
	meaning := s.meaning(run.Workflow)
	r := explain.Run{
		Facts: factsOf(run, view.Result), State: string(run.State), Cause: fault(run.Cause), RetriedBy: run.RetriedBy, LeftBehind: len(run.LeftBehind),
		Attention: run.AttentionAt != nil && !run.AttentionAt.After(s.now()),
		Meaning:   explain.Meaning{Open: meaning.Open, Failed: meaning.Failed, Done: meaning.Done},
		Actions:   view.Actions,
	}
	var until *time.Time
	if run.Reason != nil {
		r.Kind, r.Reason, until = string(run.Reason.Kind), fault(&run.Reason.Failure), run.Reason.Until
	}
	for i := range run.Steps {
		step := &run.Steps[i]
		switch {
		case run.State.Ended():
		case step.State == saga.StepUndoFailed && step.Error != nil:
			refused := *fault(step.Error)
			refused.Step = step.Name
			r.Refused, r.Skippable = append(r.Refused, refused), append(r.Skippable, step.Name)
		case step.InFlight != "" && step.Error != nil:
			r.Again = fault(step.Error)
			r.Again.Step = step.Name
		case step.Optional && run.Cause == nil && r.Reason != nil && r.Reason.Step == step.Name:
			r.Skippable = append(r.Skippable, step.Name)
		}
		if step.RetryAt != nil && (until == nil || step.RetryAt.Before(*until)) {
			until = step.RetryAt
		}
	}
	if until != nil {
		r.Until = clock(*until)
	}
	if f := r.Fault(); f != nil {
		r.Project = projectOf(run, f.Step)
	}
	return viewExplanation(explain.OfRun(r, to))
}

// factsOf returns the ids that the explanation of a run may name.
func factsOf(run *saga.Run, result Result) explain.Facts {
	f := explain.Facts{Run: run.ID, Merchant: run.Merchant, User: run.User, Other: run.WaitsFor, Cloud: run.Cloud}
	for kind, id := range map[string]*string{"customer": &f.Customer, "subscription": &f.Subscription} {
		*id, _ = result[kind+"_id"].(string)
		if i := slices.IndexFunc(run.Objects, func(o saga.Object) bool { return o.Kind == kind }); i >= 0 {
			*id = run.Objects[i].ID
		}
	}
	return f
}

// projectOf returns the id of the project that a step has made or used. If the step has no project, the result is empty, because a command
// must not name another project of the run. In this case, the error of the step names the project.
func projectOf(run *saga.Run, step string) string {
	i := slices.IndexFunc(run.Objects, func(o saga.Object) bool { return o.Kind == "project" && o.Step == step })
	if i < 0 {
		return ""
	}
	return run.Objects[i].ID
}

// The method `meaning` returns what the runs of a workflow mean for the user. The result is empty if this release does not know the workflow.
func (s *server) meaning(workflow string) saga.Meaning {
	i := slices.IndexFunc(s.Workflows, func(d *saga.Definition) bool { return d.Name == workflow })
	if i < 0 {
		return saga.Meaning{}
	}
	return s.Workflows[i].Meaning
}

func fault(f *saga.Failure) *explain.Fault {
	if f == nil {
		return nil
	}
	return &explain.Fault{Code: string(f.Code), Detail: f.Detail, Step: f.Step, Service: f.Service, FixBy: explain.Fixer(f.FixBy)}
}

// The function `clock` formats a time for people.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// explainFinding explains a finding to the caller, who is an operator.
func explainFinding(c echo.Context, f audit.Finding) Explanation {
	found := explain.Found{
		Facts: explain.Facts{
			Run: f.RunID, Merchant: f.MerchantID, Customer: f.CustomerID, Subscription: f.SubscriptionID, Project: f.ProjectID, User: f.UserID,
			Cloud: f.Cloud, Finding: f.ID, Advice: f.Repair.Advice,
		},
		Code: string(f.Code), Status: string(f.Status), Detail: f.Detail, Affected: f.Affected, Action: string(f.Repair.Action),
	}
	if a := f.Acceptance; a != nil && f.Status == audit.Accepted {
		found.AcceptedBy, found.AcceptedWhy = a.Who, a.Why
		if a.Until != nil {
			found.AcceptedUntil = clock(*a.Until)
		}
	}
	return viewExplanation(explain.OfFinding(found, readerOf(c)))
}

func viewExplanation(x explain.Explanation) Explanation {
	view := Explanation{What: x.What, Why: some(x.Why), Means: x.Means, FixBy: FixBy(x.FixBy), Who: x.Who, Next: []NextStep{}}
	for _, s := range x.Next {
		view.Next = append(view.Next, NextStep{Text: s.Text, Command: some(s.Command), Request: some(s.Request)})
	}
	return view
}

// ExplainSubscription explains a subscription, its newest run and, to operators, the open findings about it. It reads only the database.
func (s *server) ExplainSubscription(c echo.Context, merchantID, subscriptionID string) error {
	merchant, err := s.merchantOf(c, merchantID)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	runs, err := s.Runs.Runs(ctx, saga.Filter{
		Merchant: merchant.ID, Objects: []saga.ObjectRef{{Kind: "subscription", ID: subscriptionID}}, Limit: 1,
	})
	if err != nil {
		return err
	}
	if len(runs) == 0 {
		return refuse(subscriptionNotFound, "no run has made or changed such a subscription")
	}
	answer := SubscriptionExplanation{SubscriptionID: subscriptionID, MerchantID: merchant.ID, Findings: []ExplainedFinding{}}
	about := explain.Subscription{Facts: explain.Facts{Merchant: merchant.ID, Subscription: subscriptionID}}
	standings, err := s.Admit.Standings(ctx, merchant.ID, []string{subscriptionID})
	if err != nil {
		return err
	}
	if standing, made := standings[subscriptionID]; made {
		about.State, about.ByOperator = string(standing.State), standing.Suspension != nil && standing.Suspension.ByOperator
		about.Customer, about.Project, about.User = standing.CustomerID, standing.TenantID, standing.UserID
		answer.State = some(about.State)
	}
	if about.State == string(workflows.SubscriptionEnding) {
		endings, err := s.Admit.Endings(ctx, merchant.ID, []string{subscriptionID})
		if err != nil {
			return err
		}
		if ending, is := endings[subscriptionID]; is {
			answer.EndsAt = &ending.DueAt
			about.Until, about.Reason = clock(ending.DueAt), fault(ending.Reason)
			if h := ending.Hold; h != nil {
				about.HeldBy, about.HeldWhy = h.Who, h.Why
			}
		}
	}
	if readerOf(c) != explain.ForPortal {
		open, err := s.Audits.Findings(ctx, audit.Filter{
			SubscriptionID: subscriptionID, Statuses: []audit.Status{audit.New, audit.Known}, Limit: maxExplained,
		})
		if err != nil {
			return err
		}
		for _, f := range open {
			answer.Findings = append(answer.Findings, ExplainedFinding{
				ID: f.ID, Code: string(f.Code), Severity: Severity(f.Severity), Explanation: explainFinding(c, f),
			})
		}
	}
	about.Findings = len(answer.Findings)
	answer.Explanation = viewExplanation(explain.OfSubscription(about, readerOf(c)))
	newest := s.view(callerOf(c), runs[0])
	answer.Run = ExplainedRun{
		ID: newest.ID, Workflow: newest.Workflow, State: newest.State, Explanation: s.explainRun(readerOf(c), runs[0], newest),
	}
	return answerJSON(c, http.StatusOK, answer)
}
