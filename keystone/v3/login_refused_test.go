package v3_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

// Keystone locks a user after some refused logins. Therefore the calls after a refused login must not log in again.
func TestARefusedLoginIsNotRepeatedByEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logins atomic.Int32
		var correct atomic.Bool
		g := new(gate.Gates).Of("keystone/default", 4)
		cloud, err := v3.New(conn.Config{
			URL:        "http://keystone",
			Credential: conn.Credential{Username: "tenantry", UserDomainName: "Default", Password: "canary", ProjectName: "service", ProjectDomainName: "Default"},
			Enter:      g.Enter,
			Base: roundTrip(func(req *http.Request) (*http.Response, error) {
				switch {
				case !isLogin(req):
					return answer(200, `{"projects":[],"links":{}}`)(req)
				case correct.Load():
					return answer(201, `{"token":{"user":{"id":"u"},"project":{"id":"p"},"expires_at":"2099-01-01T00:00:00.000000Z"}}`, "X-Subject-Token", "t")(req)
				}
				logins.Add(1)
				return answer(401, own401)(req)
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		g.TryBy(cloud.Ping)
		const text = "Keystone refuses the login of user tenantry (domain Default) on project service: " +
			"the password is wrong, or the user is disabled or locked, or it has no role on the project"
		calls := func(wantLogins int32) {
			t.Helper()
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					err := cloud.Ping(context.WithoutCancel(t.Context()))
					e, ok := errors.AsType[*upstream.Error](err)
					if !ok || !e.OwnCredential || e.Class != upstream.Unavailable || e.Code() != "keystone-credential-refused" || !strings.Contains(upstream.ForOperator(err), text) ||
						strings.Contains(err.Error(), "user tenantry") || strings.Contains(err.Error(), "refuses Tenantry") || strings.Contains(err.Error(), "requires authentication") {
						t.Errorf("got %v", err)
					}
				})
				time.Sleep(100 * time.Millisecond)
			}
			group.Wait()
			if got := logins.Load(); got != wantLogins {
				t.Errorf("%d refused logins, want %d", got, wantLogins)
			}
			if e, _ := errors.AsType[*upstream.Error](cloud.Ping(t.Context())); e == nil || e.Circuit() != "keystone/default" {
				t.Errorf("got %+v, want an error of the circuit keystone/default", e)
			}
		}
		calls(1)
		time.Sleep(10 * time.Second)
		calls(2)
		correct.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := cloud.Ping(t.Context()); err != nil || g.Open() {
			t.Errorf("after the password was corrected: %v, open: %t", err, g.Open())
		}
	})
}

func TestARefusedLoginSaysWhoAndWhy(t *testing.T) {
	for want, c := range map[string]conn.Credential{
		"of user u1 on domain Ops: the password is wrong, or the user is disabled or locked, or it has no role on the domain": {
			UserID: "u1", Password: "canary", DomainName: "Ops",
		},
		"of user tenantry (domain default) on the system: the password is wrong, or the user is disabled or locked, or it has no role on the system": {
			Username: "tenantry", UserDomainID: "default", Password: "canary", System: true,
		},
		"of user [secret] on project p: the password is wrong, or the user is disabled or locked, or it has no role on the project": {
			UserID: "canary", Password: "canary", ProjectID: "p",
		},
		"of application credential a1: the secret is wrong, or the application credential has expired or was deleted, or its user is disabled or locked": {
			ApplicationCredentialID: "a1", ApplicationCredentialSecret: "canary",
		},
	} {
		h := newHouse(t, func(cfg *conn.Config) { cfg.Credential = c })
		h.wire.intercept(isLogin, answer(401, own401))
		err := h.cloud.Ping(t.Context())
		if refused := upstream.RefusedLogin(err); refused == nil || refused.Text != "Keystone refuses the login "+want ||
			!strings.Contains(upstream.ForOperator(err), refused.Text) || strings.Contains(err.Error(), refused.Text) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v, %v, want %s", err, refused, want)
		}
		h.wire.intercept(isLogin, answer(400, `{"error":{"code":400,"message":"Bad."}}`))
		if err := h.cloud.Ping(t.Context()); err == nil || strings.Contains(err.Error(), " is wrong") || !strings.Contains(upstream.ForOperator(err), ": Bad.: Keystone answered 400 Bad Request") {
			t.Errorf("got %v, want Keystone's answer in the text for operators", err)
		}
		h.wire.intercept(isLogin, answer(401, `{"error":{"code":401,"message":"The password is expired."}}`))
		if err := h.cloud.Ping(t.Context()); err == nil || !strings.Contains(upstream.ForOperator(err), ": The password is expired.: Keystone answered") || strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v, want Keystone's answer only in the text for operators", err)
		}
	}
}
