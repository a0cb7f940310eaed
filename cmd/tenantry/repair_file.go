package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// maxPlanFile is the maximum size of a file with a repair plan, in bytes.
const maxPlanFile = 4 << 20

const planHeader = `# Repairs of audit findings, planned by Tenantry.
#
# Read each entry. To approve an entry, change its "approve: false" to "approve: true". The comment is optional: the run's history shows it,
# and the merchant sees it. Then type:
#
#   tenantry audit apply FILE --dry-run     shows what the approved entries would do
#   tenantry audit apply FILE               carries out the approved entries
#
# Do this before %s: later, the plan is refused. Change nothing else: a file with any other change is refused.

`

// The type `planned` is a key of a plan, with the text of its value.
type planned struct{ key, text string }

// headOf returns all keys at the top level of a plan, except "entries".
func headOf(p client.RepairPlan) []planned {
	return []planned{
		{"plan", p.ID},
		{"installation", p.Installation},
		{"created_at", p.CreatedAt.UTC().Format(time.RFC3339Nano)},
		{"expires_at", p.ExpiresAt.UTC().Format(time.RFC3339Nano)},
	}
}

// fieldsOf returns the keys of an entry of a plan, except "values", "approve" and "comment".
func fieldsOf(e client.RepairPlanEntry) []planned {
	all := []planned{
		{"finding", e.FindingID},
		{"code", e.Code},
		{"severity", string(e.Severity)},
		{"what", e.Detail},
		{"action", e.Action},
		{"merchant_id", e.MerchantID},
		{"cloud", valueOf(e.Cloud)},
		{"customer_id", valueOf(e.CustomerID)},
		{"subscription_id", valueOf(e.SubscriptionID)},
		{"project_id", valueOf(e.ProjectID)},
		{"user_id", valueOf(e.UserID)},
		{"run_id", e.RunID},
	}
	return slices.DeleteFunc(all, func(f planned) bool { return f.text == "" })
}

// planText returns a plan as YAML that a person can edit. The texts of the plan come from the server, and can contain anything.
func planText(p client.RepairPlan) string {
	var b strings.Builder
	fmt.Fprintf(&b, planHeader, p.ExpiresAt.UTC().Format(timeLayout))
	for _, f := range headOf(p) {
		fmt.Fprintf(&b, "%s: %s\n", f.key, quoted(f.text))
	}
	b.WriteString("entries:\n")
	for i, e := range p.Entries {
		if i > 0 {
			b.WriteString("\n")
		}
		indent := "  - "
		for _, f := range fieldsOf(e) {
			fmt.Fprintf(&b, "%s%s: %s\n", indent, f.key, quoted(f.text))
			indent = "    "
		}
		if len(e.Values) == 0 {
			b.WriteString("    values: {}\n")
		} else {
			b.WriteString("    values:\n")
		}
		for _, name := range slices.Sorted(maps.Keys(e.Values)) {
			fmt.Fprintf(&b, "      %s: %s\n", quoted(name), quoted(e.Values[name]))
		}
		b.WriteString("    approve: false\n    comment: \"\"\n")
	}
	return b.String()
}

var (
	plainForm = regexp.MustCompile(`^[A-Za-z]+([ _-][A-Za-z]+)*$`)
	wordForm  = regexp.MustCompile(`^(?i:true|false|null|yes|no|on|off|y|n)$`) // words that some versions of YAML read as booleans or null
)

// The function `quoted` returns a text as a YAML scalar. It quotes each text that does not consist of plain words, because YAML has many
// rules for unquoted texts. For example, goccy/go-yaml writes the text "? a" without quotes, and then cannot read it. All escapes of
// strconv.Quote are valid in YAML. strconv.Quote also escapes the characters that control a terminal: see the function `controls`.
func quoted(text string) string {
	if plainForm.MatchString(text) && !wordForm.MatchString(text) {
		return text
	}
	return strconv.Quote(text)
}

// planFile is a file with a repair plan, which a person has edited.
type planFile struct {
	name    string
	head    map[string]field
	entries []fileEntry
	line    int // the line of the key "entries"
	faults  faults
}

// fileEntry is an entry of a planFile.
type fileEntry struct {
	line    int
	finding string
	fields  map[string]field // the values of entryKeys
	values  map[string]field
	approve bool
	comment string
}

// The type `field` is a value in a file.
type field struct {
	text string
	line int
}

// The type `faults` has the faults of a file, each with its line.
type faults []field

func (f *faults) add(line int, format string, args ...any) {
	*f = append(*f, field{fmt.Sprintf(format, args...), line})
}

// maxFileFaults is the maximum number of faults that are printed for a file.
const maxFileFaults = 20

// The method `err` returns an error with one line for each fault, or nil if there are no faults.
func (f *planFile) err() error {
	if len(f.faults) == 0 {
		return nil
	}
	slices.SortFunc(f.faults, func(a, b field) int { return cmp.Or(a.line-b.line, strings.Compare(a.text, b.text)) })
	var texts []string
	for _, fault := range f.faults[:min(len(f.faults), maxFileFaults)] {
		texts = append(texts, fmt.Sprintf("%s:%d: %s", f.name, fault.line, fault.text))
	}
	if more := len(f.faults) - maxFileFaults; more > 0 {
		texts = append(texts, fmt.Sprintf("%s: %d more faults", f.name, more))
	}
	return exit(exitUsage, lines(texts...))
}

// readPlanFile reads a file that planText has written and a person has edited. It does not compare the file with the plan: see the method
// `compare`.
func readPlanFile(name string) (*planFile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, exit(exitUsage, err)
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxPlanFile+1))
	switch {
	case err != nil:
		return nil, exit(exitUsage, err)
	case len(content) > maxPlanFile:
		return nil, usage("%s is larger than %d MiB: the file is not a repair plan", name, maxPlanFile>>20)
	}
	f := &planFile{name: name, head: map[string]field{}}
	f.parse(content)
	return f, f.err()
}

func (f *planFile) parse(content []byte) {
	if at := slices.IndexFunc(strings.Split(string(content), "\n"), func(line string) bool { return !utf8.ValidString(line) }); at >= 0 {
		f.faults.add(at+1, "the file is not valid UTF-8")
		return
	}
	tokens := lexer.Tokenize(strings.TrimPrefix(string(content), "\ufeff"))
	if line, text := unwanted(tokens); text != "" {
		f.faults.add(line, "%s", text)
		return
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		line, text := 1, "the file is not valid YAML"
		var fault yaml.Error
		if errors.As(err, &fault) && fault.GetToken() != nil {
			line, text = fault.GetToken().Position.Line, fault.GetMessage()
		}
		f.faults.add(line, "%s", text)
		return
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		f.faults.add(1, "the file must have one YAML document")
		return
	}
	keys := f.mapping(file.Docs[0].Body, "the file")
	if len(f.faults) > 0 {
		return
	}
	for _, v := range keys {
		switch v.key {
		case "plan", "installation", "created_at", "expires_at":
			f.scalar(f.head, v, "")
		case "entries":
			f.line = v.line
			f.list(v.value)
		default:
			f.faults.add(v.line, "%s: there is no such key: %s", v.key, onlyApprove)
		}
	}
	if plan, ok := f.head["plan"]; !ok {
		f.faults.add(1, "the key plan is missing: the file is not a repair plan")
	} else if !uuidForm.MatchString(plan.text) {
		f.faults.add(plan.line, "plan: %q is not the id of a plan: the id must be a lower-case uuid", plan.text)
	}
	if f.line == 0 {
		f.faults.add(1, "the key entries is missing: %s", onlyApprove)
	}
}

const onlyApprove = "only the keys approve and comment may be changed"

// maxNesting is the maximum depth of lists and mappings in flow style. It is also the maximum number of lists and mappings in block style
// that begin on one line.
const maxNesting = 10

// The function `unwanted` looks for faults in a file before the file is parsed, and returns the first fault and its line. Anchors,
// aliases and tags are faults. Deeply nested lists and mappings are faults too, because the parser needs much time for them. If there
// is no fault, the text is empty.
func unwanted(tokens token.Tokens) (line int, text string) {
	open := 0  // number of open lists and mappings in flow style
	begun := 0 // number of lists and mappings in block style that begin on this line
	for _, t := range tokens {
		if t.Position.Line != line {
			line, begun = t.Position.Line, 0
		}
		is := func(types ...token.Type) bool { return slices.Contains(types, t.Type) }
		switch {
		case is(token.AnchorType, token.AliasType, token.TagType):
			return line, "anchors, aliases and tags are not allowed"
		case is(token.MappingStartType, token.SequenceStartType):
			open++
		case is(token.MappingEndType, token.SequenceEndType):
			open--
		case is(token.SequenceEntryType, token.MappingKeyType):
			begun++
		}
		if open > maxNesting || begun > maxNesting {
			return line, "lists and mappings are nested too deeply"
		}
	}
	return 0, ""
}

// The type `keyed` is a key of a mapping, with its value.
type keyed struct {
	key   string
	line  int // of the key
	value ast.Node
}

// The method `mapping` returns the keys of a node with their values. If the node is not a mapping, `mapping` adds a fault. `mapping`
// does not look for duplicate keys, because the parser refuses them.
func (f *planFile) mapping(node ast.Node, what string) (all []keyed) {
	m, ok := node.(*ast.MappingNode)
	if !ok {
		f.faults.add(lineOf(node), "%s must be a mapping of keys to values", what)
		return nil
	}
	for _, v := range m.Values {
		key, ok := scalarText(v.Key)
		if !ok {
			f.faults.add(lineOf(v.Key), "%s has a key that is not a text", what)
			continue
		}
		all = append(all, keyed{key, lineOf(v.Key), v.Value})
	}
	return all
}

func lineOf(node ast.Node) int {
	if node == nil || node.GetToken() == nil {
		return 1
	}
	return node.GetToken().Position.Line
}

// The method `scalar` adds the text of a value to fields. If the value is not a text, `scalar` adds a fault.
func (f *planFile) scalar(fields map[string]field, v keyed, prefix string) {
	text, ok := scalarText(v.value)
	if !ok {
		f.faults.add(v.line, "%s%s: the value must be a text", prefix, v.key)
	}
	fields[v.key] = field{text, v.line}
}

// scalarText returns the text of a scalar. It returns numbers and other values exactly as the file has them, so that an id such as 0123
// keeps its zero.
func scalarText(node ast.Node) (text string, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func (f *planFile) list(node ast.Node) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		f.faults.add(lineOf(node), "entries must be a list")
		return
	}
	lines := map[string]int{} // the line of each finding
	for _, one := range list.Values {
		e := f.entry(one)
		if e == nil {
			continue
		}
		if e.finding == "" {
			f.faults.add(e.line, "the entry has no finding: %s", onlyApprove)
		} else if first := lines[e.finding]; first > 0 {
			f.faults.add(e.line, "finding: the finding %s occurs twice, first in line %d", e.finding, first)
		}
		lines[e.finding] = e.line
		f.entries = append(f.entries, *e)
	}
}

// entryKeys are keys of an entry. Their values are texts, and nobody may change these texts.
var entryKeys = []string{
	"finding", "code", "severity", "what", "action", "merchant_id", "cloud", "customer_id", "subscription_id", "project_id", "user_id", "run_id",
}

// The method `entry` parses an entry. If the node is not an entry, the result is nil.
func (f *planFile) entry(node ast.Node) *fileEntry {
	before := len(f.faults)
	keys := f.mapping(node, "an entry")
	if len(keys) == 0 {
		if len(f.faults) == before {
			f.faults.add(lineOf(node), "the entry is empty: %s", onlyApprove)
		}
		return nil
	}
	e := &fileEntry{line: keys[0].line, fields: map[string]field{}}
	decided := false
	for _, v := range keys {
		switch v.key {
		case "values":
			e.values = map[string]field{}
			for _, one := range f.mapping(v.value, "values") {
				f.scalar(e.values, one, "values.")
			}
		case "approve":
			decided = true
			yes, ok := v.value.(*ast.BoolNode)
			if !ok {
				f.faults.add(v.line, "approve: the value must be true or false, without quotes")
				continue
			}
			e.approve = yes.Value
		case "comment":
			f.comment(e, v)
		default:
			if !slices.Contains(entryKeys, v.key) {
				f.faults.add(v.line, "%s: an entry has no such key: %s", v.key, onlyApprove)
				continue
			}
			f.scalar(e.fields, v, "")
		}
	}
	e.finding = e.fields["finding"].text
	if !decided {
		f.faults.add(e.line, "the key approve is missing in the entry: the value must be true or false")
	}
	return e
}

// maxComment is the maximum number of characters of a comment.
const maxComment = 1000

func (f *planFile) comment(e *fileEntry, v keyed) {
	switch n := v.value.(type) {
	case *ast.NullNode:
		return
	case *ast.StringNode:
		e.comment = strings.TrimSpace(n.Value)
	case *ast.LiteralNode:
		e.comment = strings.TrimSpace(n.Value.Value)
	default:
		f.faults.add(v.line, "comment: the value must be a text: put it into quotes")
		return
	}
	refused := func(r rune) bool { return unicode.IsControl(r) || r > 0xFFFF }
	switch at := strings.IndexFunc(e.comment, refused); {
	case utf8.RuneCountInString(e.comment) > maxComment:
		f.faults.add(v.line, "comment: the text is longer than %d characters", maxComment)
	case at >= 0:
		f.faults.add(v.line, "comment: the text must be one line, and cannot contain the character %U", []rune(e.comment[at:])[0])
	}
}

// The method `approved` returns the approved entries. The keys of the map are the ids of the findings.
func (f *planFile) approved() map[string]fileEntry {
	all := map[string]fileEntry{}
	for _, e := range f.entries {
		if e.approve {
			all[e.finding] = e
		}
	}
	return all
}

// The method `compare` returns an error if the file differs from the plan. A person may change only the keys `approve` and `comment`.
// The plan does not have these keys.
func (f *planFile) compare(p client.RepairPlan) error {
	f.same(f.head, headOf(p), "", 1)
	inPlan, inFile := map[string]client.RepairPlanEntry{}, map[string]bool{}
	for _, e := range p.Entries {
		inPlan[e.FindingID] = e
	}
	for _, e := range f.entries {
		inFile[e.finding] = true
		want, ok := inPlan[e.finding]
		if !ok {
			f.faults.add(e.fields["finding"].line, "finding: the plan has no entry for %q: %s", e.finding, onlyApprove)
			continue
		}
		f.same(e.fields, fieldsOf(want), "", e.line)
		if e.values == nil {
			f.faults.add(e.line, "the key values is missing in the entry: %s", onlyApprove)
			continue
		}
		var values []planned
		for name, text := range want.Values {
			values = append(values, planned{name, text})
		}
		f.same(e.values, values, "values.", e.line)
	}
	for _, e := range p.Entries {
		if !inFile[e.FindingID] {
			f.faults.add(f.line, "entries: the entry for the finding %s is missing: add the entry again, with approve: false", e.FindingID)
		}
	}
	return f.err()
}

// The method `same` adds a fault for each field that differs from the plan. If a field is missing, the fault gets the line `line`.
func (f *planFile) same(fields map[string]field, plan []planned, prefix string, line int) {
	known := map[string]bool{}
	for _, want := range plan {
		known[want.key] = true
		got, ok := fields[want.key]
		switch {
		case !ok:
			f.faults.add(line, "%s%s is missing: the plan has %s: %s", prefix, want.key, shortened(want.text), onlyApprove)
		case got.text != want.text:
			f.faults.add(got.line, "%s%s: the plan has %s: %s", prefix, want.key, shortened(want.text), onlyApprove)
		}
	}
	for key, got := range fields {
		if !known[key] {
			f.faults.add(got.line, "%s%s: the plan has no such value: %s", prefix, key, onlyApprove)
		}
	}
}

// The function `shortened` returns a text in quotes, cut to a length that fits into a line.
func shortened(text string) string {
	if short := []rune(text); len(short) > 100 {
		return strconv.Quote(string(short[:99]) + "…")
	}
	return strconv.Quote(text)
}
