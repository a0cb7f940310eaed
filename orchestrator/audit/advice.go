package audit

import "strings"

// command returns a command that a person can paste into a shell.
func command(words ...string) string {
	for i, word := range words {
		words[i] = ShellWord(word)
	}
	return strings.Join(words, " ")
}

// ShellWord returns a text as one word of a shell command. Names and ids come from Keystone, and may contain anything.
func ShellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// needless begins the advice about a role that nobody has ordered.
const needless = "if the role is needed, accept the finding; otherwise: "

// resourceAdvice says how the resource of a subscription is set. BillingStack has no command for it.
func resourceAdvice(subscriptionID, projectID string) string {
	return "set the resource_id of subscription " + subscriptionID + " in BillingStack to " + projectID
}
