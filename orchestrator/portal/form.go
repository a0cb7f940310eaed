package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"unicode/utf8"

	"github.com/google/uuid"
)

// newNonce returns a random text for a form. All requests with this text are one order: see key.
func newNonce() string { return rand.Text() }

var nonce = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// The function `parse` reads the form of a request.
func parse(r *http.Request) error {
	err := r.ParseForm()
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return errTooLarge
	}
	if err != nil {
		return errForm
	}
	for _, values := range r.PostForm {
		for _, text := range values {
			if !utf8.ValidString(text) { // JSON would replace the invalid bytes, so that two different texts could become equal
				return errForm
			}
		}
	}
	return nil
}

// nonceOf reads the form of a request, and returns its nonce.
func nonceOf(r *http.Request) (string, error) {
	if err := parse(r); err != nil {
		return "", err
	}
	if found := r.PostFormValue("nonce"); nonce.MatchString(found) {
		return found, nil
	}
	return "", errForm
}

// The function `key` returns the idempotency key of an order. A form that is sent twice has the same key, so it is one order. The parts must name
// the user. Otherwise, a user who knows the nonce of another user could get the answer to the other user's order. Before a registration, there is
// no user. Therefore the name is a part of the key of a registration. Nobody is logged in without the password.
func key(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part)) // two different lists of parts never give the same input of the outer hash
		hash.Write(sum[:])
	}
	return "portal-" + hex.EncodeToString(hash.Sum(nil))
}

func isUUID(text string) bool {
	id, err := uuid.Parse(text)
	return err == nil && id.String() == text
}
