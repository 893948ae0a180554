package e2e

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pilotlight/pilotlight/web"
)

const (
	attackFor = 20 * time.Second
	// What the activator under attack may take. Its bodies are bounded to 64 MiB and
	// its connections to 700; the rest is the program itself and what its collector
	// lets lie.
	attackedMemory = 320 << 20
	// What its Redis may: durable tickets of slow are bounded to 32 MiB, and the
	// cancelled ones of chat are kept for a minute.
	attackedRedis = 96 << 20
)

// TestUnderAttackMemoryIsBoundedAndOrdinaryRequestsAreAnswered runs hostile clients
// of many kinds at once, and asks afterwards whether anything of them has stayed.
func TestUnderAttackMemoryIsBoundedAndOrdinaryRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	hold := "hold {\n    max_requests = 300\n    max_bytes = \"32MiB\"\n    max_body = \"4MiB\"\n    max_wait = \"10m\"\n  }"
	server := startRedis(t)
	args := append(pairs{
		"translate": {policyOf("translate", replicas(1, 1, 8), toZero("never")), stubJob("translate", "--latency", "5ms")},
		"slow":      {policyOf("slow", replicas(0, 1, 8), hold), stubJob("slow", "--load", "1h")},
		"chat":      {policyOf("chat", replicas(1, 1, 4), toZero("never"), hold), stubJob("chat", "--concurrency", "100")},
		"models":    {strings.Replace(policyOf("models", hold), `path_prefixes = ["/models"]`, `models = ["somebody"]`, 1), stubJob("models")},
	}.arguments(t), "--redis", server.URL(), "--fleet", "local")
	others := startServe(t, "scaler,web", args...)
	h := startServe(t, "activator", append(args, "--max-connections", "700", "--max-body-mib", "64")...)
	others.awaitService(t, "translate", "ready", ready(1))
	others.awaitService(t, "chat", "ready", ready(1))
	for i := range 20 { // so that what is made once is there
		if err := h.translate(t.Context(), "/translate", fmt.Sprint(i)).check(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	client.CloseIdleConnections()
	before := h.use(t)

	at := &target{url: h.data, address: strings.TrimPrefix(h.data, "http://")}
	ctx, end := context.WithTimeout(t.Context(), attackFor)
	defer end()
	var attack sync.WaitGroup
	for _, a := range attackers() {
		for range a.many {
			attack.Go(func() {
				for ctx.Err() == nil {
					a.once(ctx, at)
					select {
					case <-ctx.Done():
					case <-time.After(a.again + time.Millisecond):
					}
				}
			})
		}
	}
	var ordinary sync.WaitGroup
	answered := make([]int, 3)
	for i := range answered {
		ordinary.Go(func() {
			for ctx.Err() == nil {
				text := fmt.Sprint(i, " ", answered[i])
				if err := h.translate(t.Context(), "/translate", text).check(text); err != nil {
					t.Errorf("an ordinary request during the attack: %v", err)
					return
				}
				answered[i]++
			}
		})
	}
	most, redisMost, connections := 0, 0, 0
	for ctx.Err() == nil {
		most = max(most, residentBytes(t, h.pid()))
		redisMost = max(redisMost, server.usedMemory(t))
		connections = max(connections, h.number(t, "pilotlight_connections"))
		pause(t, 250*time.Millisecond)
	}
	ordinary.Wait()
	attack.Wait()
	client.CloseIdleConnections()

	t.Logf("memory at most %d MiB, before %d MiB; Redis at most %d MiB; %d ordinary answers; answers to attackers:%s",
		most>>20, before.resident>>20, redisMost>>20, answered[0]+answered[1]+answered[2], at.counted())
	if connections > 700 || connections < 600 {
		t.Errorf("there were %d connections at most, want some that fill the bound of 700", connections)
	}
	if most > attackedMemory {
		t.Errorf("the activator took %d MiB, want at most %d", most>>20, attackedMemory>>20)
	}
	if redisMost > attackedRedis {
		t.Errorf("Redis took %d MiB, want at most %d", redisMost>>20, attackedRedis>>20)
	}
	for i, n := range answered {
		if n < 5 {
			t.Errorf("ordinary client %d had %d answers in %v", i, n, attackFor)
		}
	}
	for _, status := range []int{202, 400, 404, 413, 429, 431} { // else some attack was none
		if at.statuses[status].Load() == 0 {
			t.Errorf("no attacker was answered %d", status)
		}
	}
	await(t, "the activator to be as before the attack", func() error {
		now := h.use(t)
		if now.goroutines > before.goroutines+20 || now.files > before.files+20+10*runtime.NumCPU() { // Redis' pool may have grown
			return fmt.Errorf("%+v, before %+v", now, before)
		}
		return nil
	})
	await(t, "no connection's request to wait any more", func() error { // those with a key do: their clients may come back
		var list []web.RequestInfo
		others.read(t, "/api/v1/requests?limit=1000", &list)
		for _, r := range list {
			if !r.Durable {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	})
	if err := h.translate(t.Context(), "/translate", "after").check("after"); err != nil {
		t.Error(err)
	}
}

// use of a process, as it tells itself.
type use struct{ goroutines, files, resident int }

func (h *house) use(t *testing.T) use {
	t.Helper()
	return use{h.number(t, "go_goroutines"), h.number(t, "process_open_fds"), residentBytes(t, h.pid())}
}

// number is the value of a metric without labels.
func (h *house) number(t *testing.T, name string) int {
	t.Helper()
	v, err := strconv.ParseFloat(h.metric(t, name)[""], 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return int(v)
}

// residentBytes of a process.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("there is no /proc here to read memory from: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("VmRSS in %q: %v", text, err)
	}
	return kib << 10
}

// usedMemory is what the server itself counts.
func (s *redisServer) usedMemory(t *testing.T) int {
	t.Helper()
	text, err := s.Client.Info(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "used_memory:")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// counted are the statuses that attackers were answered with.
func (at *target) counted() string {
	var b strings.Builder
	for status := range at.statuses {
		if n := at.statuses[status].Load(); n > 0 {
			fmt.Fprintf(&b, " %d×%d", n, status)
		}
	}
	return b.String()
}
