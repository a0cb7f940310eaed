package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// In every fourth plan, portals register users too. For the seed of such a plan, seed % mixed is registering. The other plans have no
// registrations, so their worlds do not depend on this file.
const registering = 2

// The variable `register` is the index of the trial of the workflow `register`. The variable `visitor` is the index of the trial of subscribe
// runs that create their users.
var (
	register = slices.IndexFunc(trials, func(t workflowstest.Trial) bool { return t.Refused == "create-user" })
	visitor  = slices.IndexFunc(trials, func(t workflowstest.Trial) bool { return t.Variant == "a new user" })
)

// canaryPassword is a part of every password of a registration, and of no other text. Seen.Secrets contains it.
const canaryPassword = "canary-password"

// acceptable is Keystone's rule for passwords in a world with registrations. A portal sometimes sends a password that breaks this rule.
var acceptable = regexp.MustCompile("^" + canaryPassword)

// The type `signUpPlan` is the part of an order that registers a user. It is empty for all other orders.
type signUpPlan struct {
	Name    string // the user's name; several orders may have the same name, or names that differ only in case
	Rival   rival  // the user whom an administrator creates while the run creates its user
	Role    bool   // an administrator gives the new user a role
	GivesUp bool   // the portal sends the call only once, even if the run then waits for the password
}

// The type `rival` is a user whom an administrator creates without Tenantry.
type rival int

const (
	noRival          rival = iota
	namesake               // the rival has the same name
	installationUser       // the rival has the same name, and was created by another installation of Tenantry
	otherCase              // the name of the rival differs in upper and lower case
)

// foreignRun is the mark of the users that another installation of Tenantry has created.
const foreignRun = "ffffffff-0000-7000-8000-000000000001"

// respelled returns the name, or the name in another case.
func respelled(r *rand.Rand, name string) string {
	switch r.IntN(4) {
	case 0:
		return strings.ToUpper(name)
	case 1:
		return strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

// signUp adds orders that register users, and mishaps for these orders. The orders come in groups. The names of a group are equal, or
// differ only in case, and often two orders of a group are placed at the same time.
func (p *plan) signUp(r *rand.Rand) {
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	if r.IntN(3) == 0 {
		p.KeepPassword = between(2*time.Second, time.Minute)
	}
	p.ChangeFirst = r.IntN(4) == 0
	if p.Replicas == 1 && r.IntN(2) == 0 { // passwords get lost more often if there are several replicas
		p.Replicas, p.ClockError = 2, append(p.ClockError, between(-time.Hour, time.Hour))
	}
	for group := range 1 + r.IntN(3) {
		name := fmt.Sprint([]string{"ada", "zoë"}[r.IntN(2)], " ", group)
		at := between(0, 40*time.Second)
		for range 1 + r.IntN(3) {
			o := orderPlan{
				Trial: register, At: at + between(0, []time.Duration{300 * time.Millisecond, 20 * time.Second}[r.IntN(2)]), Merchant: r.IntN(2),
				Twice: r.IntN(4) == 0, Patience: between(200*time.Millisecond, 25*time.Second), User: len(p.Orders),
				SignUp: signUpPlan{Name: respelled(r, name), Role: r.IntN(4) == 0, GivesUp: r.IntN(10) == 0},
			}
			if r.IntN(3) == 0 {
				o.SignUp.Rival = 1 + rival(r.IntN(3))
			}
			if r.IntN(2) == 0 { // the portal registers and subscribes the user with one call
				o.Trial, o.Customer = visitor, max(0, r.IntN(6)-3)
			}
			p.Orders = append(p.Orders, o)
			p.signUpBadly(r, len(p.Orders)-1)
		}
	}
}

// signUpBadly adds mishaps for the order n, which registers a user.
func (p *plan) signUpBadly(r *rand.Rand, n int) {
	about := func(step string, nth int, kinds ...kind) {
		if step == "set-password" && p.Orders[n].Trial == visitor {
			step = "log-in"
		}
		p.Mishaps = append(p.Mishaps, mishap{
			Order: n, Step: step, Nth: nth, Kind: kinds[r.IntN(len(kinds))], For: time.Second + time.Duration(r.IntN(int(79*time.Second))),
		})
	}
	last := func() *mishap { return &p.Mishaps[len(p.Mishaps)-1] }
	if p.Orders[n].SignUp.Rival != noRival && r.IntN(2) == 0 { // the rival exists before the run repeats its request
		about("create-user", 0, lostRequest, silentRequest, unreachable)
	}
	switch r.IntN(7) {
	case 0: // the run has created the user, but the password is refused: the run is compensated
		about("create-user", 0, lostAnswer, silentAnswer, crashAfter, broken500Done)
		about("set-password", 0, refused400)
	case 1: // the first request takes effect late, and the second is refused: the run is compensated
		about("create-user", 0, lateCommit)
		about("create-user", 1, refused400, refused403)
		if r.IntN(2) > 0 {
			break
		}
		p.Mishaps[len(p.Mishaps)-2].For = 2*time.Minute + time.Duration(r.IntN(int(18*time.Hour))) // only a re-check finds the effect
		for range r.IntN(4) {
			o := p.Orders[n]
			o.Night, o.At, o.Twice = 1+r.IntN(3), time.Duration(r.IntN(int(2*beforeRecheck))), false
			o.SignUp.Name = respelled(r, o.SignUp.Name)
			p.Orders = append(p.Orders, o)
		}
	case 2: // the replica that has the password ends or is paused, and the first request takes effect late
		about("create-user", 0, lateCommit)
		last().For /= 4
		p.Incidents = append(p.Incidents, incident{
			p.Orders[n].At + time.Duration(r.IntN(int(3*time.Second))), r.IntN(p.Replicas), incidentKind(r.IntN(3)), time.Duration(r.IntN(int(time.Minute))),
		})
	case 3: // the replica ends or is paused during the call, and so may the replica to which a password is handed over
		about("create-user", 0, crashBefore, crashAfter, freeze)
		if last().Kind == freeze { // another replica continues the run, before or after the pause has ended
			last().For = []time.Duration{10 * time.Second, 80 * time.Second}[r.IntN(2)] + time.Duration(r.IntN(int(30*time.Second)))
		}
		about("set-password", 0, lateCommit, silentRequest, crashBefore, crashAfter)
	case 4: // the replica to which a password is handed over ends; another replica may still have an earlier password
		about("create-user", 0, crashBefore, crashAfter)
		about("checkpoint", 0, freeze)
		last().For = 10*time.Second + time.Duration(r.IntN(int(30*time.Second)))
	case 5: // the order cannot succeed
		about("create-user", 0, refused400, refused403)
	}
	steps := []string{"create-user", "set-password", "checkpoint"}
	if p.Orders[n].Trial == visitor {
		if r.IntN(3) == 0 { // the order cannot succeed
			about(writes[r.IntN(len(writes))], 0, refused400, refused403)
		}
		steps = append(steps, writes...)
	}
	for range r.IntN(3) {
		about(steps[r.IntN(len(steps))], max(0, r.IntN(4)-2), kind(r.IntN(int(kinds))))
		m := last()
		switch {
		case m.Step == "checkpoint" && m.Kind < crashBefore:
			m.Kind %= unreachable + 1 // errors of the database have no HTTP status
		case m.Step != "set-password" && m.Step != "log-in" && m.Step != "checkpoint":
			m.Undo = r.IntN(3) == 0
		}
	}
}

// The type `signUp` contains the observations about one run that creates its user.
type signUp struct {
	first  string // the password of the call that started the run
	handed []handing
	writes []*passwordWrite
}

// The type `handing` is a password that was handed over to the run while the run waited for a password.
type handing struct {
	password string
	at       time.Time // time at which the database leased the run to the replica that received the password
}

// The type `passwordWrite` is a request that sets the password of the run's user.
type passwordWrite struct {
	password string
	sent     time.Time
	done     bool // Keystone has executed the request
}

// The type `signUps` contains the observations about all registrations of a world. The lock driver.mu protects it.
type signUps struct {
	runs     map[string]*signUp         // by the id of the run
	leased   map[string]time.Time       // times at which the database leased a run to a replica, by the request that hands the password over
	sent     map[string]map[string]bool // the passwords that portals have sent, by merchant and key
	heard    map[string]string          // the last password that a replica has received, by replica, merchant and key
	attempts map[string]time.Time       // the time of the first request of each attempt
	given    map[string]time.Time       // the time at which an administrator gave the user a role, by the user's id
	began    map[string]bool            // the runs that have sent a request for a new user
	rivals   []keystone.User
	lobby    string // the project on which an administrator gives roles
	order    []*passwordWrite
}

func newSignUps() *signUps {
	return &signUps{
		runs: map[string]*signUp{}, leased: map[string]time.Time{}, sent: map[string]map[string]bool{}, heard: map[string]string{},
		attempts: map[string]time.Time{}, given: map[string]time.Time{}, began: map[string]bool{},
	}
}

// The method `password` returns the password that the portal sends with a call. A repeated call sometimes has another password.
func (p *portal) password(r *replica, try int) string {
	d := p.w.driver
	switch chance := d.chance(p.name, try, "password") % 12; {
	case chance == 0:
		p.secret = fmt.Sprint("weak ", canaryPassword, " ", p.name, " ", try)
	case chance < 5 || p.secret == "":
		p.secret = fmt.Sprint(canaryPassword, " ", p.name, " ", try)
	}
	of := p.s.id + " " + p.key
	d.mu.Lock()
	defer d.mu.Unlock()
	s := p.w.signUps
	if s.sent[of] == nil {
		s.sent[of] = map[string]bool{}
	}
	s.sent[of][p.secret], s.heard[r.name+" "+of] = true, p.secret
	return p.secret
}

// registration returns the body of the portal's call.
func (p *portal) registration(r *replica, try int) string {
	user := map[string]any{"name": p.plan.SignUp.Name, "email": "visitor@example.org", "password": p.password(r, try)}
	order := map[string]any{"plan_id": p.s.plan, "user": user}
	switch old := p.old(); {
	case p.plan.Trial == register:
		order = user
	case old != nil:
		order["customer_id"], order["add_user"] = old.id, true
	default:
		order["customer"] = map[string]any{"name": "New", "currency": "eur", "language": "eng"}
	}
	body, err := json.Marshal(order)
	p.w.ok(err)
	return string(body)
}

// turnedAway is called if a portal learns that the name of its user is taken. The name must not be taken by the portal's own registration.
func (p *portal) turnedAway() {
	for _, u := range p.w.cloud.Users() {
		run, err := p.w.store.Run(context.Background(), u.RunID)
		if err == nil && run.Merchant == p.s.id && run.Key == p.key {
			p.w.violate("a registration does not refuse itself", run.ID, "a call with the key of the run learns that the name is taken: "+u.Name)
		}
	}
}

// The type `overheard` is the engine of a replica, as the API sees it. It notes which passwords the engine accepts.
type overheard struct {
	saga.Starter

	w *world
}

// Start implements [saga.Starter].
func (o overheard) Start(ctx context.Context, q saga.Request) (*saga.Run, error) {
	if q.Password != "" {
		o.w.driver.mu.Lock()
		o.w.signUps.runs[q.ID] = &signUp{first: q.Password}
		o.w.driver.mu.Unlock()
	}
	return o.Starter.Start(ctx, q)
}

// HandOver implements [saga.Starter].
func (o overheard) HandOver(ctx context.Context, runID, password string) error {
	err := o.Starter.HandOver(ctx, runID, password)
	if err != nil {
		return err
	}
	o.w.driver.mu.Lock()
	defer o.w.driver.mu.Unlock()
	s, actor := o.w.signUps, ctx.Value(actorKey{})
	s.runs[runID].handed = append(s.runs[runID].handed, handing{password, s.leased[fmt.Sprint(actor)]})
	return nil
}

// The method `took` notes that the database has leased a run to a replica because of a request that hands the password over.
func (w *world) took(ctx context.Context) {
	if w.signUps == nil {
		return
	}
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.signUps.leased[fmt.Sprint(ctx.Value(actorKey{}))] = time.Now()
}

// The type `userRequest` is a request of a run that changes a user.
type userRequest struct {
	w       *world
	of      *saga.Handle
	method  string
	userID  string // empty if the request creates a user
	write   *passwordWrite
	attempt time.Time // time of the attempt's first request
	gone    *keystone.User
}

// userRequest notes a request that a replica is about to send. The result is nil if the request changes no user.
func (w *world) userRequest(req *http.Request, of *saga.Handle, body []byte) *userRequest {
	if w.signUps == nil || of.RunID == "" {
		return nil
	}
	key := fmt.Sprint(of.RunID, " ", of.Step, " ", of.Kind, " ", of.Attempt)
	w.driver.mu.Lock()
	began, known := w.signUps.attempts[key]
	if !known {
		began = time.Now()
		w.signUps.attempts[key] = began
	}
	w.driver.mu.Unlock()
	part := strings.Split(strings.TrimPrefix(req.URL.Path, "/"), "/")
	if len(part) < 2 || part[1] != "users" || req.Method == http.MethodGet {
		return nil
	}
	u := &userRequest{w: w, of: of, method: req.Method, attempt: began}
	if len(part) > 2 {
		u.userID = part[2]
	}
	if req.Method == http.MethodDelete {
		return u
	}
	var content struct {
		User struct{ Name, Password string }
	}
	w.ok(json.Unmarshal(body, &content))
	u.write = &passwordWrite{password: content.User.Password, sent: time.Now()}
	w.setsPassword(u)
	if u.userID == "" {
		w.compete(of.RunID, content.User.Name)
	}
	return u
}

// setsPassword notes a request that sets a password. The password must come from a call with the key of the run.
func (w *world) setsPassword(u *userRequest) {
	run, err := w.store.Run(context.Background(), u.of.RunID)
	w.ok(err)
	w.driver.mu.Lock()
	s := w.signUps.runs[run.ID]
	s.writes = append(s.writes, u.write)
	sent := w.signUps.sent[run.Merchant+" "+run.Key][u.write.password]
	w.driver.mu.Unlock()
	if !sent {
		w.violate("passwords come from the portal", run.ID, "the run sets a password that no call with the run's key contained")
	}
}

// The method `compete` lets an administrator create the rival of a registration. `compete` is called when the run sends its first request
// for a new user. The rival comes shortly before or after the execution of this request.
func (w *world) compete(runID, name string) {
	order := w.orderOf(runID)
	w.driver.mu.Lock()
	again := w.signUps.began[runID]
	w.signUps.began[runID] = true
	w.driver.mu.Unlock()
	if again || order < 0 || order >= len(w.plan.Orders) || w.plan.Orders[order].SignUp.Rival == noRival {
		return
	}
	u := keystonetest.User{Name: name, Password: userPassword}
	switch w.plan.Orders[order].SignUp.Rival {
	case installationUser:
		u.Extra = map[string]any{keystone.RunAttribute: foreignRun}
	case otherCase:
		u.Name = strings.ToUpper(name)
		if u.Name == name {
			u.Name = strings.ToLower(name)
		}
	default:
	}
	in := time.Duration(w.driver.chance("rival of", order) % uint64(40*time.Millisecond))
	w.driver.after(nil, in, fmt.Sprint("rival of order ", order, " ", runID), func() {
		if slices.ContainsFunc(w.cloud.Users(), func(other keystone.User) bool { return other.Name == u.Name }) {
			return
		}
		id := w.cloud.AddUser(u)
		w.driver.note("an administrator creates user %s (%q)", id, u.Name)
		i := slices.IndexFunc(w.cloud.Users(), func(made keystone.User) bool { return made.ID == id })
		w.signUps.rivals = append(w.signUps.rivals, w.cloud.Users()[i])
		w.seen.ByHand = append(w.seen.ByHand, saga.ObjectRef{Kind: "user", ID: id})
	})
}

// The method `arrives` is called before Keystone executes the request.
func (u *userRequest) arrives() {
	if u == nil || u.method != http.MethodDelete {
		return
	}
	users := u.w.cloud.Users()
	if i := slices.IndexFunc(users, func(k keystone.User) bool { return k.ID == u.userID }); i >= 0 {
		u.gone = &users[i]
	}
}

// The method `executed` is called after Keystone has executed the request.
func (u *userRequest) executed(status int) {
	switch {
	case u == nil || status < 200 || status > 299:
	case u.gone != nil:
		u.removed()
	case u.write != nil:
		u.w.driver.mu.Lock()
		u.write.done = true
		u.w.signUps.order = append(u.w.signUps.order, u.write)
		u.w.driver.mu.Unlock()
		if u.method == http.MethodPost {
			u.w.giveRole(u.of.RunID)
		}
	}
}

// The method `removed` checks the removal of a user. Only the undo of the run that has created the user may remove the user. The attempt
// must begin before an administrator gives the user a role: otherwise it must see that the user is in use. Identity v2.0 does not show this.
func (u *userRequest) removed() {
	given, used := u.w.signUps.given[u.gone.ID]
	switch {
	case u.gone.RunID != u.of.RunID:
		u.w.violate("runs remove only their own users", u.of.RunID, fmt.Sprintf("the run removed user %q of run %q", u.gone.Name, u.gone.RunID))
	case !u.of.Undoes():
		u.w.violate("runs remove only their own users", u.of.RunID, "the user was removed, but not by an undo")
	case used && given.Before(u.attempt) && !u.w.plan.Second:
		u.w.violate("users in use stay", u.of.RunID, "an administrator had given the user a role before the attempt began")
	}
}

// giveRole lets an administrator give a role to the user whom the run has just created, if the order plans this.
func (w *world) giveRole(runID string) {
	order := w.orderOf(runID)
	if order < 0 || order >= len(w.plan.Orders) || !w.plan.Orders[order].SignUp.Role {
		return
	}
	in := time.Duration(w.driver.chance("role of", order) % uint64(3*time.Second))
	w.driver.after(nil, in, "role for the user of "+runID, func() {
		for _, u := range w.cloud.Users() {
			if _, given := w.signUps.given[u.ID]; u.RunID == runID && !given {
				w.cloud.Assign(keystone.Assignment{ProjectID: w.signUps.lobby, UserID: u.ID, RoleID: w.roles[0].ID})
				w.driver.note("an administrator gives user %s a role", u.ID)
				w.signUps.given[u.ID] = time.Now()
			}
		}
	})
}

// withoutGifts returns the objects without the roles that an administrator has given.
func (w *world) withoutGifts(o workflowstest.Outside) workflowstest.Outside {
	if w.signUps != nil {
		o.Assignments = slices.DeleteFunc(o.Assignments, func(a keystone.Assignment) bool { return a.ProjectID == w.signUps.lobby })
	}
	return o
}

// checkSignUps checks the users whom succeeded runs have created, and the rivals. The invariants of package workflowstest cover the number of
// users.
func (w *world) checkSignUps() {
	if w.signUps == nil {
		return
	}
	for _, was := range w.signUps.rivals {
		if !slices.Contains(w.cloud.Users(), was) {
			w.violate("rivals stay", "", fmt.Sprintf("the user %q of an administrator was changed or removed", was.Name))
		}
	}
	for _, run := range w.store.Everything().Runs {
		if w.signUps.runs[run.ID] != nil && run.State == saga.Succeeded {
			w.checkPassword(run)
		}
	}
}

// checkPassword checks the password of the user whom a succeeded run has created. If passwords were handed over to the run, the effective
// password is the one that was handed over last. Otherwise, it is the password of the call that started the run. The run must have set the
// effective password, and the user can log in.
//
// There is one exception. A request that sets an earlier password may have got no answer, and may be executed after the request with the
// effective password. The user then has the earlier password. Keystone has no conditional writes, so Tenantry cannot prevent this.
func (w *world) checkPassword(run *saga.Run) {
	s := w.signUps.runs[run.ID]
	want, since := s.first, time.Time{}
	for _, h := range s.handed {
		if h.at.After(since) {
			want, since = h.password, h.at
		}
	}
	var set bool
	var last *passwordWrite
	for _, write := range w.signUps.order {
		if !slices.Contains(s.writes, write) {
			continue
		}
		last = write
		set = set || write.password == want && !write.sent.Before(since)
	}
	switch {
	case !set:
		w.violate("the last password counts", run.ID, "the run has succeeded, but has not set the password that was handed over last")
	case last.password != want && !last.sent.Before(since):
		w.violate("the last password counts", run.ID, "the run has set another password after the password that was handed over last")
	default:
		w.logIn(run, last.password)
	}
}

// The method `logIn` checks that the user of the run can log in.
func (w *world) logIn(run *saga.Run, password string) {
	i := slices.IndexFunc(w.cloud.Users(), func(u keystone.User) bool { return u.RunID == run.ID })
	if i < 0 {
		return // the checker reports the missing user
	}
	u := w.cloud.Users()[i]
	cfg := w.serviceConfig()
	cfg.Base = inProcess{w.cloud}
	cloud, err := clouds.Open(cfg)
	w.ok(err)
	token, err := cloud.LogIn(context.Background(), u.DomainID, u.Name, password)
	if err != nil || token.UserID != u.ID {
		w.violate("registered users can log in", run.ID, fmt.Sprintf("logging in user %q: %v", u.Name, err))
	}
}

// awaitsExpiry returns the time at which the first run expires, if each live run waits for a password that no portal will send, or waits for
// another run. Otherwise, the result is the zero time.
func (w *world) awaitsExpiry() (due time.Time) {
	if w.signUps == nil {
		return due
	}
	for _, r := range w.store.Everything().Runs {
		order := w.orderOf(r.ID)
		switch {
		case r.State.Ended() || r.WaitsFor != "":
		case !r.AwaitsPassword() || r.DueAt == nil || order < 0 || !w.plan.Orders[order].SignUp.GivesUp:
			return time.Time{}
		case due.IsZero() || r.DueAt.Before(due):
			due = *r.DueAt
		}
	}
	return due
}

// The type `journal` is a log that must not contain a password.
type journal struct{ w *world }

// Write implements [io.Writer].
func (j journal) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte(canaryPassword)) {
		j.w.violate("no-secret", "", "a line of the log contains a password")
	}
	return len(text), nil
}
