package console

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/escape"
)

// functions are the functions of the templates. Each text from outside goes through `text`, which escapes characters that could deceive the reader;
// html/template escapes HTML.
var functions = template.FuncMap{
	"text":    func(s any) string { return escape.Line(plainOf(s)) },
	"short":   short,
	"counted": counted,
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"took":    took,
	"mood":    func(state any) string { return moodOf(plainOf(state)) },
	"static":  func(name string) string { return Path + "/static/" + name },
	"ref":     refer,
	"words":   func(s any) string { return strings.ReplaceAll(escape.Line(plainOf(s)), "-", " ") },
	"audit": func(section string) bool {
		return slices.Contains([]string{"findings", "audits", "repair-plans"}, section)
	},
	"object": objectPath,
	"who":    who,
}

// plainOf returns the text of a string, of a pointer to a string, or of a value of a string type. A nil pointer has an empty text.
func plainOf(s any) string {
	switch v := s.(type) {
	case nil:
		return ""
	case string:
		return v
	case *string:
		if v == nil {
			return ""
		}
		return *v
	}
	return fmt.Sprint(s)
}

// The function `short` returns the end of an id, because the ends of two ids differ more than their beginnings.
func short(id any) string {
	text := plainOf(id)
	if len(text) > 12 {
		text = "…" + text[len(text)-8:]
	}
	return escape.Line(text)
}

// The function `who` returns the name of a person without the id that the API adds.
func who(name any) string {
	text, _, _ := strings.Cut(plainOf(name), " (user ")
	return escape.Line(text)
}

// The function `took` returns the time between the beginning and the end, or until now.
func took(from time.Time, to *time.Time, now time.Time) string {
	if to != nil {
		now = *to
	}
	return duration(now.Sub(from))
}

// The function `duration` writes a duration with its one or two largest units.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60), " 0 s")
	case d < 24*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60), " 0 min")
	}
	return strings.TrimSuffix(fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24), " 0 h")
}

// The function `ago` writes how long ago a time was. For a time in the future, it writes how long it is until this time.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < -time.Second:
		return "in " + roughly(-d)
	case d < 2*time.Second:
		return "now"
	default:
		return roughly(d) + " ago"
	}
}

// The function `roughly` writes a duration with its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours())/24)
}

// moodOf returns the class of a state, which chooses its colour and its symbol.
func moodOf(state string) string {
	switch state {
	case "succeeded", "active", "enabled", "posted", "valid", "ok", "closed", "alive", "complete", "resolved":
		return "good"
	case "stuck", "failed", "undo_failed", "missing", "differing", "conflict", "critical", "high", "down", "misconfigured", "unavailable", "open",
		"lease ended", "refused", "expired":
		return "bad"
	case "waiting", "unknown", "suspended", "ending", "disabled", "undecided", "medium", "unmatched", "degraded", "incomplete", "approved":
		return "wait"
	case "running", "undoing", "compensating":
		return "busy"
	case "undone", "compensated", "skipped", "ended", "revoked", "accepted":
		return "gone"
	case "would-create", "would-adopt":
		return "adds"
	case "would-change":
		return "alters"
	case "would-remove":
		return "cuts"
	}
	return "idle" // such as pending
}
