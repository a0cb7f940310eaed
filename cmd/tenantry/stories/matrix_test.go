package stories_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The function `matrix` returns the text of docs/crash-matrix.md, the page with the results of all cases.
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
		fmt.Fprintf(&page, "\n## %s\n", trial.title())
		if trial.workflow == workflowstest.StrangerName {
			fmt.Fprintln(&page, "\nThis workflow exists only in the tests. The cases below show that the crash test works with any workflow.")
		}
		trial.tables(&page, all[trial.title()])
	}
	return page.Bytes()
}

// The method `tables` writes the results of one workflow to the page.
func (c crashTrial) tables(page *bytes.Buffer, ended endings) {
	for _, undo := range []bool{false, true} {
		if !slices.ContainsFunc(c.Places, func(at workflowstest.Place) bool { return place(at).Undo == undo }) {
			continue
		}
		title := "Killed during Do: every run succeeded"
		if undo {
			title = "Killed during Undo, after a refusal of " + c.Refused + ": every run was compensated"
		}
		if undo && slices.ContainsFunc(c.Places, func(at workflowstest.Place) bool { return c.undoesRefused(place(at)) }) {
			title = "Killed during Undo, after " + c.Refused + " took effect but was refused: every run was compensated, or found the effect and succeeded"
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

` + "`make crash-matrix`" + ` wrote this page. In each of these %d cases, the test sends SIGKILL to the replica that executes a run, at one
point of one step. The replica reaches PostgreSQL, Keystone and BillingStack through proxies, which tell the test when the step is
at this point. The portal's call gets no answer, so the portal repeats the call with the same key. The run must
succeed, or it must be compensated and leave nothing upstream. The run must not violate an invariant of the package workflowstest.

A cell shows the time from the kill to the end of the run. Most of this time is the lease, which is 1 s in this test (10 s by
default). A compensation with a lost answer also waits for the late window, which is 1 s in this test (90 s by default). If another
replica was already running and took over the run, the cell has the mark *. In the cells without the mark, the test started another
replica after the kill.

| column | the replica is killed |
| --- | --- |
| before the intent | before the step's intent is stored |
| intent stored | after the step's intent is stored, before the request |
| call lost | after the request is sent; the request is lost and has no effect |
| carried out | after the request has taken effect, before its answer |
| answered | after the answer, before the outcome is stored |
| outcome stored | after the outcome is stored |

A dash means that the step sends no request. One SQL statement stores the outcome of a step and the intents of the next steps.

Measured on %s at commit %s, on %s.
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

// The function `machine` describes the CPUs and the operating system of this machine.
func machine() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, model, _ := strings.Cut(string(info), "model name")
	model, _, _ = strings.Cut(strings.TrimLeft(model, "\t :"), "\n")
	return fmt.Sprintf("%s with %d CPUs (%s)", runtime.GOOS, runtime.NumCPU(), model)
}
