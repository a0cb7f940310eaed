package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store"
)

func TestSignIns(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": template.SQLite, "PostgreSQL": template.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			ctx, now := t.Context(), time.Now()
			url := database(t)
			db := migrated(t, url)
			s := db.SignIns(func() time.Time { return now })
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			find := func(s *store.SignIns, id, want string) {
				t.Helper()
				content, found, err := s.FindCtx(ctx, id)
				must(err)
				if found != (want != "") || string(content) != want {
					t.Errorf("%s: found %t, %q, want %q", id, found, content, want)
				}
			}
			must(s.CommitCtx(ctx, "a", []byte("first\x00"), now.Add(time.Hour)))
			must(s.CommitCtx(ctx, "a", []byte("token-canary"), now.Add(time.Hour)))
			must(s.CommitCtx(ctx, "b", []byte("other"), now.Add(time.Minute)))
			find(s, "a", "token-canary")
			find(s, "b", "other")
			find(s, "c", "")
			among, err := s.Among(ctx, []string{"a", "b", "c"})
			must(err)
			if len(among) != 2 || !among["a"] || !among["b"] {
				t.Errorf("among: %v", among)
			}

			raw, err := db.DB().DB()
			must(err)
			var sealed string
			must(raw.QueryRowContext(ctx, "SELECT sealed FROM sign_ins WHERE id = 'a'").Scan(&sealed))
			if sealed == "" || bytes.Contains([]byte(sealed), []byte("canary")) {
				t.Errorf("stored as %q", sealed)
			}
			_, err = raw.ExecContext(ctx, "UPDATE sign_ins SET sealed = (SELECT sealed FROM sign_ins WHERE id = 'a') WHERE id = 'b'")
			must(err)
			find(s, "b", "") // the content of another session is not accepted

			now = now.Add(time.Hour)
			find(s, "a", "")
			must(s.DeleteExpired(ctx))
			var left int
			must(raw.QueryRowContext(ctx, "SELECT COUNT(*) FROM sign_ins").Scan(&left))
			if left != 0 {
				t.Errorf("%d sessions are left", left)
			}
			must(s.CommitCtx(ctx, "d", []byte("x"), now.Add(time.Hour)))
			must(s.DeleteCtx(ctx, "d"))
			must(s.DeleteCtx(ctx, "d"))
			find(s, "d", "")
		})
	}
}
