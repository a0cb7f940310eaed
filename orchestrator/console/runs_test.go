package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `merchant` returns a visitor who has signed in with the API key of a merchant.
func (w *world) merchant(t *testing.T, m servicetest.Merchant) *visitor {
	t.Helper()
	v := w.visitor(t)
	if p := v.post("/console/sign-in", apiKey(m)); p.at != "/console/runs" {
		t.Fatalf("signing in: %d at %s: %s", p.status, p.at, p.text)
	}
	return v
}

// refused orders a subscription that BillingStack refuses, and returns the run, which is compensated.
func (w *world) refused(t *testing.T) (id string) {
	t.Helper()
	w.refuse.Store(true)
	defer w.refuse.Store(false)
	return w.order(t, w.Merchant)
}

func TestRunsAreFound(t *testing.T) {
	w := newWorld(t)
	good, bad := w.order(t, w.Merchant), w.refused(t)
	theirs := w.order(t, w.Other)
	v, portal := w.operator(t), w.merchant(t, w.Merchant)
	run := v.get("/console/runs/" + good).text
	subscription := between(run, "<dt>subscription id</dt><dd>", "</dd>")
	subscription = between(subscription, `title="`, `"`)
	customer := between(between(run, "<dt>customer id</dt><dd>", "</dd>"), `title="`, `"`)
	for _, c := range []struct {
		who       *visitor
		query     string
		has, lack []string
	}{
		{v, "", []string{good, bad, theirs}, nil},
		{v, "state=compensated", []string{bad}, []string{good, theirs}},
		{v, "state=succeeded&workflow=subscribe", []string{good, theirs}, []string{bad}},
		{v, "workflow=change-plan", nil, []string{good, bad}},
		{v, "q=" + w.Other.ID, []string{theirs}, []string{good, bad}},
		{v, "q=" + subscription, []string{good}, []string{bad, theirs}},
		{v, "q=bs-subscription-" + subscription, []string{good}, []string{bad, theirs}},
		{v, "q=" + customer, []string{good}, []string{bad, theirs}},
		{v, "q=" + w.User, []string{good, bad, theirs}, nil},
		{v, "q=ada", []string{good, bad, theirs}, nil},
		{v, "q=nobody", nil, []string{good, bad, theirs}},
		{v, "q=" + strings.Repeat("x", 300), nil, []string{good, bad, theirs}},
		{v, "q=%00", nil, []string{good, bad, theirs}},
		{v, "state=nope&workflow=nope", []string{good, bad, theirs}, nil},
		{portal, "", []string{good, bad}, []string{theirs}},
		{portal, "q=" + w.User, []string{good, bad}, []string{theirs}},
		{portal, "q=" + w.Other.ID, nil, []string{theirs, good}},
		{portal, "q=" + subscription, []string{good}, []string{bad, theirs}},
		{portal, "q=ada", nil, []string{good, bad, theirs}},
	} {
		p := c.who.get("/console/runs?" + c.query)
		if p.status != http.StatusOK {
			t.Errorf("%s: %d %s", c.query, p.status, p.text)
		}
		for _, id := range c.has {
			if !strings.Contains(p.text, "/console/runs/"+id) {
				t.Errorf("%q lacks run %s", c.query, id)
			}
		}
		for _, id := range c.lack {
			if strings.Contains(p.text, id) {
				t.Errorf("%q has run %s", c.query, id)
			}
		}
	}
	if p := v.get("/console/runs?q=" + good); p.at != "/console/runs/"+good {
		t.Errorf("the id of a run leads to %s", p.at)
	}
	for _, path := range []string{"/console/runs/" + theirs, "/console/runs?q=" + theirs} {
		if p := portal.get(path); strings.Contains(p.text, "succeeded</span>") || strings.Contains(p.text, w.Other.ID) {
			t.Errorf("%s shows another merchant's run: %s", path, p.text)
		}
	}
	if p := portal.get("/console/runs/" + theirs); p.status != http.StatusNotFound {
		t.Errorf("another merchant's run: %d", p.status)
	}
	if p := portal.post("/console/runs/"+theirs+"/hold", url.Values{"why": {"x"}}); p.status != http.StatusNotFound && p.status != http.StatusForbidden {
		t.Errorf("an action on another merchant's run: %d", p.status)
	}
}

func between(text, from, to string) string {
	_, text, _ = strings.Cut(text, from)
	text, _, _ = strings.Cut(text, to)
	return text
}

func TestRunsAreListedInPages(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 53 {
		ids = append(ids, w.order(t, w.Merchant))
	}
	v := w.operator(t)
	first := v.get("/console/runs?state=succeeded")
	at := strings.ReplaceAll(between(first.text, `<nav class="pages" aria-label="Pages">`, `" rel="next"`), "&amp;", "&")
	at = at[strings.Index(at, `href="`)+len(`href="`):]
	second := v.get(at)
	for i, id := range ids {
		want, other := first, second
		if i < 3 {
			want, other = second, first
		}
		if !strings.Contains(want.text, id) || strings.Contains(other.text, "/console/runs/"+id+`"`) {
			t.Errorf("run %d of %d is not on its page", i, len(ids))
		}
	}
	if !strings.Contains(second.text, `href="/console/runs?state=succeeded">Newest</a>`) || strings.Contains(second.text, `rel="next"`) {
		t.Error("the second page lacks the link to the first page, or has a link to a next page")
	}
}

// A compensated run is repeated. The page then shows the new run, and the old page leads to it.
func TestARunIsRetriedWithAReason(t *testing.T) {
	w := newWorld(t)
	id := w.refused(t)
	v := w.operator(t)
	if p := v.get("/console/runs?state=attention"); p.status != http.StatusOK {
		t.Error(p.status)
	}
	p := v.get("/console/runs/" + id)
	for _, text := range []string{
		"the plan is not for sale &lt;b&gt;today&lt;/b&gt; \\u202e\\u001b[31m", "billingstack-refused", "Who can fix it: <b>an operator of Tenantry", `formaction="/console/runs/` + id + `/retry"`, "&lt;i&gt;Eve&lt;/i&gt;",
	} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	if strings.Contains(p.text, "<i>Eve</i>") || strings.Contains(p.text, "\u202e") || strings.Contains(p.text, "\x1b") {
		t.Error("the page has a text from outside without escapes")
	}
	if p := v.post("/console/runs/"+id+"/retry", url.Values{"why": {" "}}); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.text, "Write why") {
		t.Errorf("without a reason: %d", p.status)
	}
	if p := v.post("/console/runs/"+id+"/hold", url.Values{"why": {"kept text"}}); p.status != http.StatusConflict || !strings.Contains(p.text, `value="kept text"`) {
		t.Errorf("an action that the state does not allow: %d %s", p.status, p.text)
	}
	if p := v.post("/console/runs/"+id+"/delete", url.Values{"why": {"x"}}); p.status != http.StatusNotFound {
		t.Errorf("no action: %d", p.status)
	}
	p = v.post("/console/runs/"+id+"/retry", url.Values{"why": {"the plan is for sale <again>"}})
	successor, _, _ := strings.Cut(strings.TrimPrefix(p.at, "/console/runs/"), "?")
	if p.status != http.StatusOK || successor == id || !strings.HasSuffix(p.at, "?done=retry") || !strings.Contains(p.text, "The retry was stored") {
		t.Fatalf("retry: %d at %s: %s", p.status, p.at, p.text)
	}
	if p := v.get("/console/runs/" + id); !strings.Contains(p.text, `href="/console/runs/`+successor+`"`) {
		t.Error("the page of the compensated run does not lead to its successor")
	}
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(v.get("/console/runs/"+successor).text, `<span class="state good">succeeded</span></h1>`) {
		if time.Now().After(deadline) {
			t.Fatal("the successor does not succeed")
		}
	}
	if p := v.get("/console/runs/" + successor); !strings.Contains(p.text, "the plan is for sale &lt;again&gt;") || !strings.Contains(p.text, "olga (user ") {
		t.Error("the history lacks the reason, or the operator's name")
	}
}

func TestAMerchantSeesOnlyItsActions(t *testing.T) {
	w := newWorld(t)
	id := w.refused(t)
	portal := w.merchant(t, w.Merchant)
	p := portal.get("/console/runs/" + id)
	if p.status != http.StatusOK || strings.Contains(p.text, "formaction=") || !strings.Contains(p.text, "Nothing: the run has ended.") {
		t.Errorf("%d %s", p.status, p.text)
	}
	if p := portal.post("/console/runs/"+id+"/retry", url.Values{"why": {"x"}}); p.status != http.StatusForbidden {
		t.Errorf("a retry by a merchant: %d", p.status)
	}
}

func TestBadAddresses(t *testing.T) {
	w := newWorld(t)
	v := w.operator(t)
	for path, status := range map[string]int{
		"/console/nope": 404, "/console/runs/nope": 404, "/console/runs/" + strings.Repeat("9", 5000): 404, "/console/runs/..%2f..%2fv1": 404,
		"/console/runs?marker=nope": 400, "/console/live?run=x": 400, "/console/live?row=" + strings.Repeat("x", 100) + ".1": 400,
		"/console/live?" + strings.Repeat("row=x.1&", 1000): 400,
	} {
		p := v.get(path)
		if p.status != status && (status != 404 || p.status != 400) || !strings.Contains(p.text, "<h1>") {
			t.Errorf("%.60s: %d %s", path, p.status, p.text)
		}
	}
	for _, secret := range []string{"panic", "goroutine"} {
		if strings.Contains(w.Log.String(), secret) {
			t.Errorf("the log has %q: %s", secret, fmt.Sprint(w.Log))
		}
	}
}
