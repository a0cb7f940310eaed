package billing_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const (
	merchantID = "f47f51dd-e7db-47e2-bdb1-83935a50cf87"
	customerID = "4afa6af7-0c5d-467c-8b18-db57ba1bfabc"
	planID     = "9b351268-22c6-4cf9-922f-7a5db1c1a27b"
	itemID     = "ee56f128-ea7a-4ca1-a8fe-f0614c4bf2b2"
)

// The type `outcome` describes an error: whether a caller may retry the call, and when.
type outcome struct {
	class      upstream.Class // 0: success
	maybeDone  bool
	retryAfter time.Duration
	is         error
}

func (o outcome) of(t *testing.T, err error) {
	t.Helper()
	var got outcome
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		got = outcome{class: e.Class, maybeDone: e.MaybeDone, retryAfter: e.RetryAfter}
	} else if err != nil {
		t.Fatalf("got %T %v; want a *upstream.Error", err, err)
	}
	want := o
	want.is = nil
	if got != want {
		t.Errorf("got %+v, want %+v: %v", got, want, err)
	}
	if o.is != nil && !errors.Is(err, o.is) {
		t.Errorf("got %v; want it to match %v", err, o.is)
	}
}

// The type `answer` is an HTTP answer that the test server writes to a TCP connection. If status is empty, the server resets the
// connection.
type answer struct {
	status string
	header string
	body   string
	length int // if not zero, a wrong Content-Length
}

func (a answer) write(c net.Conn) {
	if a.status == "" {
		_ = c.(*net.TCPConn).SetLinger(0) // makes Close reset the connection
		return
	}
	length := len(a.body)
	if a.length > 0 {
		length = a.length
	}
	_, _ = fmt.Fprintf(c, "HTTP/1.0 %s\r\n%sContent-Length: %d\r\n\r\n%s", a.status, a.header, length, a.body)
}

// The function `script` starts a server that answers the first request with the first answer, and so on. The server answers all
// further requests with the last answer. The result `seen` counts the requests.
func script(t *testing.T, answers ...answer) (url string, seen *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	seen = new(atomic.Int32)
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				seen.Add(1)
				_ = req.Body.Close()
				answers[min(i, len(answers)-1)].write(c)
			}
			_ = c.Close()
		}
	}()
	return "http://" + l.Addr().String() + "/v2", seen
}

func fault(status, text string) answer {
	return answer{status: status, body: fmt.Sprintf(`{"faultcode": "Server", "faultstring": %q, "debuginfo": null}`, text)}
}

var (
	wanted  = billing.Customer{ID: customerID, MerchantID: merchantID, Name: "X", Currency: "nok"}
	stored  = `{"id": "` + customerID + `", "merchant_id": "` + merchantID + `", "name": "X", "currency": "nok", "language": null, "contact_info": []}`
	made    = answer{status: "202 Accepted", body: stored}
	found   = answer{status: "200 OK", body: "[" + stored + "]"}
	absent  = answer{status: "200 OK", body: "[]"}
	noRoute = answer{status: "404 Not Found", body: `{"code": 404, "title": "Not Found", "description": null}`}
	another = answer{status: "200 OK", body: strings.ReplaceAll("["+stored+"]", `"X"`, `"Y"`)}
)

func TestWhatAnswersToAWriteMean(t *testing.T) {
	unknown := outcome{class: upstream.Transient, maybeDone: true}
	permanent := outcome{class: upstream.Permanent}
	transient := outcome{class: upstream.Transient}
	unavailable := outcome{class: upstream.Unavailable}
	for name, c := range map[string]struct {
		answers []answer
		want    outcome
	}{
		"202 with the object":            {[]answer{made}, outcome{}},
		"201 with the object":            {[]answer{{status: "201 Created", body: stored}}, outcome{}},
		"202 with another object":        {[]answer{{status: "202 Accepted", body: strings.ReplaceAll(stored, customerID, planID)}}, outcome{class: upstream.Permanent, maybeDone: true, is: billing.ErrConflict}},
		"400":                            {[]answer{fault("400 Bad Request", "x")}, permanent},
		"400 of a proxy":                 {[]answer{{status: "400 Bad Request", body: "<html>"}}, permanent},
		"401":                            {[]answer{{status: "401 Unauthorized"}}, unavailable},
		"403":                            {[]answer{{status: "403 Forbidden", body: "no"}}, unavailable},
		"404 of BillingStack":            {[]answer{fault("404 Not Found", merchantID)}, unavailable},
		"404 about the new object":       {[]answer{fault("404 Not Found", customerID)}, unavailable},
		"404 without a text":             {[]answer{fault("404 Not Found", "")}, unavailable},
		"404 of v1":                      {[]answer{{status: "404 Not Found", body: `{"code": 404, "type": "not_found", "errors": null, "message": "x"}`}}, unavailable},
		"404 of v2's router":             {[]answer{noRoute}, unavailable},
		"404 about another id":           {[]answer{fault("404 Not Found", itemID)}, unavailable},
		"404 of something else":          {[]answer{{status: "404 Not Found", body: "404 page not found"}}, unavailable},
		"405":                            {[]answer{{status: "405 Method Not Allowed"}}, unavailable},
		"a redirect":                     {[]answer{{status: "302 Found", header: "Location: http://127.0.0.1:1/\r\n"}}, unavailable},
		"408":                            {[]answer{{status: "408 Request Timeout"}}, transient},
		"409, found equal":               {[]answer{fault("409 Conflict", "x"), found}, outcome{}},
		"409, found different":           {[]answer{fault("409 Conflict", "x"), another}, outcome{class: upstream.Permanent, is: billing.ErrConflict}},
		"409, nothing found":             {[]answer{fault("409 Conflict", "x"), absent}, outcome{class: upstream.Permanent, is: billing.ErrConflict}},
		"413":                            {[]answer{{status: "413 Request Entity Too Large"}}, permanent},
		"429 with Retry-After":           {[]answer{{status: "429 Too Many Requests", header: "Retry-After: 7\r\n"}}, outcome{class: upstream.Transient, retryAfter: 7 * time.Second}},
		"429 with Retry-After, years":    {[]answer{{status: "429 Too Many Requests", header: "Retry-After: 9223372037\r\n"}}, outcome{class: upstream.Transient, retryAfter: time.Hour}},
		"500 duplicate, found equal":     {[]answer{fault("500 Oops", "(IntegrityError) UNIQUE constraint failed: customer.id"), found}, outcome{}},
		"500 duplicate, found different": {[]answer{fault("500 Oops", "(IntegrityError) UNIQUE constraint failed: customer.id"), another}, outcome{class: upstream.Permanent, is: billing.ErrConflict}},
		"500 after the commit":           {[]answer{fault("500 Oops", "boom"), found}, outcome{}},
		"500, nothing found":             {[]answer{fault("500 Oops", "boom"), absent}, transient},
		"500 without a shape":            {[]answer{{status: "500 Oops", body: "<html>"}, absent}, transient},
		"500 of v1's parser":             {[]answer{{status: "500 Oops", body: `{"code": 500}`}, absent}, transient},
		"500 foreign key":                {[]answer{fault("500 Oops", "(IntegrityError) FOREIGN KEY constraint failed"), absent}, outcome{class: upstream.Permanent, is: billing.ErrReference}},
		"500 text, encoding of Python":   {[]answer{fault("500 Oops", `Remote error: UnicodeEncodeError 'latin-1' codec can't encode character u'\u0141' in position 0`), absent}, outcome{class: upstream.Permanent, is: billing.ErrText}},
		"500 text, strict MySQL":         {[]answer{fault("500 Oops", `(OperationalError) (1366, "Incorrect string value: '\\xC5\\x81' for column 'name' at row 1") 'INSERT INTO customer (name) VALUES (%s)' ('x',)`), absent}, outcome{class: upstream.Permanent, is: billing.ErrText}},
		"500 text, PostgreSQL":           {[]answer{fault("500 Oops", `(DataError) character with byte sequence 0xc5 0x81 in encoding "UTF8" has no equivalent in encoding "LATIN1"`), absent}, outcome{class: upstream.Permanent, is: billing.ErrText}},
		"500 NOT NULL":                   {[]answer{fault("500 Oops", "(IntegrityError) NOT NULL constraint failed: customer.name"), absent}, permanent},
		"500 NOT NULL, remote":           {[]answer{fault("500 Oops", "Remote error: IntegrityError (IntegrityError) customer.name may not be NULL\n[u'Traceback']"), absent}, permanent},
		"500 foreign key in a traceback": {[]answer{fault("500 Oops", "Remote error: OperationalError lost\n[u'foreign key']"), absent}, transient},
		"500 arity":                      {[]answer{fault("500 Oops", "create_customer() takes exactly 3 arguments (4 given)"), absent}, permanent},
		"500 malformed id":               {[]answer{fault("500 Oops", "badly formed hexadecimal UUID string"), absent}, permanent},
		"500 unknown merchant":           {[]answer{fault("500 Oops", merchantID), absent}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
		"500 unknown merchant, remote":   {[]answer{fault("500 Oops", "Remote error: NotFound "+merchantID+"\n[]"), absent}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
		"500, and the look-up fails":     {[]answer{fault("500 Oops", "boom"), {}}, unknown},
		"500, and the look-up is 500":    {[]answer{fault("500 Oops", "boom")}, unknown},
		"500 queue, nothing found":       {[]answer{fault("500 Oops", "Timeout while waiting on RPC response - topic: central"), absent}, unknown},
		"500 queue, found":               {[]answer{fault("500 Oops", "Timeout while waiting on RPC response - topic: central"), found}, outcome{}},
		"502":                            {[]answer{{status: "502 Bad Gateway", body: "<html>"}}, unknown},
		"503":                            {[]answer{{status: "503 Service Unavailable", header: "Retry-After: 3\r\n"}}, outcome{class: upstream.Unavailable, maybeDone: true, retryAfter: 3 * time.Second}},
		"504":                            {[]answer{{status: "504 Gateway Timeout"}}, unknown},
		"a reset":                        {[]answer{{}}, unknown},
		"a truncated answer":             {[]answer{{status: "202 Accepted", body: stored[:20], length: len(stored)}}, unknown},
		"a shortened answer":             {[]answer{{status: "202 Accepted", body: stored[:20]}}, unknown},
		"an empty answer":                {[]answer{{status: "202 Accepted"}}, unknown},
		"a page":                         {[]answer{{status: "200 OK", body: "<html>sign in</html>"}}, unknown},
		"a list":                         {[]answer{{status: "200 OK", body: "[]"}}, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := script(t, c.answers...)
			got, err := client(t, billing.Config{URL: url}).EnsureCustomer(t.Context(), wanted)
			c.want.of(t, err)
			if err == nil && got != wanted {
				t.Errorf("got %+v, want %+v", got, wanted)
			}
		})
	}
}

// The texts of errors are shown to portals. The texts name the field that BillingStack cannot store, and contain no SQL.
func TestWhatFaultsOfTheDatabaseSay(t *testing.T) {
	for text, want := range map[string]string{
		"UnicodeEncodeError: 'latin-1' codec can't encode character":                                                          "BillingStack's database cannot store the characters of field name",
		"(IntegrityError) (1452, 'a foreign key constraint fails (`billing`.`customer`)') 'INSERT INTO customer' ('secret',)": "the request refers to an object that does not exist",
		"(OperationalError) (1205, 'Lock wait timeout exceeded') 'INSERT INTO customer (name) VALUES (%s)' ('secret',)":       "(OperationalError) (1205, 'Lock wait timeout exceeded')",
		`(sqlite3.OperationalError) database is locked [SQL: u'UPDATE customer SET name=?'] [parameters: ('secret',)]`:        "(sqlite3.OperationalError) database is locked",
		`(OperationalError) lost "REPLACE INTO customer (name) VALUES (%s)" ('secret',)`:                                      "(OperationalError) lost",
		`(OperationalError) lost 'WITH one AS (SELECT 1) UPDATE customer SET name=%s' ('secret',)`:                            "(OperationalError) lost",
		`(OperationalError) lost 'MERGE INTO customer USING x' {'name': 'secret'}`:                                            "(OperationalError) lost",
		`(OperationalError) lost [parameters: ('secret',)]`:                                                                   "(OperationalError) lost",
		`(ProgrammingError) relation "customer" does not exist LINE 1: SELECT customer.secret`:                                `(ProgrammingError) relation "customer" does not exist`,
		`(ProgrammingError) relation "customer" does not exist\nLINE 12: SELECT customer.secret`:                              `(ProgrammingError) relation "customer" does not exist`,
		`(IntegrityError) (1048, "Column 'plan_id' cannot be null") 'INSERT INTO subscription' ('secret',)`:                   "BillingStack's database refuses the value of plan_id: it is empty",
		`(IntegrityError) NOT NULL constraint failed: subscription.plan_id [SQL: u'INSERT INTO x']`:                           "BillingStack's database refuses the value of plan_id: it is empty",
		`(IntegrityError) NOT NULL constraint failed: subscription.plan_id`:                                                   "BillingStack's database refuses the value of plan_id: it is empty",
		`(IntegrityError) subscription.plan_id may not be NULL`:                                                               "BillingStack's database refuses the value of plan_id: it is empty",
		`(IntegrityError) null value in column "plan_id" violates not-null constraint`:                                        "BillingStack's database refuses the value of plan_id: it is empty",
		`(DataError) (1406, "Data too long for column 'name' at row 1") 'INSERT INTO subscription' ('secret',)`:               "BillingStack's database refuses the value of name: it is too long",
		`(DataError) value too long for type character varying(60)`:                                                           "BillingStack's database refuses a value: it is too long",
		`(OperationalError) server closed the connection u"SELECT customer.name FROM customer" ('secret',)`:                   "(OperationalError) server closed the connection",
	} {
		url, _ := script(t, fault("500 Oops", text), absent)
		named := wanted
		named.Name = "Łódź"
		_, err := client(t, billing.Config{URL: url}).EnsureCustomer(t.Context(), named)
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok || e.Message != want {
			t.Errorf("%s\n got %q\nwant %q", text, e.Message, want)
		}
	}
}

// MySQL without strict mode replaces the characters that its encoding lacks. The client has chosen the customer's id. The client
// must therefore accept the stored customer as its own, despite the changed name.
func TestACustomerIsFoundThoughItsNameWasChanged(t *testing.T) {
	for stored, same := range map[string]bool{"?ód?": true, "Łódź": true, "?ód": false, "Lódz": false, "??d?": true} {
		there := answer{status: "200 OK", body: fmt.Sprintf(`[{"id": %q, "merchant_id": %q, "name": %q, "currency": "nok", "language": null}]`, customerID, merchantID, stored)}
		url, _ := script(t, fault("500 Oops", "boom"), there)
		named := wanted
		named.Name = "Łódź"
		_, err := client(t, billing.Config{URL: url}).EnsureCustomer(t.Context(), named)
		if same != (err == nil) || !same && !errors.Is(err, billing.ErrConflict) {
			t.Errorf("stored as %q: got %v", stored, err)
		}
	}
}

func TestWhatNoAnswerMeans(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http notices a closed connection only after the body has been read
		<-r.Context().Done()
	}))
	defer silent.Close()
	url, _ := script(t, made)
	failing := func(err error) func(http.RoundTripper) http.RoundTripper {
		return func(http.RoundTripper) http.RoundTripper {
			return roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
		}
	}
	turnedAway := func(err error) func(context.Context) (func(int, error), error) {
		return func(context.Context) (func(int, error), error) { return nil, err }
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context //nolint:containedctx // a column of the test table
		cfg  billing.Config
		want outcome
	}{
		"refused":                      {cfg: billing.Config{URL: "http://" + closed.Addr().String() + "/v2"}, want: outcome{class: upstream.Unavailable, is: syscall.ECONNREFUSED}},
		"no such host":                 {cfg: billing.Config{URL: "http://billing.invalid/v2"}, want: outcome{class: upstream.Unavailable}},
		"no TLS":                       {cfg: billing.Config{URL: strings.Replace(silent.URL, "http:", "https:", 1) + "/v2"}, want: outcome{class: upstream.Unavailable}},
		"time-out":                     {cfg: billing.Config{URL: silent.URL + "/v2", Timeout: 50 * time.Millisecond}, want: outcome{class: upstream.Transient, maybeDone: true, is: context.DeadlineExceeded}},
		"the context had ended":        {ctx: over, cfg: billing.Config{URL: url}, want: outcome{class: upstream.Transient, is: context.Canceled}},
		"not sent by Wrap":             {cfg: billing.Config{URL: url, Wrap: failing(errKept)}, want: outcome{class: upstream.Transient, is: errKept}},
		"refused by Enter":             {cfg: billing.Config{URL: url, Enter: turnedAway(errKept)}, want: outcome{class: upstream.Transient, is: errKept}},
		"refused, the circuit is open": {cfg: billing.Config{URL: url, Enter: turnedAway(errOpen)}, want: outcome{class: upstream.Unavailable, retryAfter: 7 * time.Second, is: errOpen}},
		"connection reset":             {cfg: billing.Config{URL: url, Wrap: failing(syscall.ECONNRESET)}, want: outcome{class: upstream.Transient, maybeDone: true}},
		"time-out in Wrap":             {cfg: billing.Config{URL: url, Wrap: failing(context.DeadlineExceeded)}, want: outcome{class: upstream.Transient, maybeDone: true}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			_, err := client(t, c.cfg).EnsureCustomer(ctx, wanted)
			c.want.of(t, err)
		})
	}
}

func TestWhatAnswersToAReadMean(t *testing.T) {
	for name, c := range map[string]struct {
		answer answer
		want   outcome
	}{
		"found":               {found, outcome{}},
		"absent":              {absent, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
		"another merchant's":  {answer{status: "200 OK", body: strings.ReplaceAll("["+stored+"]", merchantID, planID)}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
		"another id":          {answer{status: "200 OK", body: strings.ReplaceAll("["+stored+"]", customerID, planID)}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
		"500":                 {fault("500 Oops", "boom"), outcome{class: upstream.Transient}},
		"500 of the request":  {fault("500 Oops", "nlike: Invalid operator"), outcome{class: upstream.Permanent}},
		"502":                 {answer{status: "502 Bad Gateway"}, outcome{class: upstream.Transient}},
		"503":                 {answer{status: "503 Unavailable"}, outcome{class: upstream.Unavailable}},
		"a reset":             {answer{}, outcome{class: upstream.Transient}},
		"a page":              {answer{status: "200 OK", body: "<html>"}, outcome{class: upstream.Transient}},
		"404 of v2's router":  {noRoute, outcome{class: upstream.Unavailable}},
		"404 on a collection": {fault("404 Not Found", merchantID), outcome{class: upstream.Unavailable}},
		"404 of another host": {answer{status: "404 Not Found", body: "nginx"}, outcome{class: upstream.Unavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := script(t, c.answer)
			_, err := client(t, billing.Config{URL: url}).Customer(t.Context(), merchantID, customerID)
			c.want.of(t, err)
		})
	}
}

func TestWhatAnswersToADeletionMean(t *testing.T) {
	there := answer{status: "200 OK", body: `[{"id": "` + itemID + `"}]`}
	for name, c := range map[string]struct {
		answers []answer
		want    outcome
	}{
		"absent":                 {[]answer{absent}, outcome{}},
		"204":                    {[]answer{there, {status: "204 No Content"}}, outcome{}},
		"500 not found":          {[]answer{there, fault("500 Oops", itemID)}, outcome{}},
		"404 of v1":              {[]answer{there, {status: "404 Not Found", body: `{"code": 404, "type": "not_found", "message": "x"}`}}, outcome{}},
		"404 of v2's router":     {[]answer{there, noRoute}, outcome{class: upstream.Unavailable}},
		"404 about the id":       {[]answer{there, fault("404 Not Found", itemID)}, outcome{}},
		"404 about another id":   {[]answer{there, fault("404 Not Found", planID)}, outcome{class: upstream.Unavailable}},
		"404 about the merchant": {[]answer{there, fault("404 Not Found", merchantID)}, outcome{class: upstream.Unavailable}},
		"404 without a text":     {[]answer{there, fault("404 Not Found", "")}, outcome{class: upstream.Unavailable}},
		"404 about a collection": {[]answer{there, fault("404 Not Found", "merchants")}, outcome{class: upstream.Unavailable}},
		"404 about its own list": {[]answer{there, fault("404 Not Found", "subscriptions")}, outcome{class: upstream.Unavailable}},
		"500 without a text":     {[]answer{there, fault("500 Oops", ""), there}, outcome{class: upstream.Transient}},
		"404 of something else":  {[]answer{there, {status: "404 Not Found", body: "nginx"}}, outcome{class: upstream.Unavailable}},
		"200 with a page":        {[]answer{there, {status: "200 OK", body: "<html>"}}, outcome{class: upstream.Transient, maybeDone: true}},
		"500, gone":              {[]answer{there, fault("500 Oops", "boom"), absent}, outcome{}},
		"500, still there":       {[]answer{there, fault("500 Oops", "boom"), there}, outcome{class: upstream.Transient}},
		"500 queue, still there": {[]answer{there, fault("500 Oops", "Timeout while waiting on RPC response"), there}, outcome{class: upstream.Transient, maybeDone: true}},
		"409":                    {[]answer{there, fault("409 Conflict", "x")}, outcome{class: upstream.Permanent, is: billing.ErrConflict}},
		"a reset":                {[]answer{there, {}}, outcome{class: upstream.Transient, maybeDone: true}},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := script(t, c.answers...)
			c.want.of(t, only(client(t, billing.Config{URL: url}).RemoveSubscription(t.Context(), merchantID, itemID)))
		})
	}
}

func TestWhatAnswersToAnUpdateMean(t *testing.T) {
	for field, update := range map[string]func(c *billing.Client) (billing.Subscription, error){
		"resource_id": func(c *billing.Client) (billing.Subscription, error) {
			return c.SetResource(t.Context(), merchantID, itemID, planID)
		},
		"plan_id": func(c *billing.Client) (billing.Subscription, error) {
			return c.SetPlan(t.Context(), merchantID, itemID, planID)
		},
	} {
		with := func(value string) string {
			return `{"id": "` + itemID + `", "customer_id": "c", "` + field + `": "` + value + `"}`
		}
		list := func(value string) answer { return answer{status: "200 OK", body: "[" + with(value) + "]"} }
		for name, c := range map[string]struct {
			answers []answer
			want    outcome
		}{
			"200":                        {[]answer{{status: "200 OK", body: with(planID)}}, outcome{}},
			"200 with another value":     {[]answer{{status: "200 OK", body: with("old")}}, outcome{class: upstream.Transient, maybeDone: true}},
			"200 with another id":        {[]answer{{status: "200 OK", body: strings.ReplaceAll(with(planID), itemID, customerID)}}, outcome{class: upstream.Transient, maybeDone: true}},
			"500, set":                   {[]answer{fault("500 Oops", "boom"), list(planID)}, outcome{}},
			"500, not set":               {[]answer{fault("500 Oops", "boom"), list("old")}, outcome{class: upstream.Transient}},
			"500, gone":                  {[]answer{fault("500 Oops", "boom"), absent}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
			"500 not found":              {[]answer{fault("500 Oops", itemID)}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
			"500, the look-up is lost":   {[]answer{fault("500 Oops", "boom"), {}}, outcome{class: upstream.Transient, maybeDone: true}},
			"500 foreign key, not set":   {[]answer{fault("500 Oops", "(IntegrityError) FOREIGN KEY constraint failed"), list("old")}, outcome{class: upstream.Permanent, is: billing.ErrReference}},
			"400":                        {[]answer{fault("400 Bad Request", "x")}, outcome{class: upstream.Permanent}},
			"404 about the subscription": {[]answer{fault("404 Not Found", itemID)}, outcome{class: upstream.Permanent, is: billing.ErrNotFound}},
			"405 of the other version":   {[]answer{{status: "405 Method Not Allowed"}}, outcome{class: upstream.Unavailable}},
			"a reset":                    {[]answer{{}}, outcome{class: upstream.Transient, maybeDone: true}},
		} {
			t.Run(field+", "+name, func(t *testing.T) {
				url, _ := script(t, c.answers...)
				_, err := update(client(t, billing.Config{URL: url}))
				c.want.of(t, err)
			})
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var (
	errKept error = &upstream.NotSentError{Err: errors.New("the lease is over")}
	errOpen error = &upstream.NotSentError{Circuit: "it", RetryAfter: 7 * time.Second, Err: errors.New("it is down")}
)

func client(t *testing.T, cfg billing.Config) *billing.Client {
	t.Helper()
	c, err := billing.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheIDThatBillingStackGaveToARequestIsReported(t *testing.T) {
	identified := made
	identified.header = "X-Openstack-Request-Id: req-7\r\n"
	url, _ := script(t, identified)
	var got string
	ctx := upstream.WithCaller(t.Context(), upstream.Caller{Answered: func(id string) { got = id }})
	if _, err := client(t, billing.Config{URL: url}).EnsureCustomer(ctx, wanted); err != nil || got != "req-7" {
		t.Errorf("got %q, %v; want req-7", got, err)
	}
}
