// Package explain has the texts that explain failures, runs, findings, subscriptions and problems to people: what happened, why, what it
// means for the user who signs up, who can fix it, and what to type next. All texts are in the tables of this package. The API, the
// command line and the documentation show these texts and no others.
//
// The files failures, findings, problems, runs, subscriptions and usage contain the tables. The file explain has the types, and the file
// quote makes texts from outside safe to show.
package explain

import (
	"cmp"
	"slices"
	"strings"
)

// Fixer is the kind of person who can fix a fault.
type Fixer string

// The values of Fixer. Nobody means that the fault ends by itself. Caller means the sender of a request, or somebody who is allowed to send
// the request: only problems have this value.
const (
	Nobody        Fixer = "nobody"
	Operator      Fixer = "operator"
	Administrator Fixer = "administrator"
	Merchant      Fixer = "merchant"
	User          Fixer = "user"
	Caller        Fixer = "caller"
)

// Who names the person in words. The argument `service` is the id of the service whose administrator is meant, such as "keystone", or empty.
func (f Fixer) Who(service string) string {
	switch f {
	case Operator:
		return "an operator of Tenantry"
	case Administrator:
		return "an administrator of " + serviceName(service)
	case Merchant:
		return "the merchant's portal"
	case User:
		return "the user"
	case Caller:
		return "the caller"
	case Nobody:
	}
	return "nobody needs to act"
}

// serviceName returns the name of an upstream for people.
func serviceName(id string) string {
	names := map[string]string{"keystone": "Keystone", "billingstack": "BillingStack"}
	return cmp.Or(names[id], Line(id), "the upstream")
}

// Entry explains a code. The texts may contain the names of facts in braces, such as {run}: see [Facts].
type Entry struct {
	What string // what happened
	Why  string // why it happens; empty if What or the error says so
	// Means says what the fault means for the user who signs up. It is empty if this depends on the run: see [Meaning].
	Means string
	FixBy []Fixer // who can fix it, the usual person first
	Do    []Step  // what this person does
}

// Step is one thing to do: a sentence, and a command for operators or a request for portals. Command and Request may be empty.
type Step struct {
	Text    string
	Command string
	Request string
}

// Explanation explains one run, finding or subscription to one reader.
type Explanation struct {
	What  string
	Why   string // may be empty
	Means string
	FixBy Fixer
	Who   string // FixBy in words
	Next  []Step // what to do, in this order; empty if there is nothing to do
}

// Reader is the kind of person who reads an explanation.
type Reader int

// The readers. Operators see commands. A portal sees requests of the API instead. A Local operator uses the flag --local.
const (
	ForOperator Reader = iota
	ForLocal
	ForPortal
)

// Facts are the values that a text may name in braces. In a command, a value is quoted for a shell. A missing value is replaced by its name in
// capitals, such as PROJECT, or by the name of the field of the API that contains the value.
type Facts struct {
	Run, Step, Merchant, Customer, Subscription, Project, User, Cloud, Finding string

	Other   string // another run: the predecessor or the successor
	Service string // the id of an upstream, such as "keystone"
	Until   string // a time
	Advice  string // what to do about a finding
}

func (f Facts) values() map[string]string {
	return map[string]string{
		"run": f.Run, "step": f.Step, "merchant": f.Merchant, "customer": f.Customer, "subscription": f.Subscription, "project": f.Project,
		"user": f.User, "cloud": f.Cloud, "finding": f.Finding, "other": f.Other,
	}
}

// The method `text` fills the facts into a sentence.
func (f Facts) text(template string) string {
	values := f.values()
	values["service"], values["advice"] = serviceName(f.Service), f.Advice
	values["until"] = cmp.Or(f.Until, "the time in the field `until`")
	values["ends_at"] = cmp.Or(f.Until, "the time in the field `ends_at`")
	values["other"] = cmp.Or(f.Other, "the run in the field `waits_for`")
	return fill(template, func(name string) string { return Line(cmp.Or(values[name], strings.ToUpper(name))) })
}

// The method `command` fills the facts into a command.
func (f Facts) command(template string) string {
	values := f.values()
	return fill(template, func(name string) string {
		if values[name] == "" {
			return strings.ToUpper(name)
		}
		return ShellWord(values[name])
	})
}

// The function `fill` replaces each {name} in a template by the result of the function `value`.
func fill(template string, value func(name string) string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		b.WriteString(value(name))
		template = after
	}
}

// The method `steps` fills the facts into steps, for a reader. A portal sees no commands.
func (f Facts) steps(to Reader, steps []Step) []Step {
	var all []Step
	for _, s := range steps {
		filled := Step{Text: f.text(s.Text)}
		switch {
		case to == ForPortal:
			filled.Request = f.text(s.Request)
		case s.Command != "":
			filled.Command = localized(to, f.command(s.Command))
		}
		all = append(all, filled)
	}
	return all
}

// A command that begins with a text of withLocal accepts the flag --local. The only exceptions begin with withoutLocal.
var (
	withLocal    = []string{"tenantry runs ", "tenantry audit ", "tenantry explain ", "tenantry whois "}
	withoutLocal = "tenantry audit apply "
)

// The function `localized` adds the flag --local to the command if the reader uses this flag and the command accepts it.
func localized(to Reader, command string) string {
	has := slices.ContainsFunc(withLocal, func(prefix string) bool { return strings.HasPrefix(command, prefix) })
	if to != ForLocal || !has || strings.HasPrefix(command, withoutLocal) {
		return command
	}
	return command + " --local"
}

// The function `by` is a short form of a list of fixers.
func by(all ...Fixer) []Fixer { return all }

// The function `do` is a short form of a list of sentences.
func do(texts ...string) []Step {
	var all []Step
	for _, text := range texts {
		all = append(all, Step{Text: text})
	}
	return all
}

// Table is the table of one kind of code.
type Table struct {
	Title   string // for the documentation
	Entries map[string]Entry
}

// Tables returns all tables, in the order of the documentation.
func Tables() []Table {
	return []Table{
		{"States of runs", states},
		{"Reasons for which runs wait", reasons},
		{"Failures", failures},
		{"Findings", findings},
		{"States of subscriptions", standings},
		{"Usage that is not billed as it should be", usages},
		{"Problems", problems},
	}
}

// The method `fixer` returns the usual fixer of an entry.
func (e Entry) fixer() Fixer {
	if len(e.FixBy) == 0 {
		return Nobody
	}
	return e.FixBy[0]
}

// Summary returns the field What, as the documentation shows it.
func (e Entry) Summary() string { return Facts{}.text(e.What) }

// Advice returns the steps of an entry as one text for the documentation. Commands are in backticks, after the word "Command".
func (e Entry) Advice() string {
	var parts []string
	for _, s := range e.Do {
		part := sentence(Facts{}.text(s.Text))
		if s.Command != "" {
			part = strings.TrimSpace(part + " Command: `" + Facts{}.command(s.Command) + "`.")
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

// The function `sentences` joins texts that are not empty.
func sentences(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), " ")
}

// The function `sentence` makes a sentence of a phrase such as "the user lacks a right".
func sentence(phrase string) string {
	phrase = strings.TrimSpace(phrase)
	if phrase == "" {
		return ""
	}
	if first := phrase[0]; first >= 'a' && first <= 'z' && !strings.HasPrefix(phrase, "openstack ") {
		phrase = strings.ToUpper(phrase[:1]) + phrase[1:]
	}
	if strings.HasSuffix(phrase, ".") {
		return phrase
	}
	return phrase + "."
}
