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

// sameAnswer: after a run has ended, its key always gets the same answer. A key is only ever answered with a run of its own.
func sameAnswer(v *view, broken report) {
	first := map[[3]string]Answer{}
	for _, a := range v.Answers {
		if a.Key == "" || a.Run == "" {
			continue
		}
		if r := v.byID[a.Run]; r == nil || r.Merchant != a.Merchant || r.Key != a.Key {
			broken(a.Run, fmt.Sprintf("key %q of merchant %s was answered with a run of another key", a.Key, a.Merchant))
		}
		if !a.Final {
			continue
		}
		about := [3]string{a.Merchant, a.Key, a.Run}
		before, answered := first[about]
		if !answered {
			first[about] = a
		} else if a.Status != before.Status || !bytes.Equal(a.Body, before.Body) {
			broken(a.Run, fmt.Sprintf("it was answered with %d %s, and before with %d %s", a.Status, a.Body, before.Status, before.Body))
		}
	}
}

// id matches the id of a run, a customer, a subscription or a project.
var id = regexp.MustCompile(`[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}`)

// ownMerchant: no answer shows an id of another merchant.
func ownMerchant(v *view, broken report) {
	owner := v.owners()
	for _, a := range v.Answers {
		for _, found := range id.FindAllString(string(a.Body), -1) {
			if of := owner[found]; of != "" && of != a.Merchant {
				broken(a.Run, fmt.Sprintf("merchant %s was shown an id of merchant %s", a.Merchant, of), found)
			}
		}
	}
}

// owners maps every id to its merchant.
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
	for _, x := range v.ordered { // includes what has been removed since
		owner[x.run.ID] = x.run.Merchant
		for _, e := range x.expected {
			owner[e.ID] = x.run.Merchant
		}
	}
	return owner
}

// noSecret: no text, run or event contains a secret. The report shows only the beginning of the secret.
func noSecret(v *view, broken report) {
	look := func(run, place, text string) {
		for _, secret := range v.Secrets {
			if secret != "" && strings.Contains(text, secret) {
				broken(run, fmt.Sprintf("a secret that begins with %.4q is in a text", secret), place)
			}
		}
	}
	for _, place := range slices.Sorted(maps.Keys(v.Texts)) {
		look("", place, v.Texts[place])
	}
	for _, r := range v.Runs {
		stored, err := json.Marshal(struct{ Run, Events any }{r, v.Events[r.ID]})
		if err != nil {
			broken(r.ID, "it cannot be marshalled: "+err.Error())
		}
		look(r.ID, "the run and its events", string(stored))
	}
}
