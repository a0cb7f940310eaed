package workflowstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
)

// sameAnswer checks the answers to each idempotency key. An answer must show a run of its key. After this run has ended, the answer
// must not change any more.
func sameAnswer(v *view, broken report) {
	first := map[[3]string]Answer{}
	for _, a := range v.Answers {
		if a.Key == "" || a.Run == "" {
			continue
		}
		if r := v.byID[a.Run]; r == nil || r.Merchant != a.Merchant || r.Key != a.Key {
			broken(a.Run, fmt.Sprintf("the answer to key %q of merchant %s shows a run that does not belong to this key", a.Key, a.Merchant))
		}
		if !a.Final {
			continue
		}
		about := [3]string{a.Merchant, a.Key, a.Run}
		before, answered := first[about]
		if !answered {
			first[about] = a
		} else if a.Status != before.Status || !bytes.Equal(a.Body, before.Body) {
			broken(a.Run, fmt.Sprintf("the answer %d %s differs from the earlier final answer %d %s",
				a.Status, a.Body, before.Status, before.Body))
		}
	}
}

// The variable `id` matches the id of a run, a customer, a subscription or a project.
var id = regexp.MustCompile(`[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}`)

// ownMerchant checks that no answer shows an id of another merchant.
func ownMerchant(v *view, broken report) {
	owner := v.owners()
	for _, a := range v.Answers {
		for _, found := range id.FindAllString(string(a.Body), -1) {
			if of := owner[found]; of != "" && of != a.Merchant {
				broken(a.Run, fmt.Sprintf("an answer to merchant %s shows an id of merchant %s", a.Merchant, of), found)
			}
		}
	}
}

// The method `owners` returns the merchant of each run and of each object, by the id of the run or object.
func (v *view) owners() map[string]string {
	owner := map[string]string{}
	for _, outside := range []Outside{v.Others, v.Now} {
		for _, c := range outside.Customers {
			owner[c.ID] = c.MerchantID
		}
		for _, s := range outside.Subscriptions {
			i := slices.IndexFunc(outside.Customers, func(c billing.Customer) bool { return c.ID == s.CustomerID })
			if i >= 0 {
				owner[s.ID] = outside.Customers[i].MerchantID
			}
		}
		for _, p := range outside.Projects {
			for _, tag := range p.Tags {
				if merchant, is := strings.CutPrefix(tag, "tenantry-merchant-"); is {
					owner[p.ID] = merchant
				}
			}
		}
	}
	for _, x := range v.ordered { // also adds the ids of removed objects
		owner[x.run.ID] = x.run.Merchant
		for _, e := range x.expected {
			owner[e.ID] = x.run.Merchant
		}
	}
	return owner
}

// noSecret checks that no text, run or event contains a secret. The violation shows only the beginning of the secret.
func noSecret(v *view, broken report) {
	look := func(run, place, text string) {
		for _, secret := range v.Secrets {
			if secret != "" && strings.Contains(text, secret) {
				broken(run, fmt.Sprintf("a text contains a secret that begins with %.4q", secret), place)
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(v.Texts)) {
		look("", place, v.Texts[place])
	}
	if len(v.Secrets) == 0 {
		return
	}
	for _, r := range v.Runs {
		stored, err := json.Marshal(struct{ Run, Events any }{r, v.Events[r.ID]})
		if err != nil {
			broken(r.ID, "encoding the run and its events: "+err.Error())
		}
		look(r.ID, "the run and its events", string(stored))
	}
}
