package activator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/pilotlight/pilotlight/activator/queue"
)

// peersPath is where activators ask each other what they see of the slot ledger.
// It is on the data plane's listener, because that is the address whose refusal
// shows that an activator is dead; only loopback and peers' own hosts may use it.
const peersPath = "/pilotlight/internal/ledger"

// maxView bounds what a peer may tell.
const maxView = 1 << 20

// AskPeer is queue.Config.Ask over HTTP, to be used with the data plane's address.
func AskPeer(ctx context.Context, address string, mine queue.View) (queue.View, error) {
	body, err := json.Marshal(mine)
	if err != nil {
		return queue.View{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+peersPath, bytes.NewReader(body))
	if err != nil {
		return queue.View{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := peerClient.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return queue.View{}, queue.ErrGone
	}
	if err != nil {
		return queue.View{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return queue.View{}, fmt.Errorf("ask the activator at %s: status %d", address, resp.StatusCode)
	}
	var theirs queue.View
	err = json.NewDecoder(io.LimitReader(resp.Body, maxView)).Decode(&theirs)
	return theirs, err
}

// peerClient dials anew each time: a connection from before proves nothing.
var peerClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// meetPeer answers AskPeer.
func (a *Activator) meetPeer(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || !(ip != nil && ip.IsLoopback()) && !a.cfg.Queue.Knows(host) {
		http.Error(w, "only activators may ask this", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	var theirs queue.View
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxView)).Decode(&theirs); err != nil {
		http.Error(w, "not a view: "+err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, a.cfg.Queue.Meet(r.Context(), theirs))
}
