package stories_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const processHead = `# The process, line by line

The document ` + "`doc/source/resources/subscriptions.rst`" + ` of BillingStack (2013, by Endre Karlson and Luis Gervaso, Apache License 2.0) describes how a ` +
	`visitor of a merchant's portal subscribes to a plan. ` + "`make process`" + ` carries out each line of this document with curl, and writes this page. ` +
	`It does so twice: on a real Keystone with Identity v3, and on an in-memory Keystone with Identity v2.0. It fails if an answer or a call of ` +
	`Tenantry differs from this page. ` + "`make test`" + ` also carries out each line, but does not write this page: it fails if the page is out of date.

* The first block below a heading is the text of the document. The document uses the numbers 3.1 and 3.2 twice.
* The next block has the commands. Below each command is the part of its answer that matters. A command without a version of Identity is the same ` +
	`for both versions. ` + "`--json`" + ` needs curl 7.82 or newer.
* A name such as CUSTOMER_ID stands for a value. The first answer in which the name appears defines the value. All later answers and calls must have the same ` +
	`value. Commands read the value from the shell variable of this name. Passwords, tokens and secrets have names, too.
* The tables show the calls that Tenantry sends to Keystone and BillingStack. A proxy recorded them. Two kinds of calls are not shown: calls that ` +
	`only read (except the list of plans), and the logins of Tenantry's own user.
* **Departure** means that Tenantry does not do what the document says. The text gives the reason. With Identity v3, the path of each call ` +
	`to Keystone is a departure, because the document has the paths of Identity v2.0.
`

// pageOfProcess returns the text of docs/process.md.
func pageOfProcess() []byte {
	var p processText
	p.text(strings.TrimSpace(processHead))
	for _, l := range slices.Concat(prerequisites, []line{tenantryItself}, theProcess(false), []line{usage, existing(false), oneCall, literalRoles}) {
		p.line("##", l)
	}
	p.text("\nThe whole process then runs for the user cleo. The answers and calls are the same as for ann, except these calls:")
	var differ []call
	member := subscribing(false).parts
	for i, part := range subscribing(true).parts {
		if !slices.Equal(part.calls, member[i].calls) {
			differ = append(differ, part.calls...)
		}
	}
	p.calls(differ)
	p.text("\nThe answers below, from the section \"What exists afterwards\", differ too. With the token for the customer tenant, the user can now list " +
		"the users of Keystone.")
	var answers []command
	for i, c := range existing(true).commands {
		if c != existing(false).commands[i] {
			answers = append(answers, c)
		}
	}
	p.commands(answers)
	return p.Bytes()
}

// processText is the text of docs/process.md.
type processText struct{ bytes.Buffer }

func (p *processText) line(heading string, l line) {
	fmt.Fprintf(p, "\n%s %s\n", heading, l.title)
	if l.quote != "" {
		p.block("text", l.quote)
	}
	if l.text != "" {
		p.text("\n" + l.text)
	}
	p.commands(l.commands)
	p.calls(l.calls)
	for i, d := range l.departures {
		if i == 0 {
			fmt.Fprintln(p)
		}
		p.text("* **Departure.** " + d)
	}
	for _, part := range l.parts {
		p.line(heading+"#", part)
	}
}

func (p *processText) block(language, text string) {
	fmt.Fprintf(p, "\n```%s\n%s\n```\n", language, text)
}

// The method `commands` writes commands and their answers. The commands for one Identity version follow the commands for both.
func (p *processText) commands(all []command) {
	for _, only := range []string{"", "v3", "v2.0"} {
		var shown []string
		for _, c := range all {
			if c.only != only {
				continue
			}
			prompt := "$ "
			if c.sql {
				prompt = "tenantry=# "
			}
			shown = append(shown, prompt+c.text+"\n"+strings.ReplaceAll(c.answer, "\n\n", "\n"))
		}
		if len(shown) == 0 {
			continue
		}
		if only != "" {
			fmt.Fprintf(p, "\nWith Identity %s:\n", only)
		}
		p.block("console", strings.Join(shown, "\n\n"))
	}
}

// The method `calls` writes a table of calls.
func (p *processText) calls(all []call) {
	if len(all) == 0 {
		return
	}
	fmt.Fprint(p, "\n| to | call of Tenantry | status |\n| --- | --- | --- |\n")
	row := func(to string, r request) {
		if r.head == "" {
			return
		}
		text := "`" + r.head + "`"
		if r.body != "" {
			text += "<br>`" + r.body + "`"
		}
		fmt.Fprintf(p, "| %s | %s | %s |\n", to, text, status(r.status))
	}
	for _, c := range all {
		if c.v3 == c.v2 {
			row("BillingStack", c.v3)
			continue
		}
		row("Keystone, Identity v3", c.v3)
		row("Keystone, Identity v2.0", c.v2)
	}
}

// The method `text` writes paragraphs and list items in lines of at most 140 characters. It writes a block of code as it is.
func (p *processText) text(text string) {
	code := false
	for paragraph := range strings.SplitSeq(text, "\n") {
		fence := strings.HasPrefix(paragraph, "```")
		code = code != fence
		if code || fence {
			fmt.Fprintln(p, paragraph)
			continue
		}
		p.paragraph(paragraph)
	}
}

func (p *processText) paragraph(text string) {
	indent := ""
	if strings.HasPrefix(text, "* ") {
		indent = "  "
	}
	written := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case written == "":
			written = word
		case utf8.RuneCountInString(written+" "+word) > 140:
			fmt.Fprintln(p, written)
			written = indent + word
		default:
			written += " " + word
		}
	}
	fmt.Fprintln(p, written)
}
