package simulation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/workflows"
)

// The function `registration` returns a mutation that changes one step of the workflow `register`.
func registration(name string, change func(*saga.Step[workflows.Registration], workflows.Deps)) mutations {
	m := altered(workflows.Register, name, change)
	m.registers = true
	return m
}

// The function `visiting` returns a mutation of the workflow `subscribe` that is tried only on plans with registrations.
func visiting(m mutations) mutations {
	m.registers = true
	return m
}

// The function `calling` returns a mutation that changes the client of Keystone.
func calling(change func(*replica, keystone.Identity) keystone.Identity) mutations {
	return mutations{registers: true, identity: change}
}

// signUpMutants are the mutants of the steps that create users and log them in.
var signUpMutants = map[string]mutations{
	"create-user stores the password": registration("create-user", func(s *saga.Step[workflows.Registration], _ workflows.Deps) {
		do := s.Do
		s.Do = func(ctx context.Context, r *workflows.Registration) error {
			err := do(ctx, r)
			if password, missing := saga.CallOf(ctx).Password(); missing == nil {
				r.Email = password
			}
			return err
		}
	}),
	"no undo of create-user of subscribe": visiting(withoutUndo("create-user")),
	"log-in does nothing": visiting(step("log-in", func(s *saga.Step[workflows.Order]) {
		s.Do = func(context.Context, *workflows.Order) error { return nil }
	})),
	"log-in forgets that a password was handed over": visiting(step("log-in", func(s *saga.Step[workflows.Order]) {
		do := s.Do
		s.Do = func(ctx context.Context, o *workflows.Order) error {
			o.PasswordHanded = saga.CallOf(ctx).Handed
			if err := do(ctx, o); !errors.Is(err, keystone.ErrWrongLogin) {
				return err
			}
			return nil
		}
	})),
	"a subscribe run stores the password": visiting(step("create-user", func(s *saga.Step[workflows.Order]) {
		do := s.Do
		s.Do = func(ctx context.Context, o *workflows.Order) error {
			err := do(ctx, o)
			if password, missing := saga.CallOf(ctx).Password(); missing == nil {
				o.UserName = password
			}
			return err
		}
	})),
	"no undo of create-user": registration("create-user", func(s *saga.Step[workflows.Registration], _ workflows.Deps) {
		s.Undo = func(context.Context, *workflows.Registration) error { return nil }
	}),
	"re-checks leave users": registration("create-user", func(s *saga.Step[workflows.Registration], _ workflows.Deps) {
		undo := s.Undo
		s.Undo = func(ctx context.Context, r *workflows.Registration) error {
			if saga.CallOf(ctx).Kind == saga.CallRecheck {
				return nil
			}
			return undo(ctx, r)
		}
	}),
	"a foreign user counts as made": registration("create-user", func(s *saga.Step[workflows.Registration], d workflows.Deps) {
		s.Find = func(ctx context.Context, r *workflows.Registration) (saga.Found, error) {
			id, err := d.Identity(r.Cloud)
			if err != nil {
				return saga.Absent, err
			}
			u, err := id.FindUser(ctx, r.DomainID, r.Name)
			if errors.Is(err, keystone.ErrNotFound) {
				return saga.Absent, nil
			}
			r.UserID = u.ID
			return saga.Made, err
		}
	}),
	// The steps check-name and check-twins make the same search. If only one of them found no user, the other would notice.
	"the search for similar users finds only the same name": calling(func(_ *replica, id keystone.Identity) keystone.Identity { return exact{id} }),
	"set-password does nothing": registration("set-password", func(s *saga.Step[workflows.Registration], _ workflows.Deps) {
		s.Satisfied = func(*workflows.Registration, time.Time) bool { return true }
	}),
	"RemoveUser ignores the mark": calling(func(_ *replica, id keystone.Identity) keystone.Identity { return unmarked{id} }),
	"passwords are handed over at any time": calling(func(r *replica, id keystone.Identity) keystone.Identity {
		return overwriting{id, r}
	}),
	"RemoveUser does not see the roles": {registers: true, transport: func(next http.RoundTripper) http.RoundTripper {
		return gate.Fence(careless{next})
	}},
}

// The type `exact` finds only users with exactly the same name.
type exact struct{ keystone.Identity }

// SimilarUser implements [keystone.Users].
func (e exact) SimilarUser(ctx context.Context, domainID, name string) (keystone.User, error) {
	return e.FindUser(ctx, domainID, name)
}

// The type `unmarked` removes users whom another run has created.
type unmarked struct{ keystone.Identity }

// RemoveUser implements [keystone.Users].
func (m unmarked) RemoveUser(ctx context.Context, domainID, name, runID string) (keystone.User, string, error) {
	if u, err := m.FindUser(ctx, domainID, name); err == nil && u.RunID != "" {
		runID = u.RunID
	}
	return m.Identity.RemoveUser(ctx, domainID, name, runID)
}

// The type `overwriting` uses the password of the last call that the replica has received, even if the run did not wait for a password.
type overwriting struct {
	keystone.Identity

	r *replica
}

func (m overwriting) password(ctx context.Context, own string) string {
	run, err := m.r.world.store.Run(context.Background(), saga.CallOf(ctx).RunID)
	m.r.world.ok(err)
	m.r.world.driver.mu.Lock()
	defer m.r.world.driver.mu.Unlock()
	if heard := m.r.world.signUps.heard[m.r.name+" "+run.Merchant+" "+run.Key]; heard != "" {
		return heard
	}
	return own
}

// EnsureUser implements [keystone.Users].
func (m overwriting) EnsureUser(ctx context.Context, n keystone.NewUser) (u keystone.User, made, passwordSet bool, err error) {
	n.Password = m.password(ctx, n.Password)
	return m.Identity.EnsureUser(ctx, n)
}

// SetPassword implements [keystone.Users].
func (m overwriting) SetPassword(ctx context.Context, userID, password string) error {
	return m.Identity.SetPassword(ctx, userID, m.password(ctx, password))
}

// The type `careless` hides the role assignments of users.
type careless struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (c careless) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err == nil && req.URL.Query().Get("user.id") != "" && saga.CallOf(req.Context()).Undoes() {
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader([]byte(`{"role_assignments":[],"links":{"next":null}}`)))
	}
	return resp, err
}

func init() {
	maps.Copy(mutants, signUpMutants)
}
