package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pilotlight/pilotlight/internal/freeport"
	"github.com/pilotlight/pilotlight/internal/redisdb"
)

// process is a redis-server (or sentinel) on a port of its own.
type process struct {
	t    *testing.T
	port int
	dir  string
	args []string
	cmd  *exec.Cmd
}

func newProcess(t *testing.T, args ...string) *process {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed")
	}
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return &process{t: t, port: port, dir: t.TempDir(), args: args}
}

func (p *process) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

func (p *process) start() {
	p.t.Helper()
	args := append([]string{"--port", strconv.Itoa(p.port), "--bind", "127.0.0.1", "--dir", p.dir, "--save", "", "--daemonize", "no"}, p.args...)
	p.cmd = exec.Command("redis-server", args...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.cmd
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := p.client()
	until(p.t, func() bool { return c.Ping(p.t.Context()).Err() == nil })
}

// kill as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) client() redis.UniversalClient { return open(p.t, "redis://"+p.addr()) }

func open(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	c, err := redisdb.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// busyThenRestarted has a hold both slots of the only replica, lets Redis come
// back by restart, and sees that nobody else is given one while they are in use.
func busyThenRestarted(t *testing.T, p *process, restart func()) {
	t.Helper()
	r := realRedis{t, func() redis.UniversalClient { return open(t, "redis://"+p.addr()) }}
	short := func(c *Config) { c.Lease, c.Heartbeat = 2*time.Second, 200*time.Millisecond }
	a, b := r.activator(t, "a", short), r.activator(t, "b", short)
	ledger := NewLedger(r.client(), nil)
	ledger.cfg.Lease = 2 * time.Second
	ctx := t.Context()
	if err := ledger.Offer(ctx, "translate", 1, offersOf(1)); err != nil {
		t.Fatal(err)
	}
	var slots []*Slot
	for i := range 2 {
		slot, _, err := a.Hold(ctx, ticket(fmt.Sprint("t", i)), roomy)
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, slot)
	}
	restart()
	got := make(chan error, 1)
	go func() { // b has seen nothing of what was lost
		slot, _, err := b.Hold(ctx, ticket("t9"), roomy)
		if err == nil {
			defer slot.Release()
		}
		got <- err
	}()
	end := time.Now().Add(6 * time.Second)
	for time.Now().Before(end) {
		_ = ledger.Offer(ctx, "translate", 1, offersOf(1))
		select {
		case err := <-got:
			t.Fatalf("a third request got one of two slots, both in use (%v)", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, s := range slots {
		s.Release()
	}
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it was given no slot after both were free")
	}
}

func TestARealRedisThatComesBackEmptyGivesNoSlotTwice(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.start()
	busyThenRestarted(t, p, func() { p.kill(); p.start() })
}

func TestARealRedisThatComesBackWithAnOlderFileGivesNoSlotTwice(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no")
	p.start()
	// The file as it is when the replicas are offered and nobody has a slot.
	if err := NewLedger(p.client(), nil).Offer(t.Context(), "translate", 1, offersOf(1)); err != nil {
		t.Fatal(err)
	}
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
	busyThenRestarted(t, p, func() {
		p.kill()
		p.dir = old
		p.start()
	})
}

func TestARealRedisClusterServesTheWholeProtocol(t *testing.T) {
	t.Parallel()
	var nodes []*process
	var buses []int // where they talk to each other
	for range 3 {
		bus, err := freeport.Take()
		if err != nil {
			t.Fatal(err)
		}
		buses = append(buses, bus)
		p := newProcess(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-require-full-coverage", "no")
		p.start()
		nodes = append(nodes, p)
	}
	ctx := t.Context()
	for i, p := range nodes {
		c := p.client()
		if err := c.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", i*5461, min((i+1)*5461-1, 16383)+i/2).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := c.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0]).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range nodes {
		c := p.client()
		until(t, func() bool {
			info, err := c.ClusterInfo(ctx).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") &&
				strings.Contains(info, "cluster_slots_assigned:16384")
		})
	}
	r := realRedis{t, func() redis.UniversalClient {
		return open(t, "redis+cluster://"+nodes[0].addr()+","+nodes[1].addr())
	}}
	serves(t, r, []string{"translate", "chat", "recognize", "embed"}) // on more than one node
}

// serves runs every script of the protocol over a Redis, for several services.
func serves(t *testing.T, r realRedis, services []string) {
	t.Helper()
	ctx := t.Context()
	a := r.activator(t, "a", answering)
	b := r.activator(t, "b", answering)
	ledger := NewLedger(r.client(), nil)
	for _, name := range services {
		tk := ticket("t1")
		tk.Service = name
		slot := make(chan *Slot, 1)
		go func() {
			s, _, err := a.Hold(ctx, tk, roomy)
			if err != nil {
				t.Error(err)
			}
			slot <- s
		}()
		until(t, func() bool { d, err := ledger.Demand(ctx, name); return err == nil && d.Held == 1 })
		if err := ledger.Offer(ctx, name, 1, offersOf(1)); err != nil {
			t.Fatal(err)
		}
		(<-slot).Release()
		req := keyed("1", "k")
		req.Service, req.ID = name, NewID(name)
		e, err := b.Submit(ctx, req, roomy)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := a.Answer(ctx, e.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(answer); string(got) != "answer to body" || err != nil {
			t.Errorf("%s: answer %q, %v", name, got, err)
		}
		_ = answer.Close()
		if e, err := a.Cancel(ctx, e.ID); err != nil || e.State != StateSucceeded {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		if _, mark, err := ledger.Quarantined(ctx, name); err != nil || mark == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASentinelFailoverKeepsWhatWasReplicated(t *testing.T) {
	t.Parallel()
	primary, replica := primaryAndReplica(t)
	config := fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 1\nsentinel down-after-milliseconds main 500\n"+
		"sentinel failover-timeout main 3000\n", primary.port)
	sentinel := newProcess(t)
	file := sentinel.dir + "/sentinel.conf"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel.cmd = exec.Command("redis-server", file, "--sentinel", "--port", strconv.Itoa(sentinel.port), "--bind", "127.0.0.1", "--dir", sentinel.dir)
	if err := sentinel.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sentinel.kill)
	ctx := t.Context()
	up := replica.client()
	watch := sentinel.client()
	until(t, func() bool {
		n, err := watch.Do(ctx, "SENTINEL", "REPLICAS", "main").Slice()
		return err == nil && len(n) == 1
	})
	r := realRedis{t, func() redis.UniversalClient { return open(t, "redis+sentinel://"+sentinel.addr()+"/main") }}
	a, b := r.activator(t, "a", answering, func(c *Config) { c.WaitReplicas = 1 }), r.activator(t, "b", answering)
	ledger := NewLedger(r.client(), nil)
	e := untilAccepted(t, a, keyed("1", "k"))
	if n, err := up.Exists(ctx, prefix("translate")+"ticket:"+e.ID).Result(); err != nil || n != 1 {
		t.Fatalf("accepted, but the replica has %d of it, %v", n, err)
	}
	primary.kill()
	until(t, func() bool { return ledger.Offer(ctx, "translate", 1, offersOf(1)) == nil })
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	answer, err := b.Answer(wait, e.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(answer); string(got) != "answer to body" || err != nil {
		t.Errorf("answer %q, %v", got, err)
	}
}

// primaryAndReplica are connected when it returns.
func primaryAndReplica(t *testing.T) (primary, replica *process) {
	t.Helper()
	primary = newProcess(t)
	primary.start()
	replica = newProcess(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(primary.port))
	replica.start()
	up := replica.client()
	until(t, func() bool {
		info, err := up.Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	return primary, replica
}

// untilAccepted submits a request as its caller would: again, as long as too few
// replicas of Redis are quick enough.
func untilAccepted(t *testing.T, q *Queue, r *Request) (e Entry) {
	t.Helper()
	until(t, func() bool {
		var err error
		e, err = q.Submit(t.Context(), r, roomy)
		if err != nil && !errors.Is(err, ErrStoreUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	return e
}

func TestARequestThatTooFewReplicasOfRedisHaveIsNotAccepted(t *testing.T) {
	t.Parallel()
	primary, replica := primaryAndReplica(t)
	r := realRedis{t, func() redis.UniversalClient { return open(t, "redis://"+primary.addr()) }}
	one := r.activator(t, "one", answering, func(c *Config) { c.WaitReplicas = 1 })
	two := r.activator(t, "two", answering, func(c *Config) { c.WaitReplicas = 2 })
	ctx := t.Context()
	refused := func(q *Queue, req *Request, got, wanted int) {
		t.Helper()
		_, err := q.Submit(ctx, req, roomy)
		var few *ReplicasError
		if !errors.As(err, &few) || few.Got > got || few.Wanted != wanted || !errors.Is(err, ErrStoreUnavailable) {
			t.Errorf("err = %v, want one that says at most %d of %d", err, got, wanted)
		}
	}
	refused(two, async("2"), 1, 2)
	if err := replica.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // it stays connected
		t.Fatal(err)
	}
	defer func() { _ = replica.cmd.Process.Signal(syscall.SIGCONT) }()
	refused(one, async("1"), 0, 1)
	refused(one, keyed("3", "k"), 0, 1)
	refused(one, keyed("4", "k"), 0, 1) // nor is it by joining what was not
	if err := replica.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2"} { // nobody will ever fetch their answers
		if e, err := one.Find(ctx, async(id).ID); err != nil || e.State != StateCancelled {
			t.Errorf("request %s, which was refused, is %s, %v", id, e.State, err)
		}
	}
	e := untilAccepted(t, one, keyed("5", "k"))
	if !e.Joined {
		t.Fatalf("repeated with its key it is %+v", e)
	}
	if n, err := replica.client().Exists(ctx, prefix("translate")+"ticket:"+e.ID).Result(); err != nil || n != 1 {
		t.Errorf("accepted, but the replica has %d of it, %v", n, err)
	}
}
