package stories_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/billing"
)

// The type `measurement` is a sample. The JSON names are the arguments of Ceilometer's class Sample, and also the names in a post.
type measurement struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Unit      string  `json:"unit"`
	Volume    float64 `json:"volume"`
	User      *string `json:"user_id"`
	Project   string  `json:"project_id"`
	Resource  string  `json:"resource_id"`
	Timestamp string  `json:"timestamp"`
	ID        string  `json:"id"`

	at time.Time
}

// The method `sells` adds a product with a fixed price to the plan of the site.
func (s *site) sells(name string, price float64) billing.Product {
	s.t.Helper()
	p, err := s.billing.CreateProduct(s.t.Context(), s.merchant.ID, billing.Product{
		ID: uuid.NewString(), Name: name, Pricing: []any{map[string]any{"type": "fixed", "price": price}},
	})
	s.ok(err)
	s.ok(s.billing.AddPlanItem(s.t.Context(), s.merchant.ID, s.plan.ID, p.ID))
	return p
}

// The type `metered` is a subscription whose usage is billed.
type metered struct {
	*site

	subscription, tenant string
	key, secret          string          // the meter key
	foreign              map[string]bool // ids of usage that BillingStack has with other numbers; their hours are not part of the bill
}

// The method `metered` subscribes a user, and creates a meter key. An SQL statement moves the acceptance of the order back by a day, because a
// subscription has no usage before its acceptance, and usage is computed when an hour is over.
func (s *site) metered(url string) *metered {
	s.t.Helper()
	var made struct {
		Result struct {
			Tenant       string `json:"subscription_tenant_id"`
			Subscription string `json:"subscription_id"`
		}
	}
	final := s.insist(url, s.portal(order{key: uuid.NewString(), token: s.newToken()}))
	s.unmarshal(final.Body, &made)
	s.sql("UPDATE runs SET created_at = created_at - $2 WHERE id = $1", final.Run, (24 * time.Hour).Microseconds())
	var key struct{ Key, Secret string }
	s.unmarshal(s.run("meter-key", "create", "-f", "json"), &key)
	return &metered{site: s, subscription: made.Result.Subscription, tenant: made.Result.Tenant, key: key.Key, secret: key.Secret}
}

// The method `sql` executes a statement in the replicas' database.
func (s *site) sql(statement string, args ...any) {
	s.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.database)
	s.ok(err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement, args...)
	s.ok(err)
}

// The method `tenMinutesPass` lets changed usage be billed at once. Without it, the usage is billed ten minutes after it was computed, and the
// test would have to wait. The statement changes only the time at which the usage is due.
func (s *site) tenMinutesPass() {
	s.t.Helper()
	s.sql("UPDATE usage_unbilled SET due_at = 0")
}

// fiveMinutesPass lets the next replica compute the hours that a killed replica was computing. Otherwise, a replica takes them again after five
// minutes. No replica may be running.
func (s *site) fiveMinutesPass() {
	s.t.Helper()
	s.sql("UPDATE usage_taken SET taken_at = 0")
}

// The method `used` returns a sample that counts `volume` requests of the subscription's tenant.
func (m *metered) used(at time.Time, volume float64) measurement {
	return measurement{
		Name: "requests", Type: "delta", Unit: "request", Volume: volume, Project: m.tenant, Resource: "vm", at: at,
		Timestamp: at.UTC().Format("2006-01-02T15:04:05.000000"), ID: uuid.NewString(),
	}
}

// The method `post` posts samples as Ceilometer does. The result `spooled` is true if the samples wait in the spool.
func (m *metered) post(url string, all ...measurement) (status int, spooled bool, err error) {
	type sent struct {
		measurement

		Source string `json:"source"`
	}
	samples := make([]sent, len(all))
	for i, one := range all {
		samples[i] = sent{one, "openstack"}
	}
	body, err := json.Marshal(samples)
	if err != nil {
		return 0, false, err
	}
	req, err := http.NewRequest(http.MethodPost, url+"/v1/usage/ceilometer?batch=True", strings.NewReader(string(body)))
	if err != nil {
		return 0, false, err
	}
	req.SetBasicAuth(m.key, m.secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = resp.Body.Close() }()
	var receipt struct{ Spooled bool }
	return resp.StatusCode, receipt.Spooled, json.NewDecoder(resp.Body).Decode(&receipt)
}

// The method `posts` posts samples. If the answer is not 202, the test fails.
func (m *metered) posts(url string, all ...measurement) {
	m.t.Helper()
	if status, _, err := m.post(url, all...); err != nil || status != http.StatusAccepted {
		m.t.Fatalf("a post is answered %d, %v", status, err)
	}
}

// The type `usageRow` is a row of usage as the API shows it.
type usageRow struct {
	ID                    string
	From, To              time.Time
	Revision              int
	Product, Value, State string
	Price, Total          *string
}

func (r usageRow) String() string {
	return fmt.Sprintf("%s %s, revision %d, value %s: %s", r.From.UTC().Format(time.RFC3339), r.Product, r.Revision, r.Value, r.State)
}

// The type `account` contains what the API shows for a subscription.
type account struct {
	Usage []struct {
		From          time.Time
		Meter, Amount string
	}
	Rows []usageRow
}

func (m *metered) account(url string) (a account) {
	m.t.Helper()
	got, err := m.get(url, "/v1/merchants/"+m.merchant.ID+"/subscriptions/"+m.subscription+"/usage")
	m.ok(err)
	m.unmarshal(got.body, &a)
	return a
}

// inBillingStack returns the usage of the subscription in BillingStack, by id. If BillingStack has an id twice, the test fails.
func (m *metered) inBillingStack() map[string]billing.Usage {
	m.t.Helper()
	all, err := m.billing.Usage(m.t.Context(), m.merchant.ID)
	m.ok(err)
	found := map[string]billing.Usage{}
	for _, u := range all {
		if u.SubscriptionID != m.subscription {
			continue
		}
		if _, twice := found[u.ID]; twice {
			m.t.Fatalf("BillingStack has the usage %s twice", u.ID)
		}
		found[u.ID] = u
	}
	return found
}

// The method `unbilled` compares the usage in BillingStack with the rows that the API shows and with the usage that is to be billed: by hour and
// product, the sum over all revisions. The result is empty if there is no difference.
func (m *metered) unbilled(url string, want map[string]*big.Rat) (wrong []string) {
	m.t.Helper()
	rows, stored := m.account(url).Rows, m.inBillingStack()
	sums, posted, ids := map[string]*big.Rat{}, map[string]*big.Rat{}, map[string]bool{}
	for _, r := range rows {
		u, found := stored[r.ID]
		switch window := r.Product + " " + r.From.UTC().Format("2006-01-02T15:04:05") + "/" + r.To.UTC().Format("2006-01-02T15:04:05"); {
		case m.foreign[r.ID]:
			ids[r.ID] = true
			continue
		case ids[r.ID]:
			wrong = append(wrong, "the API shows twice "+r.String())
		case !found || r.State != "posted":
			wrong = append(wrong, r.String())
			continue
		case !nearest(u.Value, r.Value) || !nearest(u.Price, *r.Price) || !nearest(u.Total, *r.Total) || u.Measure != window:
			wrong = append(wrong, fmt.Sprintf("%s, but BillingStack has %+v", r, u))
		}
		ids[r.ID] = true
		key := r.From.UTC().Format(time.RFC3339) + " " + r.Product
		add(sums, key, rational(r.Value))
		add(posted, key, new(big.Rat).SetFloat64(*u.Value))
	}
	for id, u := range stored {
		if !ids[id] {
			wrong = append(wrong, fmt.Sprintf("the API does not show %+v", u))
		}
	}
	billed := maps.Clone(want)
	maps.DeleteFunc(billed, func(_ string, amount *big.Rat) bool { return amount.Sign() == 0 })
	wrong = append(wrong, differences(billed, new(big.Rat), func(take func(key, amount string)) {
		for key, sum := range sums {
			take(key, sum.RatString())
		}
	})...)
	return append(wrong, differences(billed, big.NewRat(1, 1_000_000_000), func(take func(key, amount string)) {
		for key, sum := range posted { // floats: BillingStack has the nearest ones
			take(key, sum.RatString())
		}
	})...)
}

// isBilled waits until all usage is billed as it should be. If `changed` is true, changed usage is billed at once.
func (m *metered) isBilled(url func() string, changed bool, want func() map[string]*big.Rat) {
	m.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if changed {
			m.tenMinutesPass()
		}
		wrong := m.unbilled(url(), want())
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			log := m.log.read()
			m.t.Fatalf("after two minutes, the bill has %d faults:\n%s\nthe end of the log: %s", len(wrong),
				strings.Join(wrong[:min(len(wrong), 10)], "\n"), log[max(0, len(log)-2000):])
		}
	}
}

// The function `nearest` reports whether a number is the float that is nearest to an exact decimal.
func nearest(got *float64, decimal string) bool {
	want, _ := rational(decimal).Float64()
	return got != nil && *got == want
}

func rational(decimal string) *big.Rat {
	r, ok := new(big.Rat).SetString(decimal)
	if !ok {
		return new(big.Rat)
	}
	return r
}

func add(sums map[string]*big.Rat, key string, amount *big.Rat) {
	if sums[key] == nil {
		sums[key] = new(big.Rat)
	}
	sums[key].Add(sums[key], amount)
}

// The function `expected` computes the usage in the plainest way: for each hour and meter, as an exact fraction.
func expected(all []measurement) map[string]*big.Rat {
	series, sums := map[string][]measurement{}, map[string]*big.Rat{}
	for _, m := range all {
		key := m.Name + m.Resource
		series[key] = append(series[key], m)
	}
	count := func(at time.Time, meter string, amount *big.Rat) {
		add(sums, at.Truncate(time.Hour).UTC().Format(time.RFC3339)+" "+meter, amount)
	}
	rat := func(v float64) *big.Rat { return new(big.Rat).SetFloat64(v) }
	for _, points := range series {
		slices.SortFunc(points, func(a, b measurement) int { return a.at.Compare(b.at) })
		for i, p := range points {
			switch p.Type {
			case "delta":
				count(p.at, p.Name, rat(p.Volume))
			case "cumulative":
				count(p.at, p.Name, new(big.Rat))
				if i == 0 {
					continue
				}
				if grown := p.Volume - points[i-1].Volume; grown >= 0 {
					count(p.at, p.Name, rat(grown))
				} else {
					count(p.at, p.Name, rat(p.Volume))
				}
			case "gauge":
				until := p.at.Add(15 * time.Minute)
				if i+1 < len(points) && points[i+1].at.Before(until) {
					until = points[i+1].at
				}
				for at := p.at; at.Before(until); {
					end := at.Truncate(time.Hour).Add(time.Hour)
					if until.Before(end) {
						end = until
					}
					hours := big.NewRat(end.Sub(at).Microseconds(), int64(time.Hour/time.Microsecond))
					count(at, p.Name, hours.Mul(hours, rat(p.Volume)))
					at = end
				}
			}
		}
	}
	return sums
}

// The function `differences` compares amounts. They may differ by `tolerance`. The amounts of the gauge vcpus may differ by more, because they are
// rounded to twelve digits.
func differences(want map[string]*big.Rat, tolerance *big.Rat, each func(take func(key, amount string))) (wrong []string) {
	seen, rounded := map[string]bool{}, big.NewRat(1, 100_000_000_000)
	each(func(key, amount string) {
		got, ok := new(big.Rat).SetString(amount)
		if seen[key] {
			wrong = append(wrong, key+" occurs twice")
		}
		seen[key] = true
		limit := tolerance
		if strings.HasSuffix(key, " vcpus") && limit.Cmp(rounded) < 0 {
			limit = rounded
		}
		switch {
		case !ok:
			wrong = append(wrong, key+" is "+amount)
		case want[key] == nil && got.Sign() != 0:
			wrong = append(wrong, key+" is "+amount+", but nothing was measured")
		case want[key] != nil && new(big.Rat).Abs(new(big.Rat).Sub(got, want[key])).Cmp(limit) > 0:
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", key, got.FloatString(15), want[key].FloatString(15)))
		}
	})
	for key := range want {
		if !seen[key] {
			wrong = append(wrong, key+" is missing")
		}
	}
	return wrong
}
