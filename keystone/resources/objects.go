package resources

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// accountLimits are the limits of one page of an account. Swift sends at most 10,000 containers in a page, and the name of a
// container has at most 256 bytes.
var accountLimits = upstream.Limits{Bytes: 8 << 20, Values: 20_000, Flat: 2, List: 1, Elements: 10_000, Element: 16 << 10}

// The method `objects` asks Swift for the account of the project.
func (q *inquiry) objects(ctx context.Context, u *url.URL) error {
	if q.own == "" || !strings.HasSuffix(u.Path, q.own) {
		return blocked(fixCatalog, "the path in the catalog does not end in the id of the credential's project")
	}
	account := *u
	account.Path = strings.TrimSuffix(u.Path, q.own) + q.project
	var (
		listed   int64
		examples []Example
		totals   totals
	)
	query := url.Values{"format": {"json"}, "limit": {strconv.Itoa(pageSize)}}
	for page, more := 1, true; more; page++ {
		account.RawQuery = query.Encode()
		err := q.get(ctx, request{url: &account, limits: accountLimits, empty: true}, func(h http.Header, body io.Reader) (err error) {
			if totals, err = readTotals(h); err != nil {
				return err
			}
			names, err := containers(body)
			if err != nil {
				return err
			}
			listed += int64(len(names))
			for _, name := range names[:min(len(names), maxExamples-len(examples))] {
				examples = append(examples, Example{ID: q.clean(name, maxText)})
			}
			if more = len(names) > 0; !more {
				return nil
			}
			last := names[len(names)-1]
			if last <= query.Get("marker") {
				return blocked(fixRefused, "the list does not end: a page leads back to an earlier page")
			}
			if page == maxPages {
				return blocked(fixRefused, "the list has more than %d pages", maxPages)
			}
			query.Set("marker", last)
			return nil
		})
		if err != nil {
			q.fault("containers", err)
			break
		}
	}
	q.add("containers", max(listed, totals.containers), examples...)
	q.add("objects", totals.objects)
	q.add("bytes", totals.bytes)
	return nil
}

// The function `containers` decodes the names of the containers of a page.
func containers(body io.Reader) ([]string, error) {
	var page []struct{ Name string }
	if err := decode(body, &page); err != nil {
		return nil, err
	}
	if page == nil {
		return nil, errForm
	}
	var names []string
	for _, c := range page {
		if c.Name == "" {
			return nil, errForm
		}
		names = append(names, c.Name)
	}
	return names, nil
}

// The type `totals` contains the sums that Swift keeps for an account. Swift updates these sums some seconds after each change.
type totals struct{ containers, objects, bytes int64 }

func readTotals(h http.Header) (t totals, err error) {
	for name, total := range map[string]*int64{
		"X-Account-Container-Count": &t.containers, "X-Account-Object-Count": &t.objects, "X-Account-Bytes-Used": &t.bytes,
	} {
		n, err := strconv.ParseUint(h.Get(name), 10, 63)
		if err != nil {
			return t, &fault{
				class: upstream.Unavailable, text: "the answer has no valid header " + name, fix: fixService,
			}
		}
		*total = int64(n)
	}
	return t, nil
}
