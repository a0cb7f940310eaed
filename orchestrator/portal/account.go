package portal

import (
	"net/http"
	"net/url"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `account` is the content of the pages on which visitors register and log in.
type account struct {
	Name, Email string
	Plan        string // the id of the plan that the visitor has chosen before; may be empty
	Nonce       string
	Again       bool              // the registration has begun, and needs the password again
	Registered  bool              // the account was created a moment ago
	Ended       bool              // the session has ended
	Fault       string            // why the registration or the login has failed
	Fields      map[string]string // the faults of fields
}

var titles = map[string]string{"register": "Create an account", "login": "Log in"}

// planOf returns the parameter with the plan that the visitor has chosen before.
func planOf(from url.Values) url.Values {
	if plan := from.Get("plan"); isUUID(plan) {
		return url.Values{"plan": {plan}}
	}
	return nil
}

func (p *portal) registerPage(w http.ResponseWriter, r *http.Request) error {
	return p.show(w, r, http.StatusOK, "register", titles["register"], account{Plan: planOf(r.URL.Query()).Get("plan"), Nonce: newNonce()})
}

// The method `register` creates a user and logs the user in. The name and the e-mail address are part of the idempotency key, so a visitor who
// changes the name or the address registers anew. The API needs the password again if it has not answered with 201 or 409: see the operation
// registerUser.
func (p *portal) register(w http.ResponseWriter, r *http.Request) error {
	nonce, err := nonceOf(r)
	if err != nil {
		return err
	}
	form := account{Name: r.PostFormValue("name"), Email: r.PostFormValue("email"), Plan: planOf(r.PostForm).Get("plan"), Nonce: nonce}
	password := r.PostFormValue("password")
	if password != r.PostFormValue("repeated") {
		form.Fields = map[string]string{"repeated": "The two passwords differ."}
		return p.show(w, r, http.StatusBadRequest, "register", titles["register"], form)
	}
	order := client.RegisterRequest{Name: form.Name, Password: password}
	if form.Email != "" {
		order.Email = &form.Email
	}
	run, _, err := read[client.Run](p.api.RegisterUser(r.Context(), p.Merchant, &client.RegisterUserParams{
		IdempotencyKey: key("register", form.Name, form.Email, nonce), XVisitorAddress: visitorAddress(r),
	}, order))
	switch {
	case err != nil:
		return p.refuseAccount(w, r, "register", form, err)
	case run.State == client.RunStateSucceeded:
		form.Registered = true
		return p.enter(w, r, form, password)
	}
	form.Again = true
	return p.show(w, r, http.StatusAccepted, "register", titles["register"], form)
}

func (p *portal) logInPage(w http.ResponseWriter, r *http.Request) error {
	return p.show(w, r, http.StatusOK, "login", titles["login"],
		account{Plan: planOf(r.URL.Query()).Get("plan"), Ended: r.URL.Query().Has("ended")})
}

func (p *portal) logIn(w http.ResponseWriter, r *http.Request) error {
	if err := parse(r); err != nil {
		return err
	}
	form := account{Name: r.PostFormValue("name"), Plan: planOf(r.PostForm).Get("plan")}
	return p.enter(w, r, form, r.PostFormValue("password"))
}

// The method `enter` logs a user in, and continues with the plan that the user has chosen before.
func (p *portal) enter(w http.ResponseWriter, r *http.Request, form account, password string) error {
	login, header, err := read[client.Login](p.api.LogIn(r.Context(), p.Merchant, &client.LogInParams{XVisitorAddress: visitorAddress(r)},
		client.LoginRequest{Name: form.Name, Password: password}))
	if err != nil {
		return p.refuseAccount(w, r, "login", form, err)
	}
	u := user{Merchant: p.Merchant, ID: login.UserID, Name: login.UserName, Token: header.Get("X-Subject-Token")}
	if err := p.begin(r, u, login.ExpiresAt); err != nil {
		return err
	}
	to := p.home + "subscriptions"
	switch {
	case form.Plan != "":
		to = p.home + "order?" + url.Values{"plan": {form.Plan}}.Encode()
	case form.Registered:
		to = p.home
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// refuseAccount shows the form again, with the reason of the refusal. If the API may still accept this registration, the next attempt repeats it.
// Otherwise, the next attempt is a new registration.
func (p *portal) refuseAccount(w http.ResponseWriter, r *http.Request, page string, form account, err error) error {
	refused, ok := asRefusal(err)
	if !ok {
		return err
	}
	if !refused.Retryable && page == "register" {
		form.Nonce = newNonce()
	}
	if form.Fault, form.Fields = refused.words(), refused.fields(); page == "register" {
		form.Fault = refused.wordsForForm()
	}
	p.note(r, refused)
	refused.setHeaders(w)
	return p.show(w, r, refused.shownStatus(), page, titles[page], form)
}
