package resources

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Limits of texts from outside, in characters.
const (
	maxText = 64  // of a name, an id, a kind, a service type or a region
	maxPath = 256 // of a path
)

// objectLimits are the limits of an answer that is not a list.
var objectLimits = upstream.Limits{Bytes: 1 << 20, Values: 2_000}

// The type `asker` sends the requests of one proof, with the token of the credential.
type asker struct {
	client  *http.Client
	timeout time.Duration // of one request with its answer
	now     func() time.Time
	token   string
	own     string // the id of the token's project; empty if the token's scope is not a project
	project string // the id of the project whose resources are counted
}

// The type `inquiry` sends the requests to one endpoint, and collects the results for the proof.
type inquiry struct {
	asker
	Service ServiceAsked

	found    []Found
	unproven []Unproven
	silent   bool // the endpoint did not answer a request, and gets no further requests
}

// The method `fault` adds the fault err to the unproven questions. The parameter `kind` is empty if the fault concerns several kinds of
// resources.
func (q *inquiry) fault(kind string, err error) {
	if errors.Is(err, errNotAsked) && len(q.unproven) > 0 {
		return // the fault of the unanswered request has already been added
	}
	f := ofAnswer(err)
	q.unproven = append(q.unproven, Unproven{
		Type: q.Service.Type, Region: q.Service.Region, Kind: kind, Class: f.class, Detail: f.text, Fix: f.fix,
		Status: f.status, RequestID: f.requestID, RetryAfter: f.retryAfter,
	})
}

// The method `add` adds the number of resources of a kind, unless the number is 0.
func (q *inquiry) add(kind string, count int64, examples ...Example) {
	if count > 0 {
		q.found = append(q.found, Found{
			Type: q.Service.Type, Region: q.Service.Region, Kind: kind, Count: count, Examples: examples,
		})
	}
}

func (q *inquiry) addTo(p *Proof) {
	p.Asked = append(p.Asked, q.Service)
	p.Found = append(p.Found, q.found...)
	p.Unproven = append(p.Unproven, q.unproven...)
}

// The type `request` is one GET request to an endpoint.
type request struct {
	url     *url.URL
	version string // the header OpenStack-API-Version; empty for none
	limits  upstream.Limits
	empty   bool // whether status 204 without a body counts as an empty list
}

// The method `get` sends a request, and passes the answer to the function `take`. The error is a *fault. The text of the fault
// names the path, but not the query.
func (q *inquiry) get(ctx context.Context, r request, take func(http.Header, io.Reader) error) error {
	err := q.send(ctx, r, take)
	if err == nil || errors.Is(err, errNotAsked) {
		return err
	}
	f := *ofAnswer(err)
	f.text = fmt.Sprintf("GET %s: %s", q.clean(r.url.Path, maxPath), f.text)
	return &f
}

func (q *inquiry) send(ctx context.Context, r request, take func(http.Header, io.Reader) error) error {
	if q.silent {
		return errNotAsked
	}
	limited, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, r.url.String(), nil)
	if err != nil {
		return blocked(fixCatalog, "the path is not valid")
	}
	req.Header.Set("X-Auth-Token", q.token)
	req.Header.Set("Accept", "application/json")
	if r.version != "" {
		req.Header.Set("OpenStack-API-Version", r.version)
	}
	resp, err := q.client.Do(req)
	if err != nil {
		q.silent = true
		return ofTransport(cmp.Or(limited.Err(), err)) // if the time limit has passed, err can be one of many errors
	}
	defer resp.Body.Close()
	upstream.ReportAnswer(ctx, resp.Header, q.token)
	switch {
	case resp.StatusCode == http.StatusOK:
		err = take(resp.Header, r.limits.Reader(resp.Body))
	case r.empty && resp.StatusCode == http.StatusNoContent:
		err = take(resp.Header, strings.NewReader("[]"))
	default:
		return ofStatus(resp.StatusCode, resp.Header, q.now(), q.token)
	}
	if err == nil {
		return nil
	}
	if limited.Err() != nil {
		err = limited.Err()
	}
	f := *ofAnswer(err)
	f.status, f.requestID = resp.StatusCode, upstream.RequestID(resp.Header, q.token)
	q.silent = upstream.Cause(err) != "" // if the network or the time limit interrupted the answer, the endpoint gets no further requests
	return &f
}

// The function `decode` decodes an answer. The answer must consist of one JSON value.
func decode(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	if err := d.Decode(into); err != nil {
		return err
	}
	return ended(d)
}

// The function `ended` returns an error if the answer continues after the decoded value.
func ended(d *json.Decoder) error {
	_, err := d.Token()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errForm
}

// The method `clean` returns a text from outside, cut to the given number of characters. It replaces every character that is not printable,
// such as a control character or a character that changes the direction of the text. It masks the request's token, because a service may
// repeat the token.
func (a asker) clean(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, upstream.Clean(upstream.Mask(text, a.token)))
	if runes := []rune(text); len(runes) > limit {
		return string(slices.Concat(runes[:limit-1], []rune("…")))
	}
	return text
}
