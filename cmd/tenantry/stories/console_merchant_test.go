package stories_test

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
	"github.com/tenantry/tenantry/store/storetest"
)

// seeNothing signs in with the API key of the second merchant, and looks for traces of the first merchant: in live updates, on every page that the
// operator has seen a link to, on every page that the merchant's own pages lead to, and in the answers to searches and to the operator's forms.
func (o *office) seeNothing(t *testing.T, operators addresses) {
	t.Helper()
	v := o.visit(t, newAddresses())
	v.do(chromedp.Navigate(o.url+"/console"), chromedp.WaitVisible(`details:last-of-type summary`), chromedp.Click(`details:last-of-type summary`),
		chromedp.WaitVisible(`input[name=key]`), chromedp.SendKeys(`input[name=key]`, o.shops[1].key), chromedp.SendKeys(`input[name=secret]`, o.shops[1].secret+"\r"),
		chromedp.WaitVisible(`table.runs`))
	heard := o.listen(v)
	theirs := o.traces()
	if found := theirs.in(heard); len(found) > 0 {
		t.Errorf("the live updates have %v: %s", found, heard)
	}
	o.openAll(v, slices.Sorted(maps.Keys(operators.pages)), theirs)
	o.search(v, theirs)
	o.send(v, slices.Sorted(maps.Keys(operators.forms)), theirs)
	o.countOwn(v)
	v.close("the server responded with a status of 4")
}

// The type `traces` is what belongs to the first merchant alone, or to operators.
type traces struct {
	ids   map[string]bool // also the ends of ids, as pages show them
	texts []string
	words []string // for searches
}

// The method `traces` collects the traces of the first merchant.
func (o *office) traces() traces {
	o.t.Helper()
	idsOf := func(shop int) []string {
		var all string
		o.ok(ask(o.t.Context(), o.database, &all, `SELECT string_agg(DISTINCT id, ' ') FROM (SELECT $1 AS id
			UNION SELECT unnest(ARRAY[id, idempotency_key, user_id]) FROM runs WHERE merchant_id = $1
			UNION SELECT unnest(ARRAY[o.id, o.request_id]) FROM objects o JOIN runs r ON r.id = o.run_id WHERE r.merchant_id = $1
			UNION SELECT id FROM api_keys WHERE merchant_id = $1
			UNION SELECT id FROM findings WHERE merchant_id = $1) AS x`, o.shops[shop].id))
		return idPattern.FindAllString(all, -1)
	}
	var users, operators string
	o.ok(ask(o.t.Context(), o.database, &users, `SELECT string_agg(DISTINCT user_id, ' ') FROM runs WHERE merchant_id = $1 AND user_id <> ''`, o.shops[0].id))
	o.ok(ask(o.t.Context(), o.database, &operators, `SELECT string_agg(id, ' ') FROM (SELECT id FROM audits UNION SELECT id FROM repair_plans) AS x`))
	theirs := traces{ids: map[string]bool{}, texts: []string{o.shops[0].name, o.shops[0].key, "olga"}}
	for id := range strings.FieldsSeq(users) {
		var found struct{ User struct{ Name string } }
		o.cloud.call(o.t, http.MethodGet, "/users/"+id, nil, &found)
		theirs.texts = append(theirs.texts, found.User.Name)
	}
	for _, id := range slices.Concat(idsOf(0), idPattern.FindAllString(operators, -1)) {
		theirs.ids[id], theirs.ids[id[len(id)-8:]] = true, true
	}
	for _, id := range idsOf(1) { // both merchants' tenants have the same roles
		delete(theirs.ids, id)
		delete(theirs.ids, id[len(id)-8:])
	}
	var one string
	o.ok(ask(o.t.Context(), o.database, &one, `SELECT string_agg(id, ' ') FROM (SELECT unnest(ARRAY[r.id, r.idempotency_key, r.user_id, o.id, o.name]) AS id
		FROM objects o JOIN runs r ON r.id = o.run_id WHERE r.id = (SELECT max(id) FROM runs WHERE merchant_id = $1 AND workflow = 'subscribe')) AS x`, o.shops[0].id))
	theirs.words = append(slices.Concat(theirs.texts, strings.Fields(one)), o.shops[0].id, o.shops[0].plan)
	return theirs
}

// idPattern matches the ids that Tenantry, BillingStack and Keystone make, and the ends of them, as pages show them.
var idPattern = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{8}`)

// searchField matches a field that repeats what was searched for.
var searchField = regexp.MustCompile(`<input type="search"[^>]*>`)

// The method `in` returns the traces in a text.
func (x traces) in(text string) (found []string) {
	text = searchField.ReplaceAllString(text, "")
	for _, id := range idPattern.FindAllString(text, -1) {
		if x.ids[id] {
			found = append(found, id)
		}
	}
	for _, t := range x.texts {
		if strings.Contains(text, t) {
			found = append(found, t)
		}
	}
	return found
}

// countOwn fails the test if the lists of the second merchant have more or fewer rows than it has runs and subscriptions.
func (o *office) countOwn(v *visit) {
	v.t.Helper()
	var runs int
	o.ok(ask(v.t.Context(), o.database, &runs, `SELECT count(*) FROM runs WHERE merchant_id = $1`, o.shops[1].id))
	subscriptions, err := o.billing.Subscriptions(v.t.Context(), o.shops[1].id)
	o.ok(err)
	for path, want := range map[string]int{"/console/runs": runs, "/console/subscriptions": len(subscriptions)} {
		rows := 0
		for next := path; next != ""; {
			page := v.fetch(nil, next)[0]
			rows += strings.Count(page.Text, `class="c-run"`)
			next = ""
			if found := nextPage.FindStringSubmatch(page.Text); found != nil {
				next = html.UnescapeString(found[1])
			}
		}
		if rows != want || rows == 0 {
			v.t.Errorf("%s has %d rows, want %d", path, rows, want)
		}
	}
}

var nextPage = regexp.MustCompile(`<a href="([^"]*)" rel="next"`)

// The method `listen` reads the live updates of a list that names a run in progress of each merchant. Then the first merchant orders again, and the
// runs end, those of the first merchant before that of the second. At last the second merchant orders again. The result is all updates.
func (o *office) listen(v *visit) (heard string) {
	v.t.Helper()
	o.billingHeld.shut("")
	begin := func(shop int) (id string) {
		a, err := o.place(shop, uuid.NewString(), o.tokens[shop], "Prefer", "respond-async")
		o.ok(err)
		var r run
		o.unmarshal(a.body, &r)
		return r.ID
	}
	theirs, own := begin(0), begin(1)
	if a := v.fetch(nil, "/console/live?run="+theirs+".0", "/console/live?run="+own+".0"); a[0].Status != http.StatusNotFound || a[1].Status != http.StatusOK {
		v.t.Errorf("the updates of the run of another merchant are answered with %d, and those of an own run with %d", a[0].Status, a[1].Status)
	}
	until := func(condition string) {
		v.t.Helper()
		if _, err := chromedp.Run(v.ctx, chromedp.Poll[bool](condition)); err != nil {
			v.t.Fatalf("%s: %v: %s", condition, err, chromium.Read(v.t, v.ctx, chromedp.Evaluate[string](`window.heard`)))
		}
	}
	v.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		window.heard = "";
		fetch("/console/live?row=%[1]s.0&row=%[2]s.0&newest=%[2]s").then(async (answer) => {
			const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
			for (let part = await text.read(); !part.done; part = await text.read()) window.heard += part.value;
		});
	})()`, theirs, own)))
	until(fmt.Sprintf(`window.heard.includes("event: row-%s")`, own))
	newer := begin(0)
	o.billingHeld.shut(o.shops[1].id)
	o.until(o.url, theirs, "succeeded")
	o.until(o.url, newer, "succeeded")
	o.billingHeld.release()
	until(`window.heard.includes("succeeded")`)
	if heard := chromium.Read(v.t, v.ctx, chromedp.Evaluate[string](`window.heard`)); strings.Contains(heard, "event: newer") {
		v.t.Errorf("the new run of another merchant is announced: %s", heard)
	}
	o.order(1, o.tokens[1])
	until(`window.heard.includes("event: newer")`)
	return chromium.Read(v.t, v.ctx, chromedp.Evaluate[string](`window.heard`))
}

// openAll opens the pages, and those to which the answers have links.
func (o *office) openAll(v *visit, paths []string, theirs traces) {
	v.t.Helper()
	known, opened, refused := map[string]bool{}, 0, 0
	for _, path := range paths {
		known[path] = true
	}
	for len(paths) > 0 {
		n := min(len(paths), 50)
		for _, a := range v.fetch(nil, paths[:n]...) {
			if found := theirs.in(o.withoutOwnAddress(a)); len(found) > 0 {
				v.t.Errorf("%s has %v: %s", a.path, found, a.Text)
			}
			if want := o.wanted(a.path, theirs); !slices.Contains(want, a.Status) {
				v.t.Errorf("%s is answered with %d, want %v: %s", a.path, a.Status, want, a.Text)
			}
			if opened++; a.Status != http.StatusOK {
				refused++
			}
			for _, found := range linkPattern.FindAllStringSubmatch(a.Text, -1) {
				path, _, _ := strings.Cut(html.UnescapeString(found[1]), "#")
				if !known[path] {
					known[path], paths = true, append(paths, path)
				}
			}
		}
		paths = paths[n:]
	}
	v.t.Logf("the merchant has opened %d addresses; %d were refused", opened, refused)
	if refused < 50 || opened-refused < 50 {
		v.t.Error("that is too few")
	}
}

var linkPattern = regexp.MustCompile(`(?:href|hx-get|sse-connect)="(/console/[^"]*)"`)

// withoutOwnAddress returns the text of an answer without the merchant that its address names: a link to the first page of a list repeats it.
func (o *office) withoutOwnAddress(a fetched) string {
	u, err := url.Parse(a.path)
	o.ok(err)
	if merchant := u.Query().Get("merchant"); merchant != "" {
		return strings.ReplaceAll(a.Text, `href="`+u.Path+`?merchant=`+merchant, "")
	}
	return a.Text
}

// The method `wanted` returns the statuses with which an address may be answered to the second merchant.
func (o *office) wanted(path string, theirs traces) []int {
	u, err := url.Parse(path)
	o.ok(err)
	part, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/console/"), "/")
	switch {
	case slices.Contains([]string{"findings", "audits", "repair-plans", "health", "settings"}, part) || u.Path == "/console/merchants":
		return []int{http.StatusForbidden}
	case len(theirs.in(u.Path)) > 0, part == "live" && len(theirs.in(u.Query().Get("run"))) > 0:
		return []int{http.StatusNotFound}
	}
	return []int{http.StatusOK}
}

// The method `search` searches for everything that names the first merchant's objects. Nothing may be found.
func (o *office) search(v *visit, theirs traces) {
	v.t.Helper()
	for _, word := range theirs.words {
		q := url.Values{"q": {word}}.Encode()
		for _, a := range v.fetch(nil, "/console/runs?"+q, "/console/subscriptions?"+q, "/console/runs?state=succeeded&"+q) {
			if found := theirs.in(a.Text); len(found) > 0 || strings.Contains(a.Text, "<table") {
				v.t.Errorf("%s is answered with %d, and has %v: %s", a.path, a.Status, found, a.Text)
			}
		}
	}
}

// The method `send` sends the forms that the operator has seen. They must be refused, and must change nothing.
func (o *office) send(v *visit, paths []string, theirs traces) {
	v.t.Helper()
	paths = slices.DeleteFunc(paths, func(path string) bool { return strings.HasPrefix(path, "/console/sign-") })
	finding := paths[slices.IndexFunc(paths, func(path string) bool { return strings.HasPrefix(path, "/console/findings/") })]
	id := strings.Split(finding, "/")[3]
	before := storetest.Rows(v.t, o.database)
	for _, a := range v.fetch(map[string]string{"why": "mine", "which": "all", "finding": id, "shown": id, "merchant": o.shops[0].id, "name": "mine"}, paths...) {
		if a.Status != http.StatusForbidden && a.Status != http.StatusNotFound {
			v.t.Errorf("POST %s is answered with %d: %s", a.path, a.Status, a.Text)
		}
		if found := theirs.in(a.Text); len(found) > 0 {
			v.t.Errorf("POST %s has %v: %s", a.path, found, a.Text)
		}
	}
	if after := storetest.Rows(v.t, o.database); !maps.Equal(before, after) {
		v.t.Errorf("the forms have changed the tables from\n%v to\n%v", before, after)
	}
	if len(paths) < 10 {
		v.t.Errorf("there are only %d forms", len(paths))
	}
}
