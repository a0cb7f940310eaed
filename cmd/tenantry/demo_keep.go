package main

// keepHelp prints curl commands that call the running demo.
func (t *story) keepHelp() {
	t.line(`
The demo runs until you press ^C. In a browser:

  the merchant's portal, where visitors register and subscribe
    %s/portal/%s/
  the console: user "admin", password "demo", or the API key below
    %s/console
  the documentation of the API
    %s/docs

In another shell:

  export API=%s KEYSTONE=%s
  export BILLING=%s
  export MERCHANT=%s
  export PLAN=%s
  export API_KEY=%s
  export API_SECRET=%s

  # a user's unscoped token, as a portal gets it (the demo's passwords are "demo")
  login() { curl -si "$KEYSTONE/auth/tokens" -H 'Content-Type: application/json' \
    -d '{"auth": {"scope": '"$2"', "identity": {"methods": ["password"],
      "password": {"user": {"name": "'"$1"'", "domain": {"id": "default"},
      "password": "demo"}}}}}' | tr -d '\r' |
    awk 'tolower($1) == "x-subject-token:" {print $2}'; }
  TOKEN=$(login ann '"unscoped"')

  # the portal: subscribe, and list the subscriptions
  curl -i "$API/v1/merchants/$MERCHANT/subscriptions" \
    -u "$API_KEY:$API_SECRET" -H "X-Subject-Token: $TOKEN" \
    -H "Idempotency-Key: $RANDOM$RANDOM$RANDOM" \
    -H 'Content-Type: application/json' -d '{"plan_id": "'"$PLAN"'",
      "customer": {"name": "Ann again", "currency": "eur", "language": "eng"}}'
  curl -s -u "$API_KEY:$API_SECRET" "$API/v1/merchants/$MERCHANT/subscriptions"

  # an operator: list the runs, and show the events of one run
  ADMIN=$(login admin '{"project": {"name": "admin", "domain": {"id": "default"}}}')
  curl -s -H "X-Auth-Token: $ADMIN" "$API/v1/runs?limit=5"
  curl -s -H "X-Auth-Token: $ADMIN" "$API/v1/runs/%s/events"

  # a Keystone admin: list the tenants; then BillingStack's subscriptions
  curl -s -H "X-Auth-Token: $ADMIN" "$KEYSTONE/projects?tags=tenantry"
  curl -s "$BILLING/merchants/$MERCHANT/subscriptions"`,
		t.URL, t.merchant.ID, t.URL, t.URL, t.URL, t.keystoneURL, t.BillingURL, t.merchant.ID, t.plans[0].ID, t.apiKey, t.apiSecret, t.firstRun)
}
