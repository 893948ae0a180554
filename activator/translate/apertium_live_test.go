package translate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pilotlight/pilotlight/internal/freeport"
)

// languageData is where Debian's packages put the pairs.
const languageData = "/usr/share/apertium"

// liveEngine starts a real apertium-apy, or skips the test where there is none.
// It returns the engine's URL.
func liveEngine(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real engine")
	}
	binary, err := exec.LookPath("apertium-apy")
	if err != nil {
		t.Skip("no apertium-apy on PATH: apt-get install apertium-apy apertium-eng-spa")
	}
	if _, err := os.Stat(languageData + "/modes/eng-spa.mode"); err != nil {
		t.Skip("no pair eng-spa: apt-get install apertium-eng-spa")
	}
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}

	var output bytes.Buffer
	cmd := exec.Command(binary, "-p", fmt.Sprint(port), "-j1", languageData)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")      // it refuses any other encoding
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its pipelines end with it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	})

	engine := fmt.Sprintf("http://127.0.0.1:%d", port)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		if resp, err := http.Get(engine + "/listPairs"); err == nil {
			resp.Body.Close()
			return engine
		}
		select {
		case <-tick.C:
		case err := <-exited:
			exited <- err // for the cleanup
			t.Fatalf("apertium-apy ended: %v\n%s", err, &output)
		case <-ctx.Done():
			t.Fatal("apertium-apy does not answer")
		}
	}
}

// ask sends one request through the adapter to the engine.
func ask(t *testing.T, engine string, a Apertium, req Request) (status int, body []byte) {
	t.Helper()
	method, path, header, content := a.Encode(req)
	r, err := http.NewRequestWithContext(t.Context(), method, engine+path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestALiveApertium(t *testing.T) {
	engine := liveEngine(t)

	t.Run("answers as recorded", func(t *testing.T) {
		all := readExchanges(t)
		for i, x := range all {
			status, body := ask(t, engine, Apertium{}, valid(t, Apertium{}, x.Text, x.Source, x.Target))
			if *record {
				all[i].Status, all[i].Body = status, string(body)
				continue
			}
			if status != x.Status {
				t.Errorf("%s: status %d, recorded %d", x.Name, status, x.Status)
			}
			if diff := cmp.Diff(x.Body, string(body)); diff != "" {
				t.Errorf("%s: %s", x.Name, diff)
			}
		}
		if *record {
			var out bytes.Buffer
			enc := json.NewEncoder(&out)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "\t")
			if err := enc.Encode(all); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(recorded, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})

	t.Run("has the pair", func(t *testing.T) {
		resp, err := http.Get(engine + "/listPairs")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		pairs, err := ParsePairs(body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (Apertium{Pairs: pairs}).Validate(Request{Text: "x", Source: "en", Target: "es"}); err != nil {
			t.Error(err)
		}
	})

	// The engine's pieces are shortest under load, when each ends at the one full
	// stop in its second half.
	t.Run("translates the longest text whole, even under load", func(t *testing.T) {
		sentence := strings.Repeat("a", 502-len(" the house.")) + " the house."
		text := strings.Repeat(sentence, maxApertiumCharacters/len(sentence))
		text += strings.Repeat("a", maxApertiumCharacters-len(text)-len(" cat")) + " cat"
		req := valid(t, Apertium{}, text, "en", "es")
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				status, body := ask(t, engine, Apertium{}, req)
				_, answer, err := Apertium{}.Decode(req, status, nil, body)
				if err != nil {
					t.Error(err)
					return
				}
				n, ends := strings.Count(string(answer), "casa."), strings.Contains(string(answer), " Gato")
				if n != 10 || !ends {
					t.Errorf("%d of 10 sentences, the end is there: %v", n, ends)
				}
			})
		}
		wg.Wait()
	})
}
