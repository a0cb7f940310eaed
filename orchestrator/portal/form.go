package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"

	"github.com/google/uuid"
)

// newNonce returns a random text for a form. It makes all requests of this form one order: see key.
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

// The function `key` returns the idempotency key of an order. A form that is sent twice has the same key, so it is one order. The key depends on
// everything that makes the order this user's: nobody gets the answer to the order of another user by sending that user's nonce.
func key(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part)) // of each part, so that no two lists of parts are the same text
		hash.Write(sum[:])
	}
	return "portal-" + hex.EncodeToString(hash.Sum(nil))
}

func isUUID(text string) bool {
	id, err := uuid.Parse(text)
	return err == nil && id.String() == text
}
