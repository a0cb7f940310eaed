package stories_test

import (
	"bytes"
	"context"
	"time"

	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

var secretKey = bytes.Repeat([]byte("k"), store.KeySize)

// checkAtTheEnd registers a check of the invariants. The check runs when the test and its replicas have ended. Objects that exist
// at the call of checkAtTheEnd count as foreign objects, which no run has created.
func (s *site) checkAtTheEnd(database string) {
	var err error
	s.others, err = workflowstest.Look(s.t.Context(), s.cloud.all, s.billing)
	s.ok(err)
	s.t.Cleanup(func() {
		ctx := context.Background()
		st, err := store.Open(ctx, database, secretKey)
		s.ok(err)
		defer func() { _ = st.Close() }()
		installation, err := st.InstallationID(ctx)
		s.ok(err)
		seen := workflowstest.Seen{
			Installation: installation, Others: s.others, ByHand: s.byHand, Answers: s.finals, Removals: s.cloud.removed.Removals(), Skew: time.Second,
			Secrets: append(s.tokens, s.cloud.password, "canary-user-password", s.secret),
			Texts:   map[string]string{"log": s.log.read(), "answers": s.answers.String()},
		}
		seen.Now, err = workflowstest.Look(ctx, s.cloud.all, s.billing, s.merchant.ID)
		s.ok(err)
		seen.Runs, seen.Events, err = workflowstest.LookAtRuns(ctx, st)
		s.ok(err)
		for _, broken := range workflowstest.Check(seen) {
			s.t.Error(broken)
		}
	})
}
