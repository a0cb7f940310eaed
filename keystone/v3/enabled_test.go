package v3_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

var mark = keystone.DisabledTag("9")

// The type `switched` is the fixture `house` with one tenant and the call under test. The call is DisableProject, EnableProject or
// ChangeProject.
type switched struct {
	*house

	id   string
	call func(context.Context) (keystone.Project, error)
	tags []string // the tenant's tags before the call
	want []string // the tenant's tags after the call
}

// inEach runs a test for each call that changes the state and the mark of a tenant. Before a call that disables the tenant, the tenant is
// enabled. Before a call that enables the tenant, inEach disables the tenant with DisableProject.
func inEach(t *testing.T, what string, test func(*testing.T, switched)) {
	t.Helper()
	all := keystone.TenantTags("1", "m", "i")
	for _, c := range []struct {
		what   string
		enable bool
		call   func(context.Context, *v3.Cloud, keystone.Project) (after keystone.Project, changed bool, err error)
	}{
		{"DisableProject", false, func(ctx context.Context, cloud *v3.Cloud, p keystone.Project) (keystone.Project, bool, error) {
			after, err := cloud.DisableProject(ctx, p, mark)
			return after, false, err
		}},
		{"EnableProject", true, func(ctx context.Context, cloud *v3.Cloud, p keystone.Project) (keystone.Project, bool, error) {
			return cloud.EnableProject(ctx, p, mark)
		}},
		{"ChangeProject, disable", false, func(ctx context.Context, cloud *v3.Cloud, p keystone.Project) (keystone.Project, bool, error) {
			return cloud.ChangeProject(ctx, p, keystone.ProjectChange{Enabled: new(false), Add: []string{mark}})
		}},
		{"ChangeProject, enable", true, func(ctx context.Context, cloud *v3.Cloud, p keystone.Project) (keystone.Project, bool, error) {
			return cloud.ChangeProject(ctx, p, keystone.ProjectChange{Enabled: new(true), Remove: []string{mark}})
		}},
	} {
		t.Run(what+", "+c.what, func(t *testing.T) {
			h := newHouse(t)
			p := keystone.Project{ID: h.AddProject(keystone.Project{Name: "bs-subscription-1", Tags: all})}
			s := switched{house: h, id: p.ID, tags: all, want: append(all, mark), call: func(ctx context.Context) (keystone.Project, error) {
				after, changed, err := c.call(ctx, h.cloud, p)
				if err != nil && changed {
					t.Error("got changed true, together with an error")
				}
				return after, err
			}}
			if c.enable {
				if _, err := h.cloud.DisableProject(t.Context(), p, mark); err != nil {
					t.Fatal(err)
				}
				s.tags, s.want = s.want, s.tags
			}
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// The method `is` checks the tenant. If `done` is true, the state and the tags must both be new. If `done` is false, both must be old.
func (s switched) is(t *testing.T, done bool) {
	t.Helper()
	all := s.Projects()
	p := all[slices.IndexFunc(all, func(p keystone.Project) bool { return p.ID == s.id })]
	want := s.tags
	if done {
		want = s.want
	}
	if p.Enabled == slices.Contains(want, mark) || !slices.Equal(p.Tags, want) {
		t.Errorf("got enabled %t, tags %v; want tags %v", p.Enabled, p.Tags, want)
	}
}

func isPatch(req *http.Request) bool { return req.Method == http.MethodPatch }

func isGet(req *http.Request) bool { return req.Method == http.MethodGet }

func TestAProjectIsSwitchedWithOneReadAndOneWrite(t *testing.T) {
	inEach(t, "twice", func(t *testing.T, s switched) {
		read, write := "GET /projects/"+s.id, "PATCH /projects/"+s.id
		for _, want := range [][]string{{read, write}, {read}} {
			s.wire.intercept(func(*http.Request) bool { return false }, nil)
			after, err := s.call(t.Context())
			if err != nil || after.ID != s.id || !slices.Equal(after.Tags, s.want) || after.Enabled == after.HasTag(mark) {
				t.Errorf("got %+v, %v", after, err)
			}
			if got := s.wire.requests(); !slices.Equal(got, want) {
				t.Errorf("sent %v, want %v", got, want)
			}
			s.is(t, true)
		}
	})
}

func TestFaultsOfAnUpdateAreToldApart(t *testing.T) {
	maybe := classification{class: upstream.Transient, maybeDone: true}
	lost := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	const noPermission = `{"error":{"code":403,"message":` +
		`"You are not authorized to perform the requested action: identity:update_project."}}`
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
		done  bool
	}{
		{"lost before the commit", roundTrip(func(*http.Request) (*http.Response, error) { return nil, lost }), maybe, false},
		{"lost after the commit", afterwards(lost), maybe, true},
		{"500", answer(500, body(500)), maybe, false},
		{"502", answer(502, "<html>"), maybe, false},
		{"503", answer(503, body(503)), classification{class: upstream.Unavailable, maybeDone: true}, false},
		{"429", answer(429, ""), classification{class: upstream.Transient}, false},
		{"400", answer(400, body(400)), classification{class: upstream.Permanent}, false},
		{"401 always", answer(401, own401), classification{class: upstream.Unavailable, own: true}, false},
		{"403 by policy", answer(403, noPermission), classification{class: upstream.Blocked, sentinel: keystone.ErrForbidden}, false},
		{"403 about the thing", answer(403, body(403)), classification{class: upstream.Permanent}, false},
		{"404", answer(404, body(404)), classification{class: upstream.Permanent, sentinel: keystone.ErrNotFound}, false},
		{"404 from a proxy", answer(404, "<html>"), classification{class: upstream.Unavailable}, false},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}, false},
		{"200 and a page", answer(200, "<html>"), maybe, false},
		{"200 and an empty object", answer(200, "{}"), maybe, false},
	} {
		inEach(t, c.what, func(t *testing.T, s switched) {
			s.wire.intercept(isPatch, c.fault)
			after, err := s.call(t.Context())
			compare(t, "the call", err, c.want)
			if after.ID != "" {
				t.Errorf("got %+v", after)
			}
			if c.want.sentinel != nil && c.want.class == upstream.Blocked && !strings.Contains(err.Error(), "identity:update_project") {
				t.Errorf("the error does not name the permission: %v", err)
			}
			s.is(t, c.done)

			s.wire.intercept(func(*http.Request) bool { return false }, nil)
			if _, err := s.call(t.Context()); err != nil {
				t.Error(err)
			}
			s.is(t, true)
			if sent := slices.Contains(s.wire.requests(), "PATCH /projects/"+s.id); sent == c.done {
				t.Errorf("the repetition sent %v", s.wire.requests())
			}
		})
	}
}

func TestAnAnswerThatShowsAnotherStateIsNotBelieved(t *testing.T) {
	for _, c := range []struct {
		what    string
		id      string // the id in the answer; empty means the project's id
		flip    bool   // the answer has the old state
		oldTags bool
		passes  bool
	}{
		{"the new state and tags", "", false, false, true},
		{"another project", "x", false, false, false},
		{"the old state", "", true, false, false},
		{"the old tags", "", false, true, false},
	} {
		inEach(t, c.what, func(t *testing.T, s switched) {
			tags, enabled := s.want, !slices.Contains(s.want, mark)
			if c.oldTags {
				tags = s.tags
			}
			s.wire.intercept(isPatch, answer(200, fmt.Sprintf(
				`{"project":{"id":%q,"name":"bs-subscription-1","domain_id":"default","enabled":%t,"tags":["%s"]}}`,
				cmp.Or(c.id, s.id), enabled != c.flip, strings.Join(tags, `","`))))
			_, err := s.call(t.Context())
			if c.passes {
				if err != nil {
					t.Error(err)
				}
				return
			}
			compare(t, "the call", err, classification{class: upstream.Transient, maybeDone: true})
		})
	}
}

func TestAnUpdateIsSentAgainAfterANewLogin(t *testing.T) {
	inEach(t, "401 once", func(t *testing.T, s switched) {
		s.wire.intercept(func(r *http.Request) bool { return isPatch(r) && s.wire.logins() == 0 }, answer(401, own401))
		if _, err := s.call(t.Context()); err != nil {
			t.Error(err)
		}
		s.is(t, true)
		if s.wire.logins() != 1 {
			t.Errorf("%d logins, want 1", s.wire.logins())
		}
	})
}

func TestAProjectThatIsNotReadWholeIsNotChanged(t *testing.T) {
	incomplete := classification{class: upstream.Transient}
	const start = `{"project":{"id":"ID","name":"bs-subscription-1","domain_id":"default"`
	for _, c := range []struct {
		what, answer string
		status       int
		want         classification
	}{
		{"no state", start + `,"tags":["tenantry"]}}`, 200, incomplete},
		{"null as the state", start + `,"enabled":null,"tags":["tenantry"]}}`, 200, incomplete},
		{"no tags", start + `,"enabled":true}}`, 200, incomplete},
		{"null as the tags", start + `,"enabled":true,"tags":null}}`, 200, incomplete},
		{"another project", strings.Replace(start, "ID", "x", 1) + `,"enabled":true,"tags":[]}}`, 200, incomplete},
		{"no name", `{"project":{"id":"ID","domain_id":"default","enabled":true,"tags":[]}}`, 200, incomplete},
		{"a page", "<html>", 200, incomplete},
		{"404", body(404), 404, classification{class: upstream.Permanent, sentinel: keystone.ErrNotFound}},
		{"500", body(500), 500, incomplete},
	} {
		inEach(t, c.what, func(t *testing.T, s switched) {
			s.wire.intercept(isGet, answer(c.status, strings.Replace(c.answer, `"ID"`, `"`+s.id+`"`, 1)))
			_, err := s.call(t.Context())
			compare(t, "the call", err, c.want)
			_, err = s.cloud.Project(t.Context(), s.id)
			compare(t, "Project", err, c.want)
			if c.status == http.StatusOK {
				compare(t, "RemoveProject", only(s.cloud.RemoveProject(t.Context(), keystone.Project{ID: s.id}, keystone.RunTag("1"))), c.want)
			}
			if slices.ContainsFunc(s.wire.requests(), func(r string) bool { return !strings.HasPrefix(r, "GET ") }) {
				t.Errorf("sent %v", s.wire.requests())
			}
			s.is(t, false)
		})
	}
}

// The method `delay` intercepts every update: the update does not reach Keystone, and the Cloud gets an error. The function `deliver`
// sends the last of these updates to Keystone.
func (h *house) delay(t *testing.T) (deliver func()) {
	var late *http.Request
	h.wire.intercept(isPatch, roundTrip(func(req *http.Request) (*http.Response, error) {
		late = req.Clone(context.WithoutCancel(req.Context()))
		content, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		late.Body = content
		return nil, io.ErrUnexpectedEOF
	}))
	return func() {
		t.Helper()
		resp := serve(h.Keystone, late)
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got %s", resp.Status)
		}
	}
}

// TestALateWriteCarriesItsMark lets each call fail, and then delivers the call's write to Keystone. The write contains the mark of the run.
func TestALateWriteCarriesItsMark(t *testing.T) {
	inEach(t, "late", func(t *testing.T, s switched) {
		deliver := s.delay(t)
		if _, err := s.call(t.Context()); err == nil {
			t.Fatal("the answer is not lost")
		}
		s.is(t, false)
		deliver()
		s.is(t, true)
		s.wire.intercept(func(*http.Request) bool { return false }, nil)
		if _, _, err := s.cloud.EnableProject(t.Context(), keystone.Project{ID: s.id}, mark); err != nil {
			t.Error(err)
		}
		if p, err := s.cloud.Project(t.Context(), s.id); err != nil || !p.Enabled || len(p.DisabledBy()) != 0 {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}
