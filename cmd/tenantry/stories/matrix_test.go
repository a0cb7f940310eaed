package stories_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// matrix is the page that shows how all cases ended.
func matrix(t *testing.T, all map[string]endings) []byte {
	t.Helper()
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	n := 0
	for _, ended := range all {
		for _, cases := range ended {
			n += len(cases)
		}
	}
	fmt.Fprintf(&page, matrixHead, n, time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), machine())
	for _, trial := range crashTrials(t) {
		fmt.Fprintf(&page, "\n## %s\n", trial.workflow)
		trial.tables(&page, all[trial.workflow])
	}
	return page.Bytes()
}

// tables show how the cases of a workflow ended.
func (c crashTrial) tables(page *bytes.Buffer, ended endings) {
	for _, undo := range []bool{false, true} {
		title := "Going forward: every run succeeded"
		if undo {
			title = "Compensating, because " + c.Refused + " is refused: every run was compensated"
		}
		fmt.Fprintf(page, "\n### %s\n\n| step |", title)
		for i := range instants {
			fmt.Fprintf(page, " %s |", i)
		}
		fmt.Fprintf(page, "\n| --- |%s\n", strings.Repeat(" ---: |", int(instants)))
		for _, at := range c.Places {
			p := place(at)
			if p.Undo != undo {
				continue
			}
			fmt.Fprintf(page, "| %s |", p)
			for i := range instants {
				fmt.Fprintf(page, " %s |", ended[p][i])
			}
			fmt.Fprintln(page)
		}
	}
}

const matrixHead = `# Killed at every instant

` + "`make crash-matrix`" + ` wrote this page. In each of its %d cases the replica that works on a run is killed with SIGKILL at one
instant of one step, a proxy in front of PostgreSQL, Keystone and BillingStack choosing the moment. The portal, whose call got no
answer, repeats it with its key. Then the run must have ended, whole or with nothing left, and no promise may be broken
that package workflowstest knows.

A cell tells how long after the kill the run had ended. The lease is 1 s here (10 s by default): that is what a case waits for. A
compensation in which a call's answer was lost also waits 1 s for what may come late (90 s by default). * marks the runs that a
replica already running took over; the others waited for one to be started after the kill.

The instants: before the step's intent is stored; after that and before the call; after the call has left, which is lost
before it takes effect; after it has taken effect and before the answer; after the answer and before the outcome is
stored; after that. A dash: the step calls nobody there, so that no call can be lost, and none carried out. Steps side by side share
their writes: one's outcome and the intents of those behind it are stored by one statement.

Of %s, commit %s, on %s.
`

func (e ending) String() string {
	if e.State == "" {
		return "–"
	}
	text := fmt.Sprintf("%.1f s", e.Recovery.Seconds())
	if e.Living {
		text += " *"
	}
	return text
}

// machine says what the times were taken on.
func machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(info), "model name")
	model, _, _ = strings.Cut(strings.TrimLeft(model, "\t :"), "\n")
	return fmt.Sprintf("%d CPUs (%s), %s", runtime.NumCPU(), model, runtime.GOOS)
}
