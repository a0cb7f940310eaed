package usage

import (
	"context"
	"time"
)

// CloudState describes the samples of a cloud, and the usage that is computed from them.
type CloudState struct {
	Cloud    string
	Received time.Time // when samples of the cloud were last received: see Store.Received; zero: never
	// Oldest is the beginning of the oldest hour that has samples which are not part of the usage yet. An hour whose usage is being computed
	// counts, too. If there is no such hour, Oldest is zero.
	Oldest time.Time
}

// Watch shows the clouds that send samples.
type Watch interface {
	// Clouds reads at most `limit` clouds, sorted by name. Each of these clouds has sent samples, or has a meter key that is not revoked.
	Clouds(ctx context.Context, limit int) ([]CloudState, error)
}
