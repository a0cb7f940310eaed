package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/audit"
)

func auditsTable(w io.Writer, all []client.Audit) {
	row(w, "AUDIT", "STATE", "REQUESTED", "BY", "SCOPE", "OPEN FINDINGS")
	for _, a := range all {
		row(w, a.ID, a.State, a.CreatedAt.Format(timeLayout), a.By, scopeText(a.Scope), foundText(a))
	}
}

func auditTable(w io.Writer, a client.Audit) {
	row(w, "audit", a.ID)
	row(w, "state", a.State)
	row(w, "scope", scopeText(a.Scope))
	row(w, "requested", a.CreatedAt.Format(timeLayout), "by "+a.By)
	for _, t := range []struct {
		what string
		at   *time.Time
	}{{"started", a.StartedAt}, {"ended", a.EndedAt}} {
		if t.at != nil {
			row(w, t.what, t.at.Format(timeLayout))
		}
	}
	if a.State == client.AuditRunning {
		row(w, "progress", fmt.Sprintf("%s, %d of %d", a.Progress.Phase, a.Progress.Done, a.Progress.Total))
	}
	if a.Failure != nil {
		row(w, "failed", *a.Failure)
	}
	row(w, "open findings", foundText(a))
	row(w, "read", cmp.Or(counts(a.Read, slices.Sorted(maps.Keys(a.Read))), "-"))
	if gaps := valueOf(a.Gaps); len(gaps) > 0 {
		row(w)
		row(w, "NOT ASSESSED", "CLOUD", "MERCHANT", "DETAIL")
		for _, g := range gaps {
			row(w, g.Code, or(g.Cloud), or(g.MerchantID), g.Detail)
		}
	}
}

// named is the id of an object, with a word for the kind of the object. The id may be missing.
type named struct {
	what string
	id   *string
}

// scopeText returns the scope of an audit as a text.
func scopeText(s client.AuditScope) string {
	var parts []string
	for _, part := range []named{{"merchant", s.MerchantID}, {"customer", s.CustomerID}, {"cloud", s.Cloud}, {"project", s.ProjectID}} {
		if part.id != nil {
			parts = append(parts, part.what+" "+*part.id)
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "all")
}

// foundText returns the numbers of the open findings by severity.
func foundText(a client.Audit) string {
	var severities []string
	for _, s := range audit.Severities {
		severities = append(severities, string(s))
	}
	text := counts(a.Found, severities)
	switch {
	case text != "":
		return text
	case ended(a) && a.State != client.AuditFailed:
		return "none"
	}
	return "-"
}

// counts returns the numbers that are not zero, in the order of the keys.
func counts(numbers map[string]int, keys []string) string {
	var parts []string
	for _, key := range keys {
		if n := numbers[key]; n != 0 {
			parts = append(parts, fmt.Sprint(n, " ", key))
		}
	}
	return strings.Join(parts, ", ")
}

// resultOfAudit prints an audit that has ended, and its open findings.
func resultOfAudit(w io.Writer, r audited) {
	auditTable(w, r.Audit)
	if len(r.Findings) == 0 {
		return
	}
	row(w)
	findingsTable(w, r.Findings)
	row(w)
	row(w, "then type", "tenantry audit finding FINDING   # who is affected, and what to do")
	if slices.ContainsFunc(r.Findings, func(f client.Finding) bool { return f.Repair.Action != nil }) {
		row(w, "or", "tenantry audit plan -o FILE       # the repairs that Tenantry can carry out, for your approval")
	}
}

func findingsTable(w io.Writer, all []client.Finding) {
	row(w, "FINDING", "SEVERITY", "CODE", "STATUS", "SINCE", "OBJECT", "DETAIL")
	for _, f := range all {
		object := "-"
		if len(f.Objects) > 0 {
			object = f.Objects[0].Kind + ":" + f.Objects[0].ID
		}
		row(w, f.ID, f.Severity, f.Code, f.Status, f.FirstSeen.Format(timeLayout), object, f.Detail)
	}
}

func findingTable(w io.Writer, f client.Finding) {
	row(w, "finding", f.ID)
	row(w, "code", f.Code)
	row(w, "severity", f.Severity)
	row(w, "status", f.Status)
	row(w, "detail", f.Detail)
	row(w, "affected", f.Affected)
	for _, about := range []named{
		{"cloud", f.Cloud},
		{"merchant", f.MerchantID},
		{"customer", f.CustomerID},
		{"subscription", f.SubscriptionID},
		{"project", f.ProjectID},
		{"user", f.UserID},
		{"run", f.RunID},
	} {
		if about.id != nil {
			row(w, about.what, *about.id)
		}
	}
	row(w, "advice", f.Repair.Advice)
	if f.Repair.Action != nil {
		row(w, "change", strings.Join(append([]string{*f.Repair.Action}, valuesOf(f.Repair)...), " "))
	}
	row(w, "first seen", f.FirstSeen.Format(timeLayout), "audit "+f.FirstAuditID)
	row(w, "last seen", f.LastSeen.Format(timeLayout), "audit "+f.LastAuditID)
	if f.ResolvedAt != nil {
		row(w, "resolved", f.ResolvedAt.Format(timeLayout))
	}
	if a := f.Acceptance; a != nil {
		row(w, "accepted", a.At.Format(timeLayout), "by "+a.Who+": "+a.Why)
		if a.Until != nil {
			row(w, "until", a.Until.Format(timeLayout))
		}
	}
	if len(f.Objects) > 0 {
		row(w)
		row(w, "OBJECT", "NAME")
		for _, o := range f.Objects {
			row(w, o.Kind+":"+o.ID, or(o.Name))
		}
	}
	historyTable(w, valueOf(f.History))
}

// valuesOf returns the values of a repair, sorted by name.
func valuesOf(r client.Repair) (all []string) {
	values := valueOf(r.Values)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, name+"="+values[name])
	}
	return all
}

func historyTable(w io.Writer, changes []client.FindingChange) {
	if len(changes) == 0 {
		return
	}
	row(w)
	row(w, "TIME", "STATUS", "BY", "WHY", "UNTIL")
	for _, c := range changes {
		by, until := or(c.Who), "-"
		if c.AuditID != nil {
			by = "audit " + *c.AuditID
		}
		if c.Until != nil {
			until = c.Until.Format(timeLayout)
		}
		row(w, c.At.Format(timeLayout), c.Status, by, or(c.Why), until)
	}
}
