package simulation

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// The function `posting` returns a mutation of the workflow `post-usage`.
func posting(change func(*saga.Workflow[workflows.Posting], workflows.Deps)) mutations {
	return mutations{usage: true, define: func(d workflows.Deps) (*saga.Definition, error) {
		w := workflows.PostUsage(d)
		change(&w, d)
		return saga.Define(w)
	}}
}

// following returns a mutation that changes the follow-up of a posting that has failed.
func following(change func(p workflows.Posting, rest *workflows.Posting, f *saga.FollowUp)) mutations {
	return posting(func(w *saga.Workflow[workflows.Posting], _ workflows.Deps) {
		then := w.Then
		w.Then = func(p workflows.Posting, end saga.End) []saga.FollowUp {
			all := then(p, end)
			if end.Cause == nil {
				return all
			}
			for i := range all {
				rest := all[i].Input.(workflows.Posting)
				change(p, &rest, &all[i])
				all[i].Input = rest
			}
			return all
		}
	})
}

// recording returns a mutation that changes what the steps record.
func recording(books func(workflows.Books) workflows.Books) mutations {
	return mutations{usage: true, define: func(d workflows.Deps) (*saga.Definition, error) {
		d.Books = books(d.Books)
		return saga.Define(workflows.PostUsage(d))
	}}
}

// usageMutants are the mutants of the workflow that posts usage.
var usageMutants = map[string]mutations{
	"a failed posting drops its follow-up": following(func(_ workflows.Posting, _ *workflows.Posting, f *saga.FollowUp) {
		f.DueAt = time.Time{}
	}),
	"a failed posting has no reason": following(func(_ workflows.Posting, _ *workflows.Posting, f *saga.FollowUp) {
		f.Reason = nil
	}),
	"a failed posting forgets the rows of its first step": following(func(p workflows.Posting, rest *workflows.Posting, _ *saga.FollowUp) {
		rest.Rows = slices.DeleteFunc(slices.Clone(rest.Rows), func(r usage.Row) bool { return r.Subscription == p.Rows[0].Subscription })
	}),
	"the ids of rows depend on the run": posting(func(w *saga.Workflow[workflows.Posting], _ workflows.Deps) {
		do := w.Steps[0].Do
		w.Steps[0].Do = func(ctx context.Context, p *workflows.Posting) error {
			other := *p
			other.Rows = slices.Clone(p.Rows)
			for i, r := range p.Rows {
				other.Rows[i].ID = uuid.NewSHA1(uuid.Nil, []byte(saga.CallOf(ctx).RunID+r.ID)).String()
			}
			err := do(ctx, &other)
			p.Posted = other.Posted
			return err
		}
	}),
	"differing rows are overwritten": {usage: true, transport: func(next http.RoundTripper) http.RoundTripper {
		return gate.Fence(overwritingUsage{next})
	}},
	"a run does not report differing rows": posting(func(w *saga.Workflow[workflows.Posting], _ workflows.Deps) {
		do := w.Steps[0].Do
		w.Steps[0].Do = func(ctx context.Context, p *workflows.Posting) error {
			err := do(ctx, p)
			p.Differs = nil
			return err
		}
	}),
	"differing rows are not recorded":          recording(func(b workflows.Books) workflows.Books { return uncritical{b} }),
	"only the first row of a step is recorded": recording(func(b workflows.Books) workflows.Books { return lazy{b} }),
	"rows are recorded before they are posted": posting(func(w *saga.Workflow[workflows.Posting], d workflows.Deps) {
		do := w.Steps[0].Do
		w.Steps[0].Do = func(ctx context.Context, p *workflows.Posting) error {
			step := saga.CallOf(ctx).Item
			number, before := 0, ""
			var rows []usage.Posted
			for _, r := range p.Rows {
				if r.Subscription != before {
					number, before = number+1, r.Subscription
				}
				if fmt.Sprint(number) == step {
					rows = append(rows, usage.Posted{Row: r.ID})
				}
			}
			if err := d.Books.Posted(ctx, d.Now(), p.MerchantID, saga.CallOf(ctx).RunID, rows); err != nil {
				return err
			}
			return do(ctx, p)
		}
	}),
}

// The type `overwritingUsage` replaces usage that exists already.
type overwritingUsage struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (o overwritingUsage) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/usage") {
		return o.next.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(string(body), `"id":"`)
	id, _, _ := strings.Cut(after, `"`)
	patch := req.Clone(req.Context())
	patch.Method, patch.URL.Path, patch.Body = http.MethodPatch, req.URL.Path+"/"+id, io.NopCloser(bytes.NewReader(body))
	resp, err := o.next.RoundTrip(patch)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	_ = resp.Body.Close()
	req.Body = io.NopCloser(bytes.NewReader(body))
	return o.next.RoundTrip(req)
}

// The type `uncritical` records that no row differs.
type uncritical struct{ workflows.Books }

// Posted implements [workflows.Books].
func (u uncritical) Posted(ctx context.Context, now time.Time, merchant, run string, rows []usage.Posted) error {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Differs = ""
	}
	return u.Books.Posted(ctx, now, merchant, run, rows)
}

// The type `lazy` records only one row.
type lazy struct{ workflows.Books }

// Posted implements [workflows.Books].
func (l lazy) Posted(ctx context.Context, now time.Time, merchant, run string, rows []usage.Posted) error {
	return l.Books.Posted(ctx, now, merchant, run, rows[:1])
}

func init() {
	maps.Copy(mutants, usageMutants)
}
