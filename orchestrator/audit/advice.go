package audit

import "strings"

// The function `command` joins the words into a shell command, and quotes each word where necessary.
func command(words ...string) string {
	for i, word := range words {
		words[i] = ShellWord(word)
	}
	return strings.Join(words, " ")
}

// ShellWord returns the text as one word of a shell command, in quotes where necessary. Names and ids come from Keystone, and may contain
// any character.
func ShellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./", r)
	}
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// The constant `needless` is the beginning of the advice about a role that nobody has ordered.
const needless = "if the role is needed, accept the finding; otherwise: "

// resourceAdvice returns the advice for a subscription whose resource_id is wrong. The advice contains no command, because
// BillingStack has no command that sets the resource_id.
func resourceAdvice(subscriptionID, projectID string) string {
	return "set the resource_id of subscription " + subscriptionID + " in BillingStack to " + projectID
}
