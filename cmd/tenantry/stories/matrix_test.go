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

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// matrix returns docs/crash-matrix.md, the page with the results of all cases.
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
		if trial.workflow == workflowstest.StrangerName {
			fmt.Fprintln(&page, "\nThis workflow exists only in the tests. It shows that these tests cover any workflow, not only the service's own.")
		}
		trial.tables(&page, all[trial.workflow])
	}
	return page.Bytes()
}

// tables writes the results of one workflow to the page.
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

` + "`make crash-matrix`" + ` wrote this page. In each of these %d cases, the replica that executes a run is killed with SIGKILL at one point of one step. A proxy in front of
PostgreSQL, Keystone and BillingStack picks the moment. The portal's call gets no answer, so the portal repeats it with its key. Then the
run must have ended, either complete or with nothing left, and no invariant of package workflowstest may be broken.

A cell shows the time from the kill to the end of the run. Most of it is the lease, which is 1 s here (10 s by default). A compensation with
a lost answer also waits for the late window, 1 s here (90 s by default). * marks runs that a replica already running took over. The
others waited for a replica that was started after the kill.

| column | the replica is killed |
| --- | --- |
| before the intent | before the step's intent is stored |
| intent stored | after that, before the request |
| call lost | after the request has left; the request is lost before it takes effect |
| carried out | after the request has taken effect, before its answer |
| answered | after the answer, before the outcome is stored |
| outcome stored | after that |

A dash means that the step sends no request. Steps that run in parallel share writes: a single statement stores the outcome of a step and
the intents of the steps that follow it.

Measured on %s, commit %s, with %s.
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

// machine describes the CPUs and the operating system of this machine.
func machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(info), "model name")
	model, _, _ = strings.Cut(strings.TrimLeft(model, "\t :"), "\n")
	return fmt.Sprintf("%d CPUs (%s), %s", runtime.NumCPU(), model, runtime.GOOS)
}
