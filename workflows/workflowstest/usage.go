package workflowstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// usagePosted checks the rows of succeeded postings. BillingStack must have each row exactly once, with the numbers of the row. If
// BillingStack has other numbers, the run must report the difference.
func usagePosted(v *view, broken report) {
	for _, r := range v.Runs {
		if r.Workflow != workflows.PostUsageName || r.State != saga.Succeeded {
			continue
		}
		state, err := r.Data()
		var p workflows.Posting
		if err == nil {
			err = json.Unmarshal(state, &p)
		}
		if err != nil {
			broken(r.ID, "the state of the run cannot be decoded: "+err.Error())
			continue
		}
		for _, row := range p.Rows {
			if wrong := v.compare(row, p.Differs[row.ID]); wrong != "" {
				broken(r.ID, "the run succeeded, but "+wrong, "usage "+row.ID)
			}
		}
	}
}

// The method `compare` compares a row with BillingStack. The parameter `reported` is the difference that Tenantry has reported. The result
// says what is wrong, or is empty.
func (v *view) compare(row usage.Row, reported string) string {
	if v.isByHand(used, row.ID) {
		return ""
	}
	switch found := v.usage(row.ID); {
	case len(found) != 1:
		return fmt.Sprintf("BillingStack has the row %d times", len(found))
	case row.Differs(found[0]) != reported:
		return fmt.Sprintf("the difference of the row is %q, and Tenantry has reported %q", row.Differs(found[0]), reported)
	}
	return ""
}

// The method `usage` returns the usage with the given id.
func (v *view) usage(id string) []billing.Usage {
	return slices.DeleteFunc(slices.Clone(v.Now.Usage), func(u billing.Usage) bool { return u.ID != id })
}

// usageRecorded compares the rows in the database with BillingStack. BillingStack must have each row that is recorded as posted. The
// difference that is recorded for a row must be correct. If a row is not recorded as posted, a run may have posted it, but not with other
// numbers.
func usageRecorded(v *view, broken report) {
	for _, row := range v.Rows {
		detail := ""
		if row.Run != "" {
			detail = v.compare(row.Row, row.Differs)
		} else if len(v.usage(row.ID)) > 0 && !has(v.Others.Usage, func(u billing.Usage) bool { return u.ID == row.ID }) {
			detail = v.compare(row.Row, "")
		}
		if detail != "" {
			broken(row.Run, "the record of a row is wrong: "+detail, "usage "+row.ID)
		}
	}
}

// usageAwaited checks that no posting is forgotten. If a row is not posted, a follow-up must post it. Each follow-up must state why the last
// run has not posted the rows. If a posting has no follow-up, the last run of the posting must have succeeded.
func usageAwaited(v *view, broken report) {
	waiting, awaited := map[string]bool{}, map[string]bool{} // by the id of the posting, and by the id of the row
	for _, f := range v.FollowUps {
		if f.Workflow != workflows.PostUsageName {
			continue
		}
		p, err := postingOf(f.Input)
		switch {
		case err != nil:
			broken(f.RunID, "a follow-up cannot be decoded: "+err.Error(), f.ID)
		case f.Reason == nil && f.Hold == nil:
			broken(f.RunID, "a posting has not ended, and has no reason", f.ID)
		}
		waiting[f.ID] = true
		for _, row := range p.Rows {
			awaited[row.ID] = true
		}
	}
	for _, row := range v.Rows {
		if row.Run == "" && !awaited[row.ID] {
			broken("", "a row is not posted, and no follow-up will post it", "usage "+row.ID)
		}
	}
	if len(v.Rows) == 0 { // the test has not read the follow-ups
		return
	}
	last := map[string]*saga.Run{} // by the id of the posting
	for _, r := range v.Runs {
		if r.Workflow != workflows.PostUsageName {
			continue
		}
		p, err := postingOf(r.Input)
		if err != nil {
			broken(r.ID, "the input of the run cannot be decoded: "+err.Error())
		} else if was := last[p.ID]; was == nil || isLater(r, was) {
			last[p.ID] = r
		}
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		if r := last[id]; r.State == saga.Compensated && !waiting[id] {
			broken(r.ID, "the run is compensated, and no follow-up will post the rest", id)
		}
	}
}

// postingOf decodes the input of a run or of a follow-up. In the result of a store, this input is JSON.
func postingOf(input any) (p workflows.Posting, err error) {
	text, is := input.(json.RawMessage)
	if !is {
		return p, fmt.Errorf("the input is a %T", input)
	}
	return p, json.Unmarshal(text, &p)
}
