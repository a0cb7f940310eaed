package workflowstest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The stranger is a workflow that only tests use. This workflow lends a room to a guest: an account is a customer, a room is a customer
// tenant, and a book is the subscription of the room. The stranger uses the same kinds of objects and the same customers as the
// workflow `subscribe`. Runs of one workflow must not remove objects of the other workflow.

// StrangerName is the name of the stranger's workflow.
const StrangerName = "lend"

// The type `loan` is the data of a run of the stranger's workflow.
type loan struct {
	Run        string          `json:"run"`
	Merchant   string          `json:"merchant"`
	Plan       string          `json:"plan"`
	Account    string          `json:"account"`
	NewAccount bool            `json:"new_account,omitempty"`
	Guest      string          `json:"guest"`
	Cloud      string          `json:"cloud"`
	Domain     string          `json:"domain"`
	Roles      []keystone.Role `json:"roles"`
	Book       string          `json:"book"`

	Lacked  []string `json:"lacked,omitempty"` // ids of the roles that the guest lacked in an existing room
	Room    string   `json:"room,omitempty"`
	RoomOwn bool     `json:"room_own,omitempty"`
}

func (l *loan) roomName() string  { return "bs-customer-" + l.Account }
func (l *loan) roomClaim() string { return workflows.ClaimTenant(l.Cloud, l.Domain, l.roomName()) }

// The method `request` returns the request that starts a run for the loan.
func (l loan) request(runID string) saga.Request {
	run := uuid.MustParse(runID)
	l.Run, l.Book = runID, uuid.NewSHA1(run, []byte("book")).String()
	if l.NewAccount {
		l.Account = uuid.NewSHA1(run, []byte("account")).String()
	}
	return saga.Request{
		ID: runID, Workflow: StrangerName, Merchant: l.Merchant, Cloud: l.Cloud, Subject: l.Merchant + ":" + l.Account, User: l.Guest,
		Doubles: "book " + l.Plan, OnFailure: saga.FailureCompensates, Input: l,
	}
}

func strangerTrial() Trial {
	return Trial{
		Define: func(d workflows.Deps) (*saga.Definition, error) { return saga.Define(lender{d}.workflow()) },
		Request: func(g Ground) saga.Request {
			return loan{
				Merchant: g.MerchantID, Plan: g.PlanID, Account: g.CustomerID, NewAccount: g.CustomerID == "",
				Guest: g.User, Cloud: g.Cloud, Domain: g.DomainID, Roles: g.Roles,
			}.request(g.RunID)
		},
		Do: map[string]string{
			"open-account": Billing, "open-room": Keystone, "invite/bs-admin": Keystone, "open-book": Billing, "bind-book": Billing,
		},
		Undo:    map[string]string{"open-account": Billing, "open-room": Keystone, "open-book": Billing},
		Refused: "bind-book",
		Reading: "look", Reads: []string{Billing, Keystone},
		Ends: map[string]Ends{
			"undo open-account, 409": {Once: string(saga.Compensated), Always: string(saga.Stuck)},
			"do bind-book, 404":      {Once: string(saga.Compensated), Always: string(saga.Compensated)}, // the subscription does not exist
		},
		Places: []Place{
			{Step: "look", Call: "GET role_assignments", Adopted: true},
			{Step: "open-account", Call: "POST customers"},
			{Step: "open-room", Call: "POST projects bs-customer"},
			{Step: "invite/bs-admin", Call: "PUT roles/bs-admin on bs-customer", Adopted: true},
			{Step: "open-book", Call: "POST subscriptions"},
			{Step: "bind-book", Call: "PATCH subscriptions"},

			{Undo: true, Step: "open-book", Call: "DELETE subscriptions"},
			{Undo: true, Step: "invite/bs-admin", Call: "DELETE roles/bs-admin on bs-customer", Adopted: true},
			{Undo: true, Step: "open-room", Call: "DELETE projects bs-customer"},
			{Undo: true, Step: "open-account", Call: "DELETE customers"},
		},
	}
}

// The type `lender` has the dependencies of the workflow's steps.
type lender struct{ workflows.Deps }

func (d lender) workflow() saga.Workflow[loan] {
	return saga.Workflow[loan]{
		Name: StrangerName, Version: 1,
		Classify: workflows.Classify, Retry: d.retry, Expect: d.expect,
		Result:     func(l loan) any { return map[string]string{"account": l.Account, "room": l.Room, "book": l.Book} },
		NewSubject: func(l loan) bool { return l.NewAccount },
		Steps: []saga.Step[loan]{
			{
				Name: "look", Effect: saga.Reads,
				Satisfied: func(l *loan, _ time.Time) bool { return l.NewAccount },
				Do:        d.look,
				NoUndo:    "it only reads",
			},
			{
				Name: "open-account", After: []string{"look"},
				Claim: func(l *loan, _ string) string { return workflows.ClaimCustomer(l.Account) },
				Find:  d.findAccount, Do: d.openAccount, Undo: d.closeAccount,
			},
			{
				Name: "open-room", After: []string{"open-account"},
				Claim: func(l *loan, _ string) string { return l.roomClaim() },
				Find:  d.findRoom, Do: d.openRoom, Undo: d.closeRoom,
			},
			{
				Name: "invite", After: []string{"open-room"},
				Each: func(l *loan) (names []string) {
					for _, r := range l.Roles {
						names = append(names, r.Name)
					}
					return names
				},
				Claim: func(l *loan, role string) string {
					return workflows.ClaimRole(l.role(role), l.Guest, l.roomClaim())
				},
				Find: d.findInvitation, Do: d.invite, Undo: d.disinvite,
			},
			{
				Name: "open-book", After: []string{"open-account"},
				Claim: func(l *loan, _ string) string { return workflows.ClaimSubscription(l.Book) },
				Find:  d.findBook, Do: d.openBook, Undo: d.closeBook,
			},
			{
				Name: "bind-book", After: []string{"open-book", "open-room"}, Effect: saga.Changes,
				Find: func(ctx context.Context, l *loan) (saga.Found, error) {
					s, err := d.Billing.Subscription(ctx, l.Merchant, l.Book)
					switch {
					case errors.Is(err, billing.ErrNotFound):
						return saga.Absent, nil
					case err == nil && s.ResourceID == l.Room:
						return saga.Made, nil
					}
					return saga.Absent, err
				},
				Do: func(ctx context.Context, l *loan) error {
					_, err := d.Billing.SetResource(ctx, l.Merchant, l.Book, l.Room)
					return err
				},
				NoUndo: "closing the book also deletes the value",
			},
		},
	}
}

// The method `expect` returns the objects that a successful run creates or adopts.
func (d lender) expect(l loan) []saga.Expected {
	account := saga.Expected{
		Object: saga.Object{Step: "open-account", Kind: customer, ID: l.Account, Origin: saga.Adopted},
		Fields: map[string]string{"merchant_id": l.Merchant},
	}
	if l.NewAccount {
		account.Origin = saga.Own
	}
	room := saga.Expected{
		Object: saga.Object{Step: "open-room", Kind: project, Cloud: l.Cloud, ID: l.Room, Name: l.roomName(), Origin: saga.Adopted},
		Fields: map[string]string{"domain_id": l.Domain, "enabled": "true"},
	}
	if l.RoomOwn {
		room.Origin, room.Marks = saga.Own, keystone.TenantTags(l.Run, l.Merchant, d.Installation)
	}
	all := []saga.Expected{account, room, {
		Object: saga.Object{Step: "open-book", Kind: subscription, ID: l.Book, Origin: saga.Own}, On: l.Account,
		Fields: map[string]string{"plan_id": l.Plan, "customer_id": l.Account, "resource_id": l.Room},
	}}
	for _, r := range l.Roles {
		if l.Room != "" {
			all = append(all, saga.Expected{On: l.Room, Object: saga.Object{
				Step: "invite/" + r.Name, Kind: roleAssignment, Cloud: l.Cloud, ID: assignmentID(l.invitation(r.ID)), Name: r.Name,
				Origin: l.origin(r.ID),
			}})
		}
	}
	return all
}

// The method `retry` returns the request that starts a new run for the same loan. If the plan or the guest no longer exists,
// `retry` returns an error.
func (d lender) retry(ctx context.Context, l loan, runID string) (saga.Request, error) {
	_, err := d.Billing.Plan(ctx, l.Merchant, l.Plan)
	if errors.Is(err, billing.ErrNotFound) {
		err = &saga.RetryRefusedError{Code: "plan-gone", Detail: "the plan no longer exists", FixBy: saga.FixByMerchant}
	}
	if err != nil {
		return saga.Request{}, err
	}
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return saga.Request{}, err
	}
	if _, err := id.User(ctx, l.Guest); err != nil {
		return saga.Request{}, err
	}
	l.Lacked, l.Room, l.RoomOwn = nil, "", false
	return l.request(runID), nil
}

// The method `look` stores the ids of the roles that the guest lacks in an existing room.
func (d lender) look(ctx context.Context, l *loan) error {
	if _, err := d.Billing.Customer(ctx, l.Merchant, l.Account); err != nil {
		return err
	}
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return err
	}
	room, err := id.FindProject(ctx, l.Domain, l.roomName())
	if errors.Is(err, keystone.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	held, err := id.AssignedRoles(ctx, room.ID, l.Guest)
	for _, r := range l.Roles {
		if !slices.Contains(held, r.ID) {
			l.Lacked = append(l.Lacked, r.ID)
		}
	}
	return err
}

func (d lender) findAccount(ctx context.Context, l *loan) (saga.Found, error) {
	_, err := d.Billing.Customer(ctx, l.Merchant, l.Account)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	case !l.NewAccount:
		note(ctx, customer, l.Account, "", saga.Adopted)
		return saga.Usable, nil
	}
	note(ctx, customer, l.Account, "", saga.Own)
	return saga.Made, nil
}

func (d lender) openAccount(ctx context.Context, l *loan) error {
	if !l.NewAccount {
		note(ctx, customer, l.Account, "", saga.Adopted)
		return nil
	}
	_, err := d.Billing.EnsureCustomer(ctx, billing.Customer{
		ID: l.Account, MerchantID: l.Merchant, Name: "Guest", Currency: "eur", Language: "eng",
	})
	if err == nil {
		note(ctx, customer, l.Account, "", saga.Own)
	}
	return err
}

func (d lender) closeAccount(ctx context.Context, l *loan) error {
	if !l.NewAccount {
		return nil
	}
	removed, err := d.Billing.RemoveCustomer(ctx, l.Merchant, l.Account, func(s billing.Subscription) bool { return s.ID == l.Book })
	return forget(ctx, customer, l.Account, removed, err)
}

func (d lender) findRoom(ctx context.Context, l *loan) (saga.Found, error) {
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return saga.Absent, err
	}
	p, err := id.FindProject(ctx, l.Domain, l.roomName())
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	}
	l.Room, l.RoomOwn = p.ID, p.HasTag(keystone.RunTag(l.Run))
	if l.RoomOwn {
		note(ctx, project, p.ID, p.Name, saga.Own)
		return saga.Made, nil
	}
	note(ctx, project, p.ID, p.Name, saga.Adopted)
	return saga.Usable, nil
}

func (d lender) openRoom(ctx context.Context, l *loan) error {
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return err
	}
	p, own, err := id.EnsureProject(ctx, keystone.NewProject{
		Name: l.roomName(), DomainID: l.Domain, Description: "a room",
		Tags: keystone.TenantTags(l.Run, l.Merchant, d.Installation), RunTag: keystone.RunTag(l.Run),
	})
	if err != nil {
		return err
	}
	l.Room, l.RoomOwn = p.ID, own
	origin := saga.Adopted
	if own {
		origin = saga.Own
	}
	note(ctx, project, p.ID, p.Name, origin)
	return nil
}

func (d lender) closeRoom(ctx context.Context, l *loan) error {
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return err
	}
	gone, err := id.RemoveProject(ctx, keystone.Project{Name: l.roomName(), DomainID: l.Domain}, keystone.RunTag(l.Run))
	return forget(ctx, project, gone.ID, gone.ID != "", err)
}

// The method `role` returns the id of the loan's role with this name.
func (l *loan) role(name string) string {
	i := slices.IndexFunc(l.Roles, func(r keystone.Role) bool { return r.Name == name })
	return l.Roles[i].ID
}

func (l *loan) invitation(roleID string) keystone.Assignment {
	return keystone.Assignment{ProjectID: l.Room, UserID: l.Guest, RoleID: roleID}
}

// The method `origin` returns the origin of a role assignment. The origin is Own if the run created the room, or if the guest
// lacked the role before the run. Otherwise the origin is Adopted.
func (l *loan) origin(roleID string) saga.Origin {
	if l.RoomOwn || slices.Contains(l.Lacked, roleID) {
		return saga.Own
	}
	return saga.Adopted
}

func (d lender) findInvitation(ctx context.Context, l *loan) (saga.Found, error) {
	if l.Room == "" { // in a dry run, the room may not exist yet
		return saga.Absent, nil
	}
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return saga.Absent, err
	}
	a := l.invitation(l.role(saga.CallOf(ctx).Item))
	there, err := id.HasAssignment(ctx, a)
	if err != nil || !there {
		return saga.Absent, err
	}
	note(ctx, roleAssignment, assignmentID(a), saga.CallOf(ctx).Item, l.origin(a.RoleID))
	if l.origin(a.RoleID) == saga.Own {
		return saga.Made, nil
	}
	return saga.Usable, nil
}

func (d lender) invite(ctx context.Context, l *loan) error {
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return err
	}
	a := l.invitation(l.role(saga.CallOf(ctx).Item))
	if err := id.EnsureAssignment(ctx, a); err != nil {
		return err
	}
	note(ctx, roleAssignment, assignmentID(a), saga.CallOf(ctx).Item, l.origin(a.RoleID))
	return nil
}

// The method `disinvite` revokes a role in an existing room if the guest lacked the role before the run. If the run created the room,
// the role is removed together with the room. If the answer to the invitation was lost, `disinvite` records the role, because the role
// stays if the room stays.
func (d lender) disinvite(ctx context.Context, l *loan) error {
	id, err := d.Identity(l.Cloud)
	if err != nil {
		return err
	}
	a := l.invitation(l.role(saga.CallOf(ctx).Item))
	switch {
	case l.RoomOwn && saga.CallOf(ctx).Look:
		_, err := d.findInvitation(ctx, l)
		return err
	case l.RoomOwn || l.origin(a.RoleID) != saga.Own:
		return nil
	}
	removed, err := id.RemoveAssignment(ctx, a)
	return forget(ctx, roleAssignment, assignmentID(a), removed, err)
}

func (d lender) findBook(ctx context.Context, l *loan) (saga.Found, error) {
	s, err := d.Billing.Subscription(ctx, l.Merchant, l.Book)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	}
	note(ctx, subscription, s.ID, "", saga.Own)
	return saga.Made, nil
}

func (d lender) openBook(ctx context.Context, l *loan) error {
	s, err := d.Billing.EnsureSubscription(ctx, l.Merchant, billing.Subscription{
		ID: l.Book, PlanID: l.Plan, CustomerID: l.Account, ResourceID: "pending:" + l.Run, ResourceType: "tenant",
	})
	if err == nil {
		note(ctx, subscription, s.ID, "", saga.Own)
	}
	return err
}

func (d lender) closeBook(ctx context.Context, l *loan) error {
	removed, err := d.Billing.RemoveSubscription(ctx, l.Merchant, l.Book)
	return forget(ctx, subscription, l.Book, removed, err)
}

// The function `note` adds an object to the run's list of objects after a step has created or adopted the object.
func note(ctx context.Context, kind, id, name string, origin saga.Origin) {
	saga.CallOf(ctx).Made(saga.Object{Kind: kind, ID: id, Name: name, Origin: origin})
}

// The function `forget` deletes an object from the run's list of objects after an Undo has removed the object.
func forget(ctx context.Context, kind, id string, removed bool, err error) error {
	if err == nil && removed {
		saga.CallOf(ctx).Gone(kind, id)
	}
	return err
}
