# Requires Go. `make test` also requires Debian's PostgreSQL, PgBouncer, Keystone, Glance, Chromium, curl, Node.js and npm. As
# root, deploy/testservices/run installs these packages.

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOTESTSUM     := go run gotest.tools/gotestsum@v1.13.0
VERSION       := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help build install uninstall demo test screens console readme-test process sim crash-matrix chaos audit soak steady lint vuln generate check-generated bench bench-scale bench-audit bench-usage clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: ## build bin/tenantry
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/tenantry ./cmd/tenantry

# The variables of the GNU coding standards: `make install PREFIX=/usr DESTDIR=/tmp/package`. The default of sysconfdir is /etc, with
# any PREFIX.
PREFIX      ?= /usr/local
bindir      ?= $(PREFIX)/bin
docdir      ?= $(PREFIX)/share/doc/tenantry
unitdir     ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
sysconfdir  ?= /etc
INSTALL     ?= install
INSTALLED   := sed -e 's|/usr/local/bin|$(bindir)|g' -e 's|/usr/local/share/doc/tenantry|$(docdir)|g' -e 's|/etc/tenantry|$(sysconfdir)/tenantry|g'

# Installs the binary of an earlier `make build`, so that `sudo make install` needs no Go and creates no files here as root.
bin/tenantry:
	$(MAKE) build

install: bin/tenantry ## install the binary, the systemd unit, the documents, and samples of the configuration: PREFIX=/usr/local, DESTDIR; keeps an existing configuration
	$(INSTALL) -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(unitdir)' '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(docdir)/docs' '$(DESTDIR)$(sysconfdir)/tenantry'
	$(INSTALL) -m 0755 bin/tenantry '$(DESTDIR)$(bindir)/tenantry'
	$(INSTALLED) deploy/systemd/tenantry.service | $(INSTALL) -m 0644 /dev/stdin '$(DESTDIR)$(unitdir)/tenantry.service'
	$(INSTALL) -m 0644 deploy/systemd/tenantry.sysusers '$(DESTDIR)$(sysusersdir)/tenantry.conf'
	$(INSTALL) -m 0644 LICENSE README.md CHANGELOG.md deploy/config/tenantry.yaml '$(DESTDIR)$(docdir)'
	$(INSTALL) -m 0644 docs/*.md '$(DESTDIR)$(docdir)/docs'
	[ -e '$(DESTDIR)$(sysconfdir)/tenantry/tenantry.yaml' ] || $(INSTALL) -m 0644 deploy/config/tenantry.yaml '$(DESTDIR)$(sysconfdir)/tenantry/tenantry.yaml'
	[ -e '$(DESTDIR)$(sysconfdir)/tenantry/tenantry.env' ] || $(INSTALLED) deploy/config/tenantry.env | $(INSTALL) -m 0600 /dev/stdin '$(DESTDIR)$(sysconfdir)/tenantry/tenantry.env'

uninstall: ## remove what `make install` has installed, with the same variables; keeps the configuration and the data
	rm -f '$(DESTDIR)$(bindir)/tenantry' '$(DESTDIR)$(unitdir)/tenantry.service' '$(DESTDIR)$(sysusersdir)/tenantry.conf'
	rm -rf '$(DESTDIR)$(docdir)'

demo: build ## show a subscription and a compensation, with everything in one process; KEEP=1 keeps it running
	bin/tenantry demo $(if $(KEEP),--keep)

# Most packages wait for much of their time, so one package more than there are cores is tested at once.
PACKAGES = $(shell expr $$(nproc) + 1)

test: ## run all tests, with a real PostgreSQL, PgBouncer, Keystone, Glance and Chromium
	@mkdir -p bin
	@deploy/testservices/run -- $(GOTESTSUM) --format pkgname --format-hide-empty-pkg --jsonfile bin/test.json -- -p $(PACKAGES) -timeout 30m ./...
	@deploy/testservices/count-real bin/test.json

screens: ## write pictures of all web pages to bin/screens, wide and narrow, light and dark; `make test` looks at the same pages, but writes no pictures
	TENANTRY_TEST_SCREENS=$(CURDIR)/bin/screens deploy/testservices/run -- \
		go test -count=1 -p 1 -timeout 30m -run Chromium ./orchestrator/console ./orchestrator/portal

RUNS := 500

console: ## use the console as an operator and as a merchant, with a real Chromium, Keystone and PostgreSQL, and RUNS runs; `make test` does the same with 16 runs
	TENANTRY_TEST_CONSOLE=$(RUNS) deploy/testservices/run -- \
		go test -count=1 -v -timeout 20m -run '^TestPeopleUseTheConsoleOnRealParts$$' ./cmd/tenantry/stories

readme-test: ## run the commands of the README on a real Keystone, as `make test` does too
	go test -count=1 -v ./deploy/readmetest

process: ## carry out each line of BillingStack's subscriptions.rst with curl, and write docs/process.md; `make test` does the same, but does not write the file
	TENANTRY_TEST_PROCESS=$(CURDIR)/docs/process.md deploy/testservices/run -- \
		go test -count=1 -timeout 5m -run '^TestTheProcess$$' ./cmd/tenantry/stories

SEEDS := 0-100000

sim: ## run the service in simulated time, in one simulated world per seed: SEEDS=FROM-TO; continues after an interruption
	workflows/simulation/run $(SEEDS)

crash-matrix: ## kill a replica at each point of each step of a run, and write docs/crash-matrix.md; `make test` does the same, but does not write the file
	@mkdir -p docs
	TENANTRY_TEST_CRASH_MATRIX=$(CURDIR)/docs/crash-matrix.md deploy/testservices/run -- \
		go test -count=1 -timeout 10m -run '^TestKilledAtEveryInstant$$' ./cmd/tenantry/stories

SUBSCRIBES := 1000

chaos: ## subscribe 1,000 users while PostgreSQL, Keystone and the replicas are stopped and killed: SUBSCRIBES=N; needs root
	TENANTRY_TEST_CHAOS=$(SUBSCRIBES) deploy/testservices/run -- unshare --mount \
		go test -count=1 -v -timeout 60m -run '^TestChaos$$' ./cmd/tenantry/stories

MORE := 200

audit: ## damage subscriptions in each known way, with a real Keystone and PostgreSQL, and audit while MORE subscriptions are made and ended; takes about 10 minutes
	TENANTRY_TEST_AUDIT=$(MORE) deploy/testservices/run -- \
		go test -count=1 -v -timeout 60m -run '^TestAnAuditFindsAndRepairsEachDamageOnRealParts$$' ./cmd/tenantry/stories

SOAK := 10m

soak: ## let one of four merchants attack a replica while all four place orders: SOAK=DURATION; `make test` does the same for some seconds
	TENANTRY_TEST_SOAK=$(SOAK) deploy/testservices/run -- \
		go test -count=1 -timeout 60m -v -run '^TestOneMerchantDoesNotHurtTheOthers$$' ./cmd/tenantry/stories

steady: ## repeat tests while the cores are busy, to find tests that fail at random; takes hours, and continues after an interruption
	deploy/testservices/run -- deploy/testservices/steady

lint: ## run the linters, including the import rules
	$(GOLANGCI_LINT) run ./...
	cd deploy/containertools && $(GOLANGCI_LINT) run --config ../../.golangci.yaml ./...

# Takes about 20 s on two cores. The first run takes about 40 s, and stores 100 MB of downloads, including the database.
vuln: ## look for known vulnerabilities in called code with govulncheck; .ci/vuln-exceptions lists the accepted vulnerabilities
	.ci/vuln

generate: ## write the generated code (*.gen.go), docs/configuration.md, docs/codes.md and deploy/config/tenantry.yaml
	go generate ./...

GENERATED := git ls-files --cached --others --exclude-standard '*.gen.go' docs/configuration.md docs/codes.md deploy/config/tenantry.yaml | sort | xargs -r sha256sum

check-generated: ## fail if a generated file differs from the output of `make generate`
	@before=$$($(GENERATED)) && $(MAKE) --no-print-directory generate && [ "$$before" = "$$($(GENERATED))" ] || \
		{ echo 'generated files are stale: run `make generate`, and commit the changed files' >&2; exit 1; }

# deploy/testservices/run prefers a file system in memory. The benchmarks need a disk, because a commit must wait for a disk.
ON_DISK := TMPDIR=$${TMPDIR:-/var/tmp}

bench: build ## measure the cost of a subscribe, and compare it with the cost of its bare calls; writes bench/ and docs/benchmarks.md
	go build -o bin/bench ./cmd/bench
	$(ON_DISK) deploy/testservices/run -- bin/bench

bench-scale: ## measure whether 1,000,000 finished runs slow the service down; needs up to 15 minutes and 20 GB, less with SIZES=1000,100000; writes bench/ and docs/benchmarks.md
	go build -o bin/bench ./cmd/bench
	$(ON_DISK) deploy/testservices/run -- bin/bench $(if $(SIZES),-sizes $(SIZES)) scale

bench-audit: build ## measure the cost of an audit, and compare it with the cost of bare reads of the same lists; takes about 5 minutes, less with SIZES=500,1000; writes bench/ and docs/benchmarks.md
	go build -o bin/bench ./cmd/bench
	$(ON_DISK) deploy/testservices/run -- bin/bench $(if $(SIZES),-sizes $(SIZES)) audit

bench-usage: build ## measure the cost of Ceilometer's samples, also with 10,000,000 stored samples; takes about 6 minutes and needs 10 GB, less with SIZES=0,100000; writes bench/ and docs/benchmarks.md
	go build -o bin/bench ./cmd/bench
	$(ON_DISK) deploy/testservices/run -- bin/bench $(if $(SIZES),-sizes $(SIZES)) usage

clean: ## remove bin/
	rm -rf bin
