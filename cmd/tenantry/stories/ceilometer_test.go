package stories_test

import (
	"bufio"
	_ "embed" // the script
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/store/storetest"
)

// ceilometerScript publishes samples with the real publisher of Ceilometer.
//
//go:embed publish.py
var ceilometerScript string

// The type `measurement` is a sample. The JSON names are the arguments of Ceilometer's class Sample.
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

// measurements returns about n samples of a tenant in the hours after `from`: counters, two of which are reset, deltas and gauges. Each counter
// has no samples in one hour.
func measurements(r *rand.Rand, tenant string, from time.Time, hours, n int) (all []measurement) {
	const resources = 10
	for i := range resources {
		counter := 0.0
		reset := time.Duration(-1)
		if i < 2 {
			reset = time.Duration(r.IntN(hours)) * time.Hour
		}
		missing := r.IntN(hours)
		each := n / resources / 3
		for k := range each {
			after := time.Duration(k)*time.Duration(hours)*time.Hour/time.Duration(each) + time.Duration(r.IntN(int(10*time.Second)))
			at := from.Add(after.Truncate(time.Microsecond))
			add := func(name, kind string, volume float64) {
				all = append(all, measurement{
					Name: name, Type: kind, Unit: "u", Volume: volume, Project: tenant, Resource: fmt.Sprint("vm-", i), at: at,
					Timestamp: at.Format("2006-01-02T15:04:05.000000"), ID: uuid.NewString(),
				})
			}
			if reset >= 0 && at.Sub(from) > reset {
				counter, reset = 0, -1
			}
			counter += float64(r.IntN(1000)) / 4
			if int(at.Sub(from)/time.Hour) != missing {
				add("cpu", "cumulative", counter)
			}
			add("network", "delta", float64(r.IntN(100)))
			add("vcpus", "gauge", float64(r.IntN(9)))
		}
	}
	return all
}

// The function `expected` computes the usage in the plainest way: for each hour and meter, as an exact fraction.
func expected(all []measurement) map[string]*big.Rat {
	series, sums := map[string][]measurement{}, map[string]*big.Rat{}
	for _, m := range all {
		key := m.Name + m.Resource
		series[key] = append(series[key], m)
	}
	count := func(at time.Time, meter string, amount *big.Rat) {
		key := at.Truncate(time.Hour).Format(time.RFC3339) + " " + meter
		if sums[key] == nil {
			sums[key] = new(big.Rat)
		}
		sums[key].Add(sums[key], amount)
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

// The http publisher of the real Ceilometer posts more than 10,000 samples with duplicates and in disorder, with batch=True and batch=False. Meanwhile, the
// replica is killed and started five times. In the end, the usage is what a separate calculation gives.
func TestCeilometerPublishesToTenantry(t *testing.T) {
	t.Log("real: ceilometer")
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, &upstream{}), &upstream{})
	address := "127.0.0.1:" + freePort(t)
	env := []string{"TENANTRY_LISTEN=" + address, "TENANTRY_USAGE_SPOOL=" + t.TempDir()}
	r := s.serve(env...)
	var made struct {
		Result struct {
			Tenant       string `json:"subscription_tenant_id"`
			Subscription string `json:"subscription_id"`
		}
	}
	s.unmarshal(s.insist(r.url, s.portal(order{key: "made", token: s.newToken()})).Body, &made)
	var key struct{ Key, Secret string }
	s.unmarshal(s.run("meter-key", "create", "-f", "json"), &key)

	const hours = 6
	random := rand.New(rand.NewPCG(7, 7))
	from := time.Now().UTC().Truncate(time.Hour).Add(-(hours + 2) * time.Hour) // the gauges hold until the hour after the last sample
	all := measurements(random, made.Result.Tenant, from, hours, 10_700)
	sent := slices.Concat(all, all[:len(all)/10]) // a tenth comes twice
	random.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	var posts strings.Builder
	for i := 0; len(sent) > 0; i++ {
		n := 50
		if i%4 == 3 {
			n = 4 // without batch, each post with n samples is sent n times
		}
		n = min(n, len(sent))
		line, err := json.Marshal(map[string]any{"batch": i%4 < 3, "samples": sent[:n]})
		s.ok(err)
		posts.Write(append(line, '\n'))
		sent = sent[n:]
	}
	publisher := exec.CommandContext(t.Context(), "/usr/bin/python3", "-I", "-c", ceilometerScript,
		"http://"+key.Key+":"+key.Secret+"@"+address+"/v1/usage/ceilometer")
	publisher.Stdin = strings.NewReader(posts.String())
	var complaints strings.Builder
	publisher.Stderr = &complaints
	answered, err := publisher.StdoutPipe() // a line for each post, with the number of refusals so far
	s.ok(err)
	s.ok(publisher.Start())
	lines, last := bufio.NewScanner(answered), ""
	for n := 1; lines.Scan(); n++ {
		if last = lines.Text(); n%40 == 0 && n <= 200 {
			r.kill()
			r = s.serve(env...)
		}
	}
	if err := publisher.Wait(); err != nil {
		t.Fatalf("the publisher: %v\n%.3000s", err, complaints.String())
	}
	refused, err := strconv.Atoi(last)
	if err != nil || refused == 0 {
		t.Errorf("the publisher has repeated %q posts, %v: the kills did not reach it", last, err)
	}

	want := expected(all)
	path := "/v1/merchants/" + s.merchant.ID + "/subscriptions/" + made.Result.Subscription + "/usage?from=" + from.Format(time.RFC3339)
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		a, err := s.get(r.url, path)
		s.ok(err)
		var answer struct {
			Usage []struct {
				From          time.Time
				Meter, Amount string
			}
		}
		s.unmarshal(a.body, &answer)
		wrong := differences(want, func(take func(key, amount string)) {
			for _, u := range answer.Usage {
				take(u.From.UTC().Format(time.RFC3339)+" "+u.Meter, u.Amount)
			}
		})
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 90 s, %d amounts differ:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
		}
	}
	t.Log(len(all), "samples,", refused, "repeated posts,", len(want), "amounts")
}

// The function `differences` compares amounts. The amounts of gauges are rounded to twelve digits.
func differences(want map[string]*big.Rat, each func(take func(key, amount string))) (wrong []string) {
	seen := map[string]bool{}
	each(func(key, amount string) {
		got, ok := new(big.Rat).SetString(amount)
		if seen[key] {
			wrong = append(wrong, key+" occurs twice")
		}
		seen[key] = true
		switch {
		case !ok:
			wrong = append(wrong, key+" is "+amount)
		case want[key] == nil && got.Sign() != 0:
			wrong = append(wrong, key+" is "+amount+", but nothing was measured")
		case want[key] != nil && new(big.Rat).Abs(new(big.Rat).Sub(got, want[key])).Cmp(big.NewRat(1, 100_000_000_000)) > 0:
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", key, amount, want[key].FloatString(12)))
		}
	})
	for key := range want {
		if !seen[key] {
			wrong = append(wrong, key+" is missing")
		}
	}
	return wrong
}
