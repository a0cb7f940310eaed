package transcript

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// body returns the text that the file has for a body. JSON and events are written with their fields, and other text is written
// unchanged. Pages and long texts are replaced by a short description.
func (w *writer) body(header http.Header, body []byte, indent bool) string {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if len(body) == 0 {
		return ""
	}
	if kind == "text/html" {
		return "<page>\n"
	}
	if len(body) > maxBody {
		return fmt.Sprintf("<%d bytes>\n", len(body))
	}
	if kind == "text/event-stream" {
		return w.stream(string(body))
	}
	if value, ok := decoded(body); ok {
		return w.encoded(w.json("", value), indent)
	}
	return w.clean(string(body)) + "\n"
}

func (w *writer) encoded(value any, indent bool) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if indent {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(value); err != nil {
		return err.Error()
	}
	return out.String()
}

// stream returns server-sent events as a list, sorted by step.
func (w *writer) stream(text string) string {
	var events []any
	for line := range strings.Lines(text) {
		if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok {
			if event, ok := decoded([]byte(data)); ok {
				events = append(events, event)
			}
		}
	}
	return w.encoded(map[string]any{"stream": w.json("events", events)}, true)
}

func decoded(body []byte) (value any, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, err == io.EOF
}

// proses are fields with texts for people. Recordings do not contain these texts.
var proses = []string{"detail", "title", "why"}

// secrets are fields whose values are secret.
var secrets = []string{"password", "api_secret"}

// momentary are the fields of a run that change quickly. These fields are not written if the run's state is in the list moving, or
// if the body is the answer to an action.
var (
	moving    = []string{"pending", "running", "compensating"}
	momentary = []string{"cause", "ended_at", "left_behind", "objects", "reason", "result", "retried_by", "steps", "verbs"}
)

// momentaryOfStep are the fields of a step that change quickly.
var momentaryOfStep = []string{"attempts", "ended_at", "error", "started_at", "state", "undos"}

func (w *writer) json(field string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		fields := map[string]any{}
		for name, value := range w.movedBack(v) {
			if !w.foreign && slices.Contains(addedFields, name) {
				continue
			}
			fields[w.renamed(renamedFields, name)] = value
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) { // sorted, so that ids are numbered in the same order each time
			out[name] = w.json(name, fields[name])
		}
		if name, ok := out["name"].(string); ok && w.halted && field == "steps" && hasPrefix(name, parallelSteps) {
			for _, name := range momentaryOfStep {
				delete(out, name)
			}
		}
		if out["seq"] != nil {
			out["seq"] = "<seq>"
		}
		if state, ok := out["state"].(string); ok && out["workflow"] != nil && (w.acted || slices.Contains(moving, state)) {
			for _, name := range momentary {
				delete(out, name)
			}
			out["state"] = "<moving>"
		}
		return out
	case []any:
		if field == "events" || field == "objects" {
			v = w.byStep(v)
		}
		out := make([]any, 0, len(v))
		for _, value := range v {
			if field != "tags" || !added(value) {
				out = append(out, w.json(field, value))
			}
		}
		return out
	case string:
		switch {
		case v != "" && slices.Contains(proses, field):
			return "<text>"
		case v != "" && slices.Contains(secrets, field):
			return "<secret>"
		}
		return w.clean(w.words(v))
	}
	return value
}

// movedBack returns a run in the form of a recording: the movedFields are beside the result, not inside it. The result of a
// stand-in has no standInFields.
func (w *writer) movedBack(v map[string]any) map[string]any {
	result, ok := v["result"].(map[string]any)
	if w.foreign || !ok || v["workflow"] == nil {
		return v
	}
	run, rest := maps.Clone(v), maps.Clone(result)
	if w.standIn {
		maps.DeleteFunc(rest, func(field string, _ any) bool { return slices.Contains(standInFields, field) })
	}
	for inside, beside := range movedFields {
		if value, ok := rest[inside]; ok {
			run[beside] = value
			delete(rest, inside)
		}
	}
	run["result"] = rest
	return run
}

func added(tag any) bool {
	text, ok := tag.(string)
	return ok && hasPrefix(text, addedTags)
}

func hasPrefix(text string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// byStep sorts events and objects by their step, and keeps their order within a step. The order of parallel steps is random.
func (w *writer) byStep(list []any) []any {
	step := func(v any) string {
		m, _ := v.(map[string]any)
		for name, value := range m {
			if s, ok := value.(string); ok && w.renamed(renamedFields, name) == "step" {
				return w.words(s)
			}
		}
		return ""
	}
	return slices.SortedStableFunc(slices.Values(list), func(a, b any) int { return cmp.Compare(step(a), step(b)) })
}

var (
	digits  = regexp.MustCompile(`[0-9]+`)
	word    = regexp.MustCompile(`[^/.]+`)
	chances = []struct {
		pattern *regexp.Regexp
		instead string
	}{
		{regexp.MustCompile(`gAAAA[A-Za-z0-9_=-]{20,}`), "<token>"}, // first: a part of a token may match the other patterns
		{regexp.MustCompile(`req-[0-9a-f-]{36}`), "<request>"},
		{regexp.MustCompile(`ts_[A-Za-z0-9_-]{20,}`), "<secret>"},
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d(:|%3A)\d\d(:|%3A)\d\d[.\d]*(Z|[+-]\d\d:\d\d)`), "<time>"},
		{regexp.MustCompile(`127\.0\.0\.1:\d+`), "<address>"},
	}
)

// clean replaces ids, times and secrets in a text, and shortens a long text.
func (w *writer) clean(text string) string {
	for _, c := range chances {
		text = c.pattern.ReplaceAllString(text, c.instead)
	}
	text = idPattern.ReplaceAllStringFunc(text, func(id string) string { return w.ids.label(id, w.numbered) })
	if !utf8.ValidString(text) {
		text = fmt.Sprintf("%q", text)
	}
	if n := utf8.RuneCountInString(text); n > 300 {
		return fmt.Sprintf("%s... <%d characters>", string([]rune(text)[:40]), n)
	}
	return text
}

func (w *writer) renamed(table map[string]string, name string) string {
	if w.foreign {
		return name
	}
	return renamed(table, name)
}

// words returns a value in which each renamed word is replaced by the recorded word. In a link, only query parameters are replaced.
// A value with spaces is returned unchanged.
func (w *writer) words(value string) string {
	if path, query, ok := strings.Cut(value, "?"); ok && !strings.Contains(value, " ") { // a link
		return path + "?" + strings.Join(w.queries(strings.Split(query, "&")), "&")
	}
	if strings.Contains(value, " ") {
		return value
	}
	whole := !strings.ContainsAny(value, "/.")
	return word.ReplaceAllStringFunc(value, func(part string) string {
		if recorded, ok := renamedProblems[part]; ok && !whole && !w.foreign {
			return recorded
		}
		return w.renamed(renamedWords, part)
	})
}

func renamed(table map[string]string, name string) string {
	if recorded, ok := table[name]; ok {
		return recorded
	}
	return name
}
