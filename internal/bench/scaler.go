package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"
)

// The loads of the scaler benchmark.
const (
	idleRounds = 3
	idleRound  = 5 * time.Second
	wakesEach  = 100
)

// idleServices are how many are at rest; the design speaks of the last number.
var idleServices = []int{100, 1000, 10000}

const scalerMethod = `a process with one scaler, a redis-server beside it and a fleet that answers at once, over 100, 1,000 and
10,000 services at zero without demand: its CPU (user and system, getrusage) as a share of one core, and the commands
that it sends to Redis and the calls to the fleet, 3 rounds of 5 s each; its heap and stacks after a collection; then
100 of the services are woken one after another by a held request each, from the moment it is held, each after a PING
that is its yardstick. And decisions alone, on one processor: 10,000 services with full windows (four replicas, three
activators' latencies, every threshold named) and at rest, a virtual second after another.`

// Scaler measures what services at rest cost, how fast one of them is woken among
// the others, and what decisions cost. It takes about a minute and a half.
func Scaler(ctx context.Context, cfg Config) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	result := Result{Name: "scaler", Method: oneLine(scalerMethod)}
	if _, err := exec.LookPath("redis-server"); err != nil {
		result.Skipped = "no redis-server on PATH"
		return result, nil
	}
	var rests []restFigures
	for _, n := range idleServices {
		if cfg.Progress != nil {
			_, _ = fmt.Fprintf(cfg.Progress, "scaler: %d services\n", n)
		}
		r, err := atRestOf(ctx, cfg, n)
		if err != nil {
			return Result{}, fmt.Errorf("scaler of %d services: %w", n, err)
		}
		rests = append(rests, r)
		last := n == idleServices[len(idleServices)-1]
		result.Figures = append(result.Figures, r.figures(n, last)...)
	}
	few, many := rests[0], rests[len(rests)-1]
	least, most := idleServices[0], idleServices[len(idleServices)-1]
	of := func(what string) string { return fmt.Sprintf("%s, %d services to %d", what, most, least) }
	result.Ratios = append(result.Ratios,
		ratioOfMedians(of("Redis commands at rest"), many.redis, few.redis, 0),
		ratioOfMedians(of("CPU at rest"), many.cpu, few.cpu, 0),
		ratioOfMedians(of("hold to decision"), many.woken.Decided, few.woken.Decided, 0),
		ratioOfMedians("hold to decision among the most, to a round trip to Redis", many.woken.Decided, many.woken.Redis, 0),
	)
	each := float64(many.memory-few.memory) / float64(most-least) / 1024
	memory := figureOf("memory of one more service at rest", "KiB", []float64{each})
	memory.Aim = "below 64"
	result.Figures = append(result.Figures, memory)
	if cfg.Progress != nil {
		_, _ = fmt.Fprintln(cfg.Progress, "scaler: decisions")
	}
	ratios, figures, err := evaluations(ctx, cfg)
	if err != nil {
		return Result{}, fmt.Errorf("decisions: %w", err)
	}
	result.Ratios, result.Figures = append(result.Ratios, ratios...), append(result.Figures, figures...)
	return result, nil
}

// restFigures is what a number of services cost at rest.
type restFigures struct {
	took              float64   // to take them over, ms
	cpu, redis, fleet []float64 // of each round: percent of a core, commands and calls per second
	memory            int64     // bytes
	woken             woken
}

func (r restFigures) figures(n int, aims bool) []Figure {
	of := func(what string) string { return fmt.Sprintf("%d services, %s", n, what) }
	list := []Figure{
		figureOf(of("taken over"), "ms", []float64{r.took}),
		figureOf(of("at rest, CPU (rounds)"), "% of a core", r.cpu),
		figureOf(of("at rest, Redis commands (rounds)"), "1/s", r.redis),
		figureOf(of("at rest, fleet calls (rounds)"), "1/s", r.fleet),
		figureOf(of("hold to decision"), "ms", r.woken.Decided),
		figureOf(of("hold to scale call"), "ms", r.woken.Called),
		figureOf(of("a PING to Redis"), "ms", r.woken.Redis),
	}
	if aims {
		list[1].Aim, list[2].Aim, list[3].Aim = "below 2", "as with fewer services", "as with fewer services"
		list[4].Aim, list[5].Aim = "p50 < 1", "p99 < 5"
	}
	return list
}

// atRestOf measures one number of services.
func atRestOf(ctx context.Context, cfg Config, n int) (r restFigures, err error) {
	c, err := startChild(ctx, cfg.Binary, nil, "bench", "part", PartScaler, "--services", strconv.Itoa(n))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.told(ctx, "leading", &r.took); err != nil {
		return r, err
	}
	var last idleUsage
	for round := range idleRounds + 1 {
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(idleRound):
		}
		var now idleUsage
		if err := c.ask(ctx, askUsage, &now); err != nil {
			return r, err
		}
		if round > 0 { // what follows from taking over is not rest
			seconds := now.At.Sub(last.At).Seconds()
			r.cpu = append(r.cpu, 100*(now.CPU-last.CPU).Seconds()/seconds)
			r.redis = append(r.redis, float64(now.Redis-last.Redis)/seconds)
			r.fleet = append(r.fleet, float64(now.Fleet-last.Fleet)/seconds)
		}
		last = now
	}
	if err := c.ask(ctx, askMemory, &r.memory); err != nil {
		return r, err
	}
	return r, c.ask(ctx, askWakes, &r.woken)
}

// told waits for a line that begins with a word, and decodes the rest.
func (c *child) told(ctx context.Context, word string, v any) error {
	text, err := c.field(ctx, word)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), v)
}

// ask says a word to the child and waits for its answer.
func (c *child) ask(ctx context.Context, word string, v any) error {
	if _, err := io.WriteString(c.in, word+"\n"); err != nil {
		return err
	}
	return c.told(ctx, word, v)
}
