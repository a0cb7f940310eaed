package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// The type `posts` has the times and the number of the posts of a pass.
type posts struct {
	p50, p99, max float64 // times of a post, in ms
	spooled       int64
}

// The method `warm` posts some samples, so that `tenantry serve` connects and fills its caches before the measurement.
func (w *meteredWorld) warm(ctx context.Context) error {
	_, err := w.postAll(ctx, samplesToWarm)
	return err
}

// postAll posts the next samples, and waits until the usage of all hours is computed.
func (w *meteredWorld) postAll(ctx context.Context, samples int) (p posts, err error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: posters}}
	defer client.CloseIdleConnections()
	var next, spooled atomic.Int64
	next.Store(int64(w.posted))
	w.posted += samples
	times := make([][]time.Duration, posters)
	lanes, working := errgroup.WithContext(ctx)
	for lane := range posters {
		lanes.Go(func() error {
			var body []byte
			for {
				from := int(next.Add(samplesOfPost)) - samplesOfPost
				if from >= w.posted {
					return nil
				}
				body = w.post(body[:0], from)
				sent := time.Now()
				waits, err := w.send(working, client, body)
				if err != nil {
					return err
				}
				times[lane] = append(times[lane], time.Since(sent))
				if waits {
					spooled.Add(1)
				}
			}
		})
	}
	if err := lanes.Wait(); err != nil {
		return p, err
	}
	all := slices.Sorted(slices.Values(slices.Concat(times...)))
	at := func(share float64) float64 { return all[int(share*float64(len(all)-1))].Seconds() * 1000 }
	p = posts{at(0.5), at(0.99), at(1), spooled.Load()}
	return p, w.awaitUsage(ctx, p.spooled > 0)
}

// The method `send` sends a post. The result `waits` reports whether the post waits in the spool.
func (w *meteredWorld) send(ctx context.Context, client *http.Client, body []byte) (waits bool, err error) {
	url := w.v.url + "/v1/usage/ceilometer?batch=True"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body)) //nolint:gosec // the address is the benchmark's own
	if err != nil {
		return false, err
	}
	req.SetBasicAuth(w.key, w.secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req) //nolint:gosec // the address is the benchmark's own
	if err != nil {
		return false, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return false, err
	}
	var receipt struct {
		Samples int
		Spooled bool
	}
	if err := json.Unmarshal(answer, &receipt); err != nil || resp.StatusCode != http.StatusAccepted || receipt.Samples != samplesOfPost {
		return false, fmt.Errorf("the service answered %s: %s", resp.Status, answer)
	}
	return receipt.Spooled, nil
}

// awaitUsage waits until no post waits in the spool, and the usage of all hours is computed.
func (w *meteredWorld) awaitUsage(ctx context.Context, spooled bool) error {
	for {
		if spooled {
			count, err := w.count(ctx)
			if err != nil {
				return err
			}
			spooled = count < w.posted
		}
		var over bool
		err := w.conn.QueryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM usage_due) AND NOT EXISTS (SELECT 1 FROM usage_again)
			AND NOT EXISTS (SELECT 1 FROM usage_taken)`).Scan(&over)
		if over && !spooled || err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// floorTable is the name of the table into which the floor stores samples.
const floorTable = "floor_samples"

// newFloor creates the table of the floor, and connects.
func (w *meteredWorld) newFloor(ctx context.Context) error {
	if _, err := w.conn.Exec(ctx, "CREATE TABLE "+floorTable+" (LIKE samples INCLUDING ALL)"); err != nil {
		return err
	}
	for range posters {
		lane, err := pgx.Connect(ctx, w.Database)
		if err != nil {
			return err
		}
		w.lanes = append(w.lanes, lane)
	}
	return nil
}

// floorRows returns the rows that the floor stores. The measurement does not include the time to make them.
func (w *meteredWorld) floorRows() [][]any {
	rows := make([][]any, samplesOfPass)
	for i := range rows {
		rows[i] = w.sampleRow(w.posted + i)
	}
	return rows
}

// The method `floor` stores as many samples as a pass, with one COPY for the samples of a post. The table has the columns and the indexes of the
// table samples. At the end, one statement adds up the volumes of each series and hour. A program that stores each post before it answers, and
// adds up the samples later, cannot be much cheaper.
func (w *meteredWorld) floor(ctx context.Context, rows [][]any) error {
	var next atomic.Int64
	lanes, working := errgroup.WithContext(ctx)
	for _, lane := range w.lanes {
		lanes.Go(func() error {
			for {
				to := int(next.Add(samplesOfPost))
				if to > len(rows) {
					return nil
				}
				_, err := lane.CopyFrom(working, pgx.Identifier{floorTable}, columnsOfSamples, pgx.CopyFromRows(rows[to-samplesOfPost:to]))
				if err != nil {
					return err
				}
			}
		})
	}
	if err := lanes.Wait(); err != nil {
		return err
	}
	_, err := w.conn.Exec(ctx, "CREATE TEMPORARY TABLE sums ON COMMIT DROP AS SELECT series_id, at / 3600000000 AS hour, sum(volume::numeric) FROM "+
		floorTable+" GROUP BY 1, 2")
	return err
}
