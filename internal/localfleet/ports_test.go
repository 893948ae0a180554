package localfleet

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/pilotlight/pilotlight/jobs"
)

// freeRange finds n neighbouring ports that are free now, somewhere from 18000 to
// 19999: another run of these tests should not look there.
func freeRange(t *testing.T, n int) (low int) {
	t.Helper()
search:
	for range 1000 {
		low = 18000 + rand.IntN(2000-n)
		for port := low; port < low+n; port++ {
			if !bindable(port) {
				continue search
			}
		}
		return low
	}
	t.Fatal("no free range")
	return 0
}

func TestPortsAreNeverTheSameForTwoThatLive(t *testing.T) {
	low := freeRange(t, 4)
	p := newPorts(low, low+3)
	listener, err := net.Listen("tcp", address(low+1)) // somebody else's
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	two, why := p.take([]jobs.Port{{Label: "http"}, {Label: "metrics"}})
	if why != "" {
		t.Fatal(why)
	}
	one, why := p.take([]jobs.Port{{Label: "http"}})
	if why != "" {
		t.Fatal(why)
	}
	seen := map[int]bool{low + 1: true}
	for _, port := range []int{two["http"], two["metrics"], one["http"]} {
		if port < low || port > low+3 || seen[port] {
			t.Errorf("port %d is outside of the range or taken", port)
		}
		seen[port] = true
	}

	_, why = p.take([]jobs.Port{{Label: "http"}})
	if want := "no free port between"; !strings.HasPrefix(why, want) {
		t.Errorf("got %q, want %q", why, want)
	}
	p.release(one)
	// One is free, two are asked for: all or none.
	if got, why := p.take([]jobs.Port{{Label: "http"}, {Label: "metrics"}}); why == "" {
		t.Errorf("got %v of one free port", got)
	}
	if got, why := p.take([]jobs.Port{{Label: "http"}}); why != "" || got["http"] != one["http"] {
		t.Errorf("got %v (%s), want the port given back, %d", got, why, one["http"])
	}
}

func TestAPortIsGivenAgainOnlyAfterAllOthers(t *testing.T) {
	low := freeRange(t, 3)
	p := newPorts(low, low+2)
	seen := map[int]bool{}
	for range 3 {
		got, why := p.take([]jobs.Port{{Label: "http"}})
		if why != "" {
			t.Fatal(why)
		}
		seen[got["http"]] = true
		p.release(got)
	}
	if len(seen) != 3 {
		t.Errorf("got %v in three turns, want three ports", seen)
	}
}

func TestAStaticPortInUseBlocksInWords(t *testing.T) {
	low := freeRange(t, 1)
	p := newPorts(20000, 32000)
	wanted := []jobs.Port{{Label: "http", Static: low}}
	got, why := p.take(wanted)
	if why != "" || got["http"] != low {
		t.Fatalf("got %v (%s), want port %d", got, why, low)
	}
	if _, why := p.take(wanted); !strings.Contains(why, "(http) is in use") {
		t.Errorf("got %q", why)
	}
}
