package stories_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
)

const (
	livePages     = 200
	livePeople    = 10 // the console gives each person at most 20 live pages; all API keys of a merchant count as one person
	liveMerchants = 5  // the other people are operators
	runsPerShop   = 4
	liveMemory    = 60 << 10 // KiB
	liveAtOnce    = 6        // after a pause, the console may make so many queries at once
)

// 200 pages of the console are open on one replica, and another replica executes the runs that they show. All pages get the changes. The replica with
// the pages executes no run, needs less than 60 MiB of memory for the pages, and makes at most one query a second for all of them. PostgreSQL's log has
// the queries of this replica. No limit is raised: the pages belong to five merchants and five operators.
func TestManyPagesShowTheRunsOfAnotherReplica(t *testing.T) {
	t.Parallel()
	pg := newPostgres(t, newHome(t))
	release := make(chan struct{})
	var waiting, writes atomic.Int64
	stack := &upstream{before: func(r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/customers") {
			waiting.Add(1)
			select {
			case <-release: // while the pages are opened, the runs wait for BillingStack
			case <-r.Context().Done():
			}
		}
		if r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/subscriptions") {
			time.Sleep(300 * time.Millisecond) // BillingStack must be slow, so that the runs change for some seconds
		}
	}}
	s := emptySite(t, pg.url, memoryCloud(t, &upstream{}), stack)
	s.env = append(s.env, "TENANTRY_LEASE=10s", "TENANTRY_BILLING_CONNECTIONS=64") // the default lease; emptySite sets 1 s
	shops := s.liveShops()
	worker := s.serve()
	own := httptest.NewServer(&upstream{next: stack.next, before: func(r *http.Request) {
		if r.Method != http.MethodGet {
			writes.Add(1)
		}
	}})
	t.Cleanup(own.Close)
	shows := s.serve("TENANTRY_BILLING_URL="+own.URL+"/v2", "TENANTRY_DATABASE_URL="+pg.url+"&options=-c%20log_statement%3Dall")
	runs := make([][]string, len(shops)) // by merchant
	for i, shop := range shops {
		for range runsPerShop {
			runs[i] = append(runs[i], shop.orders(worker.url))
		}
	}
	s.eventually("all runs wait for BillingStack", func() bool { return waiting.Load() == runsPerShop*liveMerchants })
	people := s.livePeople(shows.url, shops)

	// The function `each` calls a function for all pages. The people do this at the same time.
	each := func(call func(n int, one livePerson, path string)) {
		var all sync.WaitGroup
		for i, one := range people {
			all.Go(func() {
				for n := range livePages / livePeople {
					path := "/console/runs"
					if n%4 > 0 {
						path += "/" + runs[i%liveMerchants][n%4]
					}
					call(i, one, path)
				}
			})
		}
		all.Wait()
	}
	cold := shows.memory(t)
	each(func(_ int, one livePerson, path string) { one.gets(path) }) // the memory that the answers need is not that of the open pages
	before := shows.memory(t)
	opened := make([][]*livePage, len(people))
	each(func(n int, one livePerson, path string) { opened[n] = append(opened[n], one.opens(path)) })
	memory := shows.memory(t)
	// The function `cost` fails the test if the replica has made more queries for the pages in a phase than it may.
	cost := func(what string, phase func()) {
		began, first := time.Now(), pg.queriesForPages()
		phase()
		made, seconds := pg.queriesForPages()-first, time.Since(began).Seconds()
		t.Logf("%s: %d queries in %.1f s", what, made, seconds)
		if made < 2 || float64(made) > seconds+liveAtOnce+1 {
			t.Errorf("%s: %d queries in %.1f s, want one a second", what, made, seconds)
		}
		memory = max(memory, shows.memory(t))
	}
	cost("nothing changes", func() { time.Sleep(5 * time.Second) })
	cost("the runs change", func() {
		close(release)
		for _, page := range slices.Concat(opened...) {
			s.eventually("the page "+page.path+" shows that its runs have succeeded", page.current)
		}
	})
	t.Logf("%d pages: %d KiB more than the %d KiB before; %d KiB before the first page", livePages, memory-before, before, cold)
	if memory-before > liveMemory {
		t.Errorf("the pages need %d KiB, want at most %d", memory-before, liveMemory)
	}
	var taken int
	s.ok(ask(t.Context(), pg.url, &taken, "SELECT count(*) FROM runs WHERE epoch > 1"))
	if n := writes.Load(); n > 0 || taken > 0 {
		t.Errorf("the replica with the pages has sent %d writes to BillingStack, and %d runs were taken over", n, taken)
	}
}

// The type `liveShop` is a merchant with a plan and an API key.
type liveShop struct {
	*site

	id, plan    string
	key, secret string
}

func (s *site) liveShops() (shops []liveShop) {
	s.t.Helper()
	for i := range liveMerchants {
		name := fmt.Sprint("Shop ", i)
		m, err := s.billing.CreateMerchant(s.t.Context(), billing.Merchant{ID: uuid.NewString(), Name: name, Currency: "eur", Language: "eng"})
		s.ok(err)
		plan, err := s.billing.CreatePlan(s.t.Context(), m.ID, billing.Plan{ID: uuid.NewString(), Name: "small"})
		s.ok(err)
		var made struct {
			APIKey    string `json:"api_key"`
			APISecret string `json:"api_secret"`
		}
		s.unmarshal(s.run("merchant", "create", m.ID, "--name", name, "-f", "json"), &made)
		shops = append(shops, liveShop{s, m.ID, plan.ID, made.APIKey, made.APISecret})
	}
	return shops
}

// The method `orders` places an order, and returns the run.
func (shop liveShop) orders(url string) (id string) {
	shop.t.Helper()
	body := fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"Jane","currency":"eur","language":"eng"}}`, shop.plan)
	r, err := http.NewRequestWithContext(shop.t.Context(), http.MethodPost, url+"/v1/merchants/"+shop.id+"/subscriptions", strings.NewReader(body))
	shop.ok(err)
	r.SetBasicAuth(shop.key, shop.secret)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": uuid.NewString(), "X-Subject-Token": shop.newToken(), "Prefer": "respond-async",
	} {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	shop.ok(err)
	defer func() { _ = resp.Body.Close() }()
	var accepted run
	text, err := io.ReadAll(resp.Body)
	shop.ok(err)
	shop.unmarshal(text, &accepted)
	if resp.StatusCode != http.StatusAccepted {
		shop.t.Fatalf("an order: %d %s", resp.StatusCode, text)
	}
	return accepted.ID
}

// The type `livePerson` is a person who has signed in to the console of a replica.
type livePerson struct {
	*site

	url    string
	client *http.Client
}

// livePeople signs the merchants and as many operators in.
func (s *site) livePeople(at string, shops []liveShop) (people []livePerson) {
	s.t.Helper()
	forms := []url.Values{}
	for _, shop := range shops {
		forms = append(forms, url.Values{"how": {"key"}, "key": {shop.key}, "secret": {shop.secret}})
	}
	admin, err := s.cloud.memory.Role("admin")
	s.ok(err)
	for i := range livePeople - liveMerchants {
		name := fmt.Sprint("operator-", i)
		user := s.cloud.memory.AddUser(keystonetest.User{Name: name, Password: "canary-user-password"})
		project := s.cloud.memory.AddProject(keystone.Project{Name: name})
		s.cloud.memory.Assign(keystone.Assignment{ProjectID: project, UserID: user, RoleID: admin.ID})
		forms = append(forms, url.Values{"how": {"password"}, "user": {name}, "domain": {"Default"}, "password": {"canary-user-password"}})
	}
	for _, form := range forms {
		jar, err := cookiejar.New(nil)
		s.ok(err)
		one := livePerson{s, at, &http.Client{Jar: jar}}
		resp, err := one.client.PostForm(at+"/console/sign-in", form)
		s.ok(err)
		s.ok(resp.Body.Close())
		if resp.Request.URL.Path != "/console/runs" {
			s.t.Fatalf("signing in: %s", resp.Status)
		}
		people = append(people, one)
	}
	return people
}

// The type `livePage` is an open page, whose browser receives updates.
type livePage struct {
	path string
	runs []string // the runs that the page shows

	mu   sync.Mutex
	done map[string]bool // the runs that the page shows as succeeded
}

var (
	liveStream = regexp.MustCompile(`sse-connect="([^"]*)"`)
	liveRow    = regexp.MustCompile(`sse-swap="row-([^"]*)"`)
)

// The method `gets` loads a page.
func (p livePerson) gets(path string) string {
	resp, err := p.client.Get(p.url + path)
	if err != nil {
		p.t.Error(err)
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Error(err)
	}
	return string(text)
}

// The method `opens` loads a page, and follows its updates until the test ends.
func (p livePerson) opens(path string) *livePage {
	text := p.gets(path)
	found := liveStream.FindStringSubmatch(text)
	if found == nil {
		p.t.Errorf("%s: the page has no updates: %s", path, text)
		return &livePage{}
	}
	page := &livePage{path: path, done: map[string]bool{}}
	for _, one := range liveRow.FindAllStringSubmatch(text, -1) {
		page.runs = append(page.runs, one[1])
	}
	if id, detail := strings.CutPrefix(path, "/console/runs/"); detail {
		page.runs = []string{id}
	}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url+strings.ReplaceAll(found[1], "&amp;", "&"), nil)
	var resp *http.Response
	if err == nil {
		resp, err = p.client.Do(r) //nolint:bodyclose // closed at the end of the test
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		p.t.Errorf("the updates of %s: %v", path, err)
		return page
	}
	go page.follow(resp)
	return page
}

// The method `follow` reads the updates.
func (p *livePage) follow(resp *http.Response) {
	defer func() { _ = resp.Body.Close() }()
	event := ""
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, is := strings.CutPrefix(lines.Text(), "event: ")
		if is {
			event = name
		}
		if strings.Contains(lines.Text(), `<span class="state good">succeeded</span>`) {
			id, row := strings.CutPrefix(event, "row-")
			if event == "summary" {
				id = p.runs[0]
			}
			if row || event == "summary" {
				p.mu.Lock()
				p.done[id] = true
				p.mu.Unlock()
			}
		}
	}
}

// The method `current` reports whether the page shows that all of its runs have succeeded.
func (p *livePage) current() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.runs) > 0 && len(p.done) == len(p.runs)
}

var memoryLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// The method `memory` returns the resident memory of the replica in KiB.
func (r *replica) memory(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	found := memoryLine.FindSubmatch(status)
	if err != nil || found == nil {
		t.Fatalf("the memory of the replica: %v: %s", err, status)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pageQuery is a line of PostgreSQL's log with a query for a live page. A replica makes such queries also to answer requests, but not in the background.
var pageQuery = regexp.MustCompile(`LOG:  execute [^:]*: SELECT (?:.*|.*(?:\n\t.*)*?) FROM "?(?:runs|steps|objects|events|sign_ins)"?\b`)

// queriesForPages returns the number of queries for live pages in PostgreSQL's log.
func (p *ownPostgres) queriesForPages() int { return len(pageQuery.FindAllString(p.printed(), -1)) }
