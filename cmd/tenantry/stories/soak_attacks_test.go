package stories_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The type `attack` is one attack by the first merchant, or by a caller without credentials. Each attacker repeats the attack until
// its context ends.
type attack struct {
	name      string
	attackers int
	attack    func(ctx context.Context, s *soak, i int)
}

var attacks = []attack{
	{"hostile bodies", 32, func(ctx context.Context, s *soak, i int) {
		_, _, _ = s.post(ctx, s.shops[0], uuid.NewString(), s.token, hostileBodies[i%len(hostileBodies)])
	}},
	{"bodies without end", 256, func(ctx context.Context, s *soak, _ int) {
		s.dial(ctx, "POST /v1/merchants/"+s.merchant.ID+"/subscriptions HTTP/1.1", "Content-Type: application/json\r\nContent-Length: 1000\r\n", `{"plan_id":`)
	}},
	{"orders with tokens that are not valid", 300, func(ctx context.Context, s *soak, i int) {
		body := fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"Jane"}}`, s.plan.ID)
		_, _, _ = s.post(ctx, s.shops[0], uuid.NewString(), fmt.Sprint("bogus", i, time.Now().UnixNano()), body)
	}},
	{"lists that are not read", 48, func(ctx context.Context, s *soak, _ int) {
		s.dial(ctx, "GET /v1/merchants/"+s.merchant.ID+"/subscriptions?limit=200 HTTP/1.1", "", "")
	}},
	{"operators' tokens that are not valid", 400, func(ctx context.Context, s *soak, i int) {
		s.get(ctx, "/v1/runs", func(r *http.Request) { r.Header.Set("X-Auth-Token", fmt.Sprint("bogus", i, time.Now().UnixNano())) })
	}},
	{"streams of one run", 1000, func(ctx context.Context, s *soak, _ int) {
		s.get(ctx, s.held+"/events", func(r *http.Request) {
			r.Header.Set("Accept", "text/event-stream")
			r.SetBasicAuth(s.apiKey, s.secret)
		})
	}},
	{"waits for one run", 1000, func(ctx context.Context, s *soak, _ int) {
		s.get(ctx, s.held+"?wait=30", func(r *http.Request) {
			r.Header.Set("If-None-Match", `"1"`)
			r.SetBasicAuth(s.apiKey, s.secret)
		})
	}},
	{"hostile actions", 64, func(ctx context.Context, s *soak, i int) {
		bodies := append([]string{`{"why": "a flood", "step": "none"}`, `{"why": "` + strings.Repeat("w", 90000) + `"}`}, hostileBodies...)
		action := []string{"cancel", "skip", "retry"}[i%3] // a portal may only cancel
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.replica.url+s.held+"/"+action, strings.NewReader(bodies[i%len(bodies)]))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("If-Match", `"1"`) // never the version of the run
		s.send(ctx, req)
	}},
	{"bad queries", 64, func(ctx context.Context, s *soak, i int) {
		query := []string{
			strings.Repeat("state=nosuch&", 6000), "marker=" + strings.Repeat("m", 90000), strings.Repeat("object=customer:x&", 5000),
			strings.Repeat("%01=%ff&", 10000), "limit=" + strings.Repeat("9", 90000), strings.Repeat("k", 90000) + "=1",
		}
		s.get(ctx, "/v1/runs?"+query[i%len(query)], func(r *http.Request) { r.SetBasicAuth(s.apiKey, s.secret) })
	}},
	{"hostile lists of BillingStack", 8, func(ctx context.Context, s *soak, i int) {
		s.hostile.Store(&hostileLists[i%len(hostileLists)])
		defer s.hostile.Store(nil)
		s.get(ctx, "/v1/merchants/"+s.merchant.ID+"/plans", func(r *http.Request) { r.SetBasicAuth(s.apiKey, s.secret) })
	}},
	{"lists of runs that are not read", 48, func(ctx context.Context, s *soak, _ int) {
		s.dial(ctx, "GET /v1/runs?limit=200 HTTP/1.1", "", "")
	}},
}

// hostileBodies are bodies whose check or decoding needs much memory: a long key with many bad texts, deep arrays, and many
// members.
var hostileBodies = []string{
	`{"` + strings.Repeat("k", 57000) + `":[` + strings.Repeat(`"\u0001",`, 6000) + `""]}`,
	strings.Repeat("[", 50000) + strings.Repeat("]", 50000),
	`{` + strings.Repeat(`"a":1,`, 18000) + `"a":1}`,
}

// hostileLists are lists of about 33 MB: many empty objects, few objects with a long text, and deep arrays.
var hostileLists = [][]byte{
	[]byte("[" + strings.Repeat("{},", 11_000_000) + "{}]"),
	[]byte("[" + strings.Repeat(`{"id":"x","name":"`+strings.Repeat("n", 4<<20)+`"},`, 8) + "{}]"),
	[]byte(strings.Repeat("[", 16<<20) + strings.Repeat("]", 16<<20)),
}
