package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// The type `gate` stops requests that change something, while it is shut. The zero value is an open gate.
type gate struct {
	mu      sync.Mutex
	about   string        // only requests whose path contains this are stopped
	changed chan struct{} // closed when the gate is opened, or shut for other requests; nil while it is open
}

func (g *gate) shut(about string) { g.set(about, make(chan struct{})) }
func (g *gate) release()          { g.set("", nil) }

func (g *gate) set(about string, changed chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changed != nil {
		close(g.changed)
	}
	g.about, g.changed = about, changed
}

// The method `stops` reports whether the gate stops a request. If it does, the channel is closed when this may have changed.
func (g *gate) stops(r *http.Request) (changed <-chan struct{}, stops bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	writes := r.Method == http.MethodPatch || r.Method == http.MethodPut
	return g.changed, g.changed != nil && writes && strings.Contains(r.URL.Path, g.about)
}

// The method `await` waits until the gate does not stop the request, or the caller goes away.
func (g *gate) await(r *http.Request) {
	for {
		changed, stopped := g.stops(r)
		if !stopped {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// The type `addresses` has the paths below /console, with their queries, that pages have shown: those of pages and updates, and those of forms.
type addresses struct{ pages, forms map[string]bool }

func newAddresses() addresses { return addresses{map[string]bool{}, map[string]bool{}} }

// The type `visit` is a browser in which a person uses the console.
type visit struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // chromedp keeps the browser in a context
	url     string
	browser *chromium.Seen
	seen    addresses
}

func (o *office) visit(t *testing.T, seen addresses) *visit {
	t.Helper()
	ctx := chromium.Start(t)
	return &visit{t: t, ctx: ctx, url: o.url, browser: chromium.Watch(t, ctx), seen: seen}
}

// The method `do` carries out steps in the browser, and then keeps the addresses on the page.
func (v *visit) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	for i, step := range steps {
		ctx, cancel := context.WithTimeout(v.ctx, time.Minute)
		err := chromedp.Do(ctx, step)
		cancel()
		if err != nil {
			shown := chromium.Read(v.t, v.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
			v.t.Fatalf("step %d of %d: %v, at %s", i+1, len(steps), err, shown)
		}
	}
	found := chromium.Read(v.t, v.ctx, chromedp.Evaluate[struct{ Pages, Forms []string }](`(() => {
		const all = (name, elements) => [...document.querySelectorAll(elements ?? "[" + name + "]")].map(e => new URL(e.getAttribute(name), location).href);
		return {pages: [location.href, ...all("href"), ...all("hx-get"), ...all("sse-connect")], forms: [...all("action", "form[method=post]"), ...all("formaction")]};
	})()`))
	keep := func(in map[string]bool, all []string) {
		for _, address := range all {
			address, _, _ = strings.Cut(address, "#")
			if path, own := strings.CutPrefix(address, v.url); own && strings.HasPrefix(path, "/console") {
				in[path] = true
			}
		}
	}
	keep(v.seen.pages, found.Pages)
	keep(v.seen.forms, found.Forms)
}

// The method `count` returns the number of elements.
func (v *visit) count(selector string) int {
	v.t.Helper()
	return len(chromium.Read(v.t, v.ctx, chromedp.Nodes(selector, chromedp.AtLeast(0))))
}

// The method `has` fails the test if the element does not have the text.
func (v *visit) has(selector, text string) {
	v.t.Helper()
	if got := chromium.Read(v.t, v.ctx, chromedp.Text(selector)); !strings.Contains(got, text) {
		v.t.Errorf("%s is %q, want %q", selector, got, text)
	}
}

// The method `close` closes the browser. The parameter `expected` lists parts of the browser's complaints that the test has caused.
func (v *visit) close(expected ...string) {
	v.t.Helper()
	v.browser.Check(v.t, v.url, expected...)
	chromium.Close(v.t, v.ctx)
}

// The type `fetched` is an answer to a request that a page has sent.
type fetched struct {
	path   string // the path of the request
	Status int
	Text   string // empty for live updates
}

// The method `fetch` sends requests from the page that is open, one after the other, with the cookie of the person. It sends a POST request if there
// is a form.
func (v *visit) fetch(form map[string]string, paths ...string) (answers []fetched) {
	v.t.Helper()
	args, err := json.Marshal([]any{paths, form})
	if err != nil {
		v.t.Fatal(err)
	}
	answers = chromium.Read(v.t, v.ctx, chromedp.Evaluate[[]fetched](fmt.Sprintf(`(async (paths, form) => {
		const answers = [];
		for (const path of paths) {
			const answer = await fetch(path, form ? {method: "POST", body: new URLSearchParams(form)} : {}), live = answer.headers.get("Content-Type").startsWith("text/event-stream");
			if (live) await answer.body.cancel();
			answers.push({status: answer.status, text: live ? "" : await answer.text()});
		}
		return answers;
	})(...%s)`, args), chromedp.EvalAwaitPromise))
	for i := range answers {
		answers[i].path = paths[i]
	}
	return answers
}
