package stories_test

import (
	"bufio"
	_ "embed" // the script
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
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

// metersFile lets the usage of the meters of the function `measurements` be billed. The meter vcpus is not in the file.
const metersFile = `
meters:
  - {meter: network, product: Traffic}
  - {meter: cpu, product: CPU weeks, divide_by: 7}
`

// The function `billable` returns the usage to bill, by hour and product, from the usage by hour and meter. See metersFile.
func billable(used map[string]*big.Rat) map[string]*big.Rat {
	all := map[string]*big.Rat{}
	for key, amount := range used {
		hour, meter, _ := strings.Cut(key, " ")
		switch meter {
		case "network":
			all[hour+" Traffic"] = amount
		case "cpu": // a quotient is rounded to twelve digits
			all[hour+" CPU weeks"] = rational(new(big.Rat).Quo(amount, big.NewRat(7, 1)).FloatString(12))
		default:
			all[key] = amount
		}
	}
	return all
}

// The http publisher of the real Ceilometer posts more than 10,000 samples with duplicates and in disorder, with batch=True and batch=False. A
// fifth of the samples is late: their hours have been billed. Meanwhile, the replica is killed and started five times. In the end, the usage and
// the bill are what a separate calculation gives.
func TestCeilometerPublishesToTenantry(t *testing.T) {
	t.Parallel()
	t.Log("real: ceilometer")
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, &upstream{}), &upstream{})
	for name, price := range map[string]float64{"CPU weeks": 0.3, "Traffic": 0.0001, "vcpus": 0.05} {
		s.sells(name, price)
	}
	meters := filepath.Join(t.TempDir(), "meters.yaml")
	s.ok(os.WriteFile(meters, []byte(metersFile), 0o600))
	address := "127.0.0.1:" + freePort(t)
	env := []string{"TENANTRY_LISTEN=" + address, "TENANTRY_USAGE_SPOOL=" + t.TempDir(), "TENANTRY_METERS=" + meters}
	r := s.serve(env...)
	m := s.metered(r.url)
	// The publisher gets a post when the one before was answered, so that a kill always hits the next post. The function `each` is called after each
	// answer. If it has killed the replica, it returns a function that starts the replica again while the publisher repeats the next post.
	publish := func(samples []measurement, random *rand.Rand, each func(n int) (again func())) (refused int) {
		t.Helper()
		publisher := exec.CommandContext(t.Context(), "/usr/bin/python3", "-I", "-c", ceilometerScript,
			"http://"+m.key+":"+m.secret+"@"+address+"/v1/usage/ceilometer")
		posts := strings.SplitAfter(postsOf(t, samples, random), "\n")
		feed, err := publisher.StdinPipe()
		s.ok(err)
		var complaints strings.Builder
		publisher.Stderr = &complaints
		answered, err := publisher.StdoutPipe() // a line for each post, with the number of refusals so far
		s.ok(err)
		s.ok(publisher.Start())
		give := func() {
			_, err := io.WriteString(feed, posts[0])
			s.ok(err)
			if posts = posts[1:]; len(posts) == 0 || posts[0] == "" {
				s.ok(feed.Close())
				posts = nil
			}
		}
		give()
		lines, last := bufio.NewScanner(answered), ""
		for n := 1; lines.Scan(); n++ {
			last = lines.Text()
			start := each(n)
			if len(posts) > 0 {
				give()
			}
			if start != nil {
				start()
			}
		}
		if err := publisher.Wait(); err != nil {
			t.Fatalf("the publisher: %v\n%.3000s", err, complaints.String())
		}
		refused, err = strconv.Atoi(last)
		if err != nil || refused == 0 {
			t.Errorf("the publisher has repeated %q posts, %v: the kills did not reach it", last, err)
		}
		return refused
	}
	kill := func() (again func()) {
		r.kill()
		return func() { s.fiveMinutesPass(); r = s.serve(env...) }
	}
	url := func() string { return r.url }

	const hours = 6
	random := rand.New(rand.NewPCG(7, 7))
	from := time.Now().UTC().Truncate(time.Hour).Add(-(hours + 2) * time.Hour) // the gauges hold until the hour after the last sample
	all := measurements(random, m.tenant, from, hours, 10_700)
	var early, late []measurement
	for _, one := range all {
		if random.IntN(5) == 0 {
			late = append(late, one)
		} else {
			early = append(early, one)
		}
	}
	refused := publish(early, random, func(n int) func() {
		if n%60 == 0 && n <= 180 {
			return kill()
		}
		return nil
	})
	m.measures(r.url, expected(early))
	for _, row := range m.account(r.url).Rows {
		if row.Revision > 0 {
			t.Errorf("changed usage is billed within ten minutes: %s", row)
		}
	}
	m.isBilled(url, true, func() map[string]*big.Rat { return billable(expected(early)) })
	refused += publish(late, random, func(n int) func() {
		if n%20 == 0 && n <= 40 {
			m.tenMinutesPass()
			return kill()
		}
		return nil
	})
	m.measures(r.url, expected(all))
	m.isBilled(url, true, func() map[string]*big.Rat { return billable(expected(all)) })
	revisions := 0
	for _, row := range m.account(r.url).Rows {
		revisions = max(revisions, row.Revision)
	}
	if revisions == 0 {
		t.Error("no row is a difference")
	}
	var unmatched struct{ Unmatched []any }
	s.ok(s.asOperator("GET", r.url+"/v1/merchants/"+s.merchant.ID+"/usage/unmatched", "", &unmatched))
	if len(unmatched.Unmatched) > 0 {
		t.Errorf("this usage is unmatched: %v", unmatched.Unmatched)
	}
	t.Log(len(all), "samples,", refused, "repeated posts,", len(expected(all)), "amounts,", len(m.inBillingStack()), "rows, with revisions up to", revisions)
}

// postsOf returns the posts of the samples, in disorder, for the publisher. A tenth of the samples is posted twice.
func postsOf(t *testing.T, samples []measurement, random *rand.Rand) string {
	t.Helper()
	sent := slices.Concat(samples, samples[:len(samples)/10])
	random.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	var posts strings.Builder
	for i := 0; len(sent) > 0; i++ {
		n := 50
		if i%4 == 3 {
			n = 4 // without batch, each post with n samples is sent n times
		}
		n = min(n, len(sent))
		line, err := json.Marshal(map[string]any{"batch": i%4 < 3, "samples": sent[:n]})
		if err != nil {
			t.Fatal(err)
		}
		posts.Write(append(line, '\n'))
		sent = sent[n:]
	}
	return posts.String()
}

// The method `measures` waits until the API shows the usage of the meters.
func (m *metered) measures(url string, want map[string]*big.Rat) {
	m.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		wrong := differences(want, new(big.Rat), func(take func(key, amount string)) {
			for _, u := range m.account(url).Usage {
				take(u.From.UTC().Format(time.RFC3339)+" "+u.Meter, u.Amount)
			}
		})
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("after two minutes, %d amounts differ:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 10)], "\n"))
		}
	}
}
