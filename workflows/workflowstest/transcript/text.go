package transcript

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// text returns the content of the file: first the exchanges of the API, then the requests to each upstream. The result is empty if
// there were no exchanges.
func (s *Story) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &writer{ids: learn(s.exchanges), etags: map[string]bool{}, loose: s.loose, halted: s.halted, standIn: s.standIn, numbered: !s.loose}
	w.seed(s.exchanges)
	var out strings.Builder
	if s.differs != "" && len(s.exchanges) > 0 {
		fmt.Fprintf(&out, "It differs: %s.\n", s.differs)
	}
	blocks := w.api(s.exchanges)
	if s.unordered || s.loose {
		slices.Sort(blocks)
		blocks = slices.Compact(blocks)
	}
	for _, block := range blocks {
		out.WriteString("---- api\n" + block)
	}
	for _, service := range []string{BillingStack, Keystone} {
		if lines := w.upstream(service, s.exchanges); len(lines) > 0 {
			out.WriteString("---- " + service + "\n" + strings.Join(lines, ""))
		}
	}
	return out.String()
}

// maxBody is the maximum size of a body in bytes. For a larger body, only the size is written.
const maxBody = 16 << 10

// writer writes exchanges and replaces values that differ between two recordings of the same code.
type writer struct {
	ids      ids
	etags    map[string]bool // ETags that the API has returned
	loose    bool
	halted   bool
	standIn  bool // a stand-in ran instead of the workflow
	numbered bool // ids get a number when they are first written
	acted    bool // the body is the answer to an action
	foreign  bool // the text belongs to an upstream, so names in the text are not replaced
}

// seed gives a number to each object that the set-up creates in BillingStack, in the order of creation.
func (w *writer) seed(all []*exchange) {
	for _, e := range all {
		if e.service == BillingStack && e.setup && e.method == http.MethodPost {
			w.answer(e)
		}
	}
}

// api returns the API's exchanges. If a test repeats a GET while it waits, only the last exchange is written.
func (w *writer) api(all []*exchange) (blocks []string) {
	var before string
	for _, e := range all {
		if e.service != API || e.setup {
			continue
		}
		request := w.request(e)
		block := request + "\n" + w.answer(e) + "\n"
		if e.method == http.MethodGet && request == before {
			blocks = blocks[:len(blocks)-1]
		}
		blocks, before = append(blocks, block), request
	}
	return blocks
}

func (w *writer) request(e *exchange) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s\n", e.method, w.target(e))
	for _, name := range []string{
		"Accept", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-Id", "Prefer", "X-Auth-Token", "X-Subject-Token",
	} {
		for _, value := range e.header.Values(name) {
			fmt.Fprintf(&out, "%s: %s\n", w.renamed(renamedHeaders, name), w.headerText(name, value))
		}
	}
	out.WriteString(w.body(e.header, e.body, true))
	return out.String()
}

func (w *writer) answer(e *exchange) string {
	if e.status == 0 {
		return "no answer\n"
	}
	var out strings.Builder
	fmt.Fprintln(&out, e.status)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(e.answered)) {
		recorded := w.renamed(renamedHeaders, name)
		if name == "Date" || name == "Content-Length" {
			continue
		}
		for _, value := range e.answered[name] {
			if name == "Etag" {
				w.etags[value] = true
			}
			if w.loose && (name == "X-Subject-Token" || name == "Idempotency-Replayed" || strings.HasPrefix(name, "Ratelimit")) {
				continue
			}
			if name == "Retry-After" && e.acts() {
				continue // the run may have ended
			}
			if name == "Retry-After" && (e.status < 400 || w.loose) || name == "Ratelimit" {
				value = digits.ReplaceAllString(value, "<n>")
			}
			lines = append(lines, fmt.Sprintf("%s: %s\n", recorded, w.headerText(name, value)))
		}
	}
	slices.Sort(lines)
	out.WriteString(strings.Join(lines, ""))
	w.acted = e.acts()
	body := w.body(e.answered, e.answer, true)
	w.acted = false
	if e.header.Get("Last-Event-Id") != "" { // a reader may end a resumed stream at any event, so only the first event is written
		body, _, _ = strings.Cut(body, "\n    },\n")
	}
	return out.String() + body
}

// acts reports whether a call asks for an action of an operator, or waits for the next change of the run. The answer to such a
// call shows the run in a random state.
func (e *exchange) acts() bool {
	if !strings.HasPrefix(e.path, "/v1/runs/") {
		return false
	}
	return e.method == http.MethodPost && e.status == http.StatusAccepted ||
		e.method == http.MethodGet && e.query.Has("wait") && e.header.Get("If-None-Match") != ""
}

// upstream returns the sorted requests to a service. If a write is repeated, its line ends with the number of requests. Each read
// is listed once, because the number of reads can be random.
func (w *writer) upstream(service string, all []*exchange) (lines []string) {
	var mine []*exchange
	for _, e := range all {
		if e.service != service || e.setup || w.halted && e.parallel() || e.reads() && hasPrefix(e.path, addedReads) {
			continue
		}
		if w.loose && e.method == http.MethodHead { // which role this request reads depends on the answer that was lost
			continue
		}
		mine = append(mine, e)
	}
	line := func(e *exchange) string {
		status := " -> no answer"
		switch {
		case w.loose:
			status = ""
		case e.status != 0:
			status = fmt.Sprint(" -> ", e.status)
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s%s %s", e.method, w.target(e), status, w.body(e.header, e.body, false))) + "\n"
	}
	w.foreign = true
	defer func() { w.foreign = false }()
	// Ids are numbered in the order of the sorted lines. Equal lines are in the order of the requests.
	numbered := w.numbered
	w.numbered = false
	unnumbered := map[*exchange]string{}
	for _, e := range mine {
		unnumbered[e] = line(e)
	}
	w.numbered = numbered
	slices.SortStableFunc(mine, func(a, b *exchange) int { return cmp.Compare(unnumbered[a], unnumbered[b]) })
	count := map[string]int{}
	for _, e := range mine {
		text := line(e)
		if e.reads() || !w.numbered {
			count[text] = 0
		} else {
			count[text]++
		}
	}
	for _, text := range slices.Sorted(maps.Keys(count)) {
		if n := count[text]; n > 1 {
			text = fmt.Sprintf("%s    %d times\n", text, n)
		}
		lines = append(lines, text)
	}
	return lines
}

// reads reports whether a request changes nothing in its upstream. A login by password counts as a read.
func (e *exchange) reads() bool {
	return e.method == http.MethodGet || e.method == http.MethodHead ||
		strings.HasSuffix(e.path, "/auth/tokens") && !bytes.Contains(e.body, []byte(`"methods":["token"]`))
}

// parallel reports whether a request to Keystone belongs to a step that runs in parallel with other steps.
func (e *exchange) parallel() bool {
	return strings.Contains(e.path, "/roles/") || !e.reads() && strings.HasSuffix(e.path, "/auth/tokens")
}

func (w *writer) target(e *exchange) string {
	segments := strings.Split(e.path, "/")
	for i, segment := range segments {
		segments[i] = w.clean(w.words(segment))
	}
	target := strings.Join(segments, "/")
	var query []string
	for _, name := range slices.Sorted(maps.Keys(e.query)) {
		for _, value := range e.query[name] {
			query = append(query, w.renamed(renamedFields, name)+"="+w.clean(w.words(value)))
		}
	}
	if len(query) > 0 {
		target += "?" + strings.Join(w.queries(query), "&")
	}
	return target
}

// queries maps renamed parameters back to their recorded names, and sorts the parameters by these names.
func (w *writer) queries(list []string) []string {
	if w.foreign {
		return list
	}
	for i, q := range list {
		list[i] = renamedQueries.ReplaceAllString(q, "$1=")
	}
	name := func(q string) string { before, _, _ := strings.Cut(q, "="); return before }
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(name(a), name(b)) })
	return list
}

func (w *writer) headerText(name, value string) string {
	if coded, ok := strings.CutPrefix(value, "Basic "); ok && name == "Authorization" {
		if text, err := base64.StdEncoding.DecodeString(coded); err == nil {
			value = "Basic " + string(text)
		}
	}
	for tag := range w.etags {
		value = strings.ReplaceAll(value, tag, "<etag>")
	}
	return w.clean(value)
}
