package simulation

import (
	"bytes"
	"flag"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

var recordFlag = flag.String("record", "", "write one line for each seed of TestSeeds to this `file`, with digests of the seed's record")

// The type `record` contains the checkpoints, writes and events of one world, without times and texts. A refactoring must not
// change a record.
type record struct {
	mu          sync.Mutex
	checkpoints []string
	writes      []string
	events      []string
}

// The method `parts` returns the events, the writes and the checkpoints of the record.
func (r *record) parts() [][]string { return [][]string{r.events, r.writes, r.checkpoints} }

// The method `line` returns one line with the seed and a digest of each part.
func (r *record) line(seed int) string {
	line := fmt.Sprint(seed)
	for _, part := range r.parts() {
		h := fnv.New64a()
		_, _ = fmt.Fprintln(h, strings.Join(part, "\n"))
		line += fmt.Sprintf(" %d:%016x", len(part), h.Sum64())
	}
	return line
}

// The method `text` returns the whole record.
func (r *record) text() string {
	var s strings.Builder
	for i, part := range r.parts() {
		fmt.Fprintf(&s, "---- %s\n%s\n", []string{"events", "writes", "checkpoints"}[i], strings.Join(part, "\n"))
	}
	return s.String()
}

func (r *record) add(to *[]string, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*to = append(*to, fmt.Sprintf(format, args...))
}

// The method `created` adds a line to the record when a replica has tried to insert a run.
func (r *record) created(n saga.NewRun, err error) {
	if r != nil {
		r.add(&r.checkpoints, "create %s retries=%s events=%d %s: %s", n.Run.ID, n.Run.RetryOf, len(n.Events), standOf(n.Run, n.Run.Steps), outcomeOf(err))
	}
}

// The method `committed` adds checkpoints to the record.
func (r *record) committed(checkpoints []saga.Checkpoint, results []saga.CommitResult) {
	if r == nil {
		return
	}
	for i, cp := range checkpoints {
		var objects []string
		for _, o := range cp.Objects {
			objects = append(objects, fmt.Sprintf("%s/%s:%s removed=%t", o.Kind, o.ID, o.Origin, o.RemovedAt != nil))
		}
		slices.Sort(objects)
		r.add(&r.checkpoints, "%s epoch=%d version=%d events=%d consumed=%d drop=%t %s %v: %s", cp.Run.ID, cp.Run.Epoch, cp.Run.Version,
			len(cp.Events), len(cp.Consumed), cp.DropToken, standOf(cp.Run, cp.Steps), objects, outcomeOf(results[i].Err))
	}
}

func standOf(run *saga.Run, steps []saga.StepRow) string {
	reason, cause := "", ""
	if run.Reason != nil {
		reason = string(run.Reason.Kind) + "/" + string(run.Reason.Code)
	}
	if run.Cause != nil {
		cause = string(run.Cause.Code)
	}
	var rows []string
	for _, s := range steps {
		rows = append(rows, fmt.Sprintf("%s:%s/%d/%d/%d", s.Name, s.State, s.Attempts, s.Undos, s.Unknowns))
	}
	slices.Sort(rows)
	return fmt.Sprintf("%s reason=%s cause=%s behind=%s left=%d rechecks=%d leased=%t %v",
		run.State, reason, cause, run.WaitsFor, len(run.LeftBehind), run.Rechecks, run.Replica != "", rows)
}

// outcomeOf returns "ok" if there is no error, and "refused" otherwise.
func outcomeOf(err error) string {
	if err == nil {
		return "ok"
	}
	return "refused"
}

// The method `wrote` adds a line to the record for a request that changes an upstream. The line contains the status of the answer.
func (r *record) wrote(req *http.Request, body []byte, answer *http.Response) {
	if r == nil || req.Method == http.MethodGet || req.Method == http.MethodHead {
		return
	}
	status := 0
	if answer != nil {
		status = answer.StatusCode
	}
	if bytes.Contains(body, []byte(`"auth"`)) {
		body = nil
	}
	r.add(&r.writes, "%s %s %s: %d", req.Method, req.URL.RequestURI(), body, status)
}

// The method `told` adds the events of all runs to the record.
func (r *record) told(runs []*saga.Run, events map[string][]saga.Event) {
	if r == nil {
		return
	}
	for _, run := range runs {
		for _, e := range events[run.ID] {
			code := ""
			if e.Failure != nil {
				code = string(e.Failure.Code)
			}
			r.add(&r.events, "%s %d epoch=%d %s %s %d %s %s", e.RunID, e.Seq, e.Epoch, e.Kind, e.Step, e.Attempt, e.Action, code)
		}
	}
}

// recordBook collects the lines of all seeds.
type recordBook struct {
	mu    sync.Mutex
	lines map[int]string
}

func (b *recordBook) note(seed int, r *record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines == nil {
		b.lines = map[int]string{}
	}
	b.lines[seed] = r.line(seed)
}

// The method `write` saves the collected lines in a file, sorted by seed.
func (b *recordBook) write(t *testing.T, from, to int) {
	t.Helper()
	var text strings.Builder
	for seed := from; seed < to; seed++ {
		text.WriteString(b.lines[seed] + "\n")
	}
	if err := os.WriteFile(*recordFlag, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}
