package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestAPortIsGivenOutOnceAndOnlyIfNobodyListens(t *testing.T) {
	next = last - 1
	taken, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(last)))
	if err != nil {
		t.Skip("another process has the last port: ", err)
	}
	defer func() { _ = taken.Close() }()
	seen := map[int]bool{last: true}
	for range 20 {
		port, err := Take()
		if err != nil || seen[port] || port < first || port > last {
			t.Fatalf("%d, %v; had %v", port, err, seen)
		}
		seen[port] = true
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // and yet it is not given out again
	}
}
