package storetest

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/audit"
)

// findingTexts uses texts that are too long or that contain invalid characters. The store must change these texts before it
// stores them.
func findingTexts(t *testing.T, s auditFixture) {
	for what, bad := range map[string]string{"NUL": "a\x00b", "not UTF-8": "a\xffc", "10 KiB": "a" + strings.Repeat("ü", 5<<10)} {
		t.Run(what, func(t *testing.T) {
			id := what + bad
			if err := s.audits.Create(t.Context(), audit.Audit{
				ID: id, By: bad, CreatedAt: epoch, Scope: audit.Scope{MerchantID: bad, CustomerID: bad, Cloud: bad, ProjectID: bad},
			}); err != nil {
				t.Fatal(err)
			}
			a, err := s.audits.Take(t.Context(), bad, epoch, epoch)
			if err == nil {
				err = s.audits.Beat(t.Context(), id, bad, epoch, audit.Progress{Phase: bad})
			}
			o := ended(id, epoch, audit.Finding{
				ID: id, Code: audit.Code(bad), Severity: audit.High, Cloud: bad, MerchantID: bad, CustomerID: bad, SubscriptionID: bad,
				ProjectID: bad, UserID: bad, Objects: []audit.Object{{Kind: bad, ID: bad, Name: bad}}, Detail: bad, Affected: bad, RunID: bad,
				Repair: audit.Repair{Values: map[string]string{"v": bad}, Advice: bad},
			})
			o.Resolved = []string{bad}
			o.Audit.Failure, o.Audit.Progress.Phase = bad, bad
			o.Audit.Gaps = []audit.Gap{{Code: bad, Cloud: bad, MerchantID: bad, Detail: bad}}
			if err == nil {
				err = s.audits.Finish(t.Context(), bad, o)
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.audits.Accept(t.Context(), id, audit.Change{Who: bad, Why: bad}, &audit.Acceptance{Who: bad, Why: bad, At: epoch})
			if err != nil {
				t.Fatal(err)
			}
			a, err = s.audits.Audit(t.Context(), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			history, err := s.audits.History(t.Context(), id)
			if err != nil || len(history) != 2 {
				t.Fatalf("the history: %+v, %v; want two changes", history, err)
			}
			for _, text := range []string{
				a.By, a.Scope.Cloud, a.Progress.Phase, a.Failure, a.Gaps[0].Detail, a.Replica, f.Detail, f.Affected, f.UserID, f.Objects[0].Name,
				f.Repair.Advice, f.Repair.Values["v"], f.Acceptance.Why, history[1].Who, history[1].Why,
			} {
				if !strings.HasPrefix(text, "a") || len(text) < 3 || len(text) > 1<<10 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
					t.Errorf("stored %d bytes: %.20q; want a valid text of at most 1 KiB that begins with \"a\"", len(text), text)
				}
			}
			for _, filter := range []audit.Filter{{ProjectID: bad}, {AuditID: id}, {Cloud: bad, Codes: []audit.Code{f.Code}}} {
				filter.Limit = 9
				if found, err := s.audits.Findings(t.Context(), filter); err != nil || len(found) != 1 || found[0].ID != f.ID {
					t.Errorf("filter %.30q: got %d findings, %v; want the finding", fmt.Sprint(filter), len(found), err)
				}
			}
			if _, err := s.audits.Audits(t.Context(), bad, 9); err != nil {
				t.Error(err)
			}
			if _, err := s.audits.Findings(t.Context(), audit.Filter{After: bad, Limit: 9}); err != nil {
				t.Error(err)
			}
		})
	}
}
