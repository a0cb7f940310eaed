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

// sameAnswer: about a run that had ended, its key was always given the same answer; and a key stands for its own runs.
func sameAnswer(v *view, broken report) {
	first := map[[3]string]Answer{}
	for _, a := range v.Answers {
		if a.Key == "" || a.Run == "" {
			continue
		}
		if r := v.byID[a.Run]; r == nil || r.Merchant != a.Merchant || r.Key != a.Key {
			broken(a.Run, fmt.Sprintf("key %q of merchant %s was answered with a run that it does not stand for", a.Key, a.Merchant))
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

// id is what an id of a run, a customer, a subscription or a project looks like.
var id = regexp.MustCompile(`[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}`)

// ownMerchant: no answer shows what is another merchant's.
func ownMerchant(v *view, broken report) {
	owner := v.owners()
	for _, a := range v.Answers {
		for _, found := range id.FindAllString(string(a.Body), -1) {
			if of := owner[found]; of != "" && of != a.Merchant {
				broken(a.Run, fmt.Sprintf("merchant %s was shown what is merchant %s's", a.Merchant, of), found)
			}
		}
	}
}

// owners gives the merchant of every id.
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
	for _, x := range v.ordered { // also what is gone by now
		owner[x.run.ID] = x.run.Merchant
		for _, e := range x.expected {
			owner[e.ID] = x.run.Merchant
		}
	}
	return owner
}

// noSecret: no secret stands in a text, a run or an event. What is reported holds no more of it than its beginning.
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
			broken(r.ID, "it cannot be written down: "+err.Error())
		}
		look(r.ID, "the run and its events", string(stored))
	}
}
