package service

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/resources"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/workflows"
)

// The type `provers` holds one Prover per cloud. A Prover asks the services of its cloud for the resources of projects. Each Prover is
// built when it is first used.
type provers struct {
	clouds *cloudClients
	entry  string   // the cloud whose credential is used for the default cloud; empty: the default cloud itself
	ignore []string // service types that are not asked
	now    func() time.Time

	mu    sync.Mutex
	known map[string]*resources.Prover
}

var _ workflows.Resources = (*provers)(nil)

// Empty implements [workflows.Resources].
func (p *provers) Empty(ctx context.Context, cloud, projectID string, disabledAt time.Time) (workflows.Emptiness, error) {
	prover, err := p.of(cloud)
	if err != nil {
		return workflows.Emptiness{}, err
	}
	return emptiness(prover.Empty(ctx, projectID, disabledAt))
}

// Look implements [workflows.Resources].
func (p *provers) Look(ctx context.Context, cloud, projectID string) (workflows.Emptiness, error) {
	prover, err := p.of(cloud)
	if err != nil {
		return workflows.Emptiness{}, err
	}
	return emptiness(prover.Look(ctx, projectID))
}

func emptiness(proof resources.Proof, err error) (workflows.Emptiness, error) {
	state := proof.State()
	return workflows.Emptiness{
		Empty: err == nil && state == resources.Empty, NotEmpty: state == resources.NotEmpty, Reasons: proof.Reasons(),
	}, err
}

// The method `of` returns the Prover of a cloud. After an error, the next call tries again.
func (p *provers) of(cloud string) (*resources.Prover, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.known[cloud]; known != nil {
		return known, nil
	}
	entry := cloud
	if cloud == merchants.DefaultCloud {
		entry = cmp.Or(p.entry, cloud)
	}
	cfg, err := p.clouds.configOf(cloud, entry, "resources")
	if err != nil {
		return nil, err
	}
	prover, err := resources.New(resources.Config{
		Cloud: cfg, Ignore: p.ignore, Now: p.now,
		Transport: gate.Fence(p.clouds.around("resources/"+cloud, conn.NewTransport(cfg.TLS))),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up cloud %q: %w", entry, err)
	}
	if p.known == nil {
		p.known = map[string]*resources.Prover{}
	}
	p.known[cloud] = prover
	return prover, nil
}
