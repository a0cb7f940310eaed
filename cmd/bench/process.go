package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// siteVariable is the name of the environment variable that contains a contender's site as JSON.
const siteVariable = "BENCH_SITE"

// The type `child` is a child process that runs this program as a contender or as the stub upstreams.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(ctx context.Context, s site, part ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(s) //nolint:gosec // the API key is useless after the measurement
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.CommandContext(ctx, self, part...)}
	c.cmd.Env = append(os.Environ(), siteVariable+"="+string(told))
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

// The method `do` sends a task to the contender, and returns the contender's result.
func (c *child) do(t task) (r record, err error) {
	if err := json.NewEncoder(c.in).Encode(t); err != nil {
		return r, err
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return r, fmt.Errorf("the contender ended before it sent a result: %w", err)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	if r.Fault != "" {
		return r, errors.New(r.Fault)
	}
	return r, nil
}

func (c *child) stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// The constant `tick` is the unit of processor times in /proc: 10 ms on every Linux.
const tick = 10 * time.Millisecond

// processTime returns the processor time of a process. If children is true, the result includes the child processes that the
// process has waited for.
func processTime(pid int, children bool) (time.Duration, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	last := 13 // fields 11 and 12 are the times of the process, fields 13 and 14 the times of its children: see proc(5)
	if children {
		last = 15
	}
	var sum int64
	for _, field := range fields[11:last] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// The function `stat` returns the fields of /proc/PID/stat that follow the process name. The name ends at the last parenthesis: the
// name itself may contain parentheses and spaces.
func stat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) //nolint:gosec // a number
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(data[max(0, bytes.LastIndexByte(data, ')')):]), " ")
	return strings.Fields(rest), nil
}

// familyTime returns the processor time of a process and all its children, including children that have ended.
func familyTime(parent int) (time.Duration, error) {
	sum, err := processTime(parent, true)
	if err != nil {
		return 0, err
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return 0, err
		}
		fields, err := stat(pid)
		if err != nil || fields[1] != strconv.Itoa(parent) {
			continue // the process may have ended
		}
		if t, err := processTime(pid, false); err == nil {
			sum += t
		}
	}
	return sum, nil
}

// The function `memory` returns the value of a line of /proc/PID/status, in MiB. The line VmHWM has the maximum resident memory.
// The line VmRSS has the current resident memory.
func memory(pid int, line string) (mib float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), line+":")
	text, _, _ := strings.Cut(rest, "kB")
	kib, err := strconv.Atoi(strings.TrimSpace(text))
	return float64(kib) / 1024, err
}
